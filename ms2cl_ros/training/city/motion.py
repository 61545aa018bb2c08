# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the base is while a sweep is taken: poses as a function of seconds from its stamp."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ms2cl_ros.core.errors import ConfigError

# (k,) seconds from the stamp to (k, 4, 4) T_map_base.
Motion = Callable[[np.ndarray], np.ndarray]


def constant_twist(
    T_map_base: np.ndarray, linear: Sequence[float], angular: Sequence[float] = (0.0, 0.0, 0.0)
) -> Motion:
    """A base that keeps its speed: `linear` m/s and `angular` rad/s, both in the base frame; at the stamp it is at
    `T_map_base`."""
    v, w = np.asarray(linear, float), np.asarray(angular, float)
    rate = float(np.linalg.norm(w))
    axis = w / rate if rate > 0 else w

    def poses(seconds: np.ndarray) -> np.ndarray:
        t = np.asarray(seconds, float)[:, None]
        T = np.tile(np.eye(4), (len(t), 1, 1))
        T[:, :3, :3] = Rotation.from_rotvec(t * w).as_matrix()
        turned, twice = np.cross(axis, v), np.cross(axis, np.cross(axis, v))
        a = rate * t
        # the exponential of the twist; where it does not turn, both further terms vanish
        T[:, :3, 3] = v * t if rate == 0 else v * t + turned * (1 - np.cos(a)) / rate + twice * (t - np.sin(a) / rate)
        return np.asarray(T_map_base) @ T

    return poses


def along(seconds: np.ndarray, poses: np.ndarray) -> Motion:
    """Between given poses (n, 4, 4) `T_map_base` at (n,) rising seconds; beyond their ends it goes straight on.

    Raises ConfigError for fewer than two poses.
    """
    if len(seconds) < 2 or len(seconds) != len(poses):
        raise ConfigError(f"{len(seconds)} stamps and {len(poses)} poses were given; a motion wants two of each")
    turns = Rotation.from_matrix(poses[:, :3, :3])
    slerp = Slerp(seconds, turns)

    def at(when: np.ndarray) -> np.ndarray:
        when = np.asarray(when, float)
        k = np.clip(np.searchsorted(seconds, when, "right") - 1, 0, len(seconds) - 2)
        share = ((when - seconds[k]) / (seconds[k + 1] - seconds[k]))[:, None]
        T = np.tile(np.eye(4), (len(when), 1, 1))
        inside = np.clip(when, seconds[0], seconds[-1])
        T[:, :3, :3] = slerp(inside).as_matrix()
        T[:, :3, 3] = poses[k, :3, 3] * (1 - share) + poses[k + 1, :3, 3] * share
        return T

    return at
