# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The synthetic street: one geometry for camera and LiDAR, one seed one street, files that a KITTI reader takes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.core.geometry import apply, transform
from ms2cl_ros.tools.kitti import read_raw

pytest.importorskip("trimesh", reason="the street's trees need trimesh")
pytest.importorskip("embreex", reason="tracing the street needs embreex")

from ms2cl_ros.training.city import camera, lens, lidar, light
from ms2cl_ros.training.city.city import City, build_city
from ms2cl_ros.training.city.drive import clock, synthesize
from ms2cl_ros.training.city.kitti_files import EARTH, write_calibration
from ms2cl_ros.training.city.passes import MAP_PASS, QUERY_PASS, DrivePass, drive_poses, visits
from ms2cl_ros.training.city.recipe import Day, Recipe
from ms2cl_ros.training.city.scene import Scene, directions, rotate
from ms2cl_ros.training.city.soup import CAR, GROUND, SIGN, Soup

SEED, LENGTH = 3, 240.0
SMALL = {"recipe": Recipe(seed=SEED, length=LENGTH), "step_m": 60.0, "image_scale": 0.15, "azimuth_step_deg": 1.0}
QUIET = dataclasses.replace(lidar.lidar_spec(64, 1.0), range_noise=0.0, lost=0.0)


@pytest.fixture(scope="module")
def city() -> City:
    return build_city(Recipe(seed=SEED, length=LENGTH))


@pytest.fixture(scope="module")
def scenes(city: City) -> list[Scene]:
    """The city on two days."""
    return [city.scene(Day(day, car_change=0.5), reach=np.inf) for day in (0, 1)]


@pytest.fixture(scope="module")
def drives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of the map pass and of the query pass, both with both sensors."""
    passes = [dataclasses.replace(p, lidar=True, camera=True) for p in (MAP_PASS, QUERY_PASS)]
    made = synthesize(tmp_path_factory.mktemp("street"), passes=passes, workers=1, **SMALL)
    return [d.folder for d in made.drives]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def soup_bytes(soup: Soup) -> bytes:
    return b"".join(np.ascontiguousarray(getattr(soup, f.name)).tobytes() for f in dataclasses.fields(soup))


def test_the_same_seed_gives_the_same_street_and_another_seed_another(city: City) -> None:
    again, other = (build_city(Recipe(seed=SEED + k, length=LENGTH)) for k in (0, 1))
    assert soup_bytes(again.static) == soup_bytes(city.static)
    assert again.textures.texels.tobytes() == city.textures.texels.tobytes()
    assert soup_bytes(other.static) != soup_bytes(city.static)
    assert np.abs(other.route.xy[:500] - city.route.xy[:500]).max() > 1.0


def test_the_same_arguments_write_the_same_bytes_with_any_number_of_processes(tmp_path: Path) -> None:
    small = {**SMALL, "step_m": 120.0, "passes": [DrivePass()]}
    synthesize(tmp_path / "one", workers=1, **small)
    made = synthesize(tmp_path / "two", workers=2, **small)
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert made.drives[0].scans == made.drives[0].images == 2
    assert sorted(one) == sorted(two)
    assert [name for name in one if one[name] != two[name]] == []


def test_scan_points_fall_on_the_pixels_that_see_them(city: City, scenes: list[Scene], tmp_path: Path) -> None:
    """Where four neighbouring pixels see the triangle that a point lies on, inverse depth is linear between them;
    there, through the written calibration, 99.9 % of the points agree with the picture's rays to 5 mm. Half a pixel
    beside, less than a third do."""
    spec = camera.camera_spec(0.25)
    T_map_base = drive_poses(city, MAP_PASS, 30.0)[1][5]
    points = lidar.sweep(scenes[0], QUIET, T_map_base, np.random.default_rng(0))[:, :3]
    own = seen_triangle(scenes[0], T_map_base @ spec.T_base_camera(), T_map_base @ QUIET.T_base_lidar(), points)
    write_calibration(tmp_path, spec.model, spec.T_base_camera(), QUIET.T_base_lidar())
    uv, depth = project(tmp_path, points)
    seen, triangle = depth_image(scenes[0], spec, T_map_base)

    def agreement(shift: float) -> float:
        (u, v), limit = (uv + shift).T, np.array([spec.model.width, spec.model.height]) - 2
        inside = (depth > 2) & (depth < 40) & (u >= 0) & (v >= 0) & (u < limit[0]) & (v < limit[1])
        u, v, z = u[inside], v[inside], depth[inside]
        i, j = v.astype(int), u.astype(int)
        corners = [(i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1)]
        flat = np.all([triangle[c] == own[inside] for c in corners], axis=0)
        assert flat.sum() > 300
        p, q = v - i, u - j
        weights = [(1 - p) * (1 - q), (1 - p) * q, p * (1 - q), p * q]
        inverse_depth = sum(w / seen[c] for w, c in zip(weights, corners, strict=True))
        return float((np.abs(1 / inverse_depth - z)[flat] < 5e-3).mean())

    assert agreement(0.0) > 0.999
    assert agreement(0.5) < 0.33


def seen_triangle(scene: Scene, T_map_camera: np.ndarray, T_map_lidar: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(n,) what a ray from the camera towards each point (sensor frame) ends on, -2 where that is not at the point."""
    toward = apply(T_map_lidar, points.astype(float)) - T_map_camera[:3, 3]
    far = np.linalg.norm(toward, axis=1)
    hits = scene.cast(np.broadcast_to(T_map_camera[:3, 3], toward.shape), toward / far[:, None])
    return np.where(np.abs(hits.distance - far) < 0.01, hits.triangle, -2)


