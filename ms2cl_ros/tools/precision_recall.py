# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Precision and recall of first answers that are accepted from some score on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ms2cl_ros.core.errors import ConfigError

RULES = ("wrong_is_false_positive", "missed_is_false_negative")


@dataclass(frozen=True)
class Curve:
    """One point for each score that occurs, falling: `threshold`, `precision`, `recall`, (K,) each. `rule`: of RULES;
    `queries`: how many were asked, `real`: how many of them have a right answer."""

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    rule: str
    queries: int
    real: int

    @property
    def average_precision(self) -> float:
        """The sum of precision times what recall gains from point to point."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())

    @property
    def best_f1(self) -> float:
        """The largest harmonic mean of precision and recall."""
        both = self.precision + self.recall
        f1 = np.divide(2 * self.precision * self.recall, both, out=np.zeros_like(both), where=both > 0)
        return float(f1.max(initial=0.0))

    def recall_at(self, precision: float) -> float:
        """The largest recall at no less than a precision; 0 if it is never reached."""
        return float(self.recall[self.precision >= precision - 1e-12].max(initial=0.0))

    def plain(self) -> dict[str, Any]:
        """For JSON, the points left out."""
        return {"rule": self.rule, "queries": self.queries, "real": self.real,
                "average_precision": round(self.average_precision, 4), "best_f1": round(self.best_f1, 4),
                "recall_at_99_precision": round(self.recall_at(0.99), 4),
                "recall_at_100_precision": round(self.recall_at(1.0), 4)}


def curve(scores: np.ndarray, correct: np.ndarray, real: np.ndarray, rule: str = RULES[0]) -> Curve:
    """Of (Q,) first answers: their scores, whether they are right, and whether there was a right one at all.

    An accepted wrong answer is a false positive even where a right one existed; by the second rule it is a miss there.
    Raises ConfigError for a rule that is not one of RULES.
    """
    if rule not in RULES:
        raise ConfigError(f"no rule {rule!r} for precision and recall; there are {', '.join(RULES)}")
    order = np.argsort(-scores, kind="stable")
    scores, correct, real = scores[order], correct[order] & real[order], real[order]
    last = np.flatnonzero(np.r_[scores[1:] != scores[:-1], True]) if len(scores) else np.zeros(0, int)
    true = np.cumsum(correct)[last].astype(float)
    if rule == RULES[0]:
        false, missed = np.cumsum(~correct)[last], real.sum() - np.cumsum(real)[last]
    else:
        false, missed = np.cumsum(~correct & ~real)[last], real.sum() - true
    return Curve(scores[last], _share(true, true + false), _share(true, true + missed), rule, len(scores),
                 int(real.sum()))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
