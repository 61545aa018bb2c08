# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the base has moved between two images, as far as odometry says, with its covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.frames import SECOND
from ms2cl_ros.core.geometry import inverse, wrap, yaw
from ms2cl_ros.core.types import StampedPose

# What odometry is taken to be off by at least: share of the way, metres and radians a step, radians a metre.
DRIFT, SLIP_METRES, SLIP_RADIANS, BEND = 0.03, 0.02, 0.002, 0.005
# No robot gathers speed faster than this, metres a second each second, nor turns faster, radians a second.
PUSH, SPIN = 30.0, 4.0
# A step shorter than this in seconds tells no speed: stamps are not that exact.
SHORTEST = 0.02


@dataclass(frozen=True)
class Step:
    """What happened since the last image.

    `move`: (3,) metres forward, metres left, radians to the left, in the base as it stood before; None: not known.
    `covariance`: (3, 3) of `move`.
    """

    seconds: float
    move: np.ndarray | None = None
    covariance: np.ndarray | None = None


class Odometry:
    """Steps from poses of any frame that drifts; only what lies between two of them is used."""

    def __init__(self) -> None:
        self.jumps = 0
        self.forget()

    def forget(self) -> None:
        """The next step has no beginning."""
        self._last: StampedPose | None = None
        self._speed: float | None = None

    def step(self, pose: StampedPose | None, seconds: float) -> Step:
        """From the last pose to this one, `seconds` later; without a move if either is missing or the odometry jumped.

        A jump, more speed than any robot gathers at once, is counted in `jumps`.
        """
        before, self._last = self._last, pose
        if before is None or pose is None:
            self._speed = None
            return Step(seconds)
        T = inverse(before.T_map_base) @ pose.T_map_base
        move = np.array([T[0, 3], T[1, 3], yaw(T)])
        if self._implausible(move, abs(seconds)):
            self.jumps += 1
            return Step(seconds)
        return Step(seconds, move, _covariance(before, pose, move))

    def _implausible(self, move: np.ndarray, seconds: float) -> bool:
        """Whether a robot cannot have moved so; keeps the speed for the next time."""
        seconds = max(seconds, SHORTEST)
        speed, before = float(np.hypot(move[0], move[1])) / seconds, self._speed
        known = 0.0 if before is None else before
        # a first step has no speed before it: whatever a fast car drives is allowed
        allowed = known + PUSH * (seconds + 0.2) + (60.0 if before is None else 0.0)
        if speed > allowed or abs(move[2]) > SPIN * seconds + 0.2:
            self._speed = None
            return True
        self._speed = speed
        return False


def _covariance(before: StampedPose, now: StampedPose, move: np.ndarray) -> np.ndarray:
    """(3, 3) of a move: what the poses' own covariances have grown by, but never less than wheels deserve."""
    way = float(np.hypot(move[0], move[1]))
    least = np.array([SLIP_METRES + DRIFT * way, SLIP_METRES + DRIFT * way,
                      SLIP_RADIANS + BEND * way + DRIFT * abs(wrap(move[2]))]) ** 2
    if before.covariance is None or now.covariance is None:
        return np.diag(least)
    grown = np.diag(now.covariance)[[0, 1, 5]] - np.diag(before.covariance)[[0, 1, 5]]
    # the axes of the odometry's frame are not those of the base: both get the larger
    grown[:2] = grown[:2].max()
    return np.diag(np.maximum(least, np.where(np.isfinite(grown), grown, 0.0)))


def elapsed(before_ns: int, now_ns: int) -> float:
    """Seconds between two stamps."""
    return (now_ns - before_ns) / SECOND
