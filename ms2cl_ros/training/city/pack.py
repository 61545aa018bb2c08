# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training pairs from many cities, in the packed format that `training/data.py` reads.

What the camera sees today is paired with what the map keeps of another day: other parked cars and traffic, perhaps
another season, its own sweeps from nearby and views rendered from the sweeps of a pass in one lane only. Sweeps and
views go through the same code as on the robot. A shard holds one city and is written whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from ms2cl_ros.core.accumulation import Sighting, thin, without_carrier
from ms2cl_ros.core.config import SensorsConfig, SubmapsConfig
from ms2cl_ros.core.geometry import apply, lidar_view, rotation_z
from ms2cl_ros.core.projection import cut, render_ranges
from ms2cl_ros.core.types import AngularGrid, RangeImage
from ms2cl_ros.core.views import render_view
from ms2cl_ros.training.city.camera import CellCamera, camera_spec, shaken
from ms2cl_ros.training.city.city import City, build_city
from ms2cl_ros.training.city.drive import scene_at
from ms2cl_ros.training.city.lidar import LidarSpec, facing, lidar_spec, sweep
from ms2cl_ros.training.city.light import daylight
from ms2cl_ros.training.city.passes import DrivePass, drive_poses
from ms2cl_ros.training.city.recipe import DISTRICTS, SEASONS, Day, Recipe
from ms2cl_ros.training.city.scene import Scene

LIMITS, SUBMAPS = SensorsConfig(), SubmapsConfig()
MAP_STEP, REACH, SPEED = 2.0, 12.0, 8.0
# Where a map's view lies to the query: metres along and aside (either way), degrees (standard deviation).
ALONG, ASIDE, TURN_DEG = 1.25, 0.9, 2.0
# No sensor rack is level: radians that its front hangs down, mean and standard deviation from rack to rack.
NOD = 0.0095, 0.004
# A shot for every shot of the sensor near by, every second one where the map thins them out anyway.
TRUE_STEP_DEG, MAP_STEP_DEG = 0.1728, 0.25
WEATHERS, CHANCES = ("fair", "overcast", "low_sun", "fog", "rain"), (0.62, 0.16, 0.1, 0.05, 0.07)


@dataclass(frozen=True)
class Outing:
    """One city on two days: `today`'s camera asks, the `other` day's LiDAR has mapped."""

    recipe: Recipe
    today: Day
    other: Day


def outing(seed: int, length: float = 320.0, assets: tuple[str, ...] = ()) -> Outing:
    """A city of any district, tame or wild, and two days with other cars, light and sometimes another season."""
    rng = np.random.default_rng([seed, 11])
    wildness = float(rng.choice([0.0, 0.0, rng.uniform(0, 1), 1.0]))
    district, furnished = str(rng.choice(DISTRICTS)), assets if rng.random() < 0.6 else ()
    recipe = Recipe(seed, "block", length, 0.0, district, furnished, wildness)
    season = str(rng.choice(SEASONS))
    then = season if rng.random() < 0.7 else str(rng.choice(SEASONS))
    change, traffic = rng.uniform(0.2, 0.8), rng.uniform(0, 1.5, 2)
    return Outing(recipe, Day(0, season, str(rng.choice(WEATHERS, p=CHANCES)), change, traffic[0]),
                  Day(1, then, "fair", change, traffic[1]))


def city_pairs(plan: Outing, camera_grid: AngularGrid, lidar_grid: AngularGrid,
               spacing: float = 6.0) -> dict[str, np.ndarray]:
    """The pairs of one outing as arrays, keys as in `training/data.py`.

    The camera goes both ways, each time in its own lane, about 2 x length / spacing frames; the map's sweeps are taken
    one way only, every 2 m.
    """
    rng = np.random.default_rng([plan.recipe.seed, 12])
    city, lidar = build_city(plan.recipe), lidar_spec(64, MAP_STEP_DEG)
    before = DrivePass(lateral_offset=rng.normal(0, 0.3), day=plan.other, light=1)
    mapped = _mapped(city, before, lidar, lidar_grid, rng)
    places = np.array([s.T_map_base[:2, 3] for s in mapped])
    whole, nod = lidar_spec(64, TRUE_STEP_DEG), _nod(rng)
    near_only = facing(whole, lidar_grid)
    spec = camera_spec(0.5)
    eye = CellCamera(spec, camera_grid)
    out: dict[str, list] = {key: [] for key in ("img", "rng", "sweep", "view", "moved", "pose", "scene", "s")}
    for reverse in (False, True):
        drive = DrivePass(lateral_offset=rng.normal(0, 0.4), reverse=reverse, start=rng.uniform(0, spacing),
                          day=plan.today)
        light = daylight(rng, plan.today.weather, plan.today.season, plan.recipe.wildness)
        mounted = shaken(spec, rng, plan.recipe.wildness).T_base_camera()
        for s, T in zip(*drive_poses(city, drive, spacing), strict=True):
            T, scene, moved = T @ nod, scene_at(city, drive, T, s / SPEED), _moved(rng)
            around = np.argsort(np.linalg.norm(places - T[:2, 3], axis=1))
            chosen = _heard([mapped[i] for i in around if np.linalg.norm(places[i] - T[:2, 3]) < REACH], rng)
            T_view = T @ moved @ lidar.T_base_lidar()
            view = render_view(chosen, T_view, lidar_grid, SUBMAPS.voxel, LIMITS.min_range, LIMITS.max_range)
            out["img"].append(eye(scene, light, T, rng, mounted)[..., ::-1])
            out["rng"].append(cut(_swept(scene, near_only, lidar_grid, T, rng), 0.0, lidar_grid.columns).ranges)
            out["sweep"].append(_swept(scene_at(city, before, T, s / SPEED), whole, lidar_grid, T @ moved, rng).ranges)
            out["view"].append(view.ranges)
            out["moved"].append([*moved[:2, 3], np.arctan2(moved[1, 0], moved[0, 0])])
            out["pose"].append([*T[:2, 3], np.arctan2(T[1, 0], T[0, 0])])
            out["scene"].append(plan.recipe.seed)
            # the two directions see different things at one place: far apart, so that neither masks the other
            out["s"].append(s + 1e5 * reverse)
    kinds = {"rng": np.float16, "sweep": np.float16, "view": np.float16, "moved": np.float32, "pose": np.float32}
    return {key: np.array(values, kinds.get(key)) for key, values in out.items()}


