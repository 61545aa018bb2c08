# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was where at a stamp: known answers for the transform tree and the pose buffer."""

from __future__ import annotations

import numpy as np
import pytest

from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.frames import PoseBuffer, TransformBuffer
from ms2cl_ros.core.geometry import rotation_z, transform, yaw
from ms2cl_ros.core.types import StampedPose

S = 1_000_000_000


def along_x(x: float) -> np.ndarray:
    return transform([x, 0.0, 0.0])


def robot() -> TransformBuffer:
    """map -> odom fixed at (100, 0), odom -> base 1 m/s along x from 0 to 5 s, two sensors on the base."""
    frames = TransformBuffer()
    frames.set("map", "odom", 0, along_x(100.0), static=True)
    for t in range(6):
        frames.set("odom", "base", t * S, along_x(float(t)))
    frames.set("base", "lidar", 0, transform([0.0, 0.0, 2.0]), static=True)
    frames.set("base", "camera", 0, transform([1.0, 0.0, 1.0]), static=True)
    return frames


def test_a_moving_frame_is_interpolated_between_its_stamps():
    np.testing.assert_allclose(robot().lookup("map", "base", 2 * S + S // 4), along_x(102.25), atol=1e-12)


def test_two_sensors_meet_at_their_common_ancestor_whatever_the_base_does():
    T = robot().lookup("lidar", "camera", 99 * S)
    np.testing.assert_allclose(T[:3, 3], [1.0, 0.0, -1.0], atol=1e-12)


def test_lookup_is_inverted_by_swapping_the_frames():
    frames = robot()
    product = frames.lookup("map", "lidar", S) @ frames.lookup("lidar", "map", S)
    np.testing.assert_allclose(product, np.eye(4), atol=1e-12)


def test_a_frame_in_itself_is_identity():
    np.testing.assert_array_equal(robot().lookup("base", "base", 0), np.eye(4))


def test_rotation_is_interpolated_by_slerp():
    frames = TransformBuffer()
    frames.set("map", "base", 0, rotation_z(0.0))
    frames.set("map", "base", S, rotation_z(1.0))
    assert yaw(frames.lookup("map", "base", 3 * S // 10)) == pytest.approx(0.3, abs=1e-9)


def test_a_leading_slash_does_not_make_another_frame():
    np.testing.assert_allclose(robot().lookup("/map", "/base", 0), along_x(100.0))


def test_a_stamp_after_the_last_transform_is_refused_with_the_stamps_there_are():
    with pytest.raises(TransformError, match=r"at 5\.100 s: odom -> base is known from 0\.000 s to 5\.000 s only"):
        robot().lookup("map", "base", 51 * S // 10)


def test_a_gap_allows_the_nearest_transform_and_no_farther():
    frames = robot()
    np.testing.assert_allclose(frames.lookup("map", "base", 51 * S // 10, gap=0.2), along_x(105.0))
    with pytest.raises(TransformError):
        frames.lookup("map", "base", 53 * S // 10, gap=0.2)


def test_an_unknown_frame_is_named_with_the_known_tree():
    with pytest.raises(TransformError, match=r"nobody publishes frame 'velodyne'; known: .*odom -> base"):
        robot().lookup("base", "velodyne", 0)


def test_an_empty_tree_says_that_nothing_has_come():
    with pytest.raises(TransformError, match="no frame at all"):
        TransformBuffer().lookup("base", "lidar", 0)


def test_two_trees_that_do_not_meet_are_named_by_their_roots():
    frames = robot()
    frames.set("gps", "antenna", 0, np.eye(4), static=True)
    with pytest.raises(TransformError, match="'antenna' hangs under 'gps', 'base' under 'map'"):
        frames.lookup("base", "antenna", 0)


def test_a_loop_of_frames_is_refused_instead_of_walked_for_ever():
    frames = TransformBuffer()
    frames.set("a", "b", 0, np.eye(4), static=True)
    frames.set("b", "a", 0, np.eye(4), static=True)
    with pytest.raises(TransformError, match="loop: a -> b -> a"):
        frames.lookup("a", "b", 0)


@pytest.mark.parametrize(("parent", "child"), [("", "base"), ("base", ""), ("base", "/base")])
def test_a_transform_needs_two_different_frames(parent, child):
    with pytest.raises(TransformError, match="two different frames"):
        TransformBuffer().set(parent, child, 0, np.eye(4))


def test_a_transform_that_is_not_finite_is_refused():
    with pytest.raises(TransformError, match="not finite"):
        TransformBuffer().set("a", "b", 0, np.full((4, 4), np.nan))


def test_history_beyond_the_horizon_is_forgotten_and_kept_without_one():
    for horizon, known in ((2.0, False), (None, True)):
        frames = TransformBuffer(horizon=horizon)
        for t in range(5):
            frames.set("map", "base", t * S, along_x(float(t)))
        if known:
            np.testing.assert_allclose(frames.lookup("map", "base", S), along_x(1.0))
        else:
            with pytest.raises(TransformError):
                frames.lookup("map", "base", S)


def test_late_transforms_find_their_place_in_time():
    frames = TransformBuffer()
    for t in (0, 10, 5):
        frames.set("map", "base", t * S // 10, along_x(t / 10 + (t == 5)))
    np.testing.assert_allclose(frames.lookup("map", "base", S // 2), along_x(1.5))


def test_a_clock_that_jumps_back_clears_moving_frames_and_keeps_static_ones():
    frames = robot()
    assert frames.set("odom", "base", S, along_x(7.0))
    assert frames.jumps == 1
    np.testing.assert_allclose(frames.lookup("map", "base", S), along_x(107.0))
    with pytest.raises(TransformError):
        frames.lookup("map", "base", 2 * S)


def test_a_frame_that_gets_another_parent_leaves_the_old_one():
    frames = robot()
    frames.set("map", "base", 6 * S, along_x(1.0))
    np.testing.assert_allclose(frames.lookup("map", "base", 6 * S), along_x(1.0))
    with pytest.raises(TransformError):
        frames.lookup("map", "base", 5 * S)


def poses(*stamps: float, gap: float = 0.25, covariance: bool = True) -> PoseBuffer:
    buffer = PoseBuffer(gap)
    for t in stamps:
        C = np.eye(6) * t if covariance else None
        buffer.add(StampedPose(int(t * S), along_x(t), C))
    return buffer


def test_a_pose_is_interpolated_with_its_covariance():
    pose = poses(1.0, 1.1).at(int(1.05 * S))
    assert pose.stamp_ns == int(1.05 * S)
    np.testing.assert_allclose(pose.T_map_base, along_x(1.05), atol=1e-12)
    np.testing.assert_allclose(pose.covariance, 1.05 * np.eye(6), atol=1e-12)


def test_an_unknown_covariance_stays_unknown():
    assert poses(1.0, 1.1, covariance=False).at(int(1.05 * S)).covariance is None


def test_a_pose_at_the_very_stamp_needs_no_neighbour():
    np.testing.assert_allclose(poses(1.0).at(S).T_map_base, along_x(1.0))


def test_a_gap_between_poses_is_refused_with_both_stamps():
    with pytest.raises(TransformError, match=r"nearest are 1\.000 s and 2\.000 s, 1\.000 s apart; .*pose_gap is 0\.25"):
        poses(1.0, 2.0).at(int(1.1 * S))


@pytest.mark.parametrize("stamp", [0.9, 1.2])
def test_poses_are_never_extrapolated(stamp):
    with pytest.raises(TransformError, match=r"poses reach from 1\.000 s to 1\.100 s"):
        poses(1.0, 1.1).at(int(stamp * S))


def test_no_pose_at_all_is_said_so():
    with pytest.raises(TransformError, match="none has arrived yet"):
        PoseBuffer(0.25).at(S)


def test_poses_may_come_late_and_twice():
    buffer = poses(1.0, 1.2, 1.1, 1.1)
    assert len(buffer) == 3
    np.testing.assert_allclose(buffer.at(int(1.15 * S)).T_map_base, along_x(1.15), atol=1e-9)


def test_a_pose_clock_that_jumps_back_clears_the_buffer_and_says_so():
    buffer = poses(100.0, 100.1)
    assert buffer.add(StampedPose(5 * S, along_x(5.0)))
    assert (len(buffer), buffer.jumps, buffer.newest_ns) == (1, 1, 5 * S)


def test_poses_beyond_the_horizon_are_forgotten():
    buffer = PoseBuffer(0.25, horizon=1.0)
    for t in range(30):
        buffer.add(StampedPose(t * S // 10, along_x(t / 10)))
    assert len(buffer) == 11


def test_a_pose_that_is_not_finite_is_refused():
    with pytest.raises(TransformError, match="not finite"):
        PoseBuffer(0.25).add(StampedPose(0, np.full((4, 4), np.nan)))
