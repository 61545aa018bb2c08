# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drives through a street, written as KITTI raw recordings: one maps with the LiDAR, another asks with the camera."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.training.city import kitti_files
from ms2cl_ros.training.city.camera import CameraSpec, camera_spec, daylight, picture
from ms2cl_ros.training.city.lidar import LidarSpec, lidar_spec, sweep
from ms2cl_ros.training.city.scene import Scene
from ms2cl_ros.training.city.soup import merge
from ms2cl_ros.training.city.street import Street, build_street, parked

PAUSE_NS = 600 * 10**9


@dataclass(frozen=True)
class DrivePass:
    """Once round the block.

    `lateral_offset`: metres to the left of the lane's middle, as the driver sees it. `oncoming_lane`: drive on the
    wrong side. `reverse`: the other way round. `start`: metres along the route. `day`: whose parked cars stand there;
    `light`: whose sun and exposure.
    """

    lidar: bool = True
    camera: bool = True
    lateral_offset: float = 0.0
    oncoming_lane: bool = False
    reverse: bool = False
    start: float = 0.0
    day: int = 0
    light: int = 0


MAP_PASS = DrivePass(camera=False)
QUERY_PASS = DrivePass(lidar=False, lateral_offset=0.35, start=1.1, day=1, light=1)


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
    """What `synthesize` wrote. `length`: metres round the block; `seconds`: wall time."""

    drives: tuple[Drive, ...]
    seed: int
    length: float
    seconds: float


@dataclass(frozen=True)
class _Job:
    """All that a worker needs to know."""

    out: Path
    seed: int
    length: float
    passes: tuple[DrivePass, ...]
    step_m: float
    car_change: float
    camera: CameraSpec
    lidar: LidarSpec


