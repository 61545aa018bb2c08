# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Views rendered where nobody drove, held against what a sensor would have seen there."""

import dataclasses

import numpy as np
import pytest
from box_street import HOUSES, POST, STREET, T_BASE_LIDAR, VAN, pose, sweep, truth

from ms2cl_ros.core.accumulation import Sighting, thin, without_carrier
from ms2cl_ros.core.config import ViewsConfig
from ms2cl_ros.core.errors import ModelError
from ms2cl_ros.core.geometry import apply, distance, inverse, lidar_view, transform, yaw
from ms2cl_ros.core.projection import close_gaps, coarse, locate, render_ranges
from ms2cl_ros.core.sidecar import RangeMap
from ms2cl_ros.core.types import AngularGrid, RangeImage, View
from ms2cl_ros.core.views import agreed, covered, free, lattice, offsets, out_of_sight, render_view, shows_enough

GRID = AngularGrid(48, 160, 5.2, 0.6, 0.45)
CARRIER = [-3.2, 3.2, -1.8, 1.8]
SENSOR = transform([*T_BASE_LIDAR[:3, 3]])
MOVING = np.array([[[x, 0.5, 0.3], [x + 4.0, 2.3, 1.6]] for x in (4.0, 9.0, 14.0, 19.0)])


def sighting(T: np.ndarray, boxes: np.ndarray = STREET, voxel: float = 0.2) -> Sighting:
    cloud = sweep(T, boxes)
    panorama = render_ranges(apply(lidar_view(T_BASE_LIDAR), cloud.xyz), GRID.panorama(), 1.5, 60.0)
    points = without_carrier(apply(T_BASE_LIDAR.astype(np.float32), cloud.xyz), CARRIER)
    return Sighting(T, T_BASE_LIDAR, thin(points, voxel), panorama)


@pytest.fixture(scope="module")
def drive() -> list[Sighting]:
    """Sweeps every 2 m along the lane, a car driving ahead in the other one, all heard by all."""
    cars = {0.0: 0, 2.0: 1, 4.0: 2, 6.0: 3}
    seen = [sighting(pose(x), np.concatenate([STREET, MOVING[cars[x]:cars[x] + 1]]) if x in cars else STREET)
            for x in np.arange(-8.0, 9.0, 2.0)]
    for one in seen:
        for other in seen:
            one.hear(other)
    return seen


def errors(view: RangeImage, T: np.ndarray, boxes: np.ndarray = STREET) -> tuple[np.ndarray, float]:
    """|ln r - ln truth| of the cells that have both, and the share of cells that should return and do."""
    real = truth(T, GRID, boxes)
    real[real > 55.0] = np.inf
    both = (view.ranges > 0) & np.isfinite(real)
    return np.abs(np.log(view.ranges[both] / real[both])), both.sum() / np.isfinite(real).sum()


@pytest.mark.parametrize("place", [pose(1.0), pose(1.0, 1.75), pose(-3.0, 3.5), pose(3.0, -1.75, 0.4),
                                   pose(0.0, 3.5, np.pi)])
def test_a_rendered_view_shows_what_a_sensor_there_would_see(drive, place):
    error, known = errors(render_view(drive, place @ SENSOR, GRID, 0.2, 1.5, 60.0), place)
    assert np.median(error) < 0.02
    assert (error < 0.1).mean() > 0.93
    assert known > 0.93


def test_from_another_lane_the_rendered_view_is_nearer_to_the_truth_than_the_nearest_sweep(drive):
    place = pose(0.0, 3.5)
    rendered = errors(render_view(drive, place @ SENSOR, GRID, 0.2, 1.5, 60.0), place)[0]
    swept = errors(drive[4].panorama, place)[0]
    assert rendered.mean() < 0.25 * swept.mean()


def test_nothing_of_a_moving_car_is_left_in_a_view(drive):
    T = pose(1.0, -1.0)
    view = render_view(drive, T @ SENSOR, GRID, 0.2, 1.5, 60.0)
    there = truth(T, GRID, np.concatenate([STREET, MOVING]))
    empty = truth(T, GRID)
    hidden = (there < 0.9 * empty) & np.isfinite(empty) & (view.ranges > 0)
    assert hidden.sum() > 500
    assert (view.ranges[hidden] < 0.9 * empty[hidden]).mean() < 0.03


def test_the_carriers_roof_is_not_a_wall_along_the_road():
    roof = np.array([[[-1.5, -0.9, 1.3], [-0.5, 0.9, 1.4]]])

    def with_roof(x: float) -> np.ndarray:
        return np.concatenate([STREET, roof + np.array([x, 0.0, 0.0])])
    seen = [sighting(pose(x), with_roof(x)) for x in (-4.0, -2.0, 0.0, 2.0, 4.0)]
    error = errors(render_view(seen, pose(1.0, 1.75) @ SENSOR, GRID, 0.2, 1.5, 60.0), pose(1.0, 1.75))[0]
    assert (error < 0.1).mean() > 0.93