def _moved(rng: np.random.Generator) -> np.ndarray:
    T = rotation_z(np.deg2rad(rng.normal(0, TURN_DEG)))
    T[:2, 3] = rng.uniform(-ALONG, ALONG), rng.uniform(-ASIDE, ASIDE)
    return T


def _nod(rng: np.random.Generator) -> np.ndarray:
    angle = rng.normal(*NOD)
    T = np.eye(4)
    T[[0, 0, 2, 2], [0, 2, 0, 2]] = np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)
    return T


def _mapped(city: City, drive: DrivePass, lidar: LidarSpec, grid: AngularGrid,
            rng: np.random.Generator) -> list[Sighting]:
    """What the mapper keeps of each sweep of a pass."""
    out, nod = [], _nod(rng)
    for s, on_road in zip(*drive_poses(city, drive, MAP_STEP), strict=True):
        T = on_road @ nod
        swept = sweep(scene_at(city, drive, T, s / SPEED), lidar, T, rng)[:, :3]
        points = apply(lidar.T_base_lidar(), swept)
        out.append(Sighting(T, lidar.T_base_lidar(), thin(without_carrier(points, SUBMAPS.carrier), SUBMAPS.voxel),
                            _panorama(swept, lidar, grid)))
    return out


def _heard(near: Sequence[Sighting], rng: np.random.Generator) -> list[Sighting]:
    """Sweeps nearest first, in half of the cases without those nearest by, each knowing what the others say of it."""
    skip = int(rng.integers(1, 3)) if rng.random() < 0.5 and len(near) > 6 else 0
    for a in near:
        for b in near:
            a.hear(b)
    return list(near[skip:])


def _panorama(points: np.ndarray, lidar: LidarSpec, grid: AngularGrid) -> RangeImage:
    view = apply(lidar_view(lidar.T_base_lidar()), points)
    return render_ranges(view, grid.panorama(), LIMITS.min_range, LIMITS.max_range)


def _swept(scene: Scene, lidar: LidarSpec, grid: AngularGrid, T: np.ndarray, rng: np.random.Generator) -> RangeImage:
    return _panorama(sweep(scene, lidar, T, rng)[:, :3], lidar, grid)


@dataclass(frozen=True)
class _Task:
    path: Path
    plan: Outing
    camera_grid: AngularGrid
    lidar_grid: AngularGrid
    spacing: float


def _write(task: _Task) -> int:
    """Writes a shard, unless it is there; returns how many pairs are new."""
    if task.path.exists():
        return 0
    cv2.setNumThreads(1)
    pairs = city_pairs(task.plan, task.camera_grid, task.lidar_grid, task.spacing)
    unfinished = task.path.with_suffix(f".{os.getpid()}.part")
    with open(unfinished, "wb") as f:
        np.savez(f, **pairs)  # type: ignore[arg-type]
    unfinished.rename(task.path)
    return len(pairs["s"])


def pack(out: Path, first_seed: int, cities: int, camera_grid: AngularGrid, lidar_grid: AngularGrid, *,
         length: float = 320.0, spacing: float = 6.0, assets: tuple[str, ...] = (), workers: int | None = None,
         progress: Callable[[int, int], None] | None = None) -> int:
    """Writes one shard `city_SEED.npz` a city, on all cores; those that are there are left as they are.

    Returns how many pairs are new. `workers`: processes (spawned; default: one a core), 1 for none.
    """
    out.mkdir(parents=True, exist_ok=True)
    for unfinished in out.glob("*.part"):
        unfinished.unlink()
    tasks = [_Task(out / f"city_{seed}.npz", outing(seed, length, assets), camera_grid, lidar_grid, spacing)
             for seed in range(first_seed, first_seed + cities)]
    pairs = 0
    for done, new in enumerate(_each(tasks, workers or os.cpu_count() or 1), 1):
        pairs += new
        if progress:
            progress(done, cities)
    return pairs


def _each(tasks: Sequence[_Task], workers: int) -> Iterator[int]:
    if workers == 1:
        yield from map(_write, tasks)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write, tasks)
