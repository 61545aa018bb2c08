# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A picture's expected ranges against stored ones."""

import numpy as np
import pytest

from ms2cl_ros.core.calibration import RangeLikelihood
from ms2cl_ros.core.errors import ModelError
from ms2cl_ros.core.sidecar import RangeMap
from ms2cl_ros.core.verification import (
    COLUMN_SHIFTS,
    LOG_SHIFTS,
    MOST,
    ROW_SHIFTS,
    Verifier,
    log_chances,
    outlines,
)

SPEC = RangeMap(rows=6, columns=20, bins=8, near=2.0, far=90.0)
TURN = 100
STEP = np.deg2rad(3.6)


def likelihood(off: float = 0.1, at: float = 0.2) -> RangeLikelihood:
    exponents = np.stack([np.full(SPEC.rows, off), np.full(SPEC.rows, at)])
    return RangeLikelihood(exponents, np.full((SPEC.bins + 1, SPEC.rows), 1 / (SPEC.bins + 1)))


def street(seed: int) -> np.ndarray:
    """(rows, turn) uint8 with outlines every few columns."""
    rng = np.random.default_rng(seed)
    return np.repeat(rng.integers(0, SPEC.bins + 1, (SPEC.rows, TURN // 4)), 4, axis=1).astype(np.uint8)


def picture(coarse: np.ndarray, heading: float, sure: float = 4.0) -> np.ndarray:
    """(bins + 1, rows, columns) logits of a model that reads the ranges at `heading` off a street without error."""
    first = round((np.pi - heading) / STEP - SPEC.columns / 2)
    seen = coarse[:, (first + np.arange(SPEC.columns)) % TURN]
    return (sure * (np.arange(SPEC.bins + 1)[:, None, None] == seen)).astype(np.float32)


def test_all_sums_are_what_cells_counted_one_by_one_come_to():
    rng = np.random.default_rng(0)
    known = RangeLikelihood(rng.uniform(0, 0.1, (2, SPEC.rows)), rng.dirichlet(np.ones(SPEC.bins + 1), SPEC.rows).T)
    known.exponents[:, 0] = 0.0
    logits = rng.normal(size=(SPEC.bins + 1, SPEC.rows, SPEC.columns)).astype(np.float32)
    coarse, headings = np.stack([street(i) for i in range(3)]), np.array([0.0, 3.1, -1.234])
    fits, middle = Verifier(SPEC, known).fits(logits, coarse, headings)
    ratio = np.clip(log_chances(logits) - np.log(known.prior[:, :, None]), -MOST, MOST)
    edges = outlines(coarse)
    for k, dr, dc in np.ndindex(3, 2 * ROW_SHIFTS + 1, 2 * COLUMN_SHIFTS + 1):
        first = round((np.pi - middle[k]) / STEP - SPEC.columns / 2)
        total = 0.0
        for row, column in np.ndindex(SPEC.rows, SPEC.columns):
            r, c = row + dr - ROW_SHIFTS, (first + column + dc - COLUMN_SHIFTS) % TURN
            if 0 <= r < SPEC.rows:
                total += ratio[coarse[k, r, c], row, column] * known.exponents[int(edges[k, r, c]), r]
        assert fits[k, dr, dc] == pytest.approx(total, abs=1e-4)


def test_sums_by_row_weighed_with_the_exponents_are_the_fits():
    known, coarse = likelihood(0.03, 0.07), np.stack([street(i) for i in range(2)])
    verifier, headings = Verifier(SPEC, known), np.array([0.2, -2.0])
    logits = picture(coarse[0], 0.2)
    rows = verifier.by_row(logits, coarse, headings)
    assert rows.shape == (2, 2 * ROW_SHIFTS + 1, 2, SPEC.rows, 2 * COLUMN_SHIFTS + 1)
    np.testing.assert_allclose(np.einsum("kserc,er->ksc", rows, known.exponents),
                               verifier.fits(logits, coarse, headings)[0], atol=1e-4)


def test_the_street_that_the_picture_shows_scores_above_zero_and_all_others_below():
    coarse = np.stack([street(i) for i in range(8)])
    scores = Verifier(SPEC, likelihood()).score(picture(coarse[3], 0.0), coarse, np.zeros(8)).scores
    assert scores.argmax() == 3
    assert scores[3] > 5 > 0 > np.delete(scores, 3).max()


@pytest.mark.parametrize("cells", [-3, -1, 2, 4])
@pytest.mark.parametrize("heading", [0.0, np.pi, -1.0 * STEP])
def test_a_candidate_a_few_cells_beside_the_true_heading_is_turned_to_it(cells, heading):
    coarse = street(1)[None]
    found = Verifier(SPEC, likelihood()).score(picture(coarse[0], heading), coarse, np.array([heading + cells * STEP]))
    assert np.cos(found.headings[0] - heading) == pytest.approx(1.0, abs=1e-5)


def test_a_picture_that_says_nothing_scores_zero():
    flat = np.zeros((SPEC.bins + 1, SPEC.rows, SPEC.columns), np.float32)
    found = Verifier(SPEC, likelihood()).score(flat, street(0)[None], np.array([0.3]))
    assert found.scores[0] == pytest.approx(0.0, abs=1e-5)
    assert abs(found.headings[0] - 0.3) <= STEP / 2 + 1e-6


def test_one_cell_cannot_veto_a_place():
    coarse = street(2)[None]
    logits = picture(coarse[0], 0.0)
    spoilt = logits.copy()
    spoilt[:, 3, 10] = np.where(np.arange(SPEC.bins + 1) == coarse[0, 3, 50], -50.0, 0.0)
    verifier = Verifier(SPEC, likelihood())
    whole, hurt = (verifier.score(x, coarse, np.zeros(1)).scores[0] for x in (logits, spoilt))
    assert 0 < whole - hurt < 2 * MOST * 0.2 + 0.2


def test_cells_that_the_camera_does_not_see_count_for_nothing():
    coarse = street(4)[None]
    right, seen = picture(coarse[0], 0.0), np.zeros((SPEC.rows, SPEC.columns), bool)
    verifier = Verifier(SPEC, likelihood())
    assert verifier.score(right, coarse, np.zeros(1), seen).scores[0] == pytest.approx(0.0, abs=1e-6)
    seen[:, :10] = True
    half = verifier.score(right, coarse, np.zeros(1), seen).scores[0]
    assert 0 < half < verifier.score(right, coarse, np.zeros(1)).scores[0]


def test_what_every_picture_of_the_robot_says_comes_to_count_for_nothing():
    coarse, rng = street(5)[None], np.random.default_rng(0)
    always = picture(coarse[0], 0.0)
    verifier = Verifier(SPEC, likelihood())
    fresh = verifier.score(always, coarse, np.zeros(1)).scores[0]
    for _ in range(2000):
        verifier.learn(always, rng.normal(size=4).astype(np.float32))
    assert verifier.score(always, coarse, np.zeros(1)).scores[0] < 0.1 * fresh


def test_a_robot_that_stands_still_does_not_unlearn_where_it_stands():
    coarse, descriptor = street(6)[None], np.ones(4, np.float32) / 2
    verifier = Verifier(SPEC, likelihood())
    before = verifier.score(picture(coarse[0], 0.0), coarse, np.zeros(1)).scores[0]
    for _ in range(2000):
        verifier.learn(picture(coarse[0], 0.0), descriptor)
    assert verifier.score(picture(coarse[0], 0.0), coarse, np.zeros(1)).scores[0] > 0.9 * before


def test_shifts_share_one_probability():
    assert np.exp(LOG_SHIFTS).sum() * (2 * ROW_SHIFTS + 1) == pytest.approx(1.0)


def test_a_likelihood_of_another_range_map_is_refused():
    with pytest.raises(ModelError, match="calibrate this model"):
        Verifier(RangeMap(rows=5, columns=20, bins=8, near=2.0, far=90.0), likelihood())
    with pytest.raises(ModelError, match="do not fit"):
        Verifier(SPEC, likelihood()).score(np.zeros((9, 5, 20), np.float32), street(0)[None], np.zeros(1))
