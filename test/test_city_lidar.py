# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LiDARs of the synthetic city, and the tracer below them, in scenes small enough that the answer is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.geometry import rotation_z
from ms2cl_ros.core.projection import render_ranges
from ms2cl_ros.core.types import AngularGrid

pytest.importorskip("embreex", reason="tracing the city needs embreex")

from toy_scenes import FENCE, ORIGIN, QUIET, TEXTURES, UNIT, board, busy_scene, ground, rng, scene, wall

from ms2cl_ros.training.city import camera, lidar
from ms2cl_ros.training.city.beams import SPECS, fire
from ms2cl_ros.training.city.light import daylight
from ms2cl_ros.training.city.motion import along, constant_twist
from ms2cl_ros.training.city.scene import Scene, directions
from ms2cl_ros.training.city.soup import CAR, LEAF, Soup, merge, quads
from ms2cl_ros.training.city.textures import TextureBook, Textures
from ms2cl_ros.training.city.weather import CLEAR, Air


def test_a_wall_is_measured_where_it_stands() -> None:
    """Without noise to 0.1 mm; with it, the spread of 10,000 ranges is the sensor's within 5 %."""
    front = scene(wall(20.0))
    points = lidar.sweep(front, QUIET, ORIGIN, rng())
    assert len(points) > 5000
    assert np.abs(points[:, 0] - 20.0).max() < 1e-4
    noisy = lidar.sweep(front, dataclasses.replace(QUIET, range_noise=0.05, azimuth_step_deg=0.2), ORIGIN, rng())
    far = np.linalg.norm(noisy[:, :3], axis=1)
    truth = 20.0 / (noisy[:, 0] / far)
    assert (far - truth).std() == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("name", ["hdl-64e", "rs-m1", "mid-70"])
def test_points_of_a_moving_sensor_are_displaced_by_what_it_moved_since_the_stamp(name: str) -> None:
    """Driving at a wall at 15 m/s, a point measured t seconds after the stamp is 15 t nearer (to 0.1 mm)."""
    spec = dataclasses.replace(SPECS[name], range_noise=0.0, lost=0.0)
    motion = constant_twist(ORIGIN, (15.0, 0.0, 0.0))
    swept = lidar.timed_sweep(scene(wall(20.0)), spec, ORIGIN, rng(), motion)
    assert np.abs(swept.points[:, 0] - (20.0 - 15.0 * swept.times)).max() < 1e-4
    assert -0.05 <= swept.times.min() < -0.008 and 0.008 < swept.times.max() <= 0.05
    still = lidar.sweep(scene(wall(20.0)), spec, ORIGIN, rng(), constant_twist(ORIGIN, (0.0, 0.0, 0.0)))
    assert np.abs(still - lidar.sweep(scene(wall(20.0)), spec, ORIGIN, rng())).max() < 1e-4


def test_points_of_a_turning_sensor_lie_on_the_walls_once_its_motion_is_taken_out() -> None:
    """Through the pose of their own moment all fall on the four walls within 1 mm, through the stamp's not."""
    room = scene(wall(20.0), wall(-20.0), *(quads(np.array([[[-20, y, -20], [20, y, -20], [20, y, 20], [-20, y, 20]]],
                                                            float), UNIT, 0, (0.5,) * 3) for y in (-20.0, 20.0)))
    motion = constant_twist(ORIGIN, (10.0, 0.0, 0.0), (0.02, 0.0, 0.6))
    swept = lidar.timed_sweep(room, QUIET, ORIGIN, rng(), motion)

    def off_the_walls(poses: np.ndarray) -> np.ndarray:
        T = poses @ QUIET.T_base_lidar()
        at = np.einsum("nij,nj->ni", T[:, :3, :3], swept.points[:, :3].astype(float)) + T[:, :3, 3]
        return np.abs(np.abs(at[:, :2]).max(1) - 20.0)

    assert off_the_walls(motion(swept.times)).max() < 1e-3
    assert off_the_walls(np.tile(ORIGIN, (len(swept.times), 1, 1))).max() > 0.3


def test_a_motion_between_poses_agrees_with_the_twist_that_made_them() -> None:
    """Poses 10 ms apart, 1 mm and 1e-4 rad in between; beyond them it goes straight on."""
    truth = constant_twist(rotation_z(0.4), (8.0, 0.0, 0.0), (0.0, 0.0, 0.5))
    knots = np.linspace(-0.05, 0.05, 11)
    between = np.linspace(-0.049, 0.049, 57)
    got, wanted = along(knots, truth(knots))(between), truth(between)
    assert np.abs(got - wanted)[:, :3, 3].max() < 1e-3
    assert np.abs(got - wanted)[:, :3, :3].max() < 1e-4
    beyond = along(knots, truth(knots))(np.array([0.06]))
    assert np.linalg.norm(beyond[0, :3, 3] - truth(knots)[-1, :3, 3]) == pytest.approx(0.08, abs=1e-3)
    with pytest.raises(ConfigError, match="1 stamps"):
        along(knots[:1], truth(knots[:1]))