def synthesize(
    out: Path,
    *,
    seed: int = 1,
    passes: Sequence[DrivePass] = (MAP_PASS, QUERY_PASS),
    length: float = 400.0,
    step_m: float = 2.5,
    speed: float = 8.0,
    image_scale: float = 0.5,
    beams: int = 64,
    azimuth_step_deg: float = 0.35,
    car_change: float = 0.3,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Drives round the block of `seed` once per pass and writes a KITTI raw drive for each below `out`.

    A frame every `step_m` metres at `speed` metres a second; images of `image_scale` x 1242 x 375 pixels; `car_change`:
    share of the parking bays that differ between days. `workers`: processes (default: one a core; they are spawned, so
    a script calls this below `if __name__ == "__main__"`), 1 for none. `progress(done, frames)` is called after each.
    The same arguments write the same bytes, whatever `workers`.
    Raises ConfigError for values that make no drive, DataError where `out` already holds drives.
    """
    began = time.perf_counter()
    job = _Job(
        Path(out),
        seed,
        length,
        tuple(passes),
        step_m,
        car_change,
        camera_spec(image_scale),
        lidar_spec(beams, azimuth_step_deg),
    )
    _check(job, speed)
    street = _street(seed, length)
    T_base_lidar = job.lidar.T_base_lidar()
    date = job.out / kitti_files.DATE
    date.mkdir(parents=True, exist_ok=True)
    kitti_files.write_calibration(date, job.camera.model, job.camera.T_base_camera(), T_base_lidar)
    frames, drives = [], []
    for k, p in enumerate(job.passes):
        s, poses = drive_poses(street, p, step_m)
        stamps = kitti_files.START_NS + k * PAUSE_NS + np.round(s * 1e9 / speed).astype(np.int64)
        sensors = tuple(n for n, on in zip(kitti_files.SENSORS, (p.camera, p.lidar, True), strict=True) if on)
        kitti_files.write_drive(_folder(job, k), stamps, poses, T_base_lidar, sensors)
        frames += [(job, k, i) for i in range(len(s))]
        drives.append(Drive(_folder(job, k), len(s), len(s) * p.lidar, len(s) * p.camera, float(s[-1])))
    for done, _ in enumerate(_run(frames, workers), 1):
        if progress:
            progress(done, len(frames))
    return Summary(tuple(drives), seed, street.route.length, time.perf_counter() - began)


def drive_poses(street: Street, drive: DrivePass, step_m: float) -> tuple[np.ndarray, np.ndarray]:
    """(n,) metres driven and (n, 4, 4) `T_map_base` of one lap, weaving in its lane, rocking on its springs."""
    rng = np.random.default_rng([street.seed, 5, drive.day, drive.light, int(drive.reverse)])
    travelled = np.arange(0.0, street.route.length, step_m)
    way, phase, wave = (-1.0 if drive.reverse else 1.0), rng.uniform(0, 2 * np.pi, 4), rng.uniform(14, 45, 4)
    poses = np.tile(np.eye(4), (len(travelled), 1, 1))

    def swing(k: int, amplitude: float) -> np.ndarray:
        return amplitude * np.sin(2 * np.pi * travelled / wave[k] + phase[k])

    lane = street.half_width / 2 * (1.0 if drive.oncoming_lane else -1.0) + drive.lateral_offset
    left = lane + swing(0, 0.08)
    x, y, heading = street.route.at(drive.start + way * travelled, way * left)
    drift = np.gradient(left, travelled) if len(travelled) > 1 else 0.0
    heading = heading + (np.pi if drive.reverse else 0.0) + drift
    for k, T in enumerate(poses):
        T[:3, :3] = _on_ground(street, x[k], y[k], heading[k]) @ cv2.Rodrigues(np.array([0, swing(1, 0.003)[k], 0]))[0]
        T[:3, :3] = T[:3, :3] @ cv2.Rodrigues(np.array([swing(2, 0.003)[k], 0, 0]))[0]
        T[:3, 3] = x[k], y[k], street.terrain.height(x[k], y[k])
    return travelled, poses


def _on_ground(street: Street, x: float, y: float, heading: float) -> np.ndarray:
    """(3, 3) axes of a base that stands on the slope."""
    gx, gy = street.terrain.gradient(x, y)
    up = np.array([-gx, -gy, 1.0]) / np.sqrt(1 + gx * gx + gy * gy)
    forward = np.array([np.cos(heading), np.sin(heading), gx * np.cos(heading) + gy * np.sin(heading)])
    forward /= np.linalg.norm(forward)
    return np.stack([forward, np.cross(up, forward), up], 1)


def _check(job: _Job, speed: float) -> None:
    if not job.passes or not all(p.lidar or p.camera for p in job.passes):
        raise ConfigError("a street wants at least one pass, and each pass a LiDAR, a camera or both")
    if job.step_m <= 0 or speed <= 0 or not 0 <= job.car_change <= 1:
        raise ConfigError(
            f"step_m ({job.step_m}) and speed ({speed}) must be positive, car_change ({job.car_change}) from 0 to 1"
        )
    for k in range(len(job.passes)):
        if _folder(job, k).exists():
            raise DataError(f"{_folder(job, k)} already exists; remove it or choose another folder")


def _folder(job: _Job, k: int) -> Path:
    return job.out / kitti_files.DATE / kitti_files.drive_name(k + 1)


def _run(frames: list[tuple[_Job, int, int]], workers: int | None):  # type: ignore[no-untyped-def]
    """Writes all frames, yielding after each; in this process, or in spawned ones."""
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield from map(_frame, frames)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        yield from pool.map(_frame, frames, chunksize=2)


@lru_cache(maxsize=1)
def _street(seed: int, length: float) -> Street:
    return build_street(seed, length)


@lru_cache(maxsize=2)
def _scene(seed: int, length: float, day: int, car_change: float) -> Scene:
    """The street with a day's cars, ready to be traced; each process keeps the last two."""
    street = _street(seed, length)
    return Scene(merge([street.static, parked(street, day, car_change)]), street.textures)


def _frame(item: tuple[_Job, int, int]) -> None:
    """Writes one frame's scan and image."""
    job, k, i = item
    p, folder = job.passes[k], _folder(job, k)
    scene = _scene(job.seed, job.length, p.day, job.car_change)
    T = drive_poses(_street(job.seed, job.length), p, job.step_m)[1][i]
    rng = np.random.default_rng([job.seed, 6, k, i])
    if p.lidar:
        (folder / "velodyne_points" / "data" / f"{i:010d}.bin").write_bytes(sweep(scene, job.lidar, T, rng).tobytes())
    if p.camera:
        image = picture(scene, job.camera, daylight(np.random.default_rng([job.seed, 7, p.light])), T, rng)
        ok, png = cv2.imencode(".png", image[..., ::-1])
        if not ok:
            raise DataError(f"OpenCV could not encode the image of frame {i} of {folder.name} as PNG")
        (folder / "image_02" / "data" / f"{i:010d}.png").write_bytes(png.tobytes())
