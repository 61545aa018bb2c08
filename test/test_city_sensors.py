# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera and LiDAR of the synthetic city in scenes small enough that the answer is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ms2cl_ros.core.cameras import project
from ms2cl_ros.core.errors import ConfigError, SensorError
from ms2cl_ros.core.geometry import apply, camera_view, inverse, rotation_z
from ms2cl_ros.core.projection import CameraView
from ms2cl_ros.core.sidecar import CameraInput
from ms2cl_ros.core.types import AngularGrid, CameraModel

pytest.importorskip("embreex", reason="tracing the city needs embreex")

from ms2cl_ros.training.city import camera, lens, lidar
from ms2cl_ros.training.city.beams import SPECS, fire
from ms2cl_ros.training.city.film import Film, compress, develop
from ms2cl_ros.training.city.light import Light, daylight
from ms2cl_ros.training.city.motion import along, constant_twist
from ms2cl_ros.training.city.recipe import WEATHERS
from ms2cl_ros.training.city.scene import Scene, directions
from ms2cl_ros.training.city.soup import CAR, GROUND, Soup, merge, quads
from ms2cl_ros.training.city.textures import TextureBook, Textures
from ms2cl_ros.training.city.weather import CLEAR, Air

UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
ORIGIN = np.eye(4)
GRID = AngularGrid(rows=64, columns=160, elevation_top_deg=11.6, elevation_step_deg=0.40, azimuth_step_deg=0.45)
QUIET = dataclasses.replace(lidar.lidar_spec(64, 0.5), range_noise=0.0, lost=0.0)
LENSES = {
    "plain": ((), "plumb_bob"),
    "barrel": ((-0.33, 0.15, 8e-4, -5e-4, -0.03), "plumb_bob"),
    "fisheye": ((-0.02, 0.006, -0.003, 5e-4), "equidistant"),
}


def textures() -> tuple[Textures, int]:
    """Plain white, and a grid of bars with holes between (its number comes second)."""
    book = TextureBook()
    fence = np.zeros((32, 32, 4), np.uint8)
    fence[:, ::4] = 255
    return book.bind() if not (k := book.add(fence)) else (book.bind(), k)


TEXTURES, FENCE = textures()


def wall(x: float, heading: float = 0.0, half: float = 30.0, tint: float = 0.5, texture: int = 0, **more: int) -> Soup:
    """An upright square that faces the origin from `x` metres ahead, turned by `heading` about its middle."""
    c, s = np.cos(heading), np.sin(heading)
    y = np.array([half, -half, -half, half])
    corners = np.stack([x - s * y, c * y, [-half, -half, half, half]], 1)
    return quads(corners[None], UNIT, texture, (tint,) * 3, **more)


def ground(half: float = 120.0, tint: float = 0.3) -> Soup:
    corners = [[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]]
    return quads(np.array([corners], float), UNIT, 0, (tint,) * 3, GROUND)


def board(x: float, y: float, z: float = 0.0, size: float = 2.0, tint: float = 0.5) -> Soup:
    corners = [[x, y + size / 2, z], [x, y - size / 2, z], [x, y - size / 2, z + size], [x, y + size / 2, z + size]]
    return quads(np.array([corners], float), UNIT, 0, (tint,) * 3)


def chessboard(x: float = 12.0, tile: float = 1.0) -> Soup:
    """Black and white tiles, (floor(y) + floor(z)) even is white."""
    return merge([board(x, y + tile / 2, z, tile, 0.9 if (y + z) % 2 == 0 else 0.02)
                  for y in range(-14, 14) for z in range(-6, 9)])


def scene(*soups: Soup) -> Scene:
    return Scene(merge(soups), TEXTURES)


def plain_light(weather: str = "overcast", **more: object) -> Light:
    """A day without flare, blur or drops, for measuring in its pictures."""
    light = daylight(np.random.default_rng(1), weather)
    film = Film(noise=0.0, blur=0.0, flare=0.0, vignette=0.0)
    return dataclasses.replace(light, film=film, **more)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def busy_scene() -> Scene:
    fence = wall(9.0, 0.2, 3.0, 0.4, FENCE)
    return scene(ground(), wall(25.0, 0.3), board(12.0, 3.0), board(8.0, -2.0, 0.5), fence)


