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


def read_drive(folder: Path, camera: CameraInput, lidar: AngularGrid) -> Iterator[Frame]:
    """Every pair of a drive, in order; raises DataError naming the file that cannot be read."""
    import yaml
    try:
        about = yaml.safe_load((folder / "drive.yaml").read_text())
        with open(folder / "frames.csv", newline="") as f:
            frames = list(csv.DictReader(f))
    except OSError as e:
        raise DataError(f"{folder} is no drive in the compact layout (drive.yaml, frames.csv): {e}") from e
    T_view_camera, heading = geometry.camera_view(geometry.inverse(np.array(about["T_cam_lidar"], float)))
    views: dict[tuple[int, int], projection.CameraView] = {}
    for frame in frames:
        picture = cv2.imread(str(folder / f"image/{frame['index']}.webp"))
        if picture is None:
            raise DataError(f"{folder}/image/{frame['index']}.webp cannot be read")
        size = picture.shape[1], picture.shape[0]
        if size not in views:
            model = CameraModel(*size, np.array(about["camera"]["K"], float))
            views[size] = projection.CameraView(model, T_view_camera, camera)
        points = read_scan(folder / f"scan/{frame['index']}.xz")
        panorama = projection.render_ranges(points, lidar.panorama(), MIN_RANGE, MAX_RANGE)
        position = np.array([float(frame[k] or 0.0) for k in "xyz"])
        yield Frame(*views[size](picture[..., ::-1]), panorama, heading, position, points)


def drive_folders(data: Path) -> list[Path]:
    """Every drive below a folder; raises DataError if there is none."""
    folders = sorted(p.parent for p in data.glob("*/drive.yaml"))
    if not folders:
        raise DataError(f"no drives below {data}: expected folders with drive.yaml, frames.csv, image/ and scan/")
    return folders
