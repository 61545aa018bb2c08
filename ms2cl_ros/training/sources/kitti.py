# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""KITTI raw drives, odometry sequences, and drives of a synthetic city, which are written in KITTI's raw layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ms2cl_ros.core.errors import DataError, TransformError
from ms2cl_ros.tools.kitti import ODOMETRY_PAGE, RAW_PAGE, T_BASE_LIDAR, Drive, read_odometry, read_raw
from ms2cl_ros.training.sources.contract import Recorded, Source

# The poses of a city's drive, in the frame that all its drives share.
CITY_POSES = "poses_base.txt"


class KittiSource(Source):
    """Pictures of the left colour camera and scans of one index, which KITTI took at one moment."""

    def __init__(self, name: str, drive: Drive, origin: str) -> None:
        """Raises DataError if the drive has no pictures or no scans, or none of one index."""
        super().__init__(name)
        self._drive = drive
        self.notes += drive.notes
        for kind, files in (("pictures", drive.images), ("scans", drive.scans)):
            if not files:
                raise DataError(f"{drive.name} has no {kind}, and pairs need both: they come from {origin}")
        self._both = [f for f in drive.frames() if f.image and f.scan]
        if not self._both:
            raise DataError(f"{drive.name}: no picture and scan share an index (pictures {_span(drive.images)}, scans "
                            f"{_span(drive.scans)}): take both from {origin}")
        self.dropped.update({f"no {kind} of this index": n for kind, n in drive.missing.items()})

    def __len__(self) -> int:
        return len(self._both)

    def frames(self) -> Iterator[Recorded]:
        """Every index that has both; one without a pose, in a drive that has poses, is left out and counted."""
        calibration, poses = self._drive.calibration, self._drive.pose_buffer()
        for frame in self._both:
            assert frame.image is not None and frame.scan is not None
            T_map_base = None
            if self._drive.poses:
                try:
                    T_map_base = poses.at(frame.image.stamp_ns).T_map_base
                except TransformError:
                    self.dropped["no pose at its stamp"] += 1
                    continue
            rgb = frame.image.rgb()
            camera = calibration.camera_model(rgb.shape[1], rgb.shape[0])
            yield Recorded(frame.index, frame.image.stamp_ns, rgb, camera, calibration.T_base_camera,
                           frame.scan.points()[:, :3], T_BASE_LIDAR, T_map_base)


def raw_drive(folder: Path) -> KittiSource:
    """A raw drive, or one of a synthetic city, whose own poses are taken; raises DataError as `read_raw` does."""
    poses = folder / CITY_POSES
    found = read_raw(folder, poses if poses.is_file() else None)
    # Drives of two cities carry one name: what tells them apart is the folder that they lie in.
    whole = folder.resolve()
    name = f"{whole.parent.parent.name}/{whole.name}" if poses.is_file() else whole.name
    return KittiSource(name, found, "`ms2cl synthesize --both`" if poses.is_file() else RAW_PAGE)


def odometry_sequence(folder: Path) -> KittiSource:
    """An odometry sequence, with poses where KITTI gives them; raises DataError as `read_odometry` does."""
    return KittiSource(f"kitti_odometry_{folder.resolve().name}", read_odometry(folder), ODOMETRY_PAGE)


def _span(files: dict) -> str:
    return f"{min(files)} to {max(files)}"