def test_far_points_do_not_shine_through_a_near_wall_thinned_to_voxels():
    """Looked at from 2 m, a wall of one point every 0.2 m has cells between its points."""
    y, z = np.meshgrid(np.arange(-6, 6, 0.2), np.arange(0, 4, 0.2))
    wall = np.stack([np.full_like(y, 5.0), y, z], -1).reshape(-1, 3)
    points = np.concatenate([wall, wall * [4, 4, 4]]).astype(np.float32)
    nothing = RangeImage(np.ones((48, 800), np.float32), GRID.panorama())
    seen = [Sighting(np.eye(4), T_BASE_LIDAR, points, nothing)]
    view = render_view(seen, transform([3.0, 0.0, 1.7]), GRID, 0.2, 1.0, 60.0)
    ahead = view.ranges[8:40, 350:450]
    assert (ahead > 0).all()
    assert ahead.max() < 3.0


def test_cells_that_nobody_has_seen_are_holes():
    seen = [sighting(pose(x)) for x in (-4.0, -2.0, 0.0)]
    view = render_view(seen, pose(-2.0, 1.75) @ SENSOR, GRID, 0.2, 1.5, 60.0)
    sky = np.isinf(truth(pose(-2.0, 1.75), GRID))
    assert sky.any()
    assert (view.ranges[sky] > 0).mean() < 0.1
    assert not render_view([], np.eye(4), GRID, 0.2, 1.5, 60.0).ranges.any()


def test_rows_that_the_sensor_does_not_look_at_stay_empty_however_near_a_wall_is():
    low = [sighting(pose(x)) for x in (-4.0, -2.0, 0.0)]
    for s in low:
        s.panorama.ranges[:10] = 0.0
    view = render_view(low, pose(-2.0, 5.0) @ SENSOR, GRID, 0.2, 1.5, 60.0)
    assert not view.ranges[:10].any()
    assert view.ranges[10:].any()
    np.testing.assert_array_equal(np.flatnonzero(out_of_sight(np.array([0, 1, 50, 3, 90, 100, 2, 0]))), [0, 1, 6, 7])


def test_one_stray_return_in_many_looks_is_outvoted_and_a_surface_seen_by_most_is_not():
    looks = np.full((12, 1, 3), 20.0, np.float32)
    looks[0, 0, 0] = 3.0
    looks[:, 0, 1] = 0.0
    looks[4, 0, 1] = 7.0
    looks[:8, 0, 2] = 10.0
    np.testing.assert_array_equal(agreed(looks), [[20.0, 0.0, 10.0]])


@pytest.mark.parametrize(("place", "could"), [
    (pose(0.0), True), (pose(1.0, 3.5), True), (pose(0.0, -3.5), True), (pose(0.0, 5.0), True),
    (pose(0.0, 8.0), False), (pose(0.0, 11.0), False), (pose(12.5, 4.5), False), (pose(5.2, -5.0), False)])
def test_a_view_is_taken_only_where_a_sensor_could_stand(place, could):
    """The last four: in a house's wall, inside the house, in the van, in the post."""
    tall = np.array([*HOUSES, [VAN[0], [15.0, 5.5, 3.0]], POST])
    seen = [sighting(pose(x), tall) for x in np.arange(-8.0, 9.0, 2.0)]
    assert free(seen, place @ SENSOR) == could


def test_a_view_with_hardly_a_return_is_not_enough(drive):
    whole = render_view(drive, pose(1.0) @ SENSOR, GRID, 0.2, 1.5, 60.0)
    assert shows_enough(whole, drive)
    torn = RangeImage(whole.ranges * (np.arange(800) < 300), whole.grid)
    assert not shows_enough(torn, drive)


def test_lines_of_views_lie_on_both_sides_nearest_first():
    assert offsets(3.5, 1.75) == [0.0, 1.75, -1.75, 3.5, -3.5]
    assert offsets(0.0, 1.75) == [0.0]


def test_neighbouring_submaps_share_one_lattice_without_gap_or_doublet():
    config = ViewsConfig(spacing=1.0, lateral_reach=2.0, lateral_step=2.0)
    stations = [(s, pose(s)) for s in (0.0, 2.3, 4.6, 7.0)]
    poses = [T for a, b, c in zip([None, *stations[:-1]], stations, [*stations[1:], None], strict=True)
             for T in lattice(a, b, c, config)]
    along = sorted(round(float(T[0, 3]), 6) for T in poses if T[1, 3] == 0.0)
    assert along == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    assert len(poses) == 3 * 8


def test_views_of_a_bend_turn_with_the_road():
    config = ViewsConfig(spacing=1.0, lateral_reach=3.0, lateral_step=3.0)
    a, b = (10.0, pose(0.0)), (14.0, pose(4.0, 0.0, 0.8))
    middle, left, right = lattice(a, (12.0, pose(2.0, 0.0, 0.4)), b, config)[:3]
    assert yaw(middle) == pytest.approx(0.4)
    assert yaw(left) == pytest.approx(yaw(middle)) == pytest.approx(yaw(right))
    np.testing.assert_allclose((inverse(middle) @ left)[:2, 3], [0.0, 3.0], atol=1e-9)
    np.testing.assert_allclose((inverse(middle) @ right)[:2, 3], [0.0, -3.0], atol=1e-9)