def test_more_returns_are_lost_the_more_a_wall_is_aslant() -> None:
    """Seventy metres off: nothing at right angles, a third or more at 89 degrees."""
    spec = dataclasses.replace(QUIET, azimuth_step_deg=0.05, max_range=200.0, origins=())
    kept = []
    for degrees in (0, 80, 87, 88.5, 89.3):
        slanting = scene(wall(70.0, np.deg2rad(degrees), 8.0, 0.3))
        shots = fire(spec, rng()).rays
        met = slanting.cast(np.tile([[0, 0, 1.73]], (len(shots), 1)), shots).met.sum()
        kept.append(len(lidar.sweep(slanting, spec, ORIGIN, rng())) / met)
    assert kept[0] == 1.0 and kept[-1] < 0.66
    assert (np.diff(kept) <= 0).all()


def returns(soup: Soup, textures: Textures = TEXTURES) -> np.ndarray:
    spec = dataclasses.replace(QUIET, origins=(), azimuth_step_deg=0.1)
    return lidar.sweep(Scene(soup, textures), spec, ORIGIN, rng())[:, :3]


def test_dark_bodywork_swallows_what_plaster_and_light_bodywork_send_back() -> None:
    plaster, dark, light = (len(returns(wall(8.0, half=4.0, tint=tint, material=material)))
                            for tint, material in ((0.01, 0), (0.01, CAR), (0.6, CAR)))
    assert plaster > 5000
    assert 0.05 * plaster < dark < 0.8 * plaster
    assert light > 0.99 * plaster


def test_a_pane_is_lost_as_a_whole_or_shows_what_is_behind() -> None:
    """Of a wall of glass, squares of 1.1 m return every shot or none; what returns lies up to 0.15 m behind."""
    book = TextureBook()
    number = book.add(np.full((8, 8, 4), 176, np.uint8))
    bound = book.bind()
    points, solid = returns(wall(10.0, half=9.0, texture=number), bound), returns(wall(10.0, half=9.0))
    assert points[:, 0].min() > 10.05 and points[:, 0].max() < 10.15

    def squares(cloud: np.ndarray) -> np.ndarray:
        at = cloud * (10.0 / cloud[:, :1]) + [0, 0, QUIET.position[2]]
        inside = (np.abs(at[:, 1]) < 5.5) & (at[:, 2] > 0) & (at[:, 2] < 1.1)
        return np.bincount(np.floor(at[inside, 1] / 1.1).astype(int) + 5, minlength=10)

    share = squares(points) / squares(solid)
    assert ((share < 0.05) | (share > 0.95)).all()
    assert 0 < (share < 0.05).sum() < 8


def test_leaves_return_from_inside_the_crown_and_lose_some_shots_in_clumps() -> None:
    points, solid = returns(wall(6.0, half=2.0, material=LEAF)), returns(wall(6.0, half=2.0))
    assert len(points) == pytest.approx(0.9 * len(solid), rel=0.04)
    assert 6.0 <= points[:, 0].min() < 6.01 and (points[:, 0] - 6.0).mean() == pytest.approx(0.2, abs=0.03)


def test_a_wet_road_returns_less_and_fog_hides_what_is_far() -> None:
    road, spec = scene(ground(), wall(60.0)), dataclasses.replace(QUIET, max_range=120.0)
    dry, wet, fog = (lidar.sweep(road, spec, ORIGIN, rng(), air=a) for a in (CLEAR, Air(wet=1.0), Air(0.05)))
    low = [np.linalg.norm(p[p[:, 2] < -1.7, :2], axis=1) for p in (dry, wet)]
    assert (low[1] > 50.0).sum() < 0.5 * (low[0] > 50.0).sum() and low[1].max() < 0.85 * low[0].max()
    assert np.isclose(dry[:, 0], 60.0, atol=0.01).sum() > 500
    assert not np.isclose(fog[:, 0], 60.0, atol=0.01).any()
    # what the fog itself returns: in the air, near the sensor
    floating = (np.linalg.norm(fog[:, :3], axis=1) < 12) & (fog[:, 2] > -1.0)
    assert floating.sum() > 500
    assert not ((np.linalg.norm(dry[:, :3], axis=1) < 12) & (dry[:, 2] > -1.0)).any()


def test_rain_scatters_a_few_near_points_in_the_air() -> None:
    road = scene(ground())
    counts = [(lidar.sweep(road, QUIET, ORIGIN, rng(), air=Air(0.001, rain, 0.5))[:, 2] > -1.0).mean()
              for rain in (0.0, 5.0, 20.0)]
    assert counts[0] < 2e-4 < counts[1] < counts[2] < 0.05


