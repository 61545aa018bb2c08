# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Streets for the question how far from a map's views a place is still found: pictures, and turns made beside them.

Every few metres of a street a picture is taken, on a day of another season with other light and other cars than when
the map was made; around it the map's day is swept, and rendered from the sweeps of a mapping pass, from other poses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ms2cl_ros.core.accumulation import Sighting, thin, without_carrier
from ms2cl_ros.core.config import SensorsConfig, SubmapsConfig
from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.geometry import apply, camera_view, lidar_view, transform
from ms2cl_ros.core.projection import CameraView, render_ranges
from ms2cl_ros.core.sidecar import CameraInput
from ms2cl_ros.core.types import AngularGrid, RangeImage
from ms2cl_ros.core.views import render_view
from ms2cl_ros.training.city.camera import camera_spec, picture
from ms2cl_ros.training.city.city import build_city
from ms2cl_ros.training.city.drive import scene_at
from ms2cl_ros.training.city.lidar import LidarSpec, lidar_spec, sweep
from ms2cl_ros.training.city.light import daylight
from ms2cl_ros.training.city.passes import DrivePass, drive_poses
from ms2cl_ros.training.city.recipe import DISTRICTS, SEASONS, Day, Recipe
from ms2cl_ros.training.city.routes import SHORTEST

# Training takes its cities from below.
FIRST_SEED = 900_000
# Metres between pictures: more than twice the largest offset, so that each picture's own view is the nearest.
SPACING, MAP_STEP, SPEED, REACH = 12.0, 2.0, 8.0, 12.0
TRUE_STEP_DEG, MAP_STEP_DEG = 0.1728, 0.25
LIMITS, SUBMAPS = SensorsConfig(), SubmapsConfig()
WEATHERS = ("fair", "overcast", "low_sun")
CAR_CHANGE = 0.5
# No sensor rack is level: radians that its front hangs down.
NOD = 0.0095


@dataclass(frozen=True)
class Condition:
    """Where the map's view lies to the picture: metres `along` (ahead of every other picture, behind the rest) and
    `aside` (to the left, towards the other lane), degrees by which it looks to the left of the camera."""

    name: str
    along: float = 0.0
    aside: float = 0.0
    turn_deg: float = 0.0


CONDITIONS = (Condition("same pose"), Condition("1 m along", 1.0), Condition("2.5 m along", 2.5),
              Condition("5 m along", 5.0), Condition("0.9 m aside", 0.0, 0.9), Condition("1.75 m aside", 0.0, 1.75),
              Condition("3.5 m aside", 0.0, 3.5), Condition("2.5 deg", turn_deg=2.5), Condition("5 deg", turn_deg=5.0),
              Condition("10 deg", turn_deg=10.0), Condition("1.25 m, 0.9 m, 2 deg", 1.25, 0.9, 2.0))


def places(conditions: Sequence[Condition] = CONDITIONS) -> list[tuple[float, float]]:
    """Where views have to be made: those conditions that differ in heading alone share one."""
    return list(dict.fromkeys((c.along, c.aside) for c in conditions))


@dataclass(frozen=True)
class Street:
    """n pictures of one street and what maps hold around them. `rgb`: (n, rows, columns, 3) uint8 and `valid`:
    (n, rows, columns) bool on the camera's grid; `poses`: (n, 4, 4) `T_map_base`; `heading`: () radians, where the
    camera looks. Whole turns, float16 metres: `own` (n, rows, turn), swept at the picture's pose and day; `sweeps` and
    `views` (n, places, rows, turn)."""

    rgb: np.ndarray
    valid: np.ndarray
    poses: np.ndarray
    heading: np.ndarray
    own: np.ndarray
    sweeps: np.ndarray
    views: np.ndarray


@dataclass(frozen=True)
class Task:
    """One street to be made, with so many `pictures`. `number`: picks district, seasons and weather in turn."""

    seed: int
    number: int
    pictures: int
    assets: tuple[str, ...]
    camera: CameraInput
    lidar: AngularGrid


def beside(T_map_base: np.ndarray, number: int, along: float, aside: float) -> np.ndarray:
    """`T_map_base` of the view of the picture of a number, so many metres along, or back, and aside."""
    return T_map_base @ transform([along * (-1) ** number, aside, 0.0])


def make_street(task: Task) -> Street:
    """Ray-casts a street: the map's pass on one day, pictures and their offsets on another."""
    k = task.number
    length = max(SHORTEST, SPACING * task.pictures)
    city = build_city(Recipe(task.seed, "block", length, 0.0, DISTRICTS[k % len(DISTRICTS)], task.assets))
    mapping = DrivePass(day=Day(0, SEASONS[(k + 1) % 4], "fair", CAR_CHANGE))
    asking = DrivePass(day=Day(1, SEASONS[k % 4], WEATHERS[k % len(WEATHERS)], CAR_CHANGE), light=1, start=SPACING / 4)
    rng, true = np.random.default_rng([task.seed, 21]), lidar_spec(64, TRUE_STEP_DEG)
    light = daylight(np.random.default_rng([task.seed, 7, 1]), asking.day.weather, asking.day.season)
    stations = [v[:task.pictures] for v in drive_poses(city, asking, SPACING)]
    camera, mapped = camera_spec(0.5), _mapped(city, mapping, task.lidar, stations[1], rng)
    T_view_camera, heading = camera_view(camera.T_base_camera())
    look = CameraView(camera.model, T_view_camera, task.camera)
    out: dict[str, list[np.ndarray]] = {key: [] for key in ("rgb", "valid", "own", "sweeps", "views")}
    for i, (s, T) in enumerate(zip(*stations, strict=True)):
        now, then = scene_at(city, asking, T, s / SPEED), scene_at(city, mapping, T, s / SPEED)
        around = [beside(T, i, *place) @ _nod() for place in places()]
        T = T @ _nod()
        rgb, valid = look(picture(now, camera, light, T, rng))
        out["rgb"].append(rgb)
        out["valid"].append(valid)
        out["own"].append(_swept(now, true, task.lidar, T, rng).ranges)
        out["sweeps"].append(np.stack([_swept(then, true, task.lidar, A, rng).ranges for A in around]))
        out["views"].append(np.stack([_rendered(mapped, A, true, task.lidar).ranges for A in around]))
    half = {key: np.stack(out[key]).astype(np.float16) for key in ("own", "sweeps", "views")}
    return Street(np.stack(out["rgb"]), np.stack(out["valid"]), np.stack(stations[1]), np.array(heading), **half)