@pytest.mark.parametrize("kind", LENSES)
def test_scan_points_fall_on_the_pixels_that_show_them(kind: str) -> None:
    """Of all points on a chessboard's tiles, 2 cm (at least half a pixel) from their edges, every one falls on a pixel
    of its tile's colour; 1 m to the side every one falls on the other colour."""
    spec = camera.camera_spec(1.0, *LENSES[kind])
    board_scene = scene(chessboard())
    rgb = camera.picture(board_scene, spec, plain_light(), ORIGIN, rng())
    between = np.percentile(rgb[..., 1], [5, 95]).mean()
    points = lidar.sweep(board_scene, QUIET, ORIGIN, rng())[:, :3].astype(float)
    y, z = points[:, 1], points[:, 2] + QUIET.position[2]
    inner = (np.abs((y + 0.5) % 1 - 0.5) > 0.02) & (np.abs((z + 0.5) % 1 - 0.5) > 0.02)
    T_camera_lidar = inverse(spec.T_base_camera()) @ QUIET.T_base_lidar()
    for aside in (0, 1):
        moved = points[inner] + [0, aside, 0]
        uv, visible = project(spec.model, apply(T_camera_lidar, moved))
        visible &= np.abs(moved[:, 1]) < 13
        assert visible.sum() > 700
        u, v = np.rint(uv[visible]).astype(int).T
        white = (np.floor(y) + np.floor(z))[inner][visible] % 2 == 0
        assert ((rgb[v, u, 1] > between) == (white if aside == 0 else ~white)).mean() == 1.0


@pytest.mark.parametrize("kind", LENSES)
def test_a_pixels_ray_is_projected_back_onto_it(kind: str) -> None:
    """Within 0.01 pixel wherever the model knows a ray, which it does for 99 % of the picture."""
    model = camera.camera_spec(0.5, *LENSES[kind]).model
    rays = lens.pixel_rays(model)
    known = np.isfinite(rays).all(1)
    u, v = np.meshgrid(np.arange(model.width), np.arange(model.height))
    uv, _ = project(model, rays[known])
    assert known.mean() > 0.99
    assert np.abs(uv - np.stack([u.ravel(), v.ravel()], 1)[known]).max() < 0.01
    assert np.abs(np.linalg.norm(rays[known], axis=1) - 1).max() < 1e-6


def test_a_fisheye_sees_behind_itself_and_shows_nothing_where_its_model_ends() -> None:
    wide = CameraModel(500, 500, np.array([[150.0, 0, 250], [0, 150.0, 250], [0, 0, 1]]), (), "equidistant")
    rays = lens.pixel_rays(wide).reshape(500, 500, 3)
    assert rays[250, 5, 2] < -0.05
    assert np.arccos(rays[250, 400, 2]) == pytest.approx(1.0, abs=1e-6)
    small = dataclasses.replace(wide, K=np.array([[60.0, 0, 250], [0, 60.0, 250], [0, 0, 1]]))
    assert np.isnan(lens.pixel_rays(small).reshape(500, 500, 3)[250, 5]).all()
    black = camera.picture(busy_scene(), camera.CameraSpec(small), plain_light(), ORIGIN, rng())
    assert black[250, 5].max() == 0 and black[250, 250].max() > 0


def test_an_unknown_lens_is_refused_with_the_models_that_are_known() -> None:
    with pytest.raises(SensorError, match="equidistant"):
        camera.picture(busy_scene(), camera.camera_spec(0.2, (), "kannala"), plain_light(), ORIGIN, rng())


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
    spec = dataclasses.replace(QUIET, azimuth_step_deg=0.05, max_range=200.0)
    kept = []
    for degrees in (0, 80, 87, 88.5, 89.3):
        slanting = scene(wall(70.0, np.deg2rad(degrees), 8.0, 0.3))
        shots = fire(spec, rng()).rays
        met = slanting.cast(np.tile([[0, 0, 1.73]], (len(shots), 1)), shots).met.sum()
        kept.append(len(lidar.sweep(slanting, spec, ORIGIN, rng())) / met)
    assert kept[0] == 1.0 and kept[-1] < 0.66
    assert (np.diff(kept) <= 0).all()


