# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of scans and a pose file, as GLIM, LIO-SAM or KISS-ICP leave them: each scan finds its pose."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.errors import DataError, SensorError, TransformError
from ms2cl_ros.core.frames import PoseBuffer, seconds
from ms2cl_ros.core.geometry import inverse, transform
from ms2cl_ros.core.messages import cloud_of
from ms2cl_ros.core.types import PointCloud, StampedPose
from ms2cl_ros.tools.scan_files import READERS, read_scan
from ms2cl_ros.tools.trajectories import read_trajectory

POSES_OF = ("lidar", "base")
# Names of files carry fewer digits than stamps: a pose this near is the scan's own.
ROUNDING_NS = 1_000_000
# Scans without stamps are taken to come at this pace, from 1 s on: a stamp of 0 means "no time" in ROS.
PACE_NS, START_NS = 100_000_000, 1_000_000_000
# Unix time, in seconds with a fraction, or as whole milli-, micro- or nanoseconds: 2001 to 2286.
WHOLE = {13: 10**6, 16: 10**3, 19: 1}
SECONDS_UNDERSCORE = re.compile(r"(\d{9,10})_(\d{1,9})$")
NUMBER = re.compile(r"(\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class ScanFile:
    """One scan on disk with the pose that was found for it."""

    path: Path
    stamped: StampedPose
    T_base_lidar: np.ndarray
    limits: tuple[float, float]

    def pose(self) -> StampedPose:
        """The base's pose in the map at the scan."""
        return self.stamped

    def sweep(self) -> tuple[PointCloud, np.ndarray]:
        """The points within the limits, and `T_base_lidar`; raises SensorError if the file cannot be read."""
        try:
            columns = read_scan(self.path)
        except DataError as e:
            raise SensorError(str(e)) from e
        return cloud_of(columns, self.stamped.stamp_ns, self.path.parent.name, *self.limits), self.T_base_lidar


@dataclass(frozen=True)
class ScanFolder:
    """The scans of a folder that have a pose, in order. `unposed`: how many have none. `how`: how they were matched."""

    scans: tuple[ScanFile, ...]
    unposed: int
    how: str


def open_folder(folder: Path, poses: Path, config: Config, poses_of: str = "lidar") -> ScanFolder:
    """Finds the pose of each scan: by the stamp in its name (TUM), by the number in its name, or by order.

    `poses_of`: whether the file holds poses of the LiDAR or of the base; its frame becomes the map's as it is.
    The LiDAR sits in the base where `frames.lidar_extrinsics` says. Scans whose stamp lies in a gap longer than
    `frames.pose_gap` are left out. Raises DataError if there are no scans, counts differ, or nothing matches.
    """
    if poses_of not in POSES_OF:
        raise DataError(f"poses of '{poses_of}': expected one of {', '.join(POSES_OF)}")
    files = scan_files(folder)
    if not poses.name:
        raise DataError(f"{folder} is a folder of scans: name the file with their poses with --poses")
    trajectory, stamped = read_trajectory(poses)
    stamps = [stamp_of(f) for f in files]
    if stamped and all(s is not None for s in stamps):
        found, how = _by_stamp(folder, poses, [s or 0 for s in stamps], trajectory, config.frames.pose_gap)
    else:
        found, how = _by_order(folder, poses, files, stamps, trajectory, stamped)
    extrinsics = config.frames.lidar_extrinsics
    T_base_lidar = transform(extrinsics[:3], extrinsics[3:])
    T = inverse(T_base_lidar) if poses_of == "lidar" else np.eye(4)
    limits = (config.sensors.min_range, config.sensors.max_range)
    scans = tuple(ScanFile(f, StampedPose(p.stamp_ns, p.T_map_base @ T), T_base_lidar, limits)
                  for f, p in zip(files, found) if p is not None)
    return ScanFolder(scans, len(files) - len(scans), how)


def scan_files(folder: Path) -> list[Path]:
    """The scans of a folder, by stamp or number; raises DataError if there are none, or of several kinds."""
    if not folder.is_dir():
        raise DataError(f"no folder at {folder}")
    files = [p for p in folder.iterdir() if p.suffix.lower() in READERS and p.is_file()]
    kinds = Counter(p.suffix.lower() for p in files)
    if not kinds:
        raise DataError(f"{folder} has no scans; expected files ending in {', '.join(READERS)}")
    if len(kinds) > 1:
        said = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        raise DataError(f"{folder} has scans of several kinds ({said}): which are meant? Leave one kind in it")
    return sorted(files, key=lambda p: (_digits(p) or Decimal(0), p.name))


def _digits(path: Path) -> Decimal | None:
    """The number that a file's name ends in."""
    if both := SECONDS_UNDERSCORE.search(path.stem):
        return Decimal(both[1]) + Decimal(int(both[2])).scaleb(-9)
    found = NUMBER.search(path.stem)
    return Decimal(found[1]) if found else None


def stamp_of(path: Path) -> int | None:
    """Nanoseconds since 1970 in a file's name: seconds with a fraction, `sec_nanosec`, or 13, 16 or 19 digits."""
    number = _digits(path)
    if number is None:
        return None
    if number != int(number) or SECONDS_UNDERSCORE.search(path.stem) or "." in path.stem:
        return int(number.scaleb(9).to_integral_value())
    scale = WHOLE.get(len(str(int(number))))
    return int(number) * scale if scale else None


def _by_stamp(folder: Path, file: Path, stamps: Sequence[int], trajectory: Sequence[StampedPose],
              gap: float) -> tuple[list[StampedPose | None], str]:
    buffer, known = PoseBuffer(gap, None), np.array([p.stamp_ns for p in trajectory])
    for pose in trajectory:
        buffer.add(pose)
    out: list[StampedPose | None] = []
    for stamp in stamps:
        after = int(np.searchsorted(known, stamp))
        i = min(range(max(after - 1, 0), min(after + 1, len(known))), key=lambda i: abs(int(known[i]) - stamp))
        if abs(int(known[i]) - stamp) <= ROUNDING_NS:
            out.append(StampedPose(stamp, trajectory[i].T_map_base))
            continue
        try:
            out.append(buffer.at(stamp))
        except TransformError:
            out.append(None)
    if not any(out):
        raise DataError(
            f"no scan of {folder} has a pose in {file}: the scans' names go from {seconds(min(stamps))} to "
            f"{seconds(max(stamps))}, the poses from {seconds(int(known[0]))} to {seconds(int(known[-1]))}, and gaps "
            f"up to {gap} s are bridged (frames.pose_gap); are they of the same drive and clock?")
    return out, "by the stamps in their names"


def _by_order(folder: Path, file: Path, files: Sequence[Path], stamps: Sequence[int | None],
              trajectory: Sequence[StampedPose], stamped: bool) -> tuple[list[StampedPose | None], str]:
    numbers = [_digits(f) for f in files]
    rows, how = list(range(len(files))), "by order"
    if len(files) != len(trajectory):
        whole = [int(n) for n in numbers if n is not None and n == int(n)]
        if len(set(whole)) != len(files) or max(whole) >= len(trajectory) or any(s is not None for s in stamps):
            raise DataError(
                f"{folder} has {len(files)} scans ({files[0].name} to {files[-1].name}), {file} has {len(trajectory)} "
                "poses: expected as many, or names that end in the number of a pose, from 0, or (with a TUM file) in "
                "a stamp, as in 1317042504.907314.bin or 1317042504907314000.bin")
        rows, how = whole, "by the numbers in their names"
    out: list[StampedPose | None] = []
    for row, stamp in zip(rows, stamps):
        own = trajectory[row].stamp_ns if stamped else (stamp or START_NS + row * PACE_NS)
        out.append(StampedPose(own, trajectory[row].T_map_base))
    return out, how
