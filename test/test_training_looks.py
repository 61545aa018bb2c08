# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a look tells is bounded by what looks are worth together."""

from dataclasses import replace

import numpy as np
import pytest
from sightings import CALIBRATION, World, route

from ms2cl_ros.core.config import TrustConfig
from ms2cl_ros.core.trust import Trust
from ms2cl_ros.training.looks import TRIED, Drive, beliefs, fit_most, logarithmic_score


def is_right(found: np.ndarray, T: np.ndarray) -> bool:
    return float(np.hypot(*(found[:2, 3] - T[:2, 3]))) < 5.0


def drives(deceived: bool, count: int = 6, images: int = 30) -> list[Drive]:
    """In the map and outside of it; if `deceived`, those outside see a street of the map go on and on."""
    out = []
    for seed in range(count):
        world, there = World(seed), route(images, step=8.0, start=(200.0, 200.0, 0.3))
        out.append(Drive(tuple(world.image(T) for T in there), np.stack(there), True))
        like = route(images, step=8.0, start=(600.0, 100.0, 0.8))
        seen = [tuple(sorted([world.right(T), *world.wrong(9)], key=lambda c: -c.evidence)) if deceived
                else world.image(None) for T in like]
        out.append(Drive(tuple(seen), np.stack(route(images, step=8.0)), False))
    return out


def test_the_logarithmic_score_is_that_of_what_came_true():
    assert logarithmic_score(np.array([0.5, 0.5]), np.array([True, False])) == pytest.approx(np.log(0.5))
    assert logarithmic_score(np.array([0.9, 0.2]), np.array([True, False])) == pytest.approx(np.log([0.9, 0.8]).mean())
    assert np.isfinite(logarithmic_score(np.array([1.0, 0.0]), np.array([False, True])))


def test_looks_that_are_independent_may_tell_much():
    known, scores = fit_most(drives(False), CALIBRATION, is_right, 20.0)
    assert known.confidence.most_a_look >= 3.0
    assert set(scores) == set(TRIED)
    assert scores[known.confidence.most_a_look] == max(scores.values())


def test_looks_that_go_on_making_one_mistake_may_tell_little():
    known, scores = fit_most(drives(True), CALIBRATION, is_right, 20.0)
    assert known.confidence.most_a_look <= 3.0
    assert scores[known.confidence.most_a_look] > scores[TRIED[-1]] + 0.5


def test_outside_of_the_map_every_answer_is_wrong_and_inside_those_far_off():
    inside, outside = drives(True, count=1)
    said, right = beliefs(outside, CALIBRATION, is_right, 20.0)
    assert not right.any() and said.shape == right.shape == (30,) and said[-1] > 0.9
    said, right = beliefs(inside, CALIBRATION, is_right, 20.0)
    assert right[5:].all() and said[-1] > 0.9


def test_a_bounded_filter_is_less_sure_after_as_many_looks():
    place = route(6, step=8.0)
    sure = []
    for most in (np.inf, 2.0):
        known = replace(CALIBRATION, confidence=replace(CALIBRATION.confidence, most_a_look=most))
        world = World(3)
        drive = Drive(tuple(world.image(T) for T in place), np.stack(place), True)
        said, _ = beliefs(drive, known, is_right, 20.0)
        sure.append(said[2])
        assert Trust(TrustConfig(), known, 20.0).belief.model.most_a_look == most
    assert sure[1] < sure[0]
