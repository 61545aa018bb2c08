# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several frames in a row, joined by odometry: what the frames before say about where this one is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import logsumexp

from ms2cl_ros.core.geometry import inverse

FRAMES = 5
# A scan stands for a place up to so many metres off; farther from every scan a frame says nothing.
REACH = 2.5
NEIGHBOURS = 12


@dataclass(frozen=True)
class Drives:
    """N frames of several drives in order: `drive` (N,) int, `poses` (N, 4, 4) in the drive's own map, `posed` (N,)."""

    drive: np.ndarray
    poses: np.ndarray
    posed: np.ndarray


def over_frames(evidence: np.ndarray, allowed: np.ndarray, asked: Drives, mapped: Drives,
                frames: int = FRAMES) -> np.ndarray:
    """(Q, M) log-likelihood ratios of each frame and of those before it in its drive, at most `frames` in all.

    `evidence`: (Q, M) nats of one frame each, 0 where a frame neither speaks for a scan nor against it; `allowed`:
    (Q, M) bool. A frame k steps back, moved by the odometry between the two, speaks for the scan nearest to where it
    would then have been taken. Of each pose only the motion within a drive is used, never where the drive is.

    All images come from the map, so each frame is held against the mean over the scans allowed: a picture that is
    unlike everything must not speak for those scans of which it cannot be asked.
    """
    evidence = evidence - _mean_place(evidence, allowed)
    out = evidence.copy()
    maps = [np.flatnonzero((mapped.drive == d) & mapped.posed) for d in np.unique(mapped.drive)]
    trees = [(rows, cKDTree(mapped.poses[rows, :3, 3])) for rows in maps if len(rows) > 1]
    for i in range(len(evidence)):
        for k in range(1, frames):
            if i < k or asked.drive[i - k] != asked.drive[i] or not asked.posed[i]:
                break
            back = inverse(asked.poses[i]) @ asked.poses[i - k]
            for rows, tree in trees:
                out[i, rows] += _looked_up(evidence[i - k], allowed[i - k], rows, tree, mapped.poses[rows] @ back)
    return out


def _mean_place(evidence: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """(Q, 1) logarithm of the mean likelihood ratio of the scans allowed; 0 where there are none."""
    count = allowed.sum(1, keepdims=True)
    total = logsumexp(np.where(allowed, evidence, -np.inf), axis=1, keepdims=True)
    return np.where(count > 0, total - np.log(np.maximum(count, 1)), 0.0)


def _looked_up(evidence: np.ndarray, allowed: np.ndarray, rows: np.ndarray, tree: cKDTree,
               poses: np.ndarray) -> np.ndarray:
    """(n,) what a frame says of the allowed scan nearest to each of (n, 4, 4) poses; 0 where none is within reach."""
    metres, near = tree.query(poses[:, :3, 3], k=min(NEIGHBOURS, len(rows)), distance_upper_bound=REACH)
    there = np.isfinite(metres)
    there[there] = allowed[rows[near[there]]]
    first = np.take_along_axis(near, there.argmax(1)[:, None], 1)[:, 0]
    found = there.any(1)
    said = np.zeros(len(poses))
    said[found] = evidence[rows[first[found]]]
    return said
