# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which kind of recording lies at a path."""

from __future__ import annotations

from pathlib import Path

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.tools.offline import Topics
from ms2cl_ros.training.sources.bag import DEFAULTS, BagSource
from ms2cl_ros.training.sources.compact import CompactSource
from ms2cl_ros.training.sources.contract import Source
from ms2cl_ros.training.sources.kitti import odometry_sequence, raw_drive
from ms2cl_ros.training.sources.kitti360 import IMAGES, POSES, SCANS, Kitti360Source, sequences

BAGS = (".mcap", ".db3", ".bag")
LOOKED_FOR = """\
a bag (metadata.yaml, or a .mcap, .db3 or .bag file), \
a KITTI odometry sequence (image_2/, velodyne/, calib.txt, times.txt) or the folder `sequences` of them, \
a KITTI raw drive (image_02/, velodyne_points/, oxts/) or the folder of a day or of a synthetic city with them, \
KITTI-360 (calibration/, data_2d_raw/, data_3d_raw/, data_poses/) or one sequence in its data_3d_raw/, \
a drive in the compact layout (drive.yaml, frames.csv, image/, scan/) or a folder of such drives"""


def open_source(path: Path, config: Config = DEFAULTS, topics: Topics = Topics()) -> Source:
    """The one recording at a path; raises DataError saying what was looked for if there is none, or which there are
    if there are several."""
    found = open_sources(path, config, topics)
    if len(found) > 1:
        raise DataError(f"{path} holds {len(found)} recordings: {', '.join(s.name for s in found)}; name one of them")
    return found[0]


def open_sources(path: Path, config: Config = DEFAULTS, topics: Topics = Topics()) -> list[Source]:
    """Every recording at a path or, where a data set keeps several in one folder, in it, by name.

    `config` and `topics` are for bags. Raises DataError saying what was looked for, or what a recording lacks.
    """
    if not path.exists():
        raise DataError(f"no recording at {path}: there is no such file or folder")
    if path.suffix in BAGS or (path / "metadata.yaml").is_file():
        return [BagSource(path, config, topics)]
    if one := _recording(path):
        return [one]
    if (path / SCANS).is_dir() or (path / IMAGES).is_dir():
        names = sequences(path)
        if not names:
            raise DataError(f"{path / SCANS} holds no sequences like 2013_05_28_drive_0000_sync")
        return [Kitti360Source(path, name) for name in names]
    inside = sorted(p for pattern in ("*", "2011_*/*_sync") for p in path.glob(pattern) if p.is_dir())
    found = [one for p in inside if (one := _recording(p))]
    if not found:
        raise DataError(f"{path} is no recording; looked for {LOOKED_FOR}")
    return found


def _recording(folder: Path) -> Source | None:
    """The recording whose own folder this is, or None."""
    if (folder / "drive.yaml").is_file():
        return CompactSource(folder)
    above = folder.resolve().parent
    if above.name in (SCANS, IMAGES, POSES):
        return Kitti360Source(above.parent, folder.name)
    if (folder / "image_2").is_dir() or (folder / "velodyne").is_dir():
        return odometry_sequence(folder)
    if (folder / "image_02").is_dir() or (folder / "velodyne_points").is_dir():
        return raw_drive(folder)
    return None