def test_views_do_not_reach_into_a_stretch_without_submaps():
    config = ViewsConfig(spacing=2.0, lateral_reach=0.0, reach=12.0)
    poses = lattice((0.0, pose(0.0)), (100.0, pose(100.0)), (200.0, pose(200.0)), config)
    assert [round(T[0, 3]) for T in poses] == [96, 98, 100, 102, 104, 106]


def view_at(T: np.ndarray, headings: int = 24) -> View:
    return View(T, np.arange(headings) * 2 * np.pi / headings, np.zeros((headings, 4), np.float32))


@pytest.mark.parametrize(("there", "headings", "is_covered"), [
    (pose(0.0), 24, True), (pose(0.9, 0.8), 24, True), (pose(1.1), 24, False), (pose(0.0, 0.9), 24, False),
    (pose(0.2, 0.0, np.pi), 24, True), (pose(0.2, 0.0, np.pi), 1, False), (pose(0.2, 0.0, 0.1), 1, True)])
def test_a_stored_view_covers_half_a_step_around_it_in_the_directions_it_looks(there, headings, is_covered):
    config = ViewsConfig(spacing=2.0, lateral_step=1.75)
    assert covered(pose(0.0), [view_at(there, headings)], config) == is_covered


def test_a_sighting_too_far_away_from_the_map_origin_renders_the_same(drive):
    away = transform([650_000.0, 5_400_000.0, 300.0])
    here = render_view(drive[:3], pose(-5.0, 1.0) @ SENSOR, GRID, 0.2, 1.5, 60.0).ranges
    moved = [dataclasses.replace(s, T_map_base=away @ s.T_map_base) for s in drive[:3]]
    there = render_view(moved, away @ pose(-5.0, 1.0) @ SENSOR, GRID, 0.2, 1.5, 60.0).ranges
    assert distance(moved[0].T_map_base, drive[0].T_map_base) > 5e6
    assert (np.abs(here - there) < 0.01).mean() > 0.98


# the projection beneath ----------------------------------------------------------------------------------------------


def test_closing_fills_a_narrow_gap_with_what_lies_around_it_and_keeps_a_wide_one_and_the_outline():
    ranges = np.full((8, 800), 30.0, np.float32)
    ranges[:, 100:140] = 8.0
    ranges[:, 110:112] = 30.0
    ranges[:, 114] = 0.0
    ranges[:, 120:132] = 30.0
    closed = close_gaps(RangeImage(ranges, AngularGrid(8, 160, 5.2, 0.4, 0.45).panorama()), 0.2).ranges
    assert (closed[:, 100:120] == 8.0).all()
    assert (closed[:, 120:132] == 30.0).all()
    assert (closed[:, 90:100] == 30.0).all()
    assert (closed[:, 140:] == 30.0).all()


def test_closing_goes_round_the_seam_behind_the_robot():
    ranges = np.zeros((8, 800), np.float32)
    ranges[:, [799, 1]] = 10.0
    closed = close_gaps(RangeImage(ranges, AngularGrid(8, 160, 5.2, 0.4, 0.45).panorama()), 0.4).ranges
    assert (closed[:, 0] == 10.0).all()


def test_coarse_bins_are_the_nearest_return_of_each_block_by_the_logarithm_of_range():
    spec, grid = RangeMap(rows=24, columns=80, bins=32, near=2.0, far=90.0), GRID
    ranges = np.zeros((48, 800), np.float32)
    ranges[:2, :2] = [[50.0, 0.0], [2.0 * (90.0 / 2.0) ** (10.5 / 32), 60.0]]
    ranges[0, 2], ranges[0, 4] = 1.0, 119.0
    bins = coarse(RangeImage(ranges, grid.panorama()), spec, 160)
    assert bins.dtype == np.uint8
    assert bins.shape == (24, 400)
    assert bins[0, :4].tolist() == [10, 0, 31, 32]


def test_a_range_map_that_does_not_divide_the_grid_is_refused():
    with pytest.raises(ModelError, match="does not divide"):
        coarse(RangeImage(np.zeros((48, 800), np.float32), GRID.panorama()), RangeMap(20, 80, 32, 2.0, 90.0), 160)


def test_points_are_located_in_the_cells_that_they_are_rendered_to():
    points = np.random.default_rng(3).uniform([-30, -30, -6], [30, 30, 3], (4000, 3)).astype(np.float32)
    grid = GRID.panorama()
    ranges, cell = locate(points, grid)
    image = np.full(grid.rows * grid.columns, np.inf, np.float32)
    np.minimum.at(image, cell[cell >= 0], ranges[cell >= 0])
    image[np.isinf(image)] = 0.0
    np.testing.assert_array_equal(image.reshape(grid.rows, -1), render_ranges(points, grid, 0.0, 500.0).ranges)
