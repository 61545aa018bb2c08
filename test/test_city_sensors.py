# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The camera of the synthetic city, alone and beside the LiDAR, in scenes small enough that the answer is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ms2cl_ros.core.cameras import project
from ms2cl_ros.core.errors import ConfigError, SensorError
from ms2cl_ros.core.geometry import apply, camera_view, inverse
from ms2cl_ros.core.projection import CameraView
from ms2cl_ros.core.sidecar import CameraInput
from ms2cl_ros.core.types import CameraModel

pytest.importorskip("embreex", reason="tracing the city needs embreex")

from toy_scenes import GRID, LENSES, ORIGIN, QUIET, UNIT, board, busy_scene, chessboard, ground, plain_light, rng, scene

from ms2cl_ros.training.city import camera, lens, lidar
from ms2cl_ros.training.city.film import Film, compress, develop
from ms2cl_ros.training.city.light import daylight
from ms2cl_ros.training.city.recipe import WEATHERS
from ms2cl_ros.training.city.scene import Scene, directions
from ms2cl_ros.training.city.soup import quads
from ms2cl_ros.training.city.weather import CLEAR, Air


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
