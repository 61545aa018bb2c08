# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""SLAM corrections: submaps move with the corrected path, the others stay."""

import numpy as np
import pytest

from ms2cl_ros.core.corrections import corrected
from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.geometry import rotation_z, transform, yaw
from ms2cl_ros.core.types import StampedPose

SECOND = 1_000_000_000


def along(x, y=0.0, heading=0.0):
    return transform([x, y, 0.0]) @ rotation_z(heading)


def straight_road(n=11):
    return [(k + 1, k * SECOND, along(2.0 * k)) for k in range(n)]


def test_an_edited_path_of_the_submaps_is_taken_exactly():
    submaps = straight_road()
    turn = rotation_z(0.3)
    path = [StampedPose(stamp, turn @ T) for _, stamp, T in submaps]
    moved = corrected(path, submaps)
    assert sorted(moved) == [key for key, _, _ in submaps]
    for key, _, T in submaps:
        np.testing.assert_allclose(moved[key], turn @ T, atol=1e-12)


def test_submaps_between_corrected_ones_keep_the_shape_of_the_road():
    bumpy = [(k + 1, k * SECOND, along(2.0 * k, 0.5 * (k % 2))) for k in range(11)]
    path = [StampedPose(bumpy[k][1], along(0.0, 0.1 * k) @ bumpy[k][2]) for k in (0, 10)]
    moved = corrected(path, bumpy)
    for key, stamp, T in bumpy:
        np.testing.assert_allclose(moved[key][:3, 3], T[:3, 3] + [0, 0.1 * stamp / SECOND, 0], atol=1e-9)


def test_a_rigid_turn_about_a_far_origin_is_exact_between_the_ends_of_a_straight():
    far = [(k, k * SECOND, along(1000.0 + 2.0 * k)) for k in range(5)]
    turn = rotation_z(np.deg2rad(8.0))
    moved = corrected([StampedPose(far[k][1], turn @ far[k][2]) for k in (0, 4)], far)
    np.testing.assert_allclose(moved[2], turn @ far[2][2], atol=1e-9)


def test_keyframes_at_other_stamps_are_interpolated():
    submaps = straight_road(5)
    path = [StampedPose(k * SECOND - SECOND // 2, along(2.0 * k - 1.0, 3.0, 0.1)) for k in range(6)]
    moved = corrected(path, submaps)
    assert len(moved) == 5
    np.testing.assert_allclose(moved[3][:3, 3], [4.0, 3.0, 0.0], atol=1e-9)
    assert yaw(moved[3]) == pytest.approx(0.1)


def test_submaps_outside_of_the_path_are_left_alone():
    submaps = straight_road()
    moved = corrected([StampedPose(submaps[k][1], along(50.0) @ submaps[k][2]) for k in (3, 6)], submaps)
    assert sorted(moved) == [4, 5, 6, 7]


def test_a_path_of_one_pose_is_refused():
    with pytest.raises(TransformError, match="at least two poses"):
        corrected([StampedPose(0, np.eye(4))], straight_road())


def test_a_pose_that_is_not_finite_is_refused():
    with pytest.raises(TransformError, match="not finite"):
        corrected([StampedPose(0, np.full((4, 4), np.nan)), StampedPose(1, np.eye(4))], straight_road())
