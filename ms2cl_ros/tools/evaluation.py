# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How good matches are: Recall@N within a radius, beside the level that chance reaches.

Distances are horizontal (x, y of the map frame), "within" is strict, as in the protocols of place recognition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.decision import MATCHED
from ms2cl_ros.core.geometry import wrap, yaw
from ms2cl_ros.core.types import Match

RADII = (5.0, 10.0)
RANKS = (1, 5)


@dataclass(frozen=True)
class Recall:
    """Share of queries with one of their best `rank` candidates within `radius` metres, and what chance gives.

    `queries`: those with a submap within the radius (Q+), out of `asked`. `chance`: Recall@1 of a submap drawn at
    random, the mean over Q+ of the share of submaps within the radius.
    """

    rank: int
    radius: float
    value: float
    chance: float
    queries: int
    asked: int
    database: int


@dataclass(frozen=True)
class Published:
    """What the matches that were promised are worth. `told`: how many of the `asked` images had one; `right`: of them.

    Right is within `radius` metres and `degrees`. `precision`: right / told, which `low` bounds from below with 95 %
    (Clopper-Pearson, as if matches were independent). `recall`: right ones with a submap within the radius, out of the
    `queries` that have one.
    """

    radius: float
    degrees: float
    told: int
    right: int
    precision: float
    low: float
    recall: float
    queries: int
    asked: int


def published(matches: Sequence[Match], unmatched: Sequence[np.ndarray], truths: Sequence[np.ndarray],
              database: Sequence[np.ndarray], radius: float = RADII[0], degrees: float = 30.0) -> Published:
    """`truths`: `T_map_base` of each match; `unmatched`: those of images without any candidate."""
    from scipy.stats import beta
    told = np.array([m.state == MATCHED for m in matches], bool)
    off = errors(matches, truths)
    right = told & (off[:, 0] < radius) & (off[:, 1] < degrees)
    where = np.array([T[:2, 3] for T in [*truths, *unmatched]]).reshape(-1, 2)
    stored = np.array([T[:2, 3] for T in database]).reshape(-1, 2)
    known = (np.linalg.norm(where[:, None] - stored[None], axis=2) < radius).any(1)
    n, k, queries = int(told.sum()), int(right.sum()), int(known.sum())
    hit = int((right & known[:len(right)]).sum())
    return Published(radius, degrees, n, k, k / n if n else float("nan"),
                     float(beta.ppf(0.05, k, n - k + 1)) if k else 0.0,
                     hit / queries if queries else float("nan"), queries, len(where))


def normalised_errors(matches: Sequence[Match], truths: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) squared errors of x, y and yaw in units of the matches' covariances; chi-square with 3 degrees if honest."""
    seen = np.ix_([0, 1, 5], [0, 1, 5])
    out = []
    for m, T in zip(matches, truths):
        e = np.array([*(m.T_map_base[:2, 3] - T[:2, 3]), wrap(yaw(m.T_map_base) - yaw(T))])
        out.append(float(e @ np.linalg.solve(m.covariance[seen], e)))
    return np.array(out)


def errors(matches: Sequence[Match], truths: Sequence[np.ndarray]) -> np.ndarray:
    """(N, 2): horizontal metres and degrees of heading between each match and the true `T_map_base`."""
    out = [(np.hypot(*(m.T_map_base[:2, 3] - T[:2, 3])), np.rad2deg(abs(wrap(yaw(m.T_map_base) - yaw(T)))))
           for m, T in zip(matches, truths)]
    return np.array(out, float).reshape(-1, 2)


def recall(candidates: Sequence[np.ndarray], truths: np.ndarray, database: np.ndarray, rank: int,
           radius: float) -> Recall:
    """`candidates`: for each query (k, 2) positions, best first (k may be 0); `truths`: (N, 2); `database`: (M, 2)."""
    near = np.linalg.norm(truths[:, None] - database[None], axis=2) < radius
    positive = near.any(1)
    hit = [bool((np.linalg.norm(c[:rank] - t, axis=1) < radius).any()) for c, t in zip(candidates, truths)]
    n = int(positive.sum())
    value = float(np.mean(np.array(hit, float)[positive])) if n else float("nan")
    chance = float(near[positive].mean()) if n else float("nan")
    return Recall(rank, radius, value, chance, n, len(truths), len(database))


def opposite(truths: Sequence[np.ndarray], database: Sequence[np.ndarray], radius: float = RADII[-1]) -> np.ndarray:
    """(N,) bool: whether every submap within `radius` metres of a true `T_map_base` was passed the other way."""
    where, stored = (np.array([T[:2, 3] for T in poses]).reshape(-1, 2) for poses in (truths, database))
    ahead, passed = (np.array([T[:2, 0] for T in poses]).reshape(-1, 2) for poses in (truths, database))
    near = np.linalg.norm(where[:, None] - stored[None], axis=2) < radius
    return near.any(1) & ~(near & (ahead @ passed.T > 0)).any(1)


def by_direction(matches: Sequence[Match], unmatched: Sequence[np.ndarray], truths: Sequence[np.ndarray],
                 database: Sequence[np.ndarray]) -> dict[str, list[Recall]]:
    """`recalls` of the queries that come by the same way and of those that come by the opposite way, where any do."""
    back, lost = opposite(truths, database), opposite(unmatched, database)
    out = {}
    for name, way in (("same direction", False), ("opposite direction", True)):
        chosen = [i for i, b in enumerate(back) if b == way]
        left = [T for T, b in zip(unmatched, lost) if b == way]
        if chosen or left:
            out[name] = recalls([matches[i] for i in chosen], left, [truths[i] for i in chosen], database)
    return out


def recalls(matches: Sequence[Match], unmatched: Sequence[np.ndarray], truths: Sequence[np.ndarray],
            database: Sequence[np.ndarray]) -> list[Recall]:
    """Recall@1 and @5 at 5 and 10 m. `truths`: `T_map_base` of each match; `unmatched`: those of images without one."""
    positions = [np.array([c.T_map_base[:2, 3] for c in m.candidates]) for m in matches]
    positions += [np.zeros((0, 2))] * len(unmatched)
    where = np.array([T[:2, 3] for T in [*truths, *unmatched]]).reshape(-1, 2)
    stored = np.array([T[:2, 3] for T in database]).reshape(-1, 2)
    return [recall(positions, where, stored, rank, radius) for radius in RADII for rank in RANKS]
