# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Passes that can be evaluated, opened: KITTI raw drives, odometry sequences, the drives of a synthetic city."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.tools.kitti import Drive, read_odometry, read_raw
from ms2cl_ros.tools.recorded_pass import Look, camera_of_poses, kitti_looks

# A city's drives lie below the folder of a date, each with poses in the frame that they share.
CITY_POSES = "poses_base.txt"
ODOMETRY, RAW = ("image_2", "velodyne"), ("image_02", "velodyne_points")
Looks = Callable[[bool, bool, "set[int] | None"], Iterator[Look]]


@dataclass(frozen=True)
class Pass:
    """One drive along a road. `looks(pictures, scans, only)`: those frames that have what is asked for, of the indices
    `only` if given. `sequence`: KITTI's number of it, or "". `T_base_route`: see `embed_pass`. `dropped`: frames left
    out, counted by reason."""

    name: str
    frames: int
    pictures: bool
    scans: bool
    looks: Looks
    sequence: str = ""
    T_base_route: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)


def is_kitti(folder: Path) -> bool:
    """Whether a folder is a KITTI drive or sequence, or a synthetic city's."""
    return bool(_city(folder)) or any((folder / name).is_dir() for name in ODOMETRY + RAW)


def _city(folder: Path) -> list[Path]:
    """The drives of a synthetic city, which share a map."""
    return sorted(path.parent for path in folder.glob(f"2011_*/*_sync/{CITY_POSES}"))


def kitti_passes(folder: Path) -> list[Pass]:
    """The drive or sequence in a folder, or all drives of a city; raises DataError naming what was looked for."""
    if drives := _city(folder):
        return [_raw(d) for d in drives]
    return [_odometry(folder) if any((folder / n).is_dir() for n in ODOMETRY) else _raw(folder)]


def _raw(folder: Path) -> Pass:
    poses = folder / CITY_POSES
    return _pass(folder.name, read_raw(folder, poses if poses.is_file() else None), "")


def _odometry(folder: Path) -> Pass:
    drive = read_odometry(folder)
    if not drive.poses:
        raise DataError(f"{folder}: {'; '.join(drive.notes)}; the protocols want to know where frames were taken")
    return _pass(drive.name, drive, drive.name, camera_of_poses(drive))


def _pass(name: str, drive: Drive, sequence: str, T_base_route: np.ndarray | None = None) -> Pass:
    return Pass(name, sum(1 for _ in drive.frames()), bool(drive.images), bool(drive.scans),
                lambda pictures, scans, only: kitti_looks(drive, pictures, scans, only), sequence, T_base_route,
                drive.notes, Counter({f"no {kind}": n for kind, n in drive.missing.items()}))


def asking_and_mapped(given: list[Pass], maps: list[Pass]) -> tuple[Pass, Pass]:
    """Which of the passes asks with its pictures, and which answers with its scans.

    Of one pass with both sensors, it is both; of a city's two drives, the first with scans is the map and another with
    pictures asks. `maps`: a pass named to be the map. Raises DataError if there is no such pair.
    """
    scanned = [p for p in maps or given if p.scans]
    if not scanned:
        raise DataError(f"no scans in {', '.join(p.name for p in maps or given)}: name the pass that maps with --map")
    mapped = scanned[0]
    asking = [p for p in given if p.pictures and p is not mapped] or [p for p in given if p.pictures]
    if not asking:
        raise DataError(f"no pictures in {', '.join(p.name for p in given)}: nothing asks")
    return asking[0], mapped
