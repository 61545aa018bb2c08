# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is promised and when: drives through a map whose answers are drawn from stated likelihoods (see `sightings`)."""

from collections import Counter

import numpy as np
import pytest
from sightings import CALIBRATION, World, candidate, degrees, drive, metres, odometry, pose, route, trust

from ms2cl_ros.core.belief import Place
from ms2cl_ros.core.decision import LOST, MATCHED, TRACKING, Decision
from ms2cl_ros.core.types import StampedPose

SECOND = 10**9


def place(probability, x=0.0, shown=True, following=0.0):
    return Place(pose(x, 0), np.eye(6), probability, following, shown)


def states(answers):
    return [LOST if a is None else a.state for a in answers]


def right(answer, T):
    return metres(answer, T) < 5.0 and degrees(answer, T) < 30.0


# the states alone -----------------------------------------------------------------------------------------------------

def test_the_first_image_may_be_enough():
    assert Decision(0.99).update(place(0.999), 0) == MATCHED


def test_just_above_the_threshold_does_not_begin_a_match_but_keeps_one():
    decision = Decision(0.99)
    assert decision.update(place(0.991), 0) == TRACKING
    assert decision.update(place(0.999), 1) == MATCHED
    assert decision.update(place(0.991), 2) == MATCHED
    assert decision.update(place(0.989), 3) == TRACKING


def test_a_rival_place_that_is_too_probable_prevents_a_match():
    assert Decision(0.99).update(place(0.9965, following=0.0035), 0) == MATCHED
    assert Decision(0.9).update(place(0.95, following=0.2), 0) == TRACKING


def test_another_place_is_tracked_before_it_is_matched():
    decision = Decision(0.99)
    assert decision.update(place(0.999), 0) == MATCHED
    assert decision.update(place(0.999, x=100.0), 1, moved=1.0) == TRACKING
    assert decision.update(place(0.999, x=101.0), 2, moved=1.0) == MATCHED


