# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl calibrate`: from a drive with poses to a file that the matcher takes."""

from collections import Counter

import numpy as np
import pytest
from typer.testing import CliRunner

from ms2cl_ros import cli
from ms2cl_ros.core import calibration as core_calibration
from ms2cl_ros.core.config import Config
from ms2cl_ros.core.errors import DataError, TransformError
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.types import Candidate, Match, StampedPose
from ms2cl_ros.tools import calibration
from ms2cl_ros.tools.offline import Outcome

SECOND = 1_000_000_000


class Straight:
    """A drive along x at 3 m/s whose poses end after 100 s."""

    def base(self, stamp_ns: int) -> StampedPose:
        if stamp_ns > 100 * SECOND:
            raise TransformError("no pose after 100 s")
        return StampedPose(stamp_ns, transform([3.0 * stamp_ns / SECOND, 0.0, 0.0]))


def answers(n: int = 60, wrong: int = 8) -> list[Match]:
    """One image a second, the right place among wrong ones with the better score in three of four."""
    rng, out = np.random.default_rng(0), []
    for i in range(n):
        scores = rng.normal(0.4, 0.05, wrong + 1)
        scores[0] += rng.choice([0.25, 0.25, 0.25, 0.05])
        places = [3.0 * i, *(5000.0 + 100 * np.arange(wrong))]
        found = tuple(Candidate(k, 100 * i + k, 0.0, 0.1, float(s), transform([x, 0.0, 0.0]))
                      for k, (s, x) in enumerate(zip(scores, places)))
        out.append(Match(i * SECOND, found[0].T_map_base, np.eye(6), found))
    return out


@pytest.fixture
def driven(monkeypatch):
    """`localize_bag` and `truth` answered without a bag."""
    found = Outcome(seen=60, matches=answers(), dropped=Counter())
    monkeypatch.setattr(calibration, "localize_bag", lambda *_: found)
    monkeypatch.setattr(calibration, "truth", lambda *_: Straight())
    return found


def test_a_candidate_is_right_within_five_metres_and_images_without_a_pose_are_left_out():
    found = [*answers(60), Match(200 * SECOND, np.eye(4), np.eye(6), answers(1)[0].candidates)]
    trials = calibration.posed_trials(found, Straight())
    assert len(trials) == 60
    assert all(t.right[0] and not t.right[1:].any() for t in trials)
    blocks = [t.block for t in trials]
    assert blocks == sorted(blocks)
    assert len(set(blocks)) == 6


def test_answers_without_any_pose_are_refused():
    with pytest.raises(DataError, match="none of 1 answers has a pose"):
        calibration.posed_trials([Match(200 * SECOND, np.eye(4), np.eye(6), ())], Straight())


def test_a_drive_becomes_a_file_that_is_read_back_for_the_same_model_only(driven, tmp_path):
    out = calibration.calibrate_on("drive2", "map.db", Config())
    assert out.images == 60
    assert out.error_after <= out.error_before + 0.05
    right, said = out.after[0.9]
    assert right <= said <= 60
    calibration.write(out, tmp_path / "own.yaml")
    back = core_calibration.load(tmp_path / "own.yaml", out.model)
    assert back.alone.score == pytest.approx(out.known.alone.score, abs=1e-4)
    assert back.reached["drive"] == "drive2"


def test_the_command_prints_what_was_reached_and_where_the_file_is(driven, tmp_path):
    path = tmp_path / "own.yaml"
    result = CliRunner().invoke(cli.app, ["calibrate", "drive2", "--map", "map.db", "-o", str(path)])
    assert result.exit_code == 0, result.output
    assert "expected calibration error" in result.output
    assert path.is_file()


def test_a_file_that_cannot_be_written_is_named(driven, tmp_path):
    out = calibration.calibrate_on("drive2", "map.db", Config())
    with pytest.raises(DataError, match="cannot write"):
        calibration.write(out, tmp_path / "missing" / "own.yaml")