def test_dark_bodywork_and_panes_swallow_more_than_plaster() -> None:
    pane = np.full((8, 8, 4), 176, np.uint8)
    book = TextureBook()
    number = book.add(pane)
    bound = book.bind()

    def returns(soup: Soup) -> int:
        return len(lidar.sweep(Scene(soup, bound), QUIET, ORIGIN, rng()))

    plaster, body, glass = returns(wall(20.0, tint=0.05)), returns(wall(20.0, tint=0.05, material=CAR)), returns(
        wall(20.0, tint=0.05, texture=number))
    assert body < 0.9 * plaster
    assert glass == pytest.approx(0.4 * plaster, rel=0.1)


def test_a_wet_road_returns_less_and_fog_hides_what_is_far() -> None:
    road = scene(ground(), wall(60.0))
    dry, wet, fog = (lidar.sweep(road, QUIET, ORIGIN, rng(), air=a) for a in (CLEAR, Air(wet=1.0), Air(0.05)))
    low = [np.linalg.norm(p[p[:, 2] < -1.7, :2], axis=1) for p in (dry, wet)]
    assert low[1].max() < 0.75 * low[0].max()
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


@pytest.mark.parametrize(("beams", "top", "bottom"), [(64, 2.0, -24.33), (32, 10.67, -30.67), (16, 15.0, -15.0)])
def test_beams_keep_to_their_elevations(beams: int, top: float, bottom: float) -> None:
    spec = dataclasses.replace(lidar.lidar_spec(beams, 2.0), range_noise=0.0)
    scan = lidar.sweep(scene(ground(), wall(15.0)), spec, ORIGIN, rng())
    elevation = np.rad2deg(np.arcsin(scan[:, 2] / np.linalg.norm(scan[:, :3], axis=1)))
    assert len(spec.elevations_deg) == beams and spec.elevations_deg[0] == top and spec.elevations_deg[-1] == bottom
    assert np.abs(elevation[:, None] - np.array(spec.elevations_deg)).min(1).max() < 0.01


def test_the_hdl_64e_has_two_blocks_of_beams() -> None:
    steps = -np.diff(lidar.lidar_spec(64).elevations_deg)
    assert steps[:31] == pytest.approx(1 / 3, abs=1e-3) and steps[31:] == pytest.approx(0.5, abs=1e-3)


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
    assert np.abs(azimuth).max() <= 36.0 + 1e-4 and np.ptp(azimuth) > 71
    assert elevation.max() <= 2.001 and elevation.min() >= -14.001
    whole = lidar.sweep(busy_scene(), QUIET, ORIGIN, rng())
    inside = np.abs(np.rad2deg(np.arctan2(whole[:, 1], whole[:, 0]))) < 36
    inside &= np.rad2deg(np.arcsin(whole[:, 2] / np.linalg.norm(whole[:, :3], axis=1))) > -14
    assert len(scan) == pytest.approx(inside.sum(), rel=0.02)


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
    assert still.with_movers(wall(5.0).__class__(*(getattr(wall(5.0), f.name)[:0] for f in dataclasses.fields(Soup)))
                             ).cast(0 * ray, ray).distance[0] == pytest.approx(25.0)


def test_holes_let_rays_through_and_bars_do_not() -> None:
    fenced = scene(wall(10.0, half=4.0, texture=FENCE), wall(20.0))
    y = (np.arange(3200) + 0.5) / 3200 * 8 - 4
    rays = np.stack([np.full(3200, 10.0), y, 0 * y], 1)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    far = fenced.cast(0 * rays, rays).distance * rays[:, 0]
    assert np.isclose(far, 10.0, atol=1e-3).mean() == pytest.approx(0.25, abs=0.01)
    assert np.isclose(far, 20.0, atol=1e-3).mean() == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("weather", WEATHERS)
def test_the_same_draw_gives_the_same_bytes_and_another_others(weather: str) -> None:
    def look(seed: int) -> list[bytes]:
        draw = rng(seed)
        light = daylight(draw, weather, "autumn", 0.5)
        spec = camera.shaken(camera.camera_spec(0.15), draw, 0.5)
        view = camera.CellCamera(spec, GRID)
        return [camera.picture(busy_scene(), spec, light, ORIGIN, draw).tobytes(),
                view(busy_scene(), light, ORIGIN, draw).tobytes(),
                lidar.sweep(busy_scene(), lidar.lidar_spec(16, 1.0), ORIGIN, draw, air=light.air).tobytes()]

    first, again, other = look(5), look(5), look(6)
    assert first == again
    assert all(a != b for a, b in zip(first, other))


