# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recall at N, chance, intervals and frames in a row, against answers worked out by hand."""

import numpy as np
import pytest

from ms2cl_ros.core.geometry import transform
from ms2cl_ros.tools.consecutive import Drives, over_frames
from ms2cl_ros.tools.embedding import similarities, similarity
from ms2cl_ros.tools.recall import MISSED, bootstrap, joined, rank, recall, segments


def test_the_rank_of_the_best_right_answer_is_counted_among_those_allowed():
    scores = np.array([[0.9, 0.8, 0.7, 0.6]] * 3)
    right = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]], bool)
    allowed = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]], bool)
    found = rank(scores, allowed, right)
    assert found.hit.tolist() == [2, 1, MISSED]
    assert found.right.tolist() == [2, 2, 0] and found.database.tolist() == [4, 3, 4]
    assert found.best.tolist() == [0, 1, 0]


def test_of_equal_scores_the_lower_index_comes_first():
    scores = np.zeros((2, 3))
    found = rank(scores, np.ones((2, 3), bool), np.array([[0, 1, 0], [1, 0, 0]], bool))
    assert found.hit.tolist() == [1, 0]


def test_a_query_without_any_answer_is_asked_but_not_counted():
    found = rank(np.zeros((1, 2)), np.zeros((1, 2), bool), np.ones((1, 2), bool))
    assert found.best.tolist() == [MISSED]
    r = recall(found, np.zeros(1, int), 5.0)
    assert (r.asked, r.queries, r.ranks["1"], r.chance) == (1, 0, None, None)


def test_recall_chance_and_one_percent_are_those_worked_out_by_hand():
    scores = np.tile(-np.arange(250.0), (4, 1))  # answer 0 first, answer 249 last
    right = np.zeros((4, 250), bool)
    right[0, 0] = right[1, 2] = right[2, 3] = True
    r = recall(rank(scores, np.ones((4, 250), bool), right), np.arange(4), 5.0)
    assert (r.asked, r.queries, r.database) == (4, 3, 250)
    assert r.chance == pytest.approx(1 / 250)
    assert r.ranks == {"1": pytest.approx(1 / 3), "5": 1.0, "1%": pytest.approx(2 / 3)}  # round(2.5) = 3 answers


def test_batches_join_to_the_whole():
    rng = np.random.default_rng(0)
    scores, right, allowed = rng.random((20, 30)), rng.random((20, 30)) < 0.1, rng.random((20, 30)) < 0.8
    whole = rank(scores, allowed, right)
    parts = joined(rank(scores[i:i + 7], allowed[i:i + 7], right[i:i + 7]) for i in range(0, 20, 7))
    for name in ("hit", "right", "database", "best"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_the_interval_treats_a_segment_as_one_draw():
    values = np.repeat([1.0, 0.0], 500)
    wide, narrow = bootstrap(values, np.repeat([0, 1], 500)), bootstrap(values, np.arange(1000))
    assert wide == (0.0, 1.0)
    assert narrow is not None and narrow[0] == pytest.approx(0.469, abs=0.01)  # 0.5 - 1.96 sqrt(0.25 / 1000)
    assert bootstrap(values, np.zeros(1000, int)) is None


def test_route_segments_are_a_hundred_metres_long():
    assert segments(np.array([0.0, 99.9, 100.0, 250.0])).tolist() == [0, 0, 1, 2]


def test_a_scan_counts_at_its_best_heading_whatever_the_block(monkeypatch):
    rng = np.random.default_rng(1)
    images, scans = rng.normal(size=(9, 4)), rng.normal(size=(5, 3, 4))
    want = np.einsum("qd,mhd->qmh", images, scans)
    np.testing.assert_allclose(similarity(images, scans), want.max(2))
    monkeypatch.setattr("ms2cl_ros.tools.embedding.BLOCK", 31)
    blocks = list(similarities(images, scans))
    assert len(blocks) == 5
    np.testing.assert_array_equal(np.concatenate([b[2] for b in blocks]), want.argmax(2))


def along(n: int, drive: int = 0) -> Drives:
    return Drives(np.full(n, drive), np.stack([transform([2.0 * i, 0.0, 0.0]) for i in range(n)]), np.ones(n, bool))


def test_frames_before_speak_for_the_scan_that_lies_as_far_back():
    # one frame each: frame 2 cannot tell scan 2 from scan 5, frames 0 and 1 saw scans 0 and 1
    evidence = np.zeros((3, 6))
    evidence[0, 0] = evidence[1, 1] = 3.0
    evidence[2, [2, 5]] = 2.0
    fused = over_frames(evidence, np.ones((3, 6), bool), along(3), along(6))
    strangers, unsure = np.log((np.exp(3.0) + 5) / 6), np.log((2 * np.exp(2.0) + 4) / 6)
    assert fused[2].argmax() == 2 and fused[2, 2] == pytest.approx(8.0 - 2 * strangers - unsure)
    # what would have been seen before scan 5, frames 0 and 1 saw elsewhere
    assert fused[2, 5] == pytest.approx(2.0 - 2 * strangers - unsure)
    np.testing.assert_allclose(fused[0], evidence[0] - strangers)


def test_a_picture_unlike_everything_does_not_speak_for_scans_it_cannot_be_asked_of():
    # two drives of one map; frame 0 looks like nothing, and least unlike scan 0; the second drive is one scan long
    evidence = np.array([[-20.0, -30.0, -40.0], [-30.0, -10.0, -10.5]])
    mapped = Drives(np.array([0, 0, 1]), along(3).poses, np.ones(3, bool))
    fused = over_frames(evidence, np.ones((2, 3), bool), along(2), mapped)
    assert fused[1].argmax() == 1 and fused[1, 1] > fused[1, 2] + 1.0


def test_scans_that_are_left_out_speak_for_nothing():
    evidence, allowed = np.zeros((2, 4)), np.ones((2, 4), bool)
    evidence[0, 0], allowed[0, :2] = 9.0, False
    fused = over_frames(evidence, allowed, along(2), along(4))
    assert fused[1, 1] == 0.0, "nor does it move the mean"


def test_frames_of_another_drive_are_not_taken_for_the_past():
    asked = Drives(np.array([0, 1]), along(2).poses, np.ones(2, bool))
    evidence = np.array([[9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(over_frames(evidence, np.ones((2, 4), bool), asked, along(4))[1], evidence[1])