def test_a_place_that_no_image_shows_is_no_longer_told_and_then_lost():
    decision = Decision(0.99)
    assert decision.update(place(0.999), 0) == MATCHED
    assert decision.update(place(0.999, shown=False), SECOND // 4) == MATCHED
    assert decision.update(place(0.999, shown=False), SECOND) == TRACKING
    assert decision.update(place(0.999, shown=False), 11 * SECOND) == LOST


# drives ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("motion", "recall"), [("odometry", 0.6), ("constant_velocity", 0.4), ("none", 0.0)])
@pytest.mark.parametrize("target", [0.9, 0.99])
def test_of_the_published_matches_the_promised_share_is_right(motion, target, recall):
    told, good, asked = 0, 0, 0
    for seed in range(3):
        truths = route(60, start=(300.0, 200.0 + 100 * seed, 0.3))
        answers = drive(trust(motion=motion, target_precision=target), World(seed), truths, odometry(truths, 0.02))
        asked += len(truths)
        for answer, T in zip(answers, truths):
            told += answer.state == MATCHED
            good += answer.state == MATCHED and right(answer, T)
    assert good >= target * told
    assert good >= recall * asked


def test_what_is_published_lies_within_its_covariance():
    truths, squares = route(100), []
    for answer, T in zip(drive(trust(), World(3), truths, odometry(truths, 0.02)), truths):
        if answer.state == MATCHED:
            e = np.array([*(answer.T_map_base[:2, 3] - T[:2, 3]), np.deg2rad(degrees(answer, T))])
            squares.append(e @ np.linalg.solve(answer.covariance[np.ix_([0, 1, 5], [0, 1, 5])], e))
    assert len(squares) > 60
    # 3 on average where the errors of images are as correlated as the covariance allows for; here they are independent
    assert np.mean(squares) < 3.0
    assert np.quantile(squares, 0.95) < 7.8


def test_two_places_that_look_alike_are_not_told_apart_until_the_robot_moves_on():
    here, there = route(60, start=(100.0, 100.0, 0.0)), route(60, start=(100.0, 600.0, 0.0))
    judge, rng, alike, matched = trust(), np.random.default_rng(0), 35, []
    for i, (T, moved) in enumerate(zip(here, odometry(here))):
        twins = [candidate(T, rng.normal(2.0, 1.0))]
        if i < alike:
            twins.append(candidate(there[i], rng.normal(2.0, 1.0)))
        answer = judge.judge(tuple(sorted(twins, key=lambda c: -c.evidence)), i * SECOND // 10 + SECOND,
                             StampedPose(0, moved))
        matched.append(answer.state == MATCHED)
        assert not matched[-1] or metres(answer, T) < 5.0
    assert not any(matched[:alike])
    assert matched[-1]


def test_a_robot_outside_of_the_map_for_ten_minutes_gets_no_match():
    world, judge = World(5), trust()
    truths = route(600, step=5.0)
    answers = drive(judge, world, [None] * 600, odometry(truths), period=1.0)
    assert MATCHED not in states(answers)
    assert Counter(states(answers))[LOST] > 500


def test_a_kidnapped_robot_is_found_again_and_not_promised_at_the_old_place_meanwhile():
    world, judge = World(2), trust()
    before, after = route(50), route(50, start=(800.0, 150.0, -2.0))
    wheels = odometry(before)
    # carried away while the wheels stand still
    wheels += [wheels[-1] @ np.linalg.inv(after[0]) @ T for T in after]
    answers = drive(judge, world, before + after, wheels)
    assert states(answers)[49] == MATCHED
    told = [i for i, a in enumerate(answers[50:]) if a.state == MATCHED]
    wrong = [i for i in told if not right(answers[50 + i], after[i])]
    assert max(wrong, default=0) <= 8
    assert len([i for i in told if i not in wrong]) >= 20


def test_odometry_that_drifts_by_two_percent_and_jumps_once_costs_few_matches():
    world, judge = World(4), trust()
    truths = route(90)
    wheels = odometry(truths, drift=0.02)
    wheels = wheels[:45] + [pose(40.0, -25.0, 1.0) @ T for T in wheels[45:]]
    answers = drive(judge, world, truths, wheels)
    told = [(a, T) for a, T in zip(answers, truths) if a.state == MATCHED]
    assert judge.odometry_jumps == 1
    assert len(told) > 0.6 * len(truths)
    assert all(right(a, T) for a, T in told)


def test_a_camera_that_is_covered_for_twenty_seconds_goes_from_tracking_to_lost_and_tells_no_old_pose():
    world, judge = World(6), trust()
    truths = route(200)
    hidden = [None if 40 <= i < 140 else T for i, T in enumerate(truths)]
    answers = drive(judge, world, hidden, odometry(truths), period=0.2)
    seen = states(answers)
    assert seen[39] == MATCHED
    assert MATCHED not in seen[43:140]
    assert seen[43] == TRACKING
    assert seen[139] == LOST
    assert MATCHED in seen[140:190]


def test_an_image_that_is_matched_gets_the_pose_of_now_and_not_of_the_last_sighting():
    judge, truths = trust(), route(40)
    for i, (T, moved) in enumerate(zip(truths, odometry(truths))):
        found = () if i == 39 else (candidate(T, 4.0),)
        answer = judge.judge(found, i * SECOND // 10, StampedPose(0, moved))
    assert answer.state == MATCHED
    assert metres(answer, truths[39]) < 0.5


def test_a_clock_that_jumps_back_makes_it_forget_and_is_counted():
    world, judge = World(7), trust()
    truths = route(30)
    drive(judge, world, truths, odometry(truths), start=1000.0)
    assert judge.resets == 0
    again = route(5, start=(700.0, 700.0, 1.0))
    answers = drive(judge, world, [None] * 5, odometry(again), start=10.0)
    assert judge.resets == 1
    assert MATCHED not in states(answers)


def test_a_reset_looks_in_the_whole_map_again():
    judge, truths = trust(), route(20)
    drive(judge, World(8), truths, odometry(truths))
    judge.reset()
    answer = judge.judge((candidate(pose(900, 900), 3.0),), 200 * SECOND, None)
    assert metres(answer, pose(900, 900)) < 1e-6
    assert answer.state != MATCHED


def test_one_image_for_itself_is_matched_by_its_calibrated_probability():
    from ms2cl_ros.core.calibration import probability
    world, judge = World(9), trust(motion="none", target_precision=0.9)
    for i, T in enumerate(route(60)):
        found = world.image(T)
        answer = judge.judge(found, i * SECOND, None)
        assert answer.probability == probability(found, CALIBRATION)
        assert (answer.state == MATCHED) == (answer.probability >= 0.9)


def test_candidates_come_first_by_their_evidence():
    found = trust().weigh([candidate(pose(0, 0), -1.0), candidate(pose(50, 0), 2.0)])
    assert [c.evidence for c in found] == [2.0, -1.0]
