# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl evaluate` from the command line, on toy drives, with an embedder that knows the answers."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from compact_drives import PlaceEmbedder, even_calibration, write_drive
from kitti_folders import odometry_sequence, raw_drive
from typer.testing import CliRunner

from ms2cl_ros import evaluate_cli
from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.tools.passes import asking_and_mapped, is_kitti, kitti_passes


def call(monkeypatch: pytest.MonkeyPatch, *words: object, encoder: PlaceEmbedder | None = None) -> str:
    monkeypatch.setattr(evaluate_cli, "_encoder", lambda model, threads: encoder or PlaceEmbedder())
    done = CliRunner().invoke(evaluate_cli.app, [str(w) for w in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_pairs_writes_figures_and_draws_what_went_wrong(tmp_path, monkeypatch):
    write_drive(tmp_path / "data" / "a", [0, 3, 6, 9])
    write_drive(tmp_path / "data" / "b", [30])
    said = call(monkeypatch, "pairs", tmp_path / "data", "--json", tmp_path / "out" / "f.json", "--pictures",
                tmp_path / "wrong", encoder=PlaceEmbedder(confused={3: 30}))
    told = json.loads((tmp_path / "out" / "f.json").read_text())
    assert told["drives"]["a"]["recall"]["descriptor"]["1"]["5"] == 0.75
    assert "75.0%" in said and "not calibrated" in said
    [drawn] = (tmp_path / "wrong").glob("*.png")
    assert drawn.name == "000_a_000001.png" and cv2.imread(str(drawn)).shape[0] > 500


def as_places(drive: Path, places: list[int]) -> None:
    """Replaces the files of a KITTI drive by ones whose places `PlaceEmbedder` knows."""
    around = np.linspace(-np.pi, np.pi, 400)
    for i, place in enumerate(places):
        for image in (*drive.glob(f"image_*/{i:06d}.png"), *drive.glob(f"image_*/data/{i:010d}.png")):
            cv2.imwrite(str(image), np.full((20, 40, 3), 10 + 3 * place, np.uint8))
        points = np.stack([np.cos(around), np.sin(around), 0 * around, 0 * around], 1) * (3.0 + place)
        for scan in (*drive.glob(f"velodyne/{i:06d}.bin"), *drive.glob(f"velodyne_points/data/{i:010d}.bin")):
            points.astype(np.float32).tofile(scan)


def test_protocols_of_an_odometry_sequence(tmp_path, monkeypatch):
    # a frame a metre; place 5 is taken for place 40, which is not there
    sequence = odometry_sequence(tmp_path, frames=12)
    as_places(sequence, list(range(0, 36, 3)))
    call(monkeypatch, "drive", sequence, "--protocol", "A", "--protocol", "A-", "--json", tmp_path / "f.json",
         "--pictures", tmp_path / "wrong", encoder=PlaceEmbedder(confused={0: 33}))
    told = json.loads((tmp_path / "f.json").read_text())
    a, minus = told["protocols"]
    assert (a["protocol"], a["recall"]["all"]["5"]["asked"], a["recall"]["all"]["5"]["database"]) == ("A", 12, 12)
    assert a["recall"]["all"]["5"]["recall"]["1"] == pytest.approx(11 / 12, abs=1e-3)
    assert minus["recall"]["all"]["10"]["database"] == 11 and told["headings_per_scan"] > 1
    assert len(list((tmp_path / "wrong" / "A").glob("*.png"))) == 1


def test_a_calibration_lets_ranges_correct_the_descriptor(tmp_path, monkeypatch):
    sequence = odometry_sequence(tmp_path, frames=12)
    as_places(sequence, list(range(0, 36, 3)))
    (tmp_path / "worth.yaml").write_text(yaml.safe_dump({"calibration": even_calibration().to_mapping()}))
    call(monkeypatch, "drive", sequence, "--protocol", "A", "--calibration", tmp_path / "worth.yaml", "--json",
         tmp_path / "f.json", "--headings", "camera", encoder=PlaceEmbedder(confused={0: 33}))
    told = [(p["score"], p["recall"]["all"]["5"]["recall"]["1"])
            for p in json.loads((tmp_path / "f.json").read_text())["protocols"]]
    assert told == [("descriptor", pytest.approx(11 / 12, abs=1e-3)), ("both", 1.0)]


def test_one_pass_asks_another_in_the_same_map(tmp_path, monkeypatch):
    one, other = (raw_drive(tmp_path / name, frames=5) for name in ("one", "other"))
    for drive in (one, other):
        as_places(drive, [0, 3, 6, 9, 12])
    call(monkeypatch, "drive", one, "--map", other, "--protocol", "E", "--json", tmp_path / "f.json", "--headings",
         "camera")
    told = json.loads((tmp_path / "f.json").read_text())
    [e] = told["protocols"]
    assert e["rule"] == "no scan left out, axes xz" and e["recall"]["same"]["5"]["recall"]["1"] == 1.0
    assert told["headings_per_scan"] == 1 and e["precision_recall"]["average_precision"] == pytest.approx(1.0)


def test_the_passes_of_a_city_are_told_apart_by_their_sensors(tmp_path):
    # the city's layout: two drives of a date with poses in one map; the first has scans alone, the second pictures
    raw_drive(tmp_path, frames=3)
    date = tmp_path / "2011_09_26"
    (date / "2011_09_26_drive_0099_sync").rename(date / "2011_09_26_drive_0001_sync")
    raw_drive(tmp_path, frames=3)
    (date / "2011_09_26_drive_0099_sync").rename(date / "2011_09_26_drive_0002_sync")
    for drive, lacks in (("0001", "image_02"), ("0002", "velodyne_points")):
        folder = date / f"2011_09_26_drive_{drive}_sync"
        sensor = "velodyne_points" if lacks == "image_02" else "image_02"
        stamps = (folder / sensor / "timestamps.txt").read_text().splitlines()
        (folder / lacks).rename(tmp_path / f"gone_{drive}")
        seconds = [np.datetime64(s).astype("datetime64[ns]").astype(int) / 1e9 for s in stamps]
        (folder / "poses_base.txt").write_text("".join(f"{t:.9f} {i} 0 0 0 0 0 1\n" for i, t in enumerate(seconds)))
    assert is_kitti(tmp_path)
    asking, mapped = asking_and_mapped(kitti_passes(tmp_path), [])
    assert (asking.name[-9:], mapped.name[-9:]) == ("0002_sync", "0001_sync")
    assert len(list(mapped.looks(False, True, None))) == 3 and len(list(asking.looks(True, False, {1}))) == 1
    with pytest.raises(DataError, match="nothing asks"):
        asking_and_mapped([mapped], [])


def test_headings_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="camera, all"):
        evaluate_cli._headings("some", PlaceEmbedder())
