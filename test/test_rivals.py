# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the belief is measured against, where the answer is known."""

import numpy as np
import pytest
from sightings import candidate, odometry, pose, route

from ms2cl_ros.tools.rivals import FRAMES, SAME, Guesses, best_candidates, confirmed, least_threshold, sequences

STAMPS = np.arange(12) * 250_000_000


def test_the_least_threshold_is_the_one_that_tells_most_while_meeting_the_target():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, -np.inf])
    right = np.array([True, True, False, True, False, False])
    assert least_threshold(scores, right, 0.75) == 0.6
    assert least_threshold(scores, right, 1.0) == 0.8
    assert least_threshold(scores[2:], right[2:], 1.0) == 0.7, "met nowhere: the strictest there is"
    assert least_threshold(scores[5:], right[5:], 0.9) == np.inf


def test_guesses_of_one_score_are_told_together():
    scores, right = np.array([3.0, 3.0, 3.0, 2.0]), np.array([True, True, False, True])
    assert least_threshold(scores, right, 1.0) == 3.0
    assert least_threshold(scores, right, 0.75) == 2.0
    assert Guesses(np.zeros((4, 4, 4)), scores).told(3.0).tolist() == [True, True, True, False]


def test_the_best_candidate_is_the_one_with_the_highest_score():
    found = [(candidate(pose(0, 0), 0.2), candidate(pose(9, 0), 0.4)), ()]
    best = best_candidates(found)
    assert best.poses[0, 0, 3] == 9.0
    assert best.scores.tolist() == [0.4, -np.inf]


def test_candidates_that_move_as_the_odometry_does_confirm_each_other():
    places = route(12, 2.0)
    best = Guesses(np.stack(places), np.ones(12))
    counts = confirmed(best, STAMPS, odometry(places, 0.02), 5).scores
    assert counts.tolist() == [1, 2, 3, 4, *[5] * 8]


def test_a_candidate_elsewhere_is_confirmed_by_itself_alone():
    places = route(12, 2.0)
    poses = np.stack(places)
    poses[6] = pose(900.0, 900.0)
    counts = confirmed(Guesses(poses, np.ones(12)), STAMPS, odometry(places), 3).scores
    assert counts[6] == 1
    assert counts[7:10].tolist() == [2, 2, 3]
    unasked = np.ones(12)
    unasked[6] = -np.inf
    assert confirmed(Guesses(poses, unasked), STAMPS, odometry(places), 3).scores[6] == -np.inf


def test_without_odometry_a_car_may_have_driven_between_two_candidates_but_not_flown():
    poses = np.stack([pose(0, 0), pose(3.0, 0), pose(200.0, 0)])
    assert confirmed(Guesses(poses, np.ones(3)), STAMPS[:3], None, 3).scores.tolist() == [1, 2, 1]


@pytest.mark.parametrize("way", [1, -1])
def test_a_sequence_finds_its_scan_where_single_images_do_not(way):
    rng = np.random.default_rng(0)
    similarity = rng.normal(0.0, 1.0, (40, 120))
    true = 60 + way * np.arange(40)
    similarity[np.arange(40), true] += 2.0
    single = np.abs(similarity.argmax(1) - true) <= 1
    at, margin = sequences(similarity)
    assert (margin[:FRAMES - 1] == -np.inf).all()
    late = slice(FRAMES - 1, None)
    assert single.mean() < 0.5
    assert (np.abs(at[late] - true[late]) <= 1).mean() > 0.95
    assert (margin[late] > 0).all()


def test_a_road_that_is_there_twice_leaves_no_margin():
    similarity = np.tile(np.eye(40) + 0.01 * np.random.default_rng(1).normal(size=(40, 40)), (1, 2))
    similarity[:, 40:] = similarity[:, :40]
    _, margin = sequences(similarity[:, np.r_[0:40, 40:80]])
    middle = slice(FRAMES + SAME, 30)
    assert (margin[middle] < 0.15).all()