def project(folder: Path, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 2) and depths (n,) of scan points, from the calibration files alone."""
    rig = dict(line.split(":", 1) for line in (folder / "calib_velo_to_cam.txt").read_text().splitlines())
    cams = dict(line.split(":", 1) for line in (folder / "calib_cam_to_cam.txt").read_text().splitlines())
    R, t = np.array(rig["R"].split(), float).reshape(3, 3), np.array(rig["T"].split(), float)
    P = np.array(cams["P_rect_02"].split(), float).reshape(3, 4)
    pixels = (points @ R.T + t) @ P[:, :3].T + P[:, 3]
    return pixels[:, :2] / pixels[:, 2:], pixels[:, 2]


def depth_image(scene: Scene, spec: camera.CameraSpec, T_map_base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Metres along the optical axis and triangle numbers, both (H, W), from the rays that colour the picture."""
    T = T_map_base @ spec.T_base_camera()
    rays = lens.pixel_rays(spec.model)
    hits = scene.cast(np.broadcast_to(T[:3, 3], rays.shape), rotate(T, rays))
    shape = spec.model.height, spec.model.width
    return (hits.distance * rays[:, 2]).reshape(shape), hits.triangle.reshape(shape)


def test_a_picture_changes_colour_where_its_depth_jumps(city: City, scenes: list[Scene]) -> None:
    spec = camera.camera_spec(0.25)
    T = drive_poses(city, QUERY_PASS, 30.0)[1][4]
    rgb = camera.picture(scenes[1], spec, light.daylight(np.random.default_rng(1)), T, np.random.default_rng(2))
    step = np.abs(np.diff(np.log(np.minimum(depth_image(scenes[1], spec, T)[0], 200)), axis=1))
    edge = np.abs(np.diff(rgb.astype(float), axis=1)).mean(2)
    assert edge[step > 0.3].mean() > 2 * edge[step < 0.02].mean()


def test_only_cars_differ_between_two_days(city: City, scenes: list[Scene]) -> None:
    n = len(city.static)
    first, second = (scene.soup for scene in scenes)
    assert np.array_equal(first.corners[:n], second.corners[:n])
    assert np.isin(first.material[n:], (CAR, SIGN)).all() and np.isin(second.material[n:], (CAR, SIGN)).all()
    assert first.corners[n:].tobytes() != second.corners[n:].tobytes()


def test_two_passes_measure_the_same_walls_at_the_same_place(drives: list[Path]) -> None:
    """Half of the later pass' points within 15 m lie within 0.25 m of one of the first pass (beams 1 degree apart)."""
    clouds = [[apply(pose, cloud[np.linalg.norm(cloud, axis=1) < 15]) for pose, cloud in pairs(d)] for d in drives]
    near = [cKDTree(a).query(b)[0] for a, b in zip(*clouds, strict=True)]
    assert np.median(np.concatenate(near)) < 0.25