def test_fog_takes_contrast_the_more_the_farther() -> None:
    """Of a dark board before a bright wall: 1 - exp(-distance x extinction) of it, within a tenth."""
    light = plain_light("fog", air=Air(0.03))

    def contrast(distance: float, air: Air) -> float:
        day = dataclasses.replace(light, air=air)
        pair = scene(board(distance, 2.0, -1.0, 4.0, 0.02), board(distance, -2.0, -1.0, 4.0, 0.9))
        ray = directions(np.arctan2([2.0, -2.0], distance), np.zeros(2)).astype(np.float32)
        dark, bright = camera.radiance(pair, day, np.zeros((2, 3), np.float32), ray, 1e-3)[:, 1]
        return float(bright - dark)

    left = [contrast(d, light.air) / contrast(d, CLEAR) for d in (10.0, 30.0, 60.0)]
    assert left == pytest.approx(np.exp(-0.03 * np.hypot([10.0, 30.0, 60.0], 2.0)), rel=0.02)


def shadow_depth(weather: str) -> float:
    """How much darker than beside it the ground is where a board keeps the sun off."""
    light = plain_light(weather)
    sun = np.array([0.0, 0.6, 0.8])
    day = dataclasses.replace(light, sun=sun, air=dataclasses.replace(light.air, wet=0.0))
    above = scene(ground(), quads(np.array([[[-2, 1, 4], [2, 1, 4], [2, 5, 4], [-2, 5, 4]]], float), UNIT, 0))
    targets = np.array([[0.0, 0.0, 0.0], [8.0, 0.0, 0.0]])
    eye = np.tile([[4.0, -6.0, 2.0]], (2, 1)).astype(np.float32)
    rays = targets - eye
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    shaded, lit = camera.radiance(above, day, eye, rays.astype(np.float32), 1e-3).mean(1)
    return float(1 - shaded / lit)


def test_sun_casts_shadows_and_an_overcast_sky_none() -> None:
    assert shadow_depth("fair") > 0.5
    assert shadow_depth("low_sun") > 0.5
    assert abs(shadow_depth("overcast")) < 1e-3
    assert abs(shadow_depth("rain")) < 0.01


def test_weathers_differ_as_in_life() -> None:
    """Over 200 days: the sun stands lowest at low_sun, only fair and low_sun days have one, fog is the thickest air."""
    days = {w: [daylight(rng(k), w) for k in range(200)] for w in WEATHERS}
    heights = {w: np.mean([d.sun[2] for d in days[w]]) for w in ("fair", "low_sun")}
    assert heights["low_sun"] < 0.2 < heights["fair"]
    assert all(d.sun_colour.max() > 0 for w in ("fair", "low_sun") for d in days[w])
    assert all(d.sun_colour.max() == 0 for w in ("overcast", "fog", "rain") for d in days[w])
    assert all(60 <= d.air.visibility <= 220 for d in days["fog"])
    assert min(d.air.visibility for w in ("fair", "overcast", "rain") for d in days[w]) > 250
    assert all((d.air.rain > 0) == (w == "rain") and (d.air.wet > 0) == (w in ("rain", "fog"))
               for w in WEATHERS for d in days[w])
    winter = np.mean([daylight(rng(k), "fair", "winter").sun[2] for k in range(200)])
    assert winter < 0.6 * heights["fair"]
    with pytest.raises(ConfigError, match="hail"):
        daylight(rng(), "hail")


def test_a_wet_road_mirrors_the_sky() -> None:
    """At a slant of 2 degrees it is brighter than dry asphalt; straight down it is darker (mean of 60 places)."""
    light = plain_light("rain")
    rays = directions(np.linspace(-3, 3, 60)[None], np.deg2rad([[-2.0], [-80.0]])).astype(np.float32)
    eye = np.tile([[0, 0, 1.7]], (120, 1)).astype(np.float32)

    def seen(wet: float) -> np.ndarray:
        day = dataclasses.replace(light, air=Air(wet=wet))
        return camera.radiance(scene(ground()), day, eye, rays.reshape(-1, 3), 1e-3).reshape(2, -1).mean(1)

    slant, steep = seen(1.0) / seen(0.0)
    assert slant > 1.3 and steep < 0.8


