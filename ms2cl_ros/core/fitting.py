# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of a calibration from answers that are known to be right or wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from ms2cl_ros.core.verification import LOG_SHIFTS

# Rows of a range map that share their exponents: fewer would overfit a few hundred pictures.
BAND = 3
# Nats a picture that an exponent of 0.1 costs: rows that tell nothing get none.
PULL = 0.01
STEPS = 60


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
