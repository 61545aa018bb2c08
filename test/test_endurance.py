# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark that looks for growth sees it, and sees none where there is none."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
from ms2cl_ros.core.errors import Ms2clError

spec = importlib.util.spec_from_file_location("endurance", Path(__file__).parent.parent / "benchmarks" / "endurance.py")
endurance = importlib.util.module_from_spec(spec)
sys.modules["endurance"] = endurance
spec.loader.exec_module(endurance)


def curve(memory=lambda t: 200.0, threads=lambda t: 9, files=lambda t: 20):
    return [endurance.Sample(t, t, "node", memory(t), threads(t), files(t)) for t in range(90)]


@pytest.mark.parametrize(("samples", "said"), [
    (curve(), []),
    (curve(memory=lambda t: 200.0 + 4.0 * (t % 7), threads=lambda t: 9 + (t % 30 == 0)), []),
    (curve(memory=lambda t: 300.0 if t > 20 else 100.0), []),
    (curve(memory=lambda t: 200.0 + t), ["memory from 244.5 to 274.5 MB"]),
    (curve(threads=lambda t: 9 + t // 30), ["threads from 10 to 11"]),
    (curve(files=lambda t: 20 + t // 60), ["files from 20 to 21"]),
    (curve()[:12], ["too short to say anything: play longer"]),
])
def test_growth_from_the_second_to_the_last_third_is_told(samples, said):
    assert endurance.grown(samples) == said


def test_growth_is_told_by_the_hour_from_a_line_through_the_samples():
    assert endurance.slope(curve(memory=lambda t: 200.0 + t / 360)) == pytest.approx(10.0)
    assert endurance.slope(curve(memory=lambda t: 200.0 + (-1) ** t)) == pytest.approx(0.0, abs=5.0)
    # the last two thirds of 90 s: what was taken while warming up does not count
    assert "+0.0 MB an hour" in endurance.summary(curve(memory=lambda t: 300.0 if t >= 30 else 100.0))


def test_a_sample_is_what_the_process_has_now(tmp_path):
    before = endurance.sample(0.0, 0.0, "me", os.getpid())
    with open(tmp_path / "more", "w"):
        after = endurance.sample(1.0, 1.0, "me", os.getpid())
    assert after.files == before.files + 1
    assert after.rss_mb > 10.0


def test_a_process_that_has_ended_is_told_before_its_figures_are_asked_for(tmp_path):
    def check():
        raise Ms2clError("both ended with exit code 1")
    with pytest.raises(Ms2clError, match="both ended"):
        endurance.Watch({"both": 2**22 + 1}, tmp_path / "x.csv", check).look(0.0)


def test_a_player_is_stopped_after_so_many_passes_and_at_the_goal(tmp_path):
    played = endurance.Played(endurance.Watch({}, tmp_path / "x.csv"), 100.0)
    stop = played.again()
    for _ in range(endurance.PASSES):
        for done in (0.0, 2.0):
            played.note(done, 2.0)
    assert not stop.is_set()
    played.note(0.0, 2.0)
    assert stop.is_set()
    assert played.total == 2.0 * endurance.PASSES
    stop = played.again()
    played.note(80.0, 80.0)
    assert stop.is_set()