@pytest.mark.parametrize(("name", "across", "up"), [("rs-m1", 120.0, 24.8), ("mid-70", 70.4, 70.4)])
def test_a_solid_state_sensor_keeps_to_its_field_of_view_and_fills_it(name: str, across: float, up: float) -> None:
    rays = fire(SPECS[name], rng()).rays.astype(float)
    assert len(rays) == {"rs-m1": 600 * 125, "mid-70": 10_000}[name]
    azimuth = np.rad2deg(np.arctan2(rays[:, 1], rays[:, 0]))
    elevation = np.rad2deg(np.arcsin(rays[:, 2]))
    if name == "mid-70":
        # round about the axis
        azimuth, elevation = (np.rad2deg(np.arccos(rays[:, 0])) * rays[:, k] / np.hypot(rays[:, 1], rays[:, 2])
                              for k in (1, 2))
    assert np.abs(azimuth).max() <= across / 2 + 1e-4 and np.abs(elevation).max() <= up / 2 + 1e-4
    assert np.ptp(azimuth) > 0.98 * across and np.ptp(elevation) > 0.98 * up
    assert np.abs(np.linalg.norm(rays, axis=1) - 1).max() < 1e-6


def test_a_rosette_does_not_repeat_itself() -> None:
    """Four sweeps reach over half as many cells of half a degree again as one, though one has 10,000 shots."""
    def cells(sweeps: int) -> int:
        draw = rng()
        rays = np.concatenate([fire(SPECS["mid-70"], draw).rays for _ in range(sweeps)])
        return len(np.unique((np.rad2deg(np.arctan2(rays[:, 1:], rays[:, :1])) / 0.5).astype(int), axis=0))

    assert cells(4) > 1.5 * cells(1)


@pytest.mark.parametrize(("beams", "top", "bottom"), [(64, 1.94, -25.0), (32, 10.67, -30.67), (16, 15.0, -15.0)])
def test_beams_keep_to_their_elevations(beams: int, top: float, bottom: float) -> None:
    """Seen from where the beams start: here from one point."""
    spec = dataclasses.replace(lidar.lidar_spec(beams, 2.0), range_noise=0.0, origins=())
    scan = lidar.sweep(scene(ground(), wall(15.0)), spec, ORIGIN, rng())
    elevation = np.rad2deg(np.arcsin(scan[:, 2] / np.linalg.norm(scan[:, :3], axis=1)))
    assert len(spec.elevations_deg) == beams and spec.elevations_deg[0] == top and spec.elevations_deg[-1] == bottom
    assert np.abs(elevation[:, None] - np.array(spec.elevations_deg)).min(1).max() < 0.01


def test_the_hdl_64e_has_two_blocks_of_beams() -> None:
    steps = -np.diff(lidar.lidar_spec(64).elevations_deg)
    assert steps[:31].mean() == pytest.approx(1 / 3, abs=0.02) and steps[31:].mean() == pytest.approx(0.5, abs=0.01)
    assert steps[:31].max() < 0.45 < 0.7 > steps[31:].max()


def test_near_things_appear_higher_to_a_beam_that_starts_higher_up() -> None:
    """A level beam 0.2 m above the origin meets walls at 2 and 20 m at 0.2 m: 5.7 and 0.57 degrees up."""
    spec = dataclasses.replace(QUIET, elevations_deg=(0.0,), origins=((0.0, 0.0, 0.2),), sector_deg=2.0)
    for far in (2.0, 20.0):
        points = lidar.sweep(scene(wall(far)), spec, ORIGIN, rng())[:, :3]
        assert np.abs(points[:, 2] - 0.2).max() < 1e-5 and np.abs(points[:, 0] - far).max() < 1e-4


def test_where_a_beam_starts_turns_with_it() -> None:
    """A beam 0.05 m to the left of its axis passes it at that distance in every direction, and on that side."""
    spec = dataclasses.replace(QUIET, elevations_deg=(0.0,), origins=((0.3, 0.05, 0.0),))
    shots = fire(spec, rng())
    assert len(np.unique(np.sign(shots.rays[:, :2]), axis=0)) >= 4
    aside = shots.rays[:, 0] * shots.starts[:, 1] - shots.rays[:, 1] * shots.starts[:, 0]
    assert np.abs(aside - 0.05).max() < 1e-6
    assert np.abs(np.einsum("ni,ni->n", shots.rays, shots.starts) - 0.3).max() < 1e-6


def test_staggered_beams_sample_the_turn_at_angles_of_their_own() -> None:
    azimuth = [np.rad2deg(np.arctan2(r[:, 1], r[:, 0])).reshape(64, -1) for r in
               (fire(dataclasses.replace(QUIET, staggered=s), rng()).rays for s in (False, True))]
    assert np.ptp(azimuth[0][:, 10]) < 1e-4
    assert 0.3 < np.ptp(azimuth[1][:, 10]) < QUIET.azimuth_step_deg