def test_the_sun_in_the_view_veils_the_picture_unless_something_hides_it() -> None:
    spec = camera.camera_spec(0.2)
    sun = np.array([np.cos(0.12), 0.0, np.sin(0.12)])
    film = Film(noise=0.0, flare=1.0)
    light = dataclasses.replace(plain_light("low_sun"), sun=sun, film=film)
    bare = dataclasses.replace(light, film=dataclasses.replace(film, flare=0.0))
    open_, shut = scene(ground()), scene(ground(), board(40.0, 0.0, 0.0, 20.0))

    def veil(place: Scene) -> float:
        T, rays = spec.T_base_camera(), lens.pixel_rays(spec.model)
        with_it, without = (camera._through_lens(place, day, T, rays, 1e-3) for day in (light, bare))
        return float((with_it - without).mean())

    assert veil(open_) > 0.02
    assert veil(shut) == 0.0


def test_a_vignette_darkens_the_corners_and_smear_blurs_along_its_way() -> None:
    grey = np.full((60, 120, 3), 0.3, np.float32)
    rays = lens.pixel_rays(camera.camera_spec(0.1).model)
    share = lens.vignette(rays, 0.5).reshape(38, 124)
    assert share[19, 61] > 0.99 and share[0, 0] < 0.75
    assert lens.vignette(rays, 0.0).min() == 1.0
    grey[30], grey[:, 60] = 0.9, 0.9
    image = develop(grey, Film(noise=0.0, blur=0.0, smear=(6.0, 0.0)), rng()).astype(int)
    sharp = develop(grey, Film(noise=0.0, blur=0.0), rng()).astype(int)
    assert image[10, 60, 1] - image[10, 50, 1] < 0.6 * (sharp[10, 60, 1] - sharp[10, 50, 1])
    assert image[30, 20, 1] - image[20, 20, 1] > 0.95 * (sharp[30, 20, 1] - sharp[20, 20, 1])


def test_a_jpeg_of_low_quality_is_coarser_and_quality_0_leaves_the_picture() -> None:
    rgb = camera.picture(busy_scene(), camera.camera_spec(0.2), plain_light(), ORIGIN, rng())
    assert np.array_equal(compress(rgb, Film(quality=0)), rgb)
    errors = [np.abs(compress(rgb, Film(quality=q)).astype(int) - rgb).mean() for q in (95, 60, 15)]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_wildness_leaves_nothing_as_it_was_and_0_everything() -> None:
    spec = camera.camera_spec(0.15)
    assert camera.shaken(spec, rng(), 0.0) == spec
    places = np.array([camera.shaken(spec, rng(k), 1.0).T_base_camera() for k in range(100)])
    assert places[:, :3, 3].std(0).min() > 0.05 and places[:, :3, 3].std(0).max() < 0.3

    def spread(wildness: float) -> np.ndarray:
        """Standard deviation of the pictures' mean colours over 40 days."""
        view = camera.CellCamera(spec, dataclasses.replace(GRID, rows=16, columns=40), 1)
        room = busy_scene()
        return np.array([view(room, daylight(rng(k), "fair", "summer", wildness), ORIGIN, rng(k)).mean((0, 1))
                         for k in range(40)]).std(0)

    calm, half, wild = (spread(w).mean() for w in (0.0, 0.5, 1.0))
    assert calm < half < wild and wild > 1.5 * calm


@pytest.mark.parametrize("kind", LENSES)
def test_a_picture_cast_onto_the_cells_is_the_picture_resampled_onto_them(kind: str) -> None:
    """Same valid cells; on them, the mean difference is below 6 of 255 and the correlation above 0.97 (four rays a cell
    against all pixels of it)."""
    spec = camera.camera_spec(0.5, *LENSES[kind])
    size = (GRID.rows, GRID.columns)
    wanted = CameraInput("", "", "angular_grid", GRID, size, ("red", "green", "blue"), (0.0,) * 3, (1.0,) * 3)
    resample = CameraView(spec.model, camera_view(spec.T_base_camera())[0], wanted)
    light, room = plain_light("fair"), busy_scene()
    rgb, valid = resample(camera.picture(room, spec, light, ORIGIN, rng()))
    view = camera.CellCamera(spec, GRID)
    cells = view(room, light, ORIGIN, rng())
    assert np.array_equal(valid, view.valid) and (cells[~valid] == 0).all()
    a, b = rgb[valid].astype(float), cells[valid].astype(float)
    assert np.abs(a - b).mean() < 6.0
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97
