# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of a calibration from answers that are known to be right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from ms2cl_ros.core.calibration import (
    Calibration,
    Confidence,
    Evidence,
    RangeLikelihood,
    evidence,
    probability,
    same_place,
)
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.types import Candidate
from ms2cl_ros.core.verification import LOG_SHIFTS

# Rows of a range map that share their exponents: fewer would overfit a few hundred pictures.
BAND = 3
# Nats a picture that an exponent of 0.1 costs: rows that tell nothing get none.
PULL = 0.01
STEPS = 60
# Trials that a fit wants at least.
FEWEST = 20
# Where a fit of the evidence begins, and what it may come to.
COSINE_WEIGHT, MOST_COSINE, MOST_RANGES = 30.0, 300.0, 3.0
# What it costs to double a weight that is known beforehand, in nats over all trials: a drive of a few hundred frames,
# which resemble each other, may change it.
DOUBT_OF_START = 10.0
# Share of pictures that are taken to come from outside the map.
OUTSIDE = 0.1


def fit_exponents(cells: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> np.ndarray:
    """(2, rows) exponents under which the right candidate's ranges are the likeliest of a picture's candidates.

    `cells`: of each picture (K, row shifts, 2, rows, column shifts) from `Verifier.by_row`; `right`: (K,) bool. This is
    the maximum of the likelihood that a right one is chosen with chances as the likelihood ratios say, each averaged
    over its shifts, and no exponent is negative. Pictures without a right candidate, or with no other, tell nothing.
    """
    told = [(c, r) for c, r in zip(cells, right, strict=True) if r.any() and not r.all()]
    rows = cells[0].shape[3]
    first = np.arange(0, rows, BAND)
    banded = [np.add.reduceat(c, first, axis=3).astype(np.float32) for c, _ in told]
    flat = [np.moveaxis(c, (2, 3), (0, 1)).reshape(2 * len(first), len(c), -1) for c in banded]

    shifts = np.tile(LOG_SHIFTS, banded[0].shape[1])

    def loss(exponents: np.ndarray) -> tuple[float, np.ndarray]:
        total, slope = 0.0, np.zeros_like(exponents)
        for part, (_, hit) in zip(flat, told, strict=True):
            fits = np.tensordot(exponents.astype(np.float32), part, 1) + shifts
            scores = logsumexp(fits, axis=1)
            among, of = np.exp(scores - logsumexp(scores)), np.where(hit, scores, -np.inf)
            shares = np.exp(fits - scores[:, None]) * (among - np.exp(of - logsumexp(of)))[:, None]
            total -= logsumexp(of) - logsumexp(scores)
            slope += part.reshape(len(part), -1) @ shares.ravel().astype(np.float32)
        pull = 50 * PULL * float((exponents**2).sum())
        return total / len(told) + pull, slope / len(told) + 100 * PULL * exponents

    start = np.full(2 * len(first), 0.02)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * len(start),
                     options={"maxiter": STEPS, "ftol": 1e-5}).x
    return np.repeat(found.reshape(2, -1), BAND, axis=1)[:, :rows]


@dataclass(frozen=True)
class Trial:
    """What one picture was answered: its candidates, and which of them are right, (K,) bool. `block`: trials of one
    block resemble each other, and are left out together when a fit is tried."""

    candidates: tuple[Candidate, ...]
    right: np.ndarray
    block: int = 0


def fit(trials: Sequence[Trial], ranges: RangeLikelihood | None = None,
        start: Calibration | None = None) -> Calibration:
    """The calibration under which the right candidates are the likeliest, and probabilities are what they say.

    `start`: what is known beforehand, which few trials hardly change; its centre and `most_a_look` are kept.
    Size and density of the map do not matter much: evidence is only ever weighed against that of the other
    candidates, of which a larger map has better ones.
    Raises DataError with fewer than `FEWEST` trials in which a right candidate is among wrong ones.
    """
    told = [t for t in trials if t.right.any() and not t.right.all()]
    if len(told) < FEWEST:
        raise DataError(f"{len(told)} of {len(trials)} images have a right candidate among wrong ones; a calibration "
                        f"wants {FEWEST} or more: use a drive along the mapped road whose poses are in the map's frame")
    verified = all(c.range_score is not None for t in told for c in t.candidates)
    alone = _fit_evidence(told, False, start.alone if start else None)
    both = _fit_evidence(told, True, start.both if start else None) if verified else None
    kept = start.both if start and both is None else both
    known, centre = (start.confidence, start.centre) if start else (None, None)
    only = Calibration(alone, None, Confidence(0.0), ranges)
    alone = replace(alone, offset=-_fit_confidence(trials, only, known).elsewhere)
    if both is None:
        confidence = _fit_confidence(trials, replace(only, alone=alone), known)
        return Calibration(alone, kept, replace(confidence, elsewhere=0.0), ranges, centre=centre)
    confidence = _fit_confidence(trials, replace(only, both=both), known)
    both = replace(both, offset=-confidence.elsewhere)
    return Calibration(alone, both, replace(confidence, elsewhere=0.0), ranges, centre=centre)


