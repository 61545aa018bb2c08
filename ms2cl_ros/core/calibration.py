# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What scores are worth: parameters fitted on data that the model has not been trained on, and their use.

    evidence:   what one candidate's scores say, a log-likelihood ratio of "it is here" against "it is elsewhere"
    confidence: the probability that the best of some candidates is right, from the evidence of all of them

Parameters travel in a model's sidecar (`calibration:`) or in a user's own file of the same form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logsumexp

from ms2cl_ros.core.centring import Centre
from ms2cl_ros.core.errors import ModelError
from ms2cl_ros.core.geometry import wrap, yaw
from ms2cl_ros.core.types import Candidate

# Candidates this near to each other, both in place and in direction, mean the same place.
SAME_METRES, SAME_RADIANS = 5.0, np.deg2rad(20.0)


@dataclass(frozen=True)
class RangeLikelihood:
    """How the cells of a range map count together.

    `exponents`: (2, rows) float64, of a cell off an outline and of one at an outline; 0: the row is not used.
    `prior`: (bins + 1, rows) float64, what the model's range map says on average, each column summing to 1.
    """

    exponents: np.ndarray
    prior: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """`offset + score * cosine + ranges * range score`, nats; `ranges` is 0 where ranges are not compared."""

    offset: float
    score: float
    ranges: float = 0.0


@dataclass(frozen=True)
class Confidence:
    """The probability that the best is right: sigmoid of `offset + slope * log odds`.

    The log odds set the evidence of the candidates at the best one's place against that of all others and of
    `elsewhere`, what a place that is not among the candidates is taken to have. `most_a_look`: how many nats one look
    may tell at most against not being in the map, where looks are added up (`training.looks`).
    """

    elsewhere: float
    offset: float = 0.0
    slope: float = 1.0
    most_a_look: float = float("inf")


@dataclass(frozen=True)
class Calibration:
    """Everything fitted. `alone`: where there is no range score, `both`: where there is one.

    `thresholds`: probability from which on a share of right answers was reached on the data, by that share.
    `reached`: figures of the fit, for people. `centre`: where the model is used to have descriptors; None: they are
    compared as they are.
    """

    alone: Evidence
    both: Evidence | None
    confidence: Confidence
    ranges: RangeLikelihood | None = None
    thresholds: dict[float, float] = field(default_factory=dict)
    reached: dict[str, Any] = field(default_factory=dict)
    centre: Centre | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers, lists and texts, for YAML."""
        out: dict[str, Any] = {"alone": _rounded(self.alone), "both": _rounded(self.both) if self.both else None,
                               "confidence": _rounded(self.confidence),
                               "thresholds": {str(k): round(v, 5) for k, v in self.thresholds.items()},
                               "reached": self.reached}
        if self.ranges is not None:
            out["ranges"] = {"exponents": [" ".join(f"{x:.4f}" for x in row) for row in self.ranges.exponents],
                             "prior": [" ".join(f"{x:.4f}" for x in row) for row in self.ranges.prior.T]}
        if self.centre is not None:
            out["centre"] = {f.name: " ".join(f"{x:.4f}" for x in getattr(self.centre, f.name))
                             for f in fields(self.centre)}
        return out

    @classmethod
    def from_mapping(cls, tree: Mapping[str, Any], where: str = "calibration") -> Calibration:
        """Inverse of `to_mapping`; raises ModelError naming `where` and what is wrong."""
        try:
            both, ranges, centre = tree.get("both"), tree.get("ranges"), tree.get("centre")
            likelihood = None
            if ranges:
                likelihood = RangeLikelihood(_table(ranges["exponents"]), _prior(_table(ranges["prior"])))
            return cls(Evidence(**tree["alone"]), Evidence(**both) if both else None, Confidence(**tree["confidence"]),
                       likelihood,
                       {float(k): float(v) for k, v in dict(tree.get("thresholds") or {}).items()},
                       dict(tree.get("reached") or {}),
                       Centre(**{k: _table([v])[0].astype(np.float32) for k, v in centre.items()}) if centre else None)
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            raise ModelError(f"{where} is no calibration ({type(e).__name__}: {e}): write it anew with `ms2cl "
                             "calibrate`") from e


def _rounded(part: Evidence | Confidence) -> dict[str, float]:
    return {k: round(float(v), 5) for k, v in asdict(part).items()}


def _table(rows: Sequence[str]) -> np.ndarray:
    return np.array([[float(x) for x in row.split()] for row in rows])


def _prior(rows: np.ndarray) -> np.ndarray:
    """(bins + 1, rows) from the rounded texts, summing to 1 again and nowhere 0."""
    prior = rows.T + 1e-5
    return prior / prior.sum(0)


def uncalibrated(logit_scale: float) -> Calibration:
    """A model taken at its word: the softmax that it was trained under, over the candidates alone."""
    return Calibration(Evidence(0.0, logit_scale), None, Confidence(-1e3))


def load(path: Path, model: str = "") -> Calibration:
    """A user's own calibration; raises ModelError if there is none, or if it is of another model.

    `model`: fingerprint of the one in use; empty: any.
    """
    import yaml
    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as e:
        raise ModelError(f"cannot read the calibration {path}: {e}") from e
    if not isinstance(tree, dict) or "calibration" not in tree:
        raise ModelError(f"{path} has no 'calibration:': expected a file written by `ms2cl calibrate`")
    if model and tree.get("model", model) != model:
        raise ModelError(f"{path} was made with another model than the one in use: write it anew with `ms2cl "
                         "calibrate`")
    return Calibration.from_mapping(tree["calibration"], str(path))


def evidence(candidates: Sequence[Candidate], calibration: Calibration) -> tuple[Candidate, ...]:
    """The candidates with their `evidence`, that with the most first."""
    found = []
    for c in candidates:
        both = calibration.both if c.range_score is not None else None
        part = both or calibration.alone
        value = part.offset + part.score * c.score + part.ranges * (c.range_score or 0.0)
        found.append(replace(c, evidence=float(value)))
    return tuple(sorted(found, key=lambda c: -c.evidence))


def same_place(candidates: Sequence[Candidate]) -> np.ndarray:
    """(K,) bool: which candidates mean the place of the first."""
    where = np.array([c.T_map_base[:2, 3] for c in candidates])
    turned = np.array([abs(wrap(yaw(c.T_map_base) - yaw(candidates[0].T_map_base))) for c in candidates])
    return (np.linalg.norm(where - where[0], axis=1) < SAME_METRES) & (turned < SAME_RADIANS)


def log_odds(candidates: Sequence[Candidate], elsewhere: float) -> float:
    """Of the first candidate's place against all others and `elsewhere`, nats; candidates with evidence, best first."""
    here, found = same_place(candidates), np.array([c.evidence for c in candidates])
    return float(found[here].max() - logsumexp([elsewhere, *found[~here]]))


def probability(candidates: Sequence[Candidate], calibration: Calibration) -> float:
    """That the first of the candidates, which have evidence and are sorted by it, is right; 0 if there are none."""
    if not candidates:
        return 0.0
    c = calibration.confidence
    return float(expit(c.offset + c.slope * log_odds(candidates, c.elsewhere)))
