# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded pairs: which answers are right, what is left out, what is written down."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from compact_drives import PlaceEmbedder, even_calibration, write_drive

from ms2cl_ros.core.config import EncoderConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.tools.evaluate_pairs import OVER_FRAMES, OWN_IN, evaluate_pairs, figures, groups
from ms2cl_ros.tools.pairs import Pairs, embed_pairs, open_drives
from ms2cl_ros.tools.pairs_report import plain, tables
from ms2cl_ros.tools.score_kinds import score_kinds

ROOT = Path(__file__).resolve().parents[1]


def hand_made() -> tuple[Pairs, np.ndarray]:
    """Drive a has scans at 0, 3 and 40 m, drive b one at 0 m. Images 0 and 1 prefer scan 1, image 2 its own, image 3
    the scan at the same coordinates of the other drive."""
    poses = np.stack([transform([x, 0.0, 0.0]) for x in (0.0, 3.0, 40.0, 0.0)])
    pairs = Pairs(("a", "b"), np.zeros((4, 4)), np.eye(4)[:, None], np.array([0, 0, 0, 1]), poses,
                  np.ones(4, bool), poses[:, 0, 3], np.zeros((4, 1)), np.array([0, 1, 2, 0]))
    return pairs, np.array([[0.5, 0.9, 0, 0], [0.5, 0.9, 0, 0], [0, 0, 1, 0], [0.9, 0, 0, 0.5]])


def test_a_hit_lies_near_by_in_the_right_drive() -> None:
    pairs, scores = hand_made()
    found = figures(pairs, scores, np.ones(4, bool), OWN_IN)
    assert found.by_radius[5.0].ranks["1"] == 0.75 and found.by_radius[2.0].ranks["1"] == 0.5
    assert found.right_drive == 0.75
    assert found.by_radius[5.0].chance == pytest.approx((2 / 4 + 2 / 4 + 1 / 4 + 1 / 4) / 4)


def test_queries_that_lose_their_last_right_answer_are_not_counted() -> None:
    pairs, scores = hand_made()
    own_out = figures(pairs, scores, np.ones(4, bool), 0.0).by_radius[5.0]
    assert (own_out.asked, own_out.queries, own_out.database) == (4, 2, 3)
    assert own_out.ranks["1"] == 1.0 and own_out.chance == pytest.approx(1 / 3)
    far = figures(pairs, scores, np.ones(4, bool), 3.5).by_radius[5.0]
    assert far.queries == 0 and far.ranks["1"] is None


def test_drives_all_of_them_and_single_scenes_are_told_apart() -> None:
    pairs, _ = hand_made()
    told = groups(pairs)
    assert {k: v.tolist() for k, v in told.items()} == {
        "a": [True, True, True, False], "all": [True, True, True, False], "single_scenes": [False, False, False, True]}


def test_without_poses_only_the_own_scan_is_right(tmp_path: Path) -> None:
    write_drive(tmp_path / "a", [1, 2, 3], step=None)
    encoder = PlaceEmbedder()
    pairs = embed_pairs(encoder, open_drives([tmp_path], encoder))
    found = figures(pairs, score_kinds(pairs, encoder.sidecar, None)["descriptor"], np.ones(3, bool), OWN_IN)
    assert found.by_radius[10.0].ranks["1"] == 1.0 and found.by_radius[10.0].chance == pytest.approx(1 / 3)


def test_ranges_and_frames_in_a_row_mend_what_the_descriptor_takes_for_another_place(tmp_path: Path) -> None:
    # the pictures of place 6 look like place 30, whose ranges are quite others
    write_drive(tmp_path / "a", [0, 3, 6, 9, 12])
    write_drive(tmp_path / "b", [20, 25, 30, 35])
    encoder = PlaceEmbedder(confused={6: 30})
    pairs = embed_pairs(encoder, open_drives([tmp_path], encoder))
    scores = score_kinds(pairs, encoder.sidecar, even_calibration())
    told = evaluate_pairs(pairs, scores)["a"]
    assert list(told) == ["descriptor", "range", "both", OVER_FRAMES]
    recall = {kind: told[kind][OWN_IN].by_radius[2.0].ranks["1"] for kind in told}
    assert recall["descriptor"] == 0.8 and recall["both"] == 1.0 and recall[OVER_FRAMES] == 1.0
    np.testing.assert_allclose(scores["both"], -1.0 + 2.0 * scores["descriptor"] + scores["range"])


def test_an_uncalibrated_model_is_told_by_its_descriptor_alone(tmp_path: Path) -> None:
    write_drive(tmp_path / "a", [0, 3])
    encoder = PlaceEmbedder()
    pairs = embed_pairs(encoder, open_drives([tmp_path], encoder))
    assert list(score_kinds(pairs, encoder.sidecar, None)) == ["descriptor"]


def test_json_gives_recall_by_drive_kind_number_and_radius(tmp_path: Path) -> None:
    write_drive(tmp_path / "a", [0, 3, 6, 9])
    write_drive(tmp_path / "b", [30])
    encoder = PlaceEmbedder(confused={3: 30})
    pairs = embed_pairs(encoder, open_drives([tmp_path], encoder))
    evaluated = evaluate_pairs(pairs, score_kinds(pairs, encoder.sidecar, None))
    told = json.loads(json.dumps(plain(pairs, evaluated, encoder)))
    a = told["drives"]["a"]
    assert (a["queries"], a["database"], a["right_drive"]["descriptor"]) == (4, 5, 0.75)
    assert a["recall"]["descriptor"]["1"] == {"2": 0.75, "5": 0.75, "10": 0.75}
    assert a["chance"]["2"] == 0.2 and a["left_out"]["0"]["with_right_answer"]["2"] == 0
    assert told["single_scenes"]["queries"] == 1 and "left_out" not in told["single_scenes"]
    assert [t.row_count for t in tables(evaluated)] == [3, 2]


def test_the_shipped_model_finds_most_places_of_a_recorded_drive(tmp_path: Path) -> None:
    drive = Path(os.environ.get("MS2CL_DATA", ROOT.parent / "shared" / "data")) / "2011_09_26_drive_0009_sync"
    if not drive.is_dir():
        pytest.skip(f"no recorded drive at {drive}: set MS2CL_DATA")
    (tmp_path / "part").mkdir()
    for name in ("image", "scan", "drive.yaml"):
        (tmp_path / "part" / name).symlink_to(drive / name)
    head, *rows = (drive / "frames.csv").read_text().splitlines()
    (tmp_path / "part" / "frames.csv").write_text("\n".join([head, *rows[::6]]) + "\n")
    encoder = Encoder.load(EncoderConfig(model=str(ROOT / "models" / "ms2cl_city")))
    pairs = embed_pairs(encoder, open_drives([tmp_path], encoder))
    scores = score_kinds(pairs, encoder.sidecar, None)["descriptor"]
    found = figures(pairs, scores, np.ones(len(pairs.drive), bool), OWN_IN).by_radius[5.0]
    assert found.queries == 9 and found.ranks["1"] is not None and found.ranks["1"] > 0.6
