# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drives through a city, written as KITTI raw recordings: one maps with the LiDAR, another asks with the camera."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.training.city import kitti_files
from ms2cl_ros.training.city.camera import CameraSpec, camera_spec, picture
from ms2cl_ros.training.city.city import City, build_city, movers
from ms2cl_ros.training.city.lidar import LidarSpec, lidar_spec, sweep
from ms2cl_ros.training.city.light import daylight
from ms2cl_ros.training.city.passes import MAP_PASS, QUERY_PASS, DrivePass, drive_poses
from ms2cl_ros.training.city.recipe import Recipe
from ms2cl_ros.training.city.scene import Scene

PAUSE_NS = 600 * 10**9
RECIPE = "recipe.json"


@dataclass(frozen=True)
class Drive:
    """A written drive. `metres`: driven from the first frame to the last."""

    folder: Path
    frames: int
    scans: int
    images: int
    metres: float


@dataclass(frozen=True)
class Summary:
    """What `synthesize` wrote. `length`: metres of the route; `seconds`: wall time."""

    drives: tuple[Drive, ...]
    recipe: Recipe
    length: float
    seconds: float


@dataclass(frozen=True)
class _Job:
    """All that a worker needs to know."""

    out: Path
    recipe: Recipe
    passes: tuple[DrivePass, ...]
    step_m: float
    speed: float
    camera: CameraSpec
    lidar: LidarSpec


def synthesize(
    out: Path,
    recipe: Recipe = Recipe(),
    *,
    passes: Sequence[DrivePass] = (MAP_PASS, QUERY_PASS),
    step_m: float = 2.5,
    speed: float = 8.0,
    image_scale: float = 0.5,
    lidar: int | str = 64,
    azimuth_step_deg: float = 0.35,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Drives along the route of a city once per pass and writes a KITTI raw drive for each below `out`.

    A frame every `step_m` metres at `speed` metres a second; images of `image_scale` x 1242 x 375 pixels; `lidar`: see
    `lidar_spec`. `workers`: processes (default: one a core; they are spawned, so a script calls this below
    `if __name__ == "__main__"`), 1 for none. `progress(done, frames)` is called after each frame.
    The same arguments write the same bytes, whatever `workers`. Called again after it was stopped, it writes what is
    missing. Raises ConfigError for values that make no drive, DataError where `out` holds drives of other arguments.
    """
    began = time.perf_counter()
    if step_m <= 0 or speed <= 0 or not passes:
        raise ConfigError(f"step_m ({step_m}) and speed ({speed}) must be positive, and there must be a pass")
    for p in passes:
        p.check()
    job = _Job(Path(out), recipe, tuple(passes), step_m, speed, camera_spec(image_scale),
               lidar_spec(lidar, azimuth_step_deg))
    _claim(job)
    city = _city(recipe)
    frames, drives = [], []
    for k, p in enumerate(job.passes):
        folder, (s, poses) = _folder(job, k), drive_poses(city, p, step_m)
        if len(s) < 2:
            raise ConfigError(f"pass {k + 1} has {len(s)} frames on a route of {city.route.length:.0f} m; it wants two")
        stamps = kitti_files.START_NS + k * PAUSE_NS + clock(s, step_m, speed)
        sensors = tuple(n for n, on in zip(kitti_files.SENSORS, (p.camera, p.lidar, True), strict=True) if on)
        kitti_files.write_drive(folder, stamps, poses, job.lidar.T_base_lidar(), sensors)
        frames += [(job, k, i) for i in range(len(s))]
        drives.append(Drive(folder, len(s), len(s) * p.lidar, len(s) * p.camera, float(s[-1] - s[0])))
    for done, _ in enumerate(_run(frames, workers), 1):
        if progress:
            progress(done, len(frames))
    return Summary(tuple(drives), recipe, city.route.length, time.perf_counter() - began)


def clock(travelled: np.ndarray, step_m: float, speed: float) -> np.ndarray:
    """(n,) int64 nanoseconds since the first frame; stretches that are left out take as long as a frame's step."""
    driven = np.minimum(np.diff(travelled, prepend=travelled[0]), step_m)
    return np.round(np.cumsum(driven) * 1e9 / speed).astype(np.int64)


def _claim(job: _Job) -> None:
    """Writes calibration and recipe, or finds them to be those of a run that was stopped."""
    date = job.out / kitti_files.DATE
    tree = {"recipe": asdict(job.recipe), "passes": [asdict(p) for p in job.passes], "step_m": job.step_m,
            "speed": job.speed, "image": [job.camera.model.width, job.camera.model.height],
            "lidar": repr(job.lidar)}
    text = json.dumps(tree, indent=2) + "\n"
    path = job.out / RECIPE
    if path.exists() and path.read_text() != text:
        raise DataError(f"{path} says that {job.out} holds drives made with other arguments; remove it or choose "
                        "another folder")
    if not path.exists() and date.exists():
        raise DataError(f"{date} already exists and was not made here; choose another folder")
    date.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    kitti_files.write_calibration(date, job.camera.model, job.camera.T_base_camera(), job.lidar.T_base_lidar())


def _folder(job: _Job, k: int) -> Path:
    return job.out / kitti_files.DATE / kitti_files.drive_name(k + 1)


def _run(frames: list[tuple[_Job, int, int]], workers: int | None) -> Iterator[None]:
    """Writes all frames, yielding after each; in this process, or in spawned ones."""
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from map(_frame, frames)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        yield from pool.map(_frame, frames, chunksize=8)


@lru_cache(maxsize=1)
def _city(recipe: Recipe) -> City:
    return build_city(recipe)


@lru_cache(maxsize=2)
def _poses(recipe: Recipe, drive: DrivePass, step_m: float) -> tuple[np.ndarray, np.ndarray]:
    return drive_poses(_city(recipe), drive, step_m)


def scene_at(city: City, drive: DrivePass, T_map_base: np.ndarray, seconds: float) -> Scene:
    """What stands and moves around a place so many seconds into a pass."""
    near = float(T_map_base[0, 3]), float(T_map_base[1, 3])
    moving = movers(city, drive.day, seconds, near)
    scene = city.scene(drive.day, near)
    return scene.with_movers(moving) if len(moving) else scene


def _frame(item: tuple[_Job, int, int]) -> None:
    """Writes one frame's scan and image, unless they are there."""
    job, k, i = item
    p, folder, seed = job.passes[k], _folder(job, k), job.recipe.seed
    scan = folder / "velodyne_points" / "data" / f"{i:010d}.bin"
    photo = folder / "image_02" / "data" / f"{i:010d}.png"
    if (scan.exists() or not p.lidar) and (photo.exists() or not p.camera):
        return
    s, poses = _poses(job.recipe, p, job.step_m)
    T, city = poses[i], _city(job.recipe)
    light = daylight(np.random.default_rng([seed, 7, p.light]), p.day.weather, p.day.season, job.recipe.wildness)
    scene, rng = scene_at(city, p, T, s[i] / job.speed), np.random.default_rng([seed, 6, k, i])
    if p.lidar:
        _write(scan, sweep(scene, job.lidar, T, rng, air=light.air).tobytes())
    if p.camera:
        image = picture(scene, job.camera, light, T, rng)
        ok, png = cv2.imencode(".png", image[..., ::-1])
        if not ok:
            raise DataError(f"OpenCV could not encode the image of frame {i} of {folder.name} as PNG")
        _write(photo, png.tobytes())


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, so that a stopped run leaves no half file behind."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.rename(path)
