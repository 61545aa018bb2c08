# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recall, chance level and errors against answers worked out by hand."""

import dataclasses

import numpy as np
import pytest

from ms2cl_ros.core.geometry import rotation_z, transform
from ms2cl_ros.core.types import Candidate, Match
from ms2cl_ros.tools.evaluation import (
    by_direction,
    errors,
    normalised_errors,
    opposite,
    published,
    recall,
    recalls,
)


def match(*xs: float, turn: float = 0.0) -> Match:
    poses = [transform([x, 0.0, 0.0]) @ rotation_z(turn) for x in xs]
    return Match(0, poses[0], np.eye(6), tuple(Candidate(1, 1, 0.0, 0.1, 0.5, T) for T in poses))


def told(x: float, state: str = "MATCHED", turn: float = 0.0) -> Match:
    return dataclasses.replace(match(x, turn=turn), state=state)


def at(x: float) -> np.ndarray:
    return transform([x, 0.0, 0.0])


def test_recall_counts_only_queries_that_have_a_submap_in_reach():
    database = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [30.0, 0.0]])
    truths = np.array([[1.0, 0.0], [11.0, 0.0], [500.0, 0.0]])
    found = [np.array([[0.0, 0.0]]), np.array([[30.0, 0.0], [10.0, 0.0]]), np.array([[0.0, 0.0]])]
    first, fifth = (recall(found, truths, database, rank, 5.0) for rank in (1, 5))
    assert (first.value, first.queries, first.asked, first.database) == (0.5, 2, 3, 4)
    assert first.chance == 0.25
    assert fifth.value == 1.0


def test_the_radius_is_strict():
    database = np.array([[0.0, 0.0]])
    assert recall([np.array([[0.0, 0.0]])], np.array([[5.0, 0.0]]), database, 1, 5.0).queries == 0


def test_an_image_without_a_match_counts_as_a_miss():
    r = recalls([match(0.0)], [at(1.0)], [at(0.5)], [at(0.0)])[0]
    assert (r.value, r.queries) == (0.5, 2)


def test_errors_are_horizontal_metres_and_degrees_across_the_seam():
    truth = transform([3.0, 4.0, 50.0]) @ rotation_z(np.deg2rad(-179))
    [[metres, degrees]] = errors([match(0.0, turn=np.deg2rad(179))], [truth])
    assert metres == pytest.approx(5.0)
    assert degrees == pytest.approx(2.0, abs=1e-6)


def test_queries_are_told_apart_by_the_direction_in_which_their_place_was_mapped():
    mapped = [transform([float(x), 0.0, 0.0]) for x in range(0, 50, 5)]
    back = rotation_z(np.pi)
    truths = [transform([12.0, 1.0, 0.0]), transform([32.0, 3.0, 0.0]) @ back, transform([300.0, 0.0, 0.0]) @ back]
    assert opposite(truths, mapped).tolist() == [False, True, False]
    both = [*mapped, transform([30.0, 3.0, 0.0]) @ back]
    assert opposite(truths, both).tolist() == [False, False, False]


def test_recall_is_counted_for_each_direction():
    mapped = [transform([float(x), 0.0, 0.0]) for x in range(0, 50, 5)]
    truths = [transform([10.0, 0.0, 0.0]), transform([30.0, 0.0, 0.0]) @ rotation_z(np.pi)]
    matches = [match(10.0), match(0.0)]
    found = by_direction(matches, [], truths, mapped)
    assert found["same direction"][0].value == 1.0 and found["same direction"][0].queries == 1
    assert found["opposite direction"][0].value == 0.0 and found["opposite direction"][0].queries == 1


def test_only_promised_matches_count_as_published_and_all_images_in_the_map_for_their_recall():
    database = [at(0.0), at(10.0)]
    found = [told(0.0), told(10.0), told(0.0, "TRACKING"), told(0.0), told(10.0, turn=1.0)]
    truths = [at(1.0), at(0.0), at(0.5), at(500.0), at(10.0)]
    p = published(found, [at(9.0)], truths, database)
    # of four told one is right: one is 10 m off, one of a place that is not in the map, one turned by 57 degrees
    assert (p.told, p.right, p.precision) == (4, 1, 0.25)
    assert (p.queries, p.asked, p.recall) == (5, 6, 0.2)
    assert 0.0 < p.low < 0.05


def test_where_nothing_is_published_there_is_no_precision():
    p = published([told(0.0, "LOST")], [], [at(0.0)], [at(0.0)])
    assert np.isnan(p.precision)
    assert (p.recall, p.low) == (0.0, 0.0)


def test_errors_are_measured_in_units_of_the_covariance():
    wide = dataclasses.replace(match(0.0), covariance=np.diag([4.0, 1.0, 9.0, 9.0, 9.0, 0.25]))
    truth = transform([2.0, 3.0, 50.0]) @ rotation_z(0.5)
    assert normalised_errors([wide], [truth]) == pytest.approx([1.0 + 9.0 + 1.0])
