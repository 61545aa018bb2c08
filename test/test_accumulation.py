# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sweeps straightened, thinned, and rid of the carrier and of what has moved."""

import dataclasses

import numpy as np
import pytest
from box_street import HEIGHT, STREET, T_BASE_LIDAR, pose, sweep

from ms2cl_ros.core.accumulation import Sighting, merge, straighten, thin, without_carrier
from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.geometry import apply, interpolate, inverse, lidar_view
from ms2cl_ros.core.projection import render_ranges
from ms2cl_ros.core.types import AngularGrid, StampedPose

GRID = AngularGrid(48, 160, 5.2, 0.6, 0.45)
CAR = np.array([[[8.0, -3.0, 0.3], [12.0, -1.2, 1.6]]])


def sighting(T: np.ndarray, boxes: np.ndarray = STREET) -> Sighting:
    cloud = sweep(T, boxes)
    panorama = render_ranges(apply(lidar_view(T_BASE_LIDAR), cloud.xyz), GRID.panorama(), 1.5, 60.0)
    return Sighting(T, T_BASE_LIDAR, thin(apply(T_BASE_LIDAR.astype(np.float32), cloud.xyz), 0.2), panorama)


def hear_all(sightings: list[Sighting]) -> None:
    for one in sightings:
        for other in sightings:
            one.hear(other)


def inside(points: np.ndarray, box: np.ndarray, margin: float = 0.15) -> np.ndarray:
    return ((points > box[0] - margin) & (points < box[1] + margin)).all(1)


def test_one_point_is_left_in_each_voxel_and_it_is_one_that_was_there():
    points = np.random.default_rng(0).uniform(-3, 3, (5000, 3)).astype(np.float32)
    thinned = thin(points, 0.5)
    cubes = np.floor(thinned / 0.5).astype(int)
    assert len(np.unique(cubes, axis=0)) == len(thinned) == len(np.unique(np.floor(points / 0.5), axis=0))
    assert set(map(tuple, thinned)) <= set(map(tuple, points))


def test_a_voxel_of_zero_keeps_every_point():
    points = np.zeros((10, 3), np.float32)
    assert len(thin(points, 0.0)) == 10
    assert len(thin(points[:0], 0.2)) == 0


def test_returns_from_the_carriers_own_roof_are_cut_out_and_the_kerb_beside_it_stays():
    points = np.array([[0, 0, 1.6], [2.9, 1.5, 0.9], [0.0, 2.1, 0.1], [-4.0, 0.0, 0.0]], np.float32)
    np.testing.assert_array_equal(without_carrier(points, [-3.2, 3.2, -1.8, 1.8]), points[2:])


def test_a_car_that_drove_off_is_voted_out_and_all_else_stays():
    gone = [sighting(pose(x)) for x in (-6.0, -4.0, -2.0, 2.0, 4.0)]
    then = sighting(pose(0.0), np.concatenate([STREET, CAR]))
    before = inside(then.points, CAR[0]).sum()
    hear_all([*gone, then])
    still = then.still()
    assert before > 100
    assert inside(still, CAR[0], -0.05).sum() < 0.05 * before
    assert len(then.points) - len(still) < 1.1 * before


def test_a_parked_car_stays_though_many_look_past_it():
    street = np.concatenate([STREET, CAR])
    seen = [sighting(pose(x), street) for x in (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0)]
    hear_all(seen)
    for s in seen:
        assert len(s.still()) > 0.995 * len(s.points)


def test_one_witness_alone_removes_nothing():
    then, later = sighting(pose(0.0), np.concatenate([STREET, CAR])), sighting(pose(2.0))
    then.hear(later)
    then.hear(later)
    assert len(then.still()) == len(then.points)


def test_votes_do_not_depend_on_how_far_the_map_lies_from_its_origin():
    near = [sighting(pose(x), STREET) for x in (0.0, 3.0, 6.0)]
    away = np.eye(4)
    away[:2, 3] = 500_000.0, 5_000_000.0
    far = [dataclasses.replace(s, T_map_base=away @ s.T_map_base) for s in near]
    hear_all(near)
    hear_all(far)
    for a, b in zip(near, far, strict=True):
        assert abs(len(a.still()) - len(b.still())) <= 2


