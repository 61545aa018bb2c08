# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded drives in the compact layout, and what they look like on a model's grids.

A drive is a folder with drive.yaml (camera matrix K, T_cam_lidar), frames.csv (index, pose of the LiDAR),
image/N.webp and scan/N.xz. The base is the LiDAR, level as it is mounted.
"""

from __future__ import annotations

import csv
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ms2cl_ros.core import geometry, projection
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.sidecar import CameraInput
from ms2cl_ros.core.types import AngularGrid, CameraModel, RangeImage

MIN_RANGE, MAX_RANGE = 1.5, 120.0
AZIMUTH_STEP, ELEVATION_STEP, RANGE_STEP = np.deg2rad(0.01), np.deg2rad(0.02), 0.01


@dataclass(frozen=True)
class Frame:
    """A pair on the grids. `rgb`: (rows, columns, 3) uint8, `valid`: (rows, columns) bool, `panorama`: the scan's whole
    turn, `heading`: radians, where the camera looks, `position`: (3,) metres in the drive's own map, `points`: (N, 3)
    float32 metres, LiDAR frame."""

    rgb: np.ndarray
    valid: np.ndarray
    panorama: RangeImage
    heading: float
    position: np.ndarray
    points: np.ndarray


def read_scan(path: Path) -> np.ndarray:
    """(N, 3) float32, metres, LiDAR frame, of a packed sweep; raises DataError if it is none."""
    try:
        planes = np.frombuffer(lzma.decompress(path.read_bytes()), np.uint8).reshape(7, -1).astype(np.uint16)
    except (OSError, lzma.LZMAError, ValueError) as e:
        raise DataError(f"{path} is no packed sweep: {e}") from e
    whole = [np.cumsum(planes[k] | planes[k + 1] << 8, dtype=np.uint16) for k in (0, 2, 4)]
    azimuth, elevation = whole[0] * AZIMUTH_STEP - np.pi, whole[1].view(np.int16) * ELEVATION_STEP
    level = np.cos(elevation)
    rays = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], 1)
    return (whole[2][:, None] * RANGE_STEP * rays).astype(np.float32)


class CompactDrive:
    """A drive to be read frame by frame, in any order.

    `name`: of its folder; `poses`: (n, 4, 4) `T_map_lidar`, the identity where none is known; `posed`: whether every
    frame has one; `seconds`: (n,) of the scans; `heading`: radians, where the camera looks in the LiDAR's frame.
    """

    def __init__(self, folder: Path, camera: CameraInput, lidar: AngularGrid) -> None:
        """Raises DataError if the folder is no drive, naming what it lacks."""
        about, rows = _described(folder)
        self.folder, self.name = folder, folder.name
        self._camera, self._grid = camera, lidar
        try:
            self._K = np.array(about["camera"]["K"], float)
            T_lidar_camera = geometry.inverse(np.array(about["T_cam_lidar"], float))
            self.indices = [row["index"] for row in rows]
            self.seconds = np.array([int(row["stamp_ns"]) / 1e9 for row in rows])
            self.posed = all(row["x"] for row in rows)
            self.poses = np.stack([_pose(row) for row in rows])
        except (KeyError, TypeError, ValueError) as e:
            raise DataError(f"{folder}: drive.yaml wants camera.K and T_cam_lidar, frames.csv index, stamp_ns and x y "
                            f"z qx qy qz qw, the pose left blank where unknown; reading them failed: {e!r}") from e
        self._T_view_camera, self.heading = geometry.camera_view(T_lidar_camera)
        self._views: dict[tuple[int, int], projection.CameraView] = {}

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Frame]:
        return map(self.frame, range(len(self)))

    def frame(self, i: int) -> Frame:
        """The i-th pair; raises DataError naming the file that cannot be read."""
        picture, valid = self.picture(i)
        points = read_scan(self.folder / f"scan/{self.indices[i]}.xz")
        panorama = projection.render_ranges(points, self._grid.panorama(), MIN_RANGE, MAX_RANGE)
        return Frame(picture, valid, panorama, self.heading, self.poses[i, :3, 3], points)

    def picture(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """`(rgb, valid)` of the i-th pair on the camera's grid; raises DataError."""
        path = self.folder / f"image/{self.indices[i]}.webp"
        picture = cv2.imread(str(path))
        if picture is None:
            raise DataError(f"{path} cannot be read")
        size = picture.shape[1], picture.shape[0]
        if size not in self._views:
            self._views[size] = projection.CameraView(CameraModel(*size, self._K), self._T_view_camera, self._camera)
        return self._views[size](picture[..., ::-1])


def _described(folder: Path) -> tuple[dict, list[dict[str, str]]]:
    import yaml
    try:
        about = yaml.safe_load((folder / "drive.yaml").read_text())
        with open(folder / "frames.csv", newline="") as f:
            rows = list(csv.DictReader(f))
    except (OSError, yaml.YAMLError) as e:
        raise DataError(f"{folder} is no drive in the compact layout (drive.yaml, frames.csv): {e}") from e
    if not rows:
        raise DataError(f"{folder}/frames.csv lists no frames; expected a line for each pair of image and scan")
    return about, rows


def _pose(row: dict[str, str]) -> np.ndarray:
    if not row["x"]:
        return np.eye(4)
    return geometry.transform([float(row[k]) for k in ("x", "y", "z")],
                              [float(row[k]) for k in ("qx", "qy", "qz", "qw")])


def read_drive(folder: Path, camera: CameraInput, lidar: AngularGrid) -> Iterator[Frame]:
    """Every pair of a drive, in order; raises DataError naming the file that cannot be read."""
    yield from CompactDrive(folder, camera, lidar)


def drive_folders(*given: Path) -> list[Path]:
    """Every drive among the folders given: a drive itself, or all drives in it; each once, in order.

    Raises DataError if a folder is neither.
    """
    found: dict[Path, Path] = {}
    for path in given:
        inside = [path] if (path / "drive.yaml").is_file() else sorted(p.parent for p in path.glob("*/drive.yaml"))
        if not inside:
            raise DataError(f"no drives at or below {path}: expected a folder with drive.yaml, frames.csv, image/ and "
                            "scan/, or a folder of such folders")
        found.update((p.resolve(), p) for p in inside)
    names = [p.name for p in found.values()]
    if twice := {n for n in names if names.count(n) > 1}:
        raise DataError(f"several drives are called {', '.join(sorted(twice))}: figures are told by name, rename one")
    return list(found.values())
