# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recall at N with what has to be said beside it: how many were counted, what chance gives, how sure one can be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

# Neighbouring frames look alike, so that whole segments of the route are drawn again, not frames.
SEGMENT_METRES = 100.0
SAMPLES, CONFIDENCE = 2000, 0.95
ONE_PERCENT = "1%"
MISSED = -1


@dataclass(frozen=True)
class Ranked:
    """What came of (Q,) queries. `hit`: int, how many wrong answers stood before the best right one, MISSED if there is
    no right one; `right` and `database`: int, how many right answers and answers there were; `best`: int, the first."""

    hit: np.ndarray
    right: np.ndarray
    database: np.ndarray
    best: np.ndarray

    def only(self, queries: np.ndarray) -> Ranked:
        """Those of some queries: (Q,) bool or indices."""
        return Ranked(**{f.name: getattr(self, f.name)[queries] for f in fields(self)})


def rank(scores: np.ndarray, allowed: np.ndarray, right: np.ndarray) -> Ranked:
    """Of (Q, M) scores, higher is better, and (Q, M) bool which answers there are and which of them are right.

    Of equal scores the one with the lower index comes first. Where nothing is allowed, `best` is MISSED.
    """
    there = np.where(allowed, scores, -np.inf)
    right = right & allowed
    best = there.argmax(1)
    best_right = np.where(right, scores, -np.inf).argmax(1)
    score = np.take_along_axis(scores, best_right[:, None], 1)
    earlier = np.arange(scores.shape[1]) < best_right[:, None]
    before = (allowed & ((scores > score) | ((scores == score) & earlier))).sum(1)
    count = right.sum(1)
    return Ranked(np.where(count > 0, before, MISSED), count, allowed.sum(1), np.where(allowed.any(1), best, MISSED))


def joined(parts: Iterable[Ranked]) -> Ranked:
    """Several batches of queries as one."""
    every = list(parts)
    return Ranked(**{f.name: np.concatenate([getattr(p, f.name) for p in every]) for f in fields(Ranked)})


@dataclass(frozen=True)
class Recall:
    """Recall of queries that have a right answer (Q+). None where there are no such queries.

    `ranks`: share by N ("1", "5", "1%": of the answers allowed to a query, at least one); `interval`: the 95 % interval
    of each; None if all lie in one segment of the route. `chance`: what Recall@1 is for a random answer.
    `asked`: |Q|; `queries`: |Q+|; `database`: |DB|, the most that a query could be answered with; `radius`: metres, a
    right answer is nearer; `segments`: how many the interval was drawn from.
    """

    ranks: dict[str, float | None]
    interval: dict[str, tuple[float, float] | None]
    chance: float | None
    asked: int
    queries: int
    database: int
    radius: float
    segments: int

    def plain(self) -> dict[str, Any]:
        """For JSON, rounded to 4 digits."""
        return {"asked": self.asked, "queries": self.queries, "database": self.database, "radius": self.radius,
                "chance": _round(self.chance), "recall": {n: _round(v) for n, v in self.ranks.items()},
                "interval_95": {n: None if i is None else [_round(i[0]), _round(i[1])]
                                for n, i in self.interval.items()}, "segments": self.segments}


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def recall(found: Ranked, segments: np.ndarray, radius: float, ranks: Sequence[str] = ("1", "5", ONE_PERCENT),
           seed: int = 0) -> Recall:
    """`segments`: (Q,) int, the piece of route that each query lies on."""
    asked, size = len(found.hit), int(found.database.max(initial=0))
    kept = found.right > 0
    some, places = found.only(kept), segments[kept]
    if not kept.any():
        nothing = dict.fromkeys(ranks)
        return Recall(dict(nothing), dict(nothing), None, asked, 0, size, radius, 0)
    hits = {n: some.hit < _wanted(n, some.database) for n in ranks}
    return Recall({n: float(h.mean()) for n, h in hits.items()},
                  {n: bootstrap(h, places, seed) for n, h in hits.items()},
                  float((some.right / some.database).mean()), asked, int(kept.sum()), size, radius,
                  len(np.unique(places)))


def _wanted(name: str, database: np.ndarray) -> np.ndarray:
    """(Q,) how many answers count: of "1%", round(|DB| / 100), at least one."""
    if name == ONE_PERCENT:
        return np.maximum(1, np.floor(database / 100.0 + 0.5).astype(int))
    return np.full(len(database), int(name))


def bootstrap(values: np.ndarray, segments: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of the mean of (Q,) values when whole segments, (Q,) int, are drawn anew with replacement.

    None of fewer than two segments, from which nothing can be learnt about others.
    """
    names, index = np.unique(segments, return_inverse=True)
    if len(names) < 2:
        return None
    counts, sums = np.bincount(index), np.bincount(index, np.asarray(values, float))
    drawn = np.random.default_rng(seed).integers(0, len(names), (SAMPLES, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def segments(travelled: np.ndarray, metres: float = SEGMENT_METRES) -> np.ndarray:
    """(n,) int: which segment of a route frames lie on that have (n,) metres behind them."""
    return np.floor(travelled / metres).astype(int)