def test_merged_points_lie_on_the_surfaces_of_the_street_in_the_keyframes_frame():
    T = pose(1.0, 0.5, 0.3)
    points = merge([sighting(pose(x)) for x in (-2.0, 1.0, 4.0)], T, 0.2)
    on_map = apply(T, points)
    ground = np.abs(on_map[:, 2]) < 0.02
    on_a_box = np.any([inside(on_map, box, 0.02) for box in STREET], axis=0)
    assert (ground | on_a_box).mean() > 0.999
    assert len(points) == len(thin(points, 0.2))


def spun(end: np.ndarray, stamp_ns: int = 10**9) -> tuple:
    """A cloud swept during 0.1 s while the base moved from pose(0.0) to `end`, that motion, and the points' true
    places on the map."""
    parts, times, places = [], [], []
    for share in np.linspace(0.0, 1.0, 21):
        T = interpolate(pose(0.0), end, share)
        cloud = sweep(T, step_deg=1.0)
        azimuth = np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0])
        part = cloud.xyz[np.abs(azimuth - np.pi * (1 - 2 * share)) < np.pi / 21]
        parts.append(part)
        times.append(np.full(len(part), 0.1 * share))
        places.append(apply(T @ T_BASE_LIDAR, part))
    whole = dataclasses.replace(cloud, xyz=np.concatenate(parts), times=np.concatenate(times), stamp_ns=stamp_ns)

    def motion(stamp: int) -> StampedPose:
        share = (stamp - stamp_ns) / 1e8
        if not 0.0 <= share <= 1.0:
            raise TransformError(f"no pose at {stamp}")
        return StampedPose(stamp, interpolate(pose(0.0), end, share))
    return whole, motion, np.concatenate(places)


@pytest.mark.parametrize("turn", [0.0, 0.12])
def test_a_sweep_taken_while_driving_and_turning_is_straightened_to_its_stamp(turn):
    cloud, motion, places = spun(pose(1.5, 0.0, turn))
    T = (pose(0.0) @ T_BASE_LIDAR).astype(np.float32)
    assert np.linalg.norm(apply(T, cloud.xyz) - places, axis=1).max() > 1.4
    assert np.linalg.norm(apply(T, straighten(cloud, T_BASE_LIDAR, motion)) - places, axis=1).max() < 0.05


def test_a_sweep_whose_end_has_no_pose_yet_goes_on_as_it_began():
    cloud, motion, places = spun(pose(1.5))
    late = dataclasses.replace(cloud, stamp_ns=cloud.stamp_ns + 50_000_000, times=cloud.times - 0.05)

    def until_now(stamp: int) -> StampedPose:
        if stamp > late.stamp_ns:
            raise TransformError("not yet")
        return motion(stamp)
    straight = straighten(late, T_BASE_LIDAR, until_now)
    T = motion(late.stamp_ns).T_map_base @ T_BASE_LIDAR
    assert np.linalg.norm(apply(T, straight.astype(float)) - places, axis=1).max() < 0.01


def test_a_sweep_of_which_one_pose_is_known_is_refused_with_the_reason():
    cloud = spun(pose(1.5))[0]

    def nobody(stamp: int) -> StampedPose:
        raise TransformError("no pose at all")
    with pytest.raises(TransformError, match=r"cannot be corrected .* no pose at all"):
        straighten(cloud, T_BASE_LIDAR, nobody)


def test_a_cloud_without_times_is_left_as_it_is():
    cloud = sweep(pose(0.0))
    assert straighten(cloud, T_BASE_LIDAR, lambda stamp: StampedPose(stamp, np.eye(4))) is cloud.xyz


def test_a_sighting_looks_from_its_sensor_with_the_axes_of_the_base():
    s = sighting(pose(3.0, -1.0, 0.7))
    view = inverse(s.T_map_base) @ s.T_map_view
    np.testing.assert_allclose(view[:3, 3], [0.3, 0.0, HEIGHT])
    np.testing.assert_allclose(view[:3, :3], np.eye(3), atol=1e-12)
