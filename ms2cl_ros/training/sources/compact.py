# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A drive in the compact layout: drive.yaml, frames.csv, image/N.webp, scan/N.xz, joined by the index N."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.geometry import inverse, transform
from ms2cl_ros.core.types import CameraModel
from ms2cl_ros.tools.compact import read_scan
from ms2cl_ros.training.sources.contract import Recorded, Source

POSITION, ORIENTATION = ("x", "y", "z"), ("qx", "qy", "qz", "qw")


class CompactSource(Source):
    """The base is the LiDAR, level as it is mounted; poses are those of LiDAR odometry where poses_lidar.csv is there,
    since views are rendered by them, else those of frames.csv."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError naming what the folder lacks."""
        import yaml
        super().__init__(folder.name)
        self._folder = folder
        try:
            about = yaml.safe_load((folder / "drive.yaml").read_text())
            self._T_base_camera = inverse(np.array(about["T_cam_lidar"], float).reshape(4, 4))
            self._K = np.array(about["camera"]["K"], float).reshape(3, 3)
        except OSError as e:
            raise DataError(f"{folder} is no drive in the compact layout: it has no drive.yaml ({e.strerror})") from e
        except (yaml.YAMLError, KeyError, TypeError, ValueError) as e:
            raise DataError(f"{folder / 'drive.yaml'} should give camera.K (3 x 3) and T_cam_lidar (4 x 4): {e}") from e
        self._rows = _table(folder / "frames.csv")
        odometry = folder / "poses_lidar.csv"
        self._poses = {r["index"]: _pose(odometry, r) for r in _table(odometry)} if odometry.is_file() else {
            r["index"]: _pose(folder / "frames.csv", r) for r in self._rows}
        if all(T is None for T in self._poses.values()):
            self.notes.append(f"{folder.name} has no poses")

    def __len__(self) -> int:
        return len(self._rows)

    def frames(self) -> Iterator[Recorded]:
        """Every pair; raises DataError naming a picture or scan that is not there or cannot be read."""
        for row in self._rows:
            index = row["index"]
            picture = self._folder / f"image/{index}.webp"
            bgr = cv2.imread(str(picture)) if picture.is_file() else None
            if bgr is None:
                raise DataError(f"{picture} {'cannot be decoded' if picture.is_file() else 'is not there'}: "
                                "frames.csv names it, take the drive from its source again")
            camera = CameraModel(bgr.shape[1], bgr.shape[0], self._K)
            yield Recorded(int(index), int(row["stamp_ns"] or 0), bgr[..., ::-1], camera, self._T_base_camera,
                           read_scan(self._folder / f"scan/{index}.xz"), np.eye(4), self._poses.get(index))


def _table(path: Path) -> list[dict[str, str]]:
    wanted = ("index", "stamp_ns", *POSITION, *ORIENTATION)
    try:
        with open(path, newline="") as f:
            rows = list(csv.DictReader(f))
    except OSError as e:
        raise DataError(f"{path} is not there: a drive in the compact layout has drive.yaml, frames.csv, image/ and "
                        "scan/") from e
    if not rows or not set(wanted) <= set(rows[0]):
        raise DataError(f"{path} should have a line per frame under the columns {', '.join(wanted)}")
    return rows


def _pose(path: Path, row: dict[str, str]) -> np.ndarray | None:
    if not row["x"]:
        return None
    try:
        return transform([float(row[k]) for k in POSITION], [float(row[k]) for k in ORIENTATION])
    except (TypeError, ValueError) as e:
        raise DataError(f"{path}, frame {row['index']}: its pose is not seven numbers: {e}") from e
