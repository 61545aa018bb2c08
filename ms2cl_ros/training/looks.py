# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How much one look may tell, from whole drives in a map and outside of it.

Looks along one street make the same mistakes: a street of another city that resembles one of the map goes on
resembling it, and where it does so much, each look alone is all but sure. Added up as independent, they make a filter
sure of what is wrong. So what a look tells against being outside of the map is bounded (as a robust likelihood is:
Huber, Ann. Math. Stat. 1964), by the logarithmic score (Gneiting and Raftery, JASA 2007) of the filter's probabilities
on drives through cities that no model has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ms2cl_ros.core.calibration import Calibration
from ms2cl_ros.core.config import TrustConfig
from ms2cl_ros.core.frames import SECOND
from ms2cl_ros.core.trust import Trust
from ms2cl_ros.core.types import Candidate, StampedPose

INF = float("inf")
TRIED = (2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 8.0, INF)
# Metres a second at which drives are taken to have been driven; no probability is taken for surer than 1 - LEAST.
SPEED, LEAST = 8.0, 1e-6
Right = Callable[[np.ndarray, np.ndarray], bool]
"""Whether a `T_map_base` is near enough to the true one."""


@dataclass(frozen=True)
class Drive:
    """Images of one drive in order: their candidates and true `T_map_base` (n, 4, 4). `inside`: whether the map has its
    places; if not, every answer is wrong."""

    found: tuple[tuple[Candidate, ...], ...]
    poses: np.ndarray
    inside: bool


def beliefs(drive: Drive, known: Calibration, is_right: Right, logit_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """(n,) probability of the place that the filter holds likeliest after each image, joined by the true motion, and
    (n,) bool whether it is right."""
    trust, said, right, stamp, last = Trust(TrustConfig(), known, logit_scale), [], [], 0, drive.poses[0]
    for found, T in zip(drive.found, drive.poses, strict=True):
        stamp += round(float(np.linalg.norm(T[:2, 3] - last[:2, 3])) / SPEED * SECOND)
        trust.judge(trust.weigh(found), stamp, StampedPose(stamp, T))
        place, last = trust.belief.best(), T
        said.append(min(place.probability, 1.0) if place else 0.0)
        right.append(drive.inside and place is not None and is_right(place.T_map_base, T))
    return np.array(said), np.array(right)


def logarithmic_score(said: np.ndarray, right: np.ndarray) -> float:
    """Mean logarithm of what was given to what came true; 0 is best."""
    kept = np.clip(said, LEAST, 1.0 - LEAST)
    return float(np.log(np.where(right, kept, 1.0 - kept)).mean())


def fit_most(drives: Sequence[Drive], known: Calibration, is_right: Right,
             logit_scale: float) -> tuple[Calibration, dict[float, float]]:
    """The calibration with the best of the TRIED bounds, and the score of each. Drives inside and outside weigh the
    same; there are some of each."""
    told = {}
    for most in TRIED:
        bounded = replace(known, confidence=replace(known.confidence, most_a_look=most))
        scores = {inside: [logarithmic_score(*beliefs(d, bounded, is_right, logit_scale))
                           for d in drives if d.inside is inside] for inside in (True, False)}
        told[most] = float(np.mean([np.mean(s) for s in scores.values()]))
    return replace(known, confidence=replace(known.confidence, most_a_look=max(told, key=lambda m: told[m]))), told
