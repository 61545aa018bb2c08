# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command line: what a user types, what it says, how it ends."""

import json
import subprocess
import sys

import pytest
from kitti_folders import raw_drive

from ms2cl_ros import __version__
from ms2cl_ros.core import config


def ms2cl(*arguments):
    """(exit code, stdout, stderr without line breaks) of a run in a process of its own."""
    run = subprocess.run([sys.executable, "-m", "ms2cl_ros.cli", *map(str, arguments)], capture_output=True, text=True,
                         timeout=120)
    return run.returncode, run.stdout, " ".join(run.stderr.split())


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    code, _, said = ms2cl("convert", "kitti-raw", raw_drive(folder), "-o", folder / "bag")
    assert code == 0, said
    return folder / "bag"


def test_version_and_config_are_printed_plain():
    assert ms2cl("version")[1].strip() == __version__
    assert ms2cl("config")[1] == config.dump()


@pytest.mark.parametrize(("arguments", "says"), [
    (("map", "nowhere", "-o", "m.db"), "no bag at nowhere"),
    (("localize", "nowhere", "--map", "m.db"), "no bag at nowhere"),
    (("convert", "kitti-raw", "nowhere", "-o", "bag"), "no such folder"),
    (("map", "nowhere", "-o", "m.db", "--set", "submaps.distanse=1"), "submaps.distance"),
    (("map", "nowhere", "-o", "m.db", "--set", "submaps.distance"), "NAME=VALUE"),
    (("play", "nowhere"), "no bag at nowhere"),
])
def test_a_mistake_is_one_message_and_exit_code_1_without_a_traceback(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, said = ms2cl(*arguments)
    assert code == 1
    assert says in said
    assert "Traceback" not in said


def test_a_drive_is_converted_mapped_and_localised_by_four_commands(bag, tmp_path):
    code, _, said = ms2cl("map", bag, "-o", tmp_path / "m.db", "-p", "submaps.distance=0.0", "-p",
                          "submaps.headings=4", "-p", "views.spacing=0.0")
    assert code == 0, said
    assert "4 submaps from 4 scans" in said
    code, table, said = ms2cl("localize", bag, "--map", tmp_path / "m.db", "--json", tmp_path / "matches.jsonl")
    assert code == 0, said
    assert "matches for 4 images, 4 with candidates" in said
    assert "Recall@1" in table
    matches = [json.loads(line) for line in (tmp_path / "matches.jsonl").read_text().splitlines()]
    assert len(matches) == 4
    assert all(1 <= len(m["candidates"]) <= 4 and len(m["covariance"]) == 6 for m in matches)
    pytest.importorskip("matplotlib")
    code, _, said = ms2cl("overlay", bag, "-o", tmp_path / "overlay.png", "--number", "2")
    assert code == 0, said
    assert (tmp_path / "overlay.png").stat().st_size > 1000
    code, _, said = ms2cl("overlay", bag, "-o", tmp_path / "o.png", "--number", "9")
    assert (code, "images 0 to 3" in said) == (1, True)
