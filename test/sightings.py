# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Candidates of images nobody took, from likelihoods that are stated, so that what can be concluded from them is known.

An image in the map has its place among `K` candidates with probability `HIT`, within 1 m (standard deviation) and 2
degrees of it; all others are of places anywhere in the map. The evidence of the right one is normal about +D^2 / 2,
that of a wrong one about -D^2 / 2, both with standard deviation D: so it is the log-likelihood ratio that it claims.
The right one comes first in 57 % of the images then.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ms2cl_ros.core.belief import BeliefModel
from ms2cl_ros.core.calibration import Calibration, Confidence, Evidence
from ms2cl_ros.core.config import TrustConfig
from ms2cl_ros.core.geometry import rotation_z, transform, yaw
from ms2cl_ros.core.trust import Answer, Trust
from ms2cl_ros.core.types import Candidate, StampedPose

K, HIT, D = 10, 0.85, 2.0
SIZE = 1000.0  # metres along each side of the map
STEP = np.deg2rad(7.2)
MODEL = BeliefModel()
REST = ((1 - MODEL.outside) * (1 - HIT) + MODEL.outside) / (1 - MODEL.outside)
# what makes one image's posterior right: the right place is one of K with probability HIT
ELSEWHERE = float(np.log(REST * K / HIT))
CALIBRATION = Calibration(Evidence(0.0, 1.0), None, Confidence(ELSEWHERE))


def pose(x: float, y: float, turn: float = 0.0) -> np.ndarray:
    return transform([x, y, 0.0]) @ rotation_z(turn)


def candidate(T: np.ndarray, evidence: float) -> Candidate:
    return Candidate(1, 1, 0.0, STEP, evidence, T, None, evidence)


def trust(**settings) -> Trust:
    """The errors of images are independent here, so a look is short."""
    return Trust(TrustConfig(**{"look": 2.0, **settings}), CALIBRATION, 20.0)


class World:
    """Draws what a camera at a place is answered."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def wrong(self, n: int = K) -> list[Candidate]:
        """Candidates of places anywhere."""
        places = self.rng.uniform([0, 0, -np.pi], [SIZE, SIZE, np.pi], (n, 3))
        return [candidate(pose(*p), self.rng.normal(-D**2 / 2, D)) for p in places]

    def right(self, T: np.ndarray) -> Candidate:
        """The candidate of the true place."""
        noise = self.rng.normal(0.0, [1.0, 1.0, np.deg2rad(2.0)])
        return candidate(T @ pose(*noise), self.rng.normal(D**2 / 2, D))

    def image(self, T: np.ndarray | None) -> tuple[Candidate, ...]:
        """The candidates of an image at `T_map_base`, or outside of the map, best first."""
        seen = T is not None and self.rng.random() < HIT
        found = [self.right(T), *self.wrong(K - 1)] if seen else self.wrong()
        return tuple(sorted(found, key=lambda c: -c.evidence))


def route(n: int, step: float = 1.0, start=(300.0, 300.0, 0.3)) -> list[np.ndarray]:
    """A long gentle bend, a pose every `step` metres."""
    out = [pose(*start)]
    for _ in range(n - 1):
        out.append(out[-1] @ pose(step, 0.0, 0.004 * step))
    return out


def odometry(poses: list[np.ndarray], drift: float = 0.0) -> list[np.ndarray]:
    """The same way as wheels count it: too long by `drift`, beginning at an origin of their own."""
    out = [pose(-7.0, 3.0, 2.0)]
    for a, b in pairwise(poses):
        move = np.linalg.inv(a) @ b
        move[:2, 3] *= 1.0 + drift
        out.append(out[-1] @ move)
    return out


def drive(judge: Trust, world: World, truths: list[np.ndarray | None], wheels: list[np.ndarray | None],
          period: float = 0.1, start: float = 100.0) -> list[Answer | None]:
    """Answers to an image at each of the places."""
    out = []
    for i, (T, moved) in enumerate(zip(truths, wheels)):
        stamp = round((start + i * period) * 1e9)
        seen = None if moved is None else StampedPose(stamp, moved)
        out.append(judge.judge(world.image(T), stamp, seen))
    return out


def metres(answer: Answer, T: np.ndarray) -> float:
    return float(np.hypot(*(answer.T_map_base[:2, 3] - T[:2, 3])))


def degrees(answer: Answer, T: np.ndarray) -> float:
    return float(np.rad2deg(abs(np.angle(np.exp(1j * (yaw(answer.T_map_base) - yaw(T)))))))
