# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Do the ranges that a picture leads to expect fit those that are stored at a candidate?

For each cell the camera model gives a distribution over range bins and "nothing came back"; a candidate's stored
ranges are held against it under a few shifts of columns (a heading between those embedded) and of rows (a nod). The
score is a log-likelihood ratio: how much better this picture explains the ranges than a picture of anywhere does.
Neighbouring cells say the same thing over again, so each counts with an exponent, fitted on data (`calibration`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import csr_matrix
from scipy.special import logsumexp

from ms2cl_ros.core.calibration import RangeLikelihood
from ms2cl_ros.core.centring import SAME_PICTURE
from ms2cl_ros.core.errors import ModelError
from ms2cl_ros.core.sidecar import RangeMap

# Half the 7.2 degrees between 50 headings are four columns of 0.9 degrees.
COLUMN_SHIFTS, ROW_SHIFTS = 4, 1
# Before the ranges are looked at: the heading found by the descriptor is off by about so many columns, any row alike.
COLUMN_SIGMA = 2.8
SHIFTS = np.arange(-COLUMN_SHIFTS, COLUMN_SHIFTS + 1)
LOG_SHIFTS = -0.5 * (SHIFTS / COLUMN_SIGMA) ** 2
LOG_SHIFTS = LOG_SHIFTS - logsumexp(LOG_SHIFTS) - math.log(2 * ROW_SHIFTS + 1)
# No cell is believed further than this, in nats: a pedestrian or a parked car must not veto a place.
MOST = 3.0
# Share of a cell's probability that goes to all bins alike: what the model has never seen happens too.
DOUBT = 0.02
# Between neighbouring columns this many bins apart there is an outline.
OUTLINE_BINS = 2
# Pictures that the stored prior counts for, and after how many the robot's own are forgotten.
STORED_COUNT, REMEMBERED = 50.0, 1000.0


@dataclass(frozen=True)
class Verified:
    """Of K candidates: `scores`, log-likelihood ratios in nats, and `headings`, refined, radians; (K,) float64."""

    scores: np.ndarray
    headings: np.ndarray


def log_chances(logits: np.ndarray) -> np.ndarray:
    """(bins + 1, rows, columns) float32 log-probabilities from logits, none below what `DOUBT` leaves."""
    chances = np.exp(logits - logits.max(0))
    chances *= (1.0 - DOUBT) / chances.sum(0)
    chances += DOUBT / len(logits)
    return np.log(chances, out=chances)


def outlines(coarse: np.ndarray) -> np.ndarray:
    """(..., columns) bool: cells at an outline, where the next or the last column is far nearer or farther."""
    bins = np.asarray(coarse, np.int16)
    jump = np.abs(bins - np.roll(bins, -1, axis=-1)) >= OUTLINE_BINS
    return jump | np.roll(jump, 1, axis=-1)


class Verifier:
    """Scores candidates of one model after another picture; keeps what its range map says on average.

    The prior begins as the one stored with `likelihood` and moves towards the mean of the robot's own pictures, so
    that what this camera says everywhere counts for nothing. Raises ModelError if the two do not fit.
    """

    def __init__(self, range_map: RangeMap, likelihood: RangeLikelihood) -> None:
        shape = (range_map.bins + 1, range_map.rows)
        if likelihood.prior.shape != shape or likelihood.exponents.shape != (2, range_map.rows):
            raise ModelError(f"a range likelihood for {likelihood.prior.shape[0] - 1} bins and "
                             f"{likelihood.prior.shape[1]} rows does not fit a range map of {range_map.bins} and "
                             f"{range_map.rows}: calibrate this model")
        self._map, self._likelihood = range_map, likelihood
        self._mean = np.repeat(likelihood.prior[:, :, None], range_map.columns, 2).astype(np.float32)
        self._count, self._last = STORED_COUNT, np.zeros(0, np.float32)
        self._used = np.flatnonzero(likelihood.exponents.any(0))

    def learn(self, logits: np.ndarray, descriptor: np.ndarray) -> None:
        """Takes a picture's (bins + 1, rows, columns) logits into the prior, unless it is like the last one taken."""
        if self._last.shape == descriptor.shape and float(self._last @ descriptor) > SAME_PICTURE:
            return
        self._last, self._count = descriptor, min(self._count + 1.0, REMEMBERED)
        self._mean += (np.exp(log_chances(logits)) - self._mean) / np.float32(self._count)

    def score(self, logits: np.ndarray, coarse: np.ndarray, headings: np.ndarray,
              seen: np.ndarray | None = None) -> Verified:
        """Log-likelihood ratios and refined headings of K candidates.

        `logits`: (bins + 1, rows, columns) of the picture; `coarse`: (K, rows, columns of the turn) uint8 and
        `headings`: (K,) radians, azimuth in each view's frame. `seen`: (rows, columns) bool, the cells that the camera
        sees; all if left out. Shifts are averaged over, not chosen, so a candidate gains nothing by being tried often;
        the refined heading is the mean under what the ranges say of the shift, which lies between cells.
        """
        shape = (self._map.bins + 1, self._map.rows, self._map.columns)
        if logits.shape != shape or coarse.shape[1] != self._map.rows:
            raise ModelError(f"logits of {logits.shape} and ranges of {coarse.shape} do not fit a range map of {shape}")
        fits, middle = self.fits(logits, coarse, headings, seen)
        weighed = fits + LOG_SHIFTS
        scores = logsumexp(weighed, axis=(1, 2))
        columns = np.exp(weighed - scores[:, None, None]).sum(1) @ SHIFTS
        refined = middle - columns * (2 * np.pi / coarse.shape[2])
        return Verified(scores, (refined + np.pi) % (2 * np.pi) - np.pi)

    def fits(self, logits: np.ndarray, coarse: np.ndarray, headings: np.ndarray,
             seen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(K, row shifts, column shifts) float64 log-likelihood ratios, and the (K,) headings at column shift 0."""
        exponents = self._likelihood.exponents[:, self._used].astype(np.float32)
        window, at, middle = self._windows(coarse, headings)
        weights = np.where(at, exponents[1][:, None], exponents[0][:, None])
        return self._summed(self._ratio(logits, seen), window, weights, window[0].size)[:, :, 0], middle

    def by_row(self, logits: np.ndarray, coarse: np.ndarray, headings: np.ndarray) -> np.ndarray:
        """(K, row shifts, 2, rows used, column shifts): the same without exponents, cells off and at outlines apart."""
        window, at, _ = self._windows(coarse, headings)
        ratio = self._ratio(logits, None)
        return np.stack([self._summed(ratio, window, part.astype(np.float32), window.shape[2]) for part in (~at, at)],
                        axis=2)

    def _ratio(self, logits: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
        ratio = log_chances(logits) - np.log(self._mean)
        np.clip(ratio, -MOST, MOST, out=ratio)
        return ratio if seen is None else ratio * seen

    def _summed(self, ratio: np.ndarray, window: np.ndarray, weights: np.ndarray, cells: int) -> np.ndarray:
        """(K, row shifts, sums, column shifts) float64: every `cells` cells of a window of (K, rows used, columns)."""
        table, index = shifted(ratio), _entries(window, self._used, self._map.rows)
        shifts = index.shape[1]
        # what lies where, as a sparse matrix: a product with the table sums cells under all column shifts at once
        ends = np.arange(0, index.size + 1, cells, dtype=np.int32)
        where = csr_matrix((np.repeat(weights[:, None], shifts, 1).ravel(), index.ravel(), ends),
                           shape=(len(ends) - 1, len(table)), copy=False)
        return (where @ table).astype(np.float64).reshape(len(window), shifts, window[0].size // cells, -1)

    def _windows(self, coarse: np.ndarray, headings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(K, rows used, columns + 2 shifts) uint8 around each heading, bool where they are at an outline, and the (K,)
        headings they are centred on."""
        turn, wide = coarse.shape[2], self._map.columns + 2 * COLUMN_SHIFTS
        first = np.floor((0.5 - np.asarray(headings) / (2 * np.pi)) * turn - wide / 2 + 0.5).astype(int)
        used = coarse[:, self._used]
        round_the_turn = np.concatenate([used, used[:, :, :wide + 2]], axis=2)
        # a column more on either side, as an outline is seen against the neighbours
        cut = np.stack([r[:, f:f + wide + 2] for r, f in zip(round_the_turn, (first - 1) % turn)])
        middle = np.pi - (first + wide / 2) * (2 * np.pi / turn)
        return np.ascontiguousarray(cut[:, :, 1:-1]), outlines(cut)[:, :, 1:-1], middle


def shifted(ratio: np.ndarray) -> np.ndarray:
    """(N, column shifts) float32 from (bins, rows, columns): what a stored cell is worth under each column shift.

    Entries go by bin, row and column of the stored window, with `ROW_SHIFTS` empty rows above and below; a stored cell
    that no cell of the picture lies over is worth 0.
    """
    bins, high, wide = ratio.shape
    m, n = ROW_SHIFTS, 2 * COLUMN_SHIFTS
    padded = np.zeros((bins, high + 2 * m, wide + 2 * n), np.float32)
    padded[:, m:m + high, n:n + wide] = ratio[:, :, ::-1]
    # the picture is mirrored and so are the stored columns, so that shifts come in rising order
    return np.ascontiguousarray(sliding_window_view(padded, n + 1, axis=2)).reshape(-1, n + 1)


def _entries(window: np.ndarray, rows: np.ndarray, high: int) -> np.ndarray:
    """(K, row shifts, rows used, columns) int32: the entry of `shifted` for each stored cell."""
    wide = window.shape[2]
    across = np.arange(wide - 1, -1, -1, dtype=np.int32)
    down = (rows + ROW_SHIFTS - np.arange(-ROW_SHIFTS, ROW_SHIFTS + 1)[:, None]).astype(np.int32)
    cell = down[:, :, None] * np.int32(wide) + across
    return window[:, None].astype(np.int32) * np.int32((high + 2 * ROW_SHIFTS) * wide) + cell


def stack(coarse: Sequence[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray]:
    """The candidates that have stored ranges (k,) and these ranges (k, rows, columns of the turn)."""
    which = np.array([i for i, c in enumerate(coarse) if c is not None], np.intp)
    kept = [c for c in coarse if c is not None]
    return which, np.stack(kept) if kept else np.zeros((0, 0, 0), np.uint8)
