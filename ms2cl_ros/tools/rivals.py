# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one would do without a belief: a fixed threshold, k of the last n images, matching of sequences.

Each makes of every image a guess with a score; a guess is told from a threshold on, which is chosen on another drive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from ms2cl_ros.core.geometry import inverse, wrap, yaw
from ms2cl_ros.core.types import Candidate

# Two best candidates speak for one place if they are this near once the way between them is taken off.
AGREE_METRES, AGREE_RADIANS = 5.0, np.deg2rad(30.0)
# Without odometry: metres a second that a car may have driven between them.
FASTEST = 15.0
# Images of a sequence; scans to either side of an answer that are the same answer; scans that contrast is taken over.
FRAMES, SAME, AROUND = 10, 5, 10
# Scans that are passed from image to image, in either direction.
SPEEDS = (0.5, 0.65, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)


@dataclass(frozen=True)
class Guesses:
    """Of N images: `poses` (N, 4, 4) `T_map_base` and `scores` (N,), -inf where there is no guess."""

    poses: np.ndarray
    scores: np.ndarray

    def told(self, threshold: float) -> np.ndarray:
        """(N,) bool."""
        return np.isfinite(self.scores) & (self.scores >= threshold)


def least_threshold(scores: np.ndarray, right: np.ndarray, target: float) -> float:
    """The least score from which on a share `target` of the guesses is right, so that most are told.

    The strictest there is, the highest score, if the target is reached nowhere; infinite without any guess.
    """
    known = np.isfinite(scores)
    order = np.argsort(-scores[known], kind="stable")
    ranked, hits = scores[known][order], np.cumsum(right[known][order])
    if not len(ranked):
        return np.inf
    last = np.append(ranked[1:] < ranked[:-1], True)
    good = np.flatnonzero(last & (hits >= target * np.arange(1, len(ranked) + 1)))
    return float(ranked[good[-1]] if len(good) else ranked[0])


def best_candidates(found: Sequence[Sequence[Candidate]],
                    score: Callable[[Candidate], float] = lambda c: c.score) -> Guesses:
    """The first candidate of each image with its own score."""
    poses = np.stack([max(f, key=score).T_map_base if f else np.eye(4) for f in found])
    return Guesses(poses, np.array([max(map(score, f)) if f else -np.inf for f in found]))


def confirmed(best: Guesses, stamps_ns: np.ndarray, odometry: Sequence[np.ndarray] | None, n: int) -> Guesses:
    """The same guesses, each with the number of best candidates of the last `n` images, its own among them, that speak
    for the same place.

    `odometry`: (4, 4) of each image in any frame that drifts, which carries the guesses before to where they would be
    now; without it they may lie as far as a car drives meanwhile.
    """
    known = np.isfinite(best.scores)
    counts = np.where(known, 1.0, -np.inf)
    for i in np.flatnonzero(known):
        for j in range(max(0, i - n + 1), i):
            if known[j]:
                counts[i] += _agree(best, i, j, stamps_ns, odometry)
    return Guesses(best.poses, counts)


def _agree(best: Guesses, i: int, j: int, stamps_ns: np.ndarray, odometry: Sequence[np.ndarray] | None) -> bool:
    before, here = best.poses[j], best.poses[i]
    if odometry is None:
        slack = FASTEST * abs(float(stamps_ns[i] - stamps_ns[j])) / 1e9
        return float(np.hypot(*(here[:2, 3] - before[:2, 3]))) < AGREE_METRES + slack
    before = before @ inverse(odometry[j]) @ odometry[i]
    turned = abs(wrap(yaw(here) - yaw(before)))
    return float(np.hypot(*(here[:2, 3] - before[:2, 3]))) < AGREE_METRES and bool(turned < AGREE_RADIANS)


def sequences(similarity: np.ndarray, frames: int = FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """SeqSLAM's search (Milford and Wyeth, ICRA 2012) over (Q, M) similarities of images to scans along a route.

    Similarities are set against those of the neighbouring scans, then added up along straight lines through the last
    `frames` images, each line a constant speed out of SPEEDS, forwards or backwards. Returns (Q,) the scan at the end
    of the best line, and (Q,) how far its mean lies above that of the best line elsewhere; -inf where the images are
    too few.
    """
    contrast = _contrast(similarity)
    count, scans = contrast.shape
    at, total = np.arange(scans), np.full((count, scans), -np.inf)
    for speed in (s * way for s in SPEEDS for way in (1.0, -1.0)):
        along = np.zeros((count, scans))
        for back in range(frames):
            column = np.rint(at - speed * back).astype(int)
            inside = (column >= 0) & (column < scans)
            along[back:, inside] += contrast[:count - back][:, column[inside]]
        np.maximum(total, along, out=total)
    best = total.argmax(1)
    elsewhere = np.where(np.abs(at[None] - best[:, None]) > SAME, total, -np.inf).max(1)
    margin = (total.max(1) - elsewhere) / frames
    margin[:frames - 1] = -np.inf
    return best, np.where(np.isnan(margin), -np.inf, margin)


def _contrast(similarity: np.ndarray) -> np.ndarray:
    """Each similarity less the mean of its neighbours along the route, over their standard deviation."""
    size = min(2 * AROUND + 1, similarity.shape[1])
    mean = uniform_filter1d(similarity.astype(float), size, axis=1, mode="nearest")
    square = uniform_filter1d(similarity.astype(float) ** 2, size, axis=1, mode="nearest")
    return (similarity - mean) / np.sqrt(np.maximum(square - mean**2, 1e-8))