def pairs(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """(T_map_lidar, points) of a drive's frames, from its files."""
    poses = np.loadtxt(folder / "poses_base.txt")
    out = []
    for row, path in zip(poses, sorted((folder / "velodyne_points/data").glob("*.bin")), strict=True):
        T = transform(row[1:4], row[4:]) @ QUIET.T_base_lidar()
        out.append((T, np.fromfile(path, np.float32).reshape(-1, 4)[:, :3].astype(float)))
    return out


def test_a_point_of_a_wall_is_seen_from_both_passes_to_the_millimetre(city: City, scenes: list[Scene]) -> None:
    """Rays from the other pass to what the first one met end there, or on something in between."""
    a, b = (drive_poses(city, p, 40.0)[1][1] @ QUIET.T_base_lidar() for p in (MAP_PASS, QUERY_PASS))
    rays = directions(np.linspace(-np.pi, np.pi, 900)[None], np.deg2rad([[-1.0], [1.0], [-4.0]])).reshape(-1, 3)
    rays = rotate(a, rays)
    hits = scenes[0].cast(np.broadcast_to(a[:3, 3], rays.shape), rays)
    wall = hits.met & (hits.triangle < len(city.static))
    target = a[:3, 3] + rays[wall] * hits.distance[wall, None]
    toward = target - b[:3, 3]
    far = np.linalg.norm(toward, axis=1)
    again = scenes[1].cast(np.broadcast_to(b[:3, 3], toward.shape), toward / far[:, None])
    same = again.triangle == hits.triangle[wall]
    assert same.mean() > 0.6
    assert np.abs(again.distance[same] - far[same]).max() < 5e-3


def test_nothing_stands_in_the_road(city: City) -> None:
    standing = city.static.corners[city.static.material != GROUND].reshape(-1, 3)
    low = standing[:, 2] - city.terrain.height(standing[:, 0], standing[:, 1]) < 2.5
    assert city.network.outside(standing[low][:, :2]).min() > -0.05


def test_a_kitti_reader_takes_both_drives(drives: list[Path]) -> None:
    for folder in drives:
        drive = read_raw(folder, folder / "poses_base.txt")
        assert len(drive.poses) == 4
        image = cv2.imread(str(folder / "image_02/data/0000000003.png"))
        assert image.shape == (round(375 * 0.15), round(1242 * 0.15), 3) and image.std() > 15
        scan = np.fromfile(folder / "velodyne_points/data/0000000003.bin", np.float32).reshape(-1, 4)
        assert 12_000 < len(scan) <= 64 * 360
        assert scan[:, 3].min() >= 0 and scan[:, 3].max() < 1
        for sensor in ("image_02", "velodyne_points", "oxts"):
            stamps = (folder / sensor / "timestamps.txt").read_text().splitlines()
            assert len(stamps) == 4 and len(stamps[0]) == len("2011-09-26 13:00:00.000000000")


def test_the_mercator_of_the_devkit_gives_the_poses_back_within_a_millimetre(drives: list[Path]) -> None:
    for folder in drives:
        rows = np.array([p.read_text().split() for p in sorted((folder / "oxts/data").glob("*.txt"))], float)
        assert rows.shape == (4, 30)
        scale = EARTH * np.cos(np.deg2rad(rows[0, 0]))
        east, north = scale * np.deg2rad(rows[:, 1]), scale * np.log(np.tan(np.pi * (90 + rows[:, 0]) / 360))
        T_base_imu = transform([-0.81, 0.32, 0.93])
        poses = np.loadtxt(folder / "poses_base.txt")
        truth = np.array([(transform(r[1:4], r[4:]) @ T_base_imu)[:3, 3] for r in poses])
        got = np.stack([east, north, rows[:, 2]], 1)
        assert np.abs((got - got[0]) - (truth - truth[0])).max() < 1e-3


def test_the_query_drives_the_same_way_a_little_to_the_side(city: City) -> None:
    a, b = (drive_poses(city, p, 10.0)[1] for p in (MAP_PASS, dataclasses.replace(QUERY_PASS, start=0.0)))
    aside = np.einsum("ni,ni->n", b[:, :3, 3] - a[:, :3, 3], a[:, :3, 1])
    assert aside.min() > 0.15 and aside.max() < 0.55
    back = drive_poses(city, DrivePass(reverse=True), 10.0)[1]
    assert (np.einsum("ni,ni->n", back[1:, :3, 0], np.diff(back[:, :3, 3], axis=0)) > 0).all()


# the HDL-64E's lasers do not sit in one point, so that near by their elevations look others from its origin
@pytest.mark.parametrize(("beams", "top"), [(32, 10.67), (16, 15.0)])
def test_beams_keep_to_their_elevations(city: City, scenes: list[Scene], beams: int, top: float) -> None:
    spec = dataclasses.replace(lidar.lidar_spec(beams, 2.0), range_noise=0.0)
    scan = lidar.sweep(scenes[0], spec, drive_poses(city, MAP_PASS, 50.0)[1][0], np.random.default_rng(0))
    elevation = np.rad2deg(np.arcsin(scan[:, 2] / np.linalg.norm(scan[:, :3], axis=1)))
    nearest = np.abs(elevation[:, None] - np.array(spec.elevations_deg)).min(1)
    assert len(spec.elevations_deg) == beams and max(spec.elevations_deg) == top
    assert nearest.max() < 0.01


def test_what_makes_no_street_is_refused_with_the_reason(tmp_path: Path, drives: list[Path]) -> None:
    with pytest.raises(ConfigError, match="no LiDAR of 48 beams"):
        synthesize(tmp_path, lidar=48)
    with pytest.raises(ConfigError, match="240 to 2000 m"):
        build_city(Recipe(length=50.0))
    with pytest.raises(ConfigError, match="seed -1"):
        build_city(Recipe(seed=-1))
    with pytest.raises(ConfigError, match="step_m"):
        synthesize(tmp_path, step_m=0.0)
    with pytest.raises(ConfigError, match="at least one of them"):
        synthesize(tmp_path, passes=[DrivePass(lidar=False, camera=False)])
    with pytest.raises(DataError, match="other arguments"):
        synthesize(drives[0].parents[1], **{**SMALL, "step_m": 30.0})


def test_a_stopped_run_is_finished_and_nothing_is_made_twice(tmp_path: Path) -> None:
    small = {**SMALL, "step_m": 120.0, "passes": [DrivePass()], "workers": 1}
    folder = synthesize(tmp_path / "once", **small).drives[0].folder
    whole = files(folder)
    kept, lost = folder / "image_02/data/0000000000.png", folder / "velodyne_points/data/0000000001.bin"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    synthesize(tmp_path / "once", **small)
    assert files(folder) == whole and kept.stat().st_mtime_ns == before


def test_the_clock_does_not_wait_where_frames_are_left_out() -> None:
    stamps = clock(np.array([10.0, 12.5, 15.0, 315.0, 317.5]), step_m=2.5, speed=5.0)
    assert stamps.tolist() == [0, 500_000_000, 1_000_000_000, 1_500_000_000, 2_000_000_000]


def test_frames_that_come_by_again_are_told_with_their_direction() -> None:
    """40 m out, 40 m back on the same road (opposite), then, after a detour, out again (same)."""
    x = np.r_[np.arange(0, 100, 5.0), np.arange(100, -5, -5.0), np.arange(-60, 100, 5.0)]
    heading = np.r_[np.zeros(20), np.full(21, np.pi), np.zeros(32)]
    poses = np.tile(np.eye(4), (len(x), 1, 1))
    poses[:, 0, 3], poses[:, 0, 0], poses[:, 1, 0] = x, np.cos(heading), np.sin(heading)
    seen = visits(poses, np.arange(len(x)) * 5.0)
    assert not seen.again[:20].any()
    assert seen.again[28:40].all() and seen.opposite[28:40].all()
    assert seen.again[54:].all() and not seen.opposite[54:].any()
    assert not seen.again[41:52].any()
