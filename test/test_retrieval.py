# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pose that a candidate stands for, and how sure the best one is."""

import numpy as np
import pytest

from ms2cl_ros.core.geometry import camera_view, rotation_z, transform, yaw
from ms2cl_ros.core.index import Entry
from ms2cl_ros.core.retrieval import base_pose, candidates, covariance, distinct
from ms2cl_ros.core.types import Candidate, View
from ms2cl_ros.core.verification import Verified

FORWARD = transform([0.0, 0.0, 0.0], [-0.5, 0.5, -0.5, 0.5])  # optical frame looking along x


def entry(T_map_base: np.ndarray, heading: float, lidar: np.ndarray) -> Entry:
    return Entry(1, View(T_map_base, np.array([heading]), np.zeros((1, 3), np.float32), id=1), heading, lidar)


@pytest.mark.parametrize(("mount", "heading"), [(0.0, 0.0), (np.pi / 2, 0.0), (0.0, np.pi), (-0.7, 1.1)])
def test_the_camera_of_the_answer_stands_where_the_lidar_stood_and_looks_along_the_heading(mount, heading):
    T_map_base = transform([10.0, -4.0, 0.2]) @ rotation_z(0.9)
    T_base_lidar = transform([0.4, -0.2, 1.7])
    T_base_camera = transform([0.8, 0.3, 1.2]) @ rotation_z(mount) @ FORWARD
    pose = base_pose(entry(T_map_base, heading, T_base_lidar), camera_view(T_base_camera)[1], T_base_camera)
    camera, lidar = pose @ T_base_camera, T_map_base @ T_base_lidar
    np.testing.assert_allclose(camera[:2, 3], lidar[:2, 3], atol=1e-9)
    looks = np.arctan2(camera[1, 2], camera[0, 2])
    assert np.cos(looks - (0.9 + heading)) == pytest.approx(1.0, abs=1e-9)
    assert pose[2, 3] == pytest.approx(0.2)


def candidate(x: float, y: float, turn: float, score: float) -> Candidate:
    return Candidate(1, 1, 0.0, np.deg2rad(15), score, transform([x, y, 0.0]) @ rotation_z(turn))


def test_a_rival_of_equal_score_makes_the_answer_as_wide_as_the_gap():
    C = covariance((candidate(0, 0, 0, 0.8), candidate(30, 0, 0, 0.8)), 20.0)
    assert np.sqrt(C[0, 0]) == pytest.approx(30 / np.sqrt(2), rel=0.01)
    assert np.sqrt(C[1, 1]) < 2.0


def test_a_clear_winner_keeps_the_width_of_its_own_view():
    C = covariance((candidate(0, 0, 0, 0.9), candidate(30, 0, 2.0, 0.1)), 20.0)
    assert 1.0 < np.sqrt(C[0, 0]) < 1.3
    assert np.rad2deg(np.sqrt(C[5, 5])) == pytest.approx(np.hypot(15 / np.sqrt(12), 2.0), abs=0.1)


def test_the_covariance_is_a_valid_one_that_amcl_accepts_and_calls_nothing_known_that_is_not():
    found = tuple(candidate(*np.random.default_rng(i).normal(0, 5, 3), 0.8 - 0.01 * i) for i in range(8))
    C = covariance(found, 14.0)
    np.testing.assert_array_equal(C, C.T)
    assert np.linalg.eigvalsh(C).min() > 0
    assert np.abs(C).max() < 1e9
    assert C[2, 2] >= 100.0
    assert min(C[3, 3], C[4, 4]) >= np.pi**2


def test_headings_across_the_seam_count_as_near():
    C = covariance((candidate(0, 0, 3.13, 0.8), candidate(0, 0, -3.13, 0.8)), 20.0)
    assert np.rad2deg(np.sqrt(C[5, 5])) < 6
    assert yaw(rotation_z(3.13)) == pytest.approx(3.13)


class Found:
    """Answers of an index: views along x every metre, twice as many as places, the best first."""

    def __init__(self, coarse: np.ndarray | None = None) -> None:
        self.coarse = coarse

    def search(self, query: np.ndarray, k: int) -> list[tuple[float, Entry]]:
        around = np.array([0.0, np.pi / 2])
        found = []
        for i in range(min(k, 20)):
            T = transform([float(i), 0.0, 0.0])
            found.append((1.0 - 0.01 * i, Entry(i, View(T, around, np.zeros((2, 3), np.float32), self.coarse, id=i + 1),
                                                0.0, np.eye(4))))
        return found


def test_of_views_that_show_one_place_the_best_stays():
    kept = distinct(Found().search(np.zeros(3), 20), 5)
    assert [entry.submap_id for _, entry in kept] == [0, 3, 6, 9, 12]
    assert distinct([], 5) == []


def test_a_place_looked_at_in_another_direction_is_another_answer():
    ahead, = Found().search(np.zeros(3), 1)
    beside = (0.5, Entry(7, ahead[1].view, np.pi / 2, np.eye(4)))
    assert distinct([ahead, beside, beside], 5) == [ahead, beside]


def test_as_many_candidates_as_asked_for_come_back_though_views_repeat_each_other():
    found = candidates(Found(), np.zeros(3), 0.0, FORWARD, 5)
    assert [c.submap_id for c in found] == [0, 3, 6, 9, 12]
    assert all(c.range_score is None for c in found)


def test_a_verified_candidate_has_a_range_score_and_stands_at_the_refined_heading():
    def verify(coarse: np.ndarray, headings: np.ndarray) -> Verified:
        assert coarse.shape == (2, 4, 8)
        return Verified(np.array([3.0, -1.0]), headings + 0.1)

    found = candidates(Found(np.zeros((4, 8), np.uint8)), np.zeros(3), 0.0, FORWARD, 2, verify)
    assert [c.range_score for c in found] == [3.0, -1.0]
    assert [c.heading for c in found] == pytest.approx([0.1, 0.1])
    assert yaw(found[0].T_map_base) == pytest.approx(0.1)
    assert [c.score for c in found] == pytest.approx([1.0, 0.97])


def test_views_without_ranges_stay_unverified():
    found = candidates(Found(None), np.zeros(3), 0.0, FORWARD, 2, lambda *_: pytest.fail("nothing to compare"))
    assert [c.range_score for c in found] == [None, None]
