# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training pairs from many streets, in the packed format that `training/data.py` reads.

Image and sweeps go through the same projection as on the robot. The second sweep of a pair belongs to another day:
other parked cars, a little along, aside and turned, as a map's submap lies to a query.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ms2cl_ros.core.geometry import apply, camera_view, lidar_view, rotation_z
from ms2cl_ros.core.projection import CameraView, cut, render_ranges
from ms2cl_ros.core.sidecar import CameraInput
from ms2cl_ros.core.types import AngularGrid
from ms2cl_ros.training.city.camera import CameraSpec, camera_spec, daylight, picture
from ms2cl_ros.training.city.drive import DrivePass, drive_poses
from ms2cl_ros.training.city.lidar import LidarSpec, lidar_spec, sweep
from ms2cl_ros.training.city.scene import Scene
from ms2cl_ros.training.city.soup import merge
from ms2cl_ros.training.city.street import build_street, parked

RANGES = (1.5, 120.0)
# Where a map's sweep lies to the query's: metres along (either way), metres aside and degrees (standard deviations).
ALONG, ASIDE, TURN_DEG = 2.0, 0.5, 2.0


def street_pairs(seed: int, camera_grid: AngularGrid, lidar_grid: AngularGrid, spacing: float = 6.0,
                 length: float = 320.0) -> dict[str, np.ndarray]:
    """The pairs of one street as arrays `img`, `rng`, `rng2`, `scene`, `s` (see `training/data.py`).

    Both directions and both lanes are driven in turns, so that one street gives about 2 x length / spacing pairs.
    """
    rng = np.random.default_rng([seed, 11])
    street = build_street(seed, length)
    today, other = (Scene(merge([street.static, parked(street, day, 0.5)]), street.textures) for day in (0, 1))
    camera, lidar = camera_spec(0.5), lidar_spec(64, 0.3)
    spec = CameraInput("", "", "angular_grid", camera_grid, (camera_grid.rows, camera_grid.columns),
                       ("red", "green", "blue"), (0.0,) * 3, (1.0,) * 3)
    view = CameraView(camera.model, camera_view(camera.T_base_camera())[0], spec)
    out: dict[str, list] = {key: [] for key in ("img", "rng", "rng2", "scene", "s")}
    for reverse in (False, True):
        drive = DrivePass(lateral_offset=rng.normal(0, 0.4), reverse=reverse, start=rng.uniform(0, spacing))
        light = daylight(rng)
        travelled, poses = drive_poses(street, drive, spacing)
        for s, T in zip(travelled, poses):
            T_other = T @ _moved(rng)
            out["img"].append(_image(today, camera, view, light, T, rng))
            out["rng"].append(_ranges(today, lidar, lidar_grid, T, rng))
            out["rng2"].append(_ranges(other, lidar, lidar_grid, T_other, rng))
            out["scene"].append(seed)
            # the two directions see different things at one place: far apart, so that neither masks the other
            out["s"].append(s + 1e5 * reverse)
    return {key: np.array(values) for key, values in out.items()}


def _moved(rng: np.random.Generator) -> np.ndarray:
    T = rotation_z(np.deg2rad(rng.normal(0, TURN_DEG)))
    T[:2, 3] = rng.uniform(-ALONG, ALONG), rng.normal(0, ASIDE)
    return T


def _image(scene: Scene, camera: CameraSpec, view: CameraView, light: object, T: np.ndarray,
           rng: np.random.Generator) -> np.ndarray:
    """(rows, columns, 3) uint8, blue first, on the camera grid."""
    rgb, _ = view(picture(scene, camera, light, T, rng))  # type: ignore[arg-type]
    return rgb[..., ::-1]


def _ranges(scene: Scene, lidar: LidarSpec, grid: AngularGrid, T: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    points = sweep(scene, lidar, T, rng)[:, :3]
    panorama = render_ranges(apply(lidar_view(lidar.T_base_lidar()), points), grid.panorama(), *RANGES)
    return cut(panorama, 0.0, grid.columns).ranges.astype(np.float16)


def pack(out: Path, first_seed: int, streets: int, camera_grid: AngularGrid, lidar_grid: AngularGrid,
         progress: Callable[[int, int], None] | None = None) -> None:
    """Writes one shard `street_SEED.npz` a street; those that are there already are left as they are."""
    cv2.setNumThreads(1)
    out.mkdir(parents=True, exist_ok=True)
    for k, seed in enumerate(range(first_seed, first_seed + streets)):
        path = out / f"street_{seed}.npz"
        if not path.exists():
            unfinished = path.with_suffix(".part")
            with open(unfinished, "wb") as f:
                np.savez(f, **street_pairs(seed, camera_grid, lidar_grid))
            unfinished.rename(path)
        if progress:
            progress(k + 1, streets)
