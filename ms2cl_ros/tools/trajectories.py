# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pose files (KITTI's 12 numbers a line, TUM's 8), and poses for sensors that fired just before or after them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ms2cl_ros.core.errors import DataError, TransformError
from ms2cl_ros.core.geometry import inverse, transform
from ms2cl_ros.core.types import StampedPose

FRAMES = ("camera", "lidar", "base")


def read_poses(path: Path, stamps: dict[int, int], T_base: dict[str, np.ndarray], poses_of: str | None = None,
               start_ns: int = 0) -> list[StampedPose]:
    """`T_map_base` of each frame from a pose file; in TUM's form of each line.

    KITTI: `r11 r12 r13 tx ... tz`, line i at `stamps[i]`, of the `camera` unless `poses_of` says otherwise.
    TUM: `t x y z qx qy qz qw`, of `base`; `start_ns` is added to t. `T_base`: `T_base_frame` (4 x 4) of each of
    `camera`, `lidar`, `base`; poses are given in where that frame began and are carried over to where the base did.
    Raises DataError if the file is missing, is neither form, or does not have a line for each frame.
    """
    lines = _numbers(path)
    kitti = len(lines[0]) == 12
    name = poses_of or ("camera" if kitti else "base")
    if name not in FRAMES:
        raise DataError(f"poses of '{name}': expected one of {', '.join(FRAMES)}")
    T = T_base[name]
    poses = _kitti(path, lines, stamps) if kitti else _tum(path, lines, start_ns)
    return [StampedPose(p.stamp_ns, T @ p.T_map_base @ inverse(T)) for p in poses]


def _numbers(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise DataError(f"no pose file at {path}")
    rows = [row.split() for row in path.read_text().splitlines() if row.strip() and not row.lstrip().startswith("#")]
    widths = {len(row) for row in rows}
    if widths not in ({12}, {8}):
        raise DataError(f"{path}: expected 12 numbers a line (KITTI) or 8 (TUM: t x y z qx qy qz qw) throughout, "
                        f"found {', '.join(map(str, sorted(widths))) or 'none'}")
    return rows


def _kitti(path: Path, rows: list[list[str]], stamps: dict[int, int]) -> list[StampedPose]:
    # strict, because some sequences begin in the middle of their raw drive: sequence 08 at frame 1100
    if max(stamps) + 1 != len(rows):
        raise DataError(f"{path} has {len(rows)} poses, but the frames go from {min(stamps)} to {max(stamps)}; "
                        f"expected line i to be frame i, {max(stamps) + 1} lines")
    return [StampedPose(stamp, _matrix(path, i, rows[i])) for i, stamp in stamps.items()]


def _matrix(path: Path, line: int, row: list[str]) -> np.ndarray:
    try:
        T = np.vstack([np.array(row, float).reshape(3, 4), [0, 0, 0, 1]])
    except ValueError as e:
        raise DataError(f"{path}, line {line + 1}: {e}") from e
    if not (np.isfinite(T).all() and np.abs(T[:3, :3] @ T[:3, :3].T - np.eye(3)).max() < 1e-3
            and np.linalg.det(T[:3, :3]) > 0):
        raise DataError(f"{path}, line {line + 1}: the first three columns are not a rotation matrix")
    # the files carry seven digits; made orthogonal again so that errors do not grow when poses are chained
    T[:3, :3] = Rotation.from_matrix(T[:3, :3]).as_matrix()
    return T


def _tum(path: Path, rows: list[list[str]], start_ns: int) -> list[StampedPose]:
    poses: list[StampedPose] = []
    for line, row in enumerate(rows):
        try:
            # Decimal: a float of seconds since 1970 is good to 0.2 microseconds only
            stamp_ns = int(Decimal(row[0]).scaleb(9).to_integral_value()) + start_ns
            values = [float(v) for v in row[1:]]
            poses.append(StampedPose(stamp_ns, transform(values[:3], values[3:])))
        except (InvalidOperation, ValueError, OverflowError, TransformError) as e:
            raise DataError(f"{path}, line {line + 1}: expected t x y z qx qy qz qw, got '{' '.join(row)}': {e}") from e
        if line and stamp_ns <= poses[line - 1].stamp_ns:
            raise DataError(f"{path}, line {line + 1}: its time {row[0]} is not after the line before")
    return poses


def extended(poses: Sequence[StampedPose], first_ns: int, last_ns: int, limit_ns: int) -> list[StampedPose]:
    """`poses` (rising stamps) with one more at `first_ns` and one at `last_ns` where they begin later or end earlier.

    The motion between the two outermost poses is carried on, for at most `limit_ns`; beyond that nothing is added.
    """
    out = list(poses)
    if len(poses) < 2:
        return out
    if 0 < out[0].stamp_ns - first_ns <= limit_ns:
        out.insert(0, _carried_on(out[1], out[0], first_ns))
    if 0 < last_ns - out[-1].stamp_ns <= limit_ns:
        out.append(_carried_on(out[-2], out[-1], last_ns))
    return out


def _carried_on(A: StampedPose, B: StampedPose, stamp_ns: int) -> StampedPose:
    """Where the motion from A to B leads at a stamp beyond B."""
    fraction = (stamp_ns - B.stamp_ns) / (B.stamp_ns - A.stamp_ns)
    step = inverse(A.T_map_base) @ B.T_map_base
    turn = Rotation.from_matrix(step[:3, :3]).as_rotvec() * fraction
    move = transform(step[:3, 3] * fraction, Rotation.from_rotvec(turn).as_quat())
    return StampedPose(stamp_ns, B.T_map_base @ move, B.covariance)


def read_trajectory(path: Path) -> tuple[list[StampedPose], bool]:
    """The poses of a file as they stand, whatever they are poses of, and whether it has stamps (TUM).

    KITTI's have the number of their line, from 0, for a stamp. Raises DataError as `read_poses` does.
    """
    lines = _numbers(path)
    if len(lines[0]) == 12:
        return _kitti(path, lines, {i: i for i in range(len(lines))}), False
    return _tum(path, lines, 0), True
