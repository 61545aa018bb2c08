# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The belief alone: what it makes of sightings whose likelihoods are stated (see `sightings`)."""

import numpy as np
import pytest
from sightings import ELSEWHERE, HIT, REST, K, World, candidate, pose, route

from ms2cl_ros.core.belief import KEPT, Belief, BeliefModel
from ms2cl_ros.core.geometry import yaw
from ms2cl_ros.core.motion import Odometry, Step
from ms2cl_ros.core.types import StampedPose

# the errors of these images are independent, so a look may be short
MODEL = BeliefModel(elsewhere=ELSEWHERE, look=2.0)
EXACT = np.diag([0.02, 0.02, 0.002]) ** 2


def ahead(metres: float, seconds: float = 0.1, turn: float = 0.0) -> Step:
    return Step(seconds, np.array([metres, 0.0, turn]), EXACT)


def total(belief: Belief) -> float:
    return belief.hypotheses.weights.sum() + belief.elsewhere + belief.outside


def test_it_begins_knowing_nothing_and_says_so():
    belief = Belief(MODEL)
    assert belief.best() is None
    assert (belief.elsewhere, belief.outside) == (pytest.approx(0.9), pytest.approx(0.1))


def test_one_image_gives_each_candidate_the_posterior_of_bayes_rule():
    belief, llr = Belief(MODEL), np.array([3.0, 1.0, -1.0, *[-2.0] * (K - 3)])
    belief.observe([candidate(pose(50.0 * i, 0.0), e) for i, e in enumerate(llr)])
    # in the map (0.9) the place is one of the K with probability HIT; outside (0.1) or elsewhere it is none of them
    weight = 0.9 * HIT / K * np.exp(llr)
    expected = weight / (weight.sum() + 0.9 * (1 - HIT) + 0.1)
    # the rest of the map keeps a little less than its share, having lent the candidates theirs
    np.testing.assert_allclose(belief.hypotheses.weights, np.sort(expected)[::-1], rtol=0.1)
    assert belief.best().probability == pytest.approx(expected[0], rel=0.1)
    assert pytest.approx(0.9 * (1 - HIT) + 0.1) == REST * 0.9


@pytest.mark.parametrize("seed", range(3))
def test_all_mass_sums_to_one_whatever_is_seen_and_however_it_moves(seed):
    world, belief = World(seed), Belief(MODEL)
    rng = np.random.default_rng(seed)
    for i in range(60):
        belief.predict(ahead(rng.uniform(0, 3)) if i % 3 else Step(rng.uniform(0, 2)))
        belief.observe(() if i % 7 == 0 else world.image(None))
        assert total(belief) == pytest.approx(1.0, abs=1e-12)
        assert min(belief.elsewhere, belief.outside, *belief.hypotheses.weights) >= 0.0
        assert np.linalg.eigvalsh(belief.hypotheses.spreads).min(initial=0.0) > -1e-9


def test_what_is_dropped_goes_back_to_the_rest_of_the_map():
    belief = Belief(BeliefModel(places=1000.0))
    belief.observe([candidate(pose(20.0 * i, 0.0), 0.0) for i in range(KEPT + 72)])
    weights = belief.hypotheses.weights
    assert len(weights) == KEPT
    # every candidate is as probable as any other: what the 72 without room had is in `elsewhere` now
    kept, rest = weights.sum(), belief.elsewhere
    before = Belief(BeliefModel(places=1000.0))
    before.observe([candidate(pose(20.0 * i, 0.0), 0.0) for i in range(KEPT)])
    assert rest > before.elsewhere + 60 * weights[0]
    assert kept + rest + belief.outside == pytest.approx(1.0)