def _fit_evidence(told: Sequence[Trial], verified: bool, start: Evidence | None) -> Evidence:
    """Weights under which a right candidate is chosen among all with chances as the evidence says."""
    most = max(len(t.candidates) for t in told)
    scores, right = np.zeros((len(told), most, 2)), np.zeros((len(told), most), bool)
    there = np.zeros((len(told), most), bool)
    for i, trial in enumerate(told):
        n = len(trial.candidates)
        scores[i, :n] = [[c.score, (c.range_score or 0.0) if verified else 0.0] for c in trial.candidates]
        there[i, :n], right[i, :n] = True, trial.right
    before = np.array([start.score, start.ranges] if start else [COSINE_WEIGHT, 0.5 if verified else 0.0])
    doubt = DOUBT_OF_START if start else 0.0

    def loss(weights: np.ndarray) -> float:
        said = scores @ weights
        all_of, good = (logsumexp(np.where(kept, said, -np.inf), axis=1) for kept in (there, right))
        pull = doubt * (((weights - before) / (before + 0.1)) ** 2).sum()
        return float(((all_of - good).sum() + pull) / len(told))

    top = MOST_COSINE, MOST_RANGES if verified else 0.0
    found = minimize(loss, before, method="L-BFGS-B", bounds=[(0.0, most) for most in top]).x
    return Evidence(0.0, float(found[0]), float(found[1]))


def _fit_confidence(trials: Sequence[Trial], calibration: Calibration, start: Confidence | None) -> Confidence:
    """What makes the log odds of the best candidates probabilities.

    Each trial counts a second time, less, without its right candidates: as a picture from outside the map.
    """
    odds, right, weight = [], [], []
    for trial in trials:
        for kept, share in ((np.ones(len(trial.right), bool), 1.0 - OUTSIDE), (~trial.right, OUTSIDE)):
            answers = [(c, bool(r)) for c, r, k in zip(trial.candidates, trial.right, kept, strict=True) if k]
            if answers:
                found, good = _best(answers, calibration)
                odds.append(found)
                right.append(good)
                weight.append(share)
    best, others = np.array(odds).T
    sign, weights, before = np.where(right, 1.0, -1.0), np.array(weight), start or Confidence(0.0)

    def loss(x: np.ndarray) -> float:
        said = x[1] + x[2] * (best - np.logaddexp(x[0], others))
        pull = (x[1] - before.offset) ** 2 + ((x[2] - before.slope) / 0.3) ** 2
        return float((weights * np.logaddexp(0.0, -sign * said)).sum() + 0.5 * pull)

    finite = others[np.isfinite(others)]
    guess = np.array([np.median(finite) if len(finite) else 0.0, before.offset, before.slope])
    found = minimize(loss, guess, method="Nelder-Mead", options={"maxiter": 600, "xatol": 1e-3, "fatol": 1e-3}).x
    return Confidence(float(found[0]), float(found[1]), float(found[2]), before.most_a_look)


def _best(answers: Sequence[tuple[Candidate, bool]], calibration: Calibration) -> tuple[tuple[float, float], bool]:
    """Evidence of the best candidate and of all at other places together, and whether the best is right."""
    found = evidence([c for c, _ in answers], calibration)
    good = {id_of(c) for c, r in answers if r}
    here, said = same_place(found), np.array([c.evidence for c in found])
    others = float(logsumexp(said[~here])) if not here.all() else -np.inf
    return (float(said[here].max()), others), id_of(found[0]) in good


def id_of(candidate: Candidate) -> tuple[int, float]:
    """What tells a candidate from the others of a picture."""
    return candidate.view_id, candidate.heading


def said_and_right(trials: Sequence[Trial], calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """(N,) probabilities of the best candidates under a calibration, and (N,) bool whether they are right."""
    said, right = [], []
    for trial in trials:
        found = evidence(trial.candidates, calibration)
        good = {id_of(c) for c, r in zip(trial.candidates, trial.right, strict=True) if r}
        said.append(probability(found, calibration))
        right.append(bool(found) and id_of(found[0]) in good)
    return np.array(said), np.array(right)


def left_out(trials: Sequence[Trial], ranges: RangeLikelihood | None = None,
             start: Calibration | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The same, each block of trials under a calibration fitted to the other blocks.

    Raises DataError if there is but one block, or too little in the others.
    """
    blocks = sorted({t.block for t in trials})
    if len(blocks) < 2:
        raise DataError("all images are of one block: a fit is tried on what it has not seen, so give a longer drive")
    parts = []
    for block in blocks:
        rest = fit([t for t in trials if t.block != block], ranges, start)
        parts.append(said_and_right([t for t in trials if t.block == block], rest))
    return np.concatenate([said for said, _ in parts]), np.concatenate([right for _, right in parts])
