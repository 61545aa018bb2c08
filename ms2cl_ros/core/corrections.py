# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A corrected trajectory, as a SLAM back end gives after a loop closure, becomes new poses of stored submaps."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.frames import PoseBuffer
from ms2cl_ros.core.geometry import interpolate
from ms2cl_ros.core.types import StampedPose

GAP_SECONDS = 10.0


def corrected(path: Sequence[StampedPose], submaps: Sequence[tuple[int, int, np.ndarray]]) -> dict[int, np.ndarray]:
    """New `T_map_base` by submap id, for submaps (id, stamp_ns, T_map_base) within the path's time.

    Where the path has poses at submaps' own stamps, as an edited `~/submaps` has, those are taken exactly, and what
    lies between is moved by the interpolated correction, so that its shape is kept. A path with other stamps, as a
    back end's keyframes, is interpolated itself, across gaps up to 10 s. Submaps outside of it are left out.
    Raises TransformError for a path with fewer than two poses, or with a pose that is not finite.
    """
    if len(path) < 2:
        raise TransformError(f"a corrected path needs at least two poses, got {len(path)}")
    buffer = PoseBuffer(GAP_SECONDS)
    for pose in sorted(path, key=lambda p: p.stamp_ns):
        buffer.add(pose)
    given = {p.stamp_ns: p.T_map_base for p in path}
    in_order = sorted(submaps, key=lambda s: s[1])
    anchors = [(stamp, _shift(T, given[stamp])) for _, stamp, T in in_order if stamp in given]
    return _by_anchors(anchors, submaps) if len(anchors) > 1 else _by_poses(buffer, submaps)


def _shift(T_old: np.ndarray, T_new: np.ndarray) -> np.ndarray:
    """How far and by what turn a pose moves, both along the map's axes; so it changes evenly along a road."""
    out = T_new.copy()
    out[:3, :3] = T_new[:3, :3] @ T_old[:3, :3].T
    out[:3, 3] -= T_old[:3, 3]
    return out


def _moved(T: np.ndarray, shift: np.ndarray) -> np.ndarray:
    out = T.copy()
    out[:3, :3] = shift[:3, :3] @ T[:3, :3]
    out[:3, 3] += shift[:3, 3]
    return out


def _by_anchors(anchors: list[tuple[int, np.ndarray]],
                submaps: Sequence[tuple[int, int, np.ndarray]]) -> dict[int, np.ndarray]:
    stamps, out = [stamp for stamp, _ in anchors], {}
    for key, stamp, T in submaps:
        after = bisect_left(stamps, stamp)
        if after == len(stamps) or (after == 0 and stamps[0] != stamp):
            continue
        if stamps[after] == stamp:
            correction = anchors[after][1]
        else:
            before = bisect_right(stamps, stamp) - 1
            share = (stamp - stamps[before]) / (stamps[after] - stamps[before])
            correction = interpolate(anchors[before][1], anchors[after][1], share)
        out[key] = _moved(T, correction)
    return out


def _by_poses(buffer: PoseBuffer, submaps: Sequence[tuple[int, int, np.ndarray]]) -> dict[int, np.ndarray]:
    out = {}
    for key, stamp, _ in submaps:
        try:
            out[key] = buffer.at(stamp).T_map_base
        except TransformError:
            continue
    return out