def test_origins_that_are_not_one_a_beam_are_refused() -> None:
    with pytest.raises(ConfigError, match="64 beams was given 1 origins"):
        fire(dataclasses.replace(QUIET, origins=((0.0, 0.0, 0.1),)), rng())


def test_an_unknown_lidar_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match="no LiDAR of 48 beams is known; there are 64, 32, 16 beams"):
        lidar.lidar_spec(48)
    with pytest.raises(ConfigError, match="rs-m1"):
        lidar.lidar_spec("sick")
    with pytest.raises(ConfigError, match="rosette"):
        fire(dataclasses.replace(QUIET, pattern="spiral"), rng())


def test_a_sensor_that_faces_a_grid_gives_the_returns_that_fall_into_it() -> None:
    grid = AngularGrid(40, 160, 2.0, 0.4, 0.45)
    part = lidar.facing(QUIET, grid)
    scan = lidar.sweep(busy_scene(), part, ORIGIN, rng())
    azimuth = np.rad2deg(np.arctan2(scan[:, 1], scan[:, 0]))
    elevation = np.rad2deg(np.arcsin(scan[:, 2] / np.linalg.norm(scan[:, :3], axis=1)))
    # a beam that starts to one side looks a little across
    assert np.abs(azimuth).max() <= 36.5 and np.ptp(azimuth) > 71
    assert elevation.max() <= 7.0 and -18.5 < elevation.min() < -13.9
    whole = lidar.sweep(busy_scene(), QUIET, ORIGIN, rng())
    # nothing of what falls into the grid is missing
    view = [render_ranges(points[:, :3], grid, 1.5, 100.0).ranges > 0 for points in (scan, whole)]
    assert view[0].sum() == pytest.approx(view[1].sum(), rel=0.005)


def test_movers_are_seen_as_if_they_belonged_to_the_scene() -> None:
    """Distances, materials, pictures and sweeps are those of one scene with all triangles in it."""
    still, moving = merge([ground(), wall(25.0)]), merge([wall(9.0, 0.2, 2.0, 0.4, FENCE), board(12.0, 3.0, tint=0.9)])
    apart, one = Scene(still, TEXTURES).with_movers(moving), Scene(merge([still, moving]), TEXTURES)
    rays = directions(np.linspace(-0.8, 0.8, 300)[None], np.linspace(-0.3, 0.3, 90)[:, None]).reshape(-1, 3)
    origins = np.tile([[0.0, 0.0, 1.7]], (len(rays), 1))
    a, b = apart.cast(origins, rays), one.cast(origins, rays)
    assert np.array_equal(a.triangle, b.triangle) and len(np.unique(a.triangle)) > 6
    assert np.array_equal(a.distance, b.distance) and np.array_equal(a.uv, b.uv) and np.array_equal(a.glass, b.glass)
    assert np.array_equal(apart.blocked(origins, rays), one.blocked(origins, rays))
    assert np.array_equal(apart.soup.corners, one.soup.corners)
    light, spec = daylight(rng(3), "fair"), camera.camera_spec(0.15)
    assert np.array_equal(*(camera.picture(s, spec, light, ORIGIN, rng()) for s in (apart, one)))
    assert np.array_equal(*(lidar.sweep(s, QUIET, ORIGIN, rng()) for s in (apart, one)))


def test_a_scene_with_movers_leaves_the_scene_as_it_was() -> None:
    still = scene(wall(25.0))
    ray = np.array([[1.0, 0, 0]])
    assert still.with_movers(board(10.0, 0.0, -1.0)).cast(0 * ray, ray).distance[0] == pytest.approx(10.0)
    assert still.cast(0 * ray, ray).distance[0] == pytest.approx(25.0)
    nothing = Soup(*(getattr(wall(5.0), f.name)[:0] for f in dataclasses.fields(Soup)))
    assert still.with_movers(nothing).cast(0 * ray, ray).distance[0] == pytest.approx(25.0)


def test_holes_let_rays_through_and_bars_do_not() -> None:
    fenced = scene(wall(10.0, half=4.0, texture=FENCE), wall(20.0))
    y = (np.arange(3200) + 0.5) / 3200 * 8 - 4
    rays = np.stack([np.full(3200, 10.0), y, 0 * y], 1)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    far = fenced.cast(0 * rays, rays).distance * rays[:, 0]
    assert np.isclose(far, 10.0, atol=1e-3).mean() == pytest.approx(0.25, abs=0.01)
    assert np.isclose(far, 20.0, atol=1e-3).mean() == pytest.approx(0.75, abs=0.01)