def test_the_state_stays_as_small_on_a_hundred_thousand_places_as_on_a_thousand():
    sizes = {}
    for places in (1_000, 100_000):
        belief, rng = Belief(MODEL), np.random.default_rng(0)
        for _ in range(60):
            belief.predict(ahead(2.5))
            at = rng.integers(0, places, K)
            belief.observe([candidate(pose(10.0 * (i % 400), 10.0 * (i // 400), i), -1.0) for i in at])
        sizes[places] = len(belief.hypotheses)
    assert max(sizes.values()) <= KEPT
    assert sizes[100_000] <= 1.2 * sizes[1_000]


def test_standing_still_the_posterior_stays_that_of_the_average_image():
    belief, seen = Belief(MODEL), [candidate(pose(0, 0), 2.0), candidate(pose(300, 0), 0.0)]
    belief.observe(seen)
    first = belief.best().probability
    rng = np.random.default_rng(0)
    for _ in range(600):  # a minute; the odometry trembles by 2 mm
        belief.predict(Step(0.1, rng.normal(0, [0.002, 0.002, 0.0005]), EXACT))
        belief.observe(seen)
    assert belief.best().probability == pytest.approx(first, abs=0.02)


def test_the_same_evidence_adds_up_from_look_to_look():
    belief = Belief(MODEL)
    probabilities = []
    for i in range(6):
        belief.predict(ahead(2.5))
        belief.observe([candidate(pose(2.5 * i, 0), 1.0), candidate(pose(-300, 40.0 * i), 1.0)])
        probabilities.append(belief.best().probability)
    assert probabilities[0] < 0.5
    assert probabilities == sorted(probabilities)
    assert probabilities[-1] > 0.95


def test_one_look_tells_no_more_than_it_may_and_its_candidates_stand_to_each_other_as_before():
    evidence = np.array([9.0, 7.5, -2.0])
    free, bounded = BeliefModel().said(evidence), BeliefModel(most_a_look=3.0).said(evidence)
    assert bounded.max() == pytest.approx(3.0)
    np.testing.assert_allclose(np.diff(bounded), np.diff(free))
    np.testing.assert_allclose(BeliefModel(most_a_look=30.0).said(evidence), free)


def test_a_standing_robot_forgets_what_it_saw_minutes_ago():
    belief = Belief(MODEL)
    for place, images in (((0, 0), 1), ((300, 0), 200)):
        for _ in range(images):
            belief.predict(ahead(0.0))
            belief.observe([candidate(pose(*place), 3.0)])
    assert belief.best().T_map_base[0, 3] == pytest.approx(300.0, abs=0.1)


def test_images_that_show_no_known_place_move_the_mass_out_of_the_map():
    world, belief = World(1), Belief(MODEL)
    for _ in range(40):
        belief.predict(ahead(2.5))
        belief.observe(world.image(None))
    assert belief.outside > 0.9
    again = Belief(MODEL)
    again.observe(())
    assert again.outside > 0.4


def test_hypotheses_are_carried_along_and_grow_uncertain():
    belief = Belief(MODEL)
    belief.observe([candidate(pose(10, 20, np.pi / 2), 5.0)])
    before = belief.hypotheses.spreads[0]
    belief.predict(ahead(4.0, turn=np.pi / 2))
    here = belief.best()
    np.testing.assert_allclose(here.T_map_base[:2, 3], [10.0, 24.0], atol=1e-9)
    assert abs(np.sin(yaw(here.T_map_base))) < 1e-9
    assert np.linalg.det(belief.hypotheses.spreads[0][:3, :3]) > np.linalg.det(before[:3, :3])


def test_without_odometry_the_speed_is_learnt_from_the_candidates():
    belief = Belief(MODEL)
    for i, T in enumerate(route(25)):
        if i:
            belief.predict(Step(0.1))
        belief.observe([candidate(T, 3.0)])
    assert belief.hypotheses.poses[0, 3] == pytest.approx(10.0, abs=1.0)


def test_views_of_one_place_are_one_hypothesis_amid_them():
    belief = Belief(MODEL)
    belief.observe([candidate(pose(0, 0), 2.0), candidate(pose(1.5, 0), 2.0), candidate(pose(100, 0), -9.0)])
    place = belief.best()
    assert place.T_map_base[0, 3] == pytest.approx(0.75, abs=1e-6)
    # and no more probable than one of them alone would be
    alone = Belief(MODEL)
    alone.observe([candidate(pose(0, 0), 2.0), candidate(pose(100, 0), -9.0)])
    assert place.probability == pytest.approx(alone.best().probability, abs=0.02)


def test_the_covariance_says_that_height_and_tilt_are_unknown_and_grows_with_the_spread():
    narrow, wide = Belief(MODEL), Belief(MODEL)
    narrow.observe([candidate(pose(0, 0), 3.0)])
    wide.observe([candidate(pose(0, 0), 3.0), candidate(pose(4.0, 0), 3.0)])
    C, W = narrow.best().covariance, wide.best().covariance
    for matrix in (C, W):
        assert np.linalg.eigvalsh(matrix).min() > 0
        assert matrix[2, 2] >= 100.0
        assert min(matrix[3, 3], matrix[4, 4]) >= np.pi**2
    assert W[0, 0] == pytest.approx(C[0, 0] + 4.0, rel=0.01)


def test_a_jump_of_the_odometry_is_no_motion():
    odometry = Odometry()
    for i in range(5):
        step = odometry.step(StampedPose(i, pose(0.5 * i, 0)), 0.1)
    np.testing.assert_allclose(step.move, [0.5, 0.0, 0.0], atol=1e-12)
    assert odometry.step(StampedPose(6, pose(15.0, 3.0)), 0.1).move is None
    assert odometry.jumps == 1
    np.testing.assert_allclose(odometry.step(StampedPose(7, pose(15.5, 3.0)), 0.1).move, [0.5, 0.0, 0.0], atol=1e-12)


def test_a_move_is_at_least_as_uncertain_as_wheels_are_and_more_if_the_odometry_says_so():
    plain, unsure = Odometry(), Odometry()
    for i in range(2):
        a = plain.step(StampedPose(i, pose(2.0 * i, 0), np.eye(6) * 1e-9), 0.1)
        b = unsure.step(StampedPose(i, pose(2.0 * i, 0), np.eye(6) * 0.25 * i), 0.1)
    assert np.sqrt(a.covariance[0, 0]) == pytest.approx(0.08)
    assert np.sqrt(b.covariance[1, 1]) == pytest.approx(0.5)


def test_a_view_that_every_image_resembles_does_not_add_up_without_odometry():
    belief = Belief(MODEL)
    for i in range(40):
        belief.predict(Step(0.3), looks_new=True)
        belief.observe([candidate(pose(500, 500), 2.0), candidate(pose(20.0 * i, 0), 0.0)])
    assert belief.best() is None or belief.best().probability < 0.9
