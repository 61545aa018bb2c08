# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether probabilities keep what they say: reliability diagram, expected calibration error, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

BINS = 10
TARGETS = (0.9, 0.95, 0.99, 0.999)
# A threshold is only believed if a worse one would have looked this good in one of twenty sets of answers at most.
SURE = 0.95


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: of each bin of answers its mean `said` probability, the share `right` and the `count`."""

    said: np.ndarray
    right: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance between what was said and what was right, over all answers."""
        return float((self.count * np.abs(self.said - self.right)).sum() / self.count.sum())


def reliability(said: np.ndarray, right: np.ndarray, bins: int = BINS) -> Reliability:
    """The diagram of (N,) probabilities and (N,) bool, in bins of equal width; those without answers are left out.

    Raises ValueError without answers.
    """
    if not len(said):
        raise ValueError("no answers, no reliability diagram: expected at least one probability")
    place = np.minimum((np.asarray(said) * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, np.asarray(values, float), bins) for values in (said, right)]
    used = count > 0
    return Reliability(sums[0][used] / count[used], sums[1][used] / count[used], count[used])


def least_share(right: int, answers: int, sure: float = SURE) -> float:
    """The share of right answers that is there at least, with probability `sure`, where so many were right.

    The one-sided bound of Clopper and Pearson; it takes the answers to be independent of each other.
    """
    return 0.0 if right == 0 else float(beta.ppf(1.0 - sure, right, answers - right + 1))


def threshold(said: np.ndarray, right: np.ndarray, target: float, sure: float = SURE) -> float | None:
    """The least probability from which on at least `target` of the answers are right, `sure`; None if none is.

    `said`: (N,) probabilities, `right`: (N,) bool. With too few answers no threshold can be sure: 0.99 wants 299 right
    ones in a row.
    """
    order = np.argsort(-np.asarray(said), kind="stable")
    hits, found = np.cumsum(np.asarray(right)[order]), None
    for i, p in enumerate(np.asarray(said)[order]):
        last_of_its_value = i + 1 == len(order) or said[order[i + 1]] < p
        if last_of_its_value and least_share(int(hits[i]), i + 1, sure) >= target:
            found = float(p)
    return found


def thresholds(said: np.ndarray, right: np.ndarray, targets: Sequence[float] = TARGETS) -> dict[float, float]:
    """Those of the targets that the answers can vouch for."""
    found = {target: threshold(said, right, target) for target in targets}
    return {target: p for target, p in found.items() if p is not None}