def _nod() -> np.ndarray:
    T = np.eye(4)
    T[[0, 0, 2, 2], [0, 2, 0, 2]] = np.cos(NOD), np.sin(NOD), -np.sin(NOD), np.cos(NOD)
    return T


def _swept(scene: Any, lidar: LidarSpec, grid: AngularGrid, T: np.ndarray, rng: np.random.Generator) -> RangeImage:
    return _panorama(sweep(scene, lidar, T, rng)[:, :3], lidar, grid)


def _panorama(points: np.ndarray, lidar: LidarSpec, grid: AngularGrid) -> RangeImage:
    view = apply(lidar_view(lidar.T_base_lidar()), points)
    return render_ranges(view, grid.panorama(), LIMITS.min_range, LIMITS.max_range)


def _mapped(city: Any, drive: DrivePass, grid: AngularGrid, stations: np.ndarray,
            rng: np.random.Generator) -> list[Sighting]:
    """What a mapper keeps of the sweeps of a pass, as far as they tell of (n, 4, 4) stations."""
    out, lidar = [], lidar_spec(64, MAP_STEP_DEG)
    for s, on_road in zip(*drive_poses(city, drive, MAP_STEP), strict=True):
        T = on_road @ _nod()
        if np.linalg.norm(stations[:, :2, 3] - T[:2, 3], axis=1).min() > 2 * REACH:
            continue
        swept = sweep(scene_at(city, drive, T, s / SPEED), lidar, T, rng)[:, :3]
        points = thin(without_carrier(apply(lidar.T_base_lidar(), swept), SUBMAPS.carrier), SUBMAPS.voxel)
        out.append(Sighting(T, lidar.T_base_lidar(), points, _panorama(swept, lidar, grid)))
    return out


def _rendered(mapped: Sequence[Sighting], T: np.ndarray, lidar: LidarSpec, grid: AngularGrid) -> RangeImage:
    near = [m for m in mapped if np.linalg.norm(m.T_map_base[:2, 3] - T[:2, 3]) < REACH]
    for a in near:
        for b in near:
            a.hear(b)
    return render_view(near, T @ transform([*lidar.T_base_lidar()[:3, 3]]), grid, SUBMAPS.voxel, LIMITS.min_range,
                       LIMITS.max_range)


def streets(seeds: Sequence[int], pictures: int, camera: CameraInput, lidar: AngularGrid, assets: tuple[str, ...] = (),
            workers: int = 1, cache: Path | None = None,
            progress: Callable[[int, int], None] | None = None) -> list[Street]:
    """Streets with so many pictures each, made in `workers` processes; `cache`: a folder that keeps what was made.

    Raises ConfigError for seeds below FIRST_SEED, which training may have seen.
    """
    if not seeds or min(seeds) < FIRST_SEED:
        raise ConfigError(f"seeds {list(seeds)}: cities from {FIRST_SEED} on are kept from training; name some of them")
    tasks = [Task(seed, k, pictures, assets, camera, lidar) for k, seed in enumerate(seeds)]
    made: dict[int, Street] = {t.seed: kept for t in tasks if (kept := _kept(cache, t))}
    left = [t for t in tasks if t.seed not in made]
    run = map(_made, left) if workers == 1 else _pooled(left, workers)
    for task, street in zip(left, run):
        made[task.seed] = street
        if cache is not None:
            _keep(cache, task, street)
        if progress:
            progress(len(made), len(tasks))
    return [made[seed] for seed in seeds]


def _made(task: Task) -> Street:
    cv2.setNumThreads(1)
    return make_street(task)


def _pooled(tasks: Sequence[Task], workers: int) -> Any:
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_made, tasks)


def _path(cache: Path, task: Task) -> Path:
    grids = [f"{v:g}" for grid in (task.camera.grid, task.lidar) if grid for v in astuple(grid)]
    furnished = "furnished" if task.assets else "plain"
    return cache / f"posed_street_{task.seed}_{task.number}_{task.pictures}_{furnished}_{'_'.join(grids)}.npz"


def _kept(cache: Path | None, task: Task) -> Street | None:
    if cache is None or not _path(cache, task).is_file():
        return None
    with np.load(_path(cache, task)) as z:
        return Street(**z)


def _keep(cache: Path, task: Task, street: Street) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    part = _path(cache, task).with_suffix(".part")
    with open(part, "wb") as f:
        np.savez(f, **vars(street))
    part.rename(_path(cache, task))
