# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What scores are worth: fits with known answers, probabilities that keep what they say."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml

from ms2cl_ros.core import calibration, fitting, sidecar
from ms2cl_ros.core.calibration import Calibration, Confidence, Evidence, RangeLikelihood
from ms2cl_ros.core.centring import Centre
from ms2cl_ros.core.encoder import model_folder
from ms2cl_ros.core.errors import DataError, ModelError
from ms2cl_ros.core.fitting import Trial, fit, fit_exponents
from ms2cl_ros.core.geometry import rotation_z, transform
from ms2cl_ros.core.reliability import least_share, reliability, threshold
from ms2cl_ros.core.types import Candidate

KNOWN = Calibration(Evidence(-9.0, 30.0), Evidence(-8.0, 25.0, 0.8), Confidence(0.0, -0.2, 0.9),
                    RangeLikelihood(np.full((2, 3), 0.02), np.full((5, 3), 0.2)), {0.9: 0.93}, {"pictures": 7})


def candidate(number: int, score: float, ranges: float | None = None, x: float | None = None) -> Candidate:
    place = transform([100.0 * number if x is None else x, 0.0, 0.0])
    return Candidate(number, number, 0.0, 0.1, score, place, ranges)


def trials(n: int, rivals: int = 12, weights: tuple[float, float] = (20.0, 0.6), seed: int = 0) -> list[Trial]:
    """Answers to pictures that follow the model: scores of wrong candidates are alike, and a right one is chosen with
    chances proportional to exp(weights @ scores)."""
    rng, out = np.random.default_rng(seed), []
    for i in range(n):
        scores, ranges = rng.normal(0.4, 0.08, rivals), rng.normal(0.0, 2.0, rivals)
        chances = np.exp(weights[0] * scores + weights[1] * ranges)
        truth = rng.choice(rivals, p=chances / chances.sum())
        found = tuple(candidate(k, float(s), float(r)) for k, (s, r) in enumerate(zip(scores, ranges)))
        out.append(Trial(found, np.arange(rivals) == truth, i // 50))
    return out


def test_the_weights_that_made_the_answers_are_found_again():
    known = fit(trials(400))
    assert known.both is not None
    assert known.both.score == pytest.approx(20.0, rel=0.25)
    assert known.both.ranges == pytest.approx(0.6, rel=0.25)
    assert known.confidence.slope == pytest.approx(1.0, abs=0.2)
    assert known.alone.ranges == 0.0


def test_probabilities_of_unseen_answers_are_what_they_say():
    said, right = fitting.said_and_right(trials(500, seed=1), fit(trials(200)))
    # a tenth of the trials is taken to come from outside the map, and none of these does
    assert reliability(said, right).error < 0.1
    assert said.std() > 0.1


@pytest.mark.parametrize("rivals", [8, 30])
def test_a_map_of_another_size_hardly_changes_what_is_said(rivals):
    said, right = fitting.said_and_right(trials(400, rivals=rivals, seed=2), fit(trials(200)))
    assert reliability(said, right).error < 0.12


def test_without_range_scores_the_descriptor_is_weighed_for_itself():
    blind = [replace(t, candidates=tuple(replace(c, range_score=None) for c in t.candidates)) for t in trials(200)]
    known = fit(blind)
    assert known.both is None
    first = calibration.evidence(blind[0].candidates, known)[0]
    assert first.score == max(c.score for c in blind[0].candidates)


def test_few_trials_do_not_overturn_what_is_known_beforehand():
    few, start = trials(24, weights=(5.0, 0.1), seed=3), fit(trials(200))
    free, again = fit(few), fit(few, start=start)
    assert start.both is not None and free.both is not None and again.both is not None
    assert free.both.score < 0.5 * start.both.score
    assert free.both.score < again.both.score < start.both.score
    assert abs(again.both.score - start.both.score) < 0.85 * abs(free.both.score - start.both.score)


def test_a_fit_keeps_what_it_is_not_told_about():
    centre, start = Centre(np.full(4, 0.1), np.full(4, 0.2)), fit(trials(200))
    start = replace(start, confidence=replace(start.confidence, most_a_look=3.0), centre=centre)
    blind = [Trial(tuple(replace(c, range_score=None) for c in t.candidates), t.right) for t in trials(60)]
    for some in (trials(60), blind):
        again = fit(some, start=start)
        assert again.confidence.most_a_look == 3.0 and again.centre is centre


def test_a_fit_to_next_to_nothing_is_refused():
    with pytest.raises(DataError, match="3 of 3 images"):
        fit(trials(3))


def test_each_block_is_tried_under_a_fit_to_the_others():
    said, right = fitting.left_out(trials(150))
    assert len(said) == len(right) == 150
    assert ((said > 0) & (said < 1)).all()
    with pytest.raises(DataError, match="one block"):
        fitting.left_out(trials(40))


def test_evidence_is_the_sum_of_both_and_sorts_the_candidates():
    found = calibration.evidence([candidate(1, 0.5, 0.0), candidate(2, 0.4, 5.0), candidate(3, 0.45)], KNOWN)
    assert [c.view_id for c in found] == [2, 1, 3]
    assert [c.evidence for c in found] == pytest.approx([-8 + 10 + 4, -8 + 12.5, -9 + 13.5])


def test_candidates_of_the_same_place_do_not_speak_against_the_best():
    best, rival = candidate(1, 0.5), candidate(2, 0.5)
    near = replace(candidate(3, 0.5), T_map_base=transform([102.0, 1.0, 0.0]))
    turned = replace(near, T_map_base=near.T_map_base @ rotation_z(2.0))
    sure = [calibration.probability(calibration.evidence([best, other], KNOWN), KNOWN)
            for other in (near, turned, rival)]
    alone = calibration.probability(calibration.evidence([best], KNOWN), KNOWN)
    assert sure[0] == pytest.approx(alone)
    assert sure[1] == pytest.approx(sure[2])
    assert sure[2] < 0.5 < alone
    assert calibration.probability([], KNOWN) == 0.0


def test_a_calibration_comes_back_from_its_mapping_through_yaml(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"model": "abc", "calibration": KNOWN.to_mapping()}))
    back = calibration.load(path, "abc")
    assert (back.alone, back.both, back.confidence) == (KNOWN.alone, KNOWN.both, KNOWN.confidence)
    assert (back.thresholds, back.reached) == (KNOWN.thresholds, KNOWN.reached)
    assert back.ranges is not None and KNOWN.ranges is not None
    np.testing.assert_allclose(back.ranges.exponents, KNOWN.ranges.exponents)
    np.testing.assert_allclose(back.ranges.prior, KNOWN.ranges.prior, atol=1e-4)
    with pytest.raises(ModelError, match="another model"):
        calibration.load(path, "def")


def test_a_calibration_travels_in_the_sidecar_and_leaves_the_fingerprint_of_a_map_as_it_is(tmp_path):
    folder = shutil.copytree(model_folder("ms2cl_city"), tmp_path / "model")
    model = sidecar.load(folder)
    sidecar.save(replace(model, calibration=KNOWN.to_mapping()), folder)
    back = sidecar.load(folder)
    assert back.fingerprint == model.fingerprint
    assert Calibration.from_mapping(back.calibration).both == KNOWN.both


@pytest.mark.parametrize(("text", "reason"), [
    ("a: 1", "no 'calibration:'"), ("calibration: {alone: {offset: 1}}", "is no calibration"),
    ("calibration: [", "cannot read"), ("calibration: {alone: {offset: 1, score: 2}}", "confidence")])
def test_a_file_that_is_no_calibration_is_refused_with_the_reason(tmp_path, text, reason):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ModelError, match=reason):
        calibration.load(path)
    with pytest.raises(ModelError, match="cannot read"):
        calibration.load(tmp_path / "missing.yaml")


def test_a_row_that_tells_the_right_one_gets_an_exponent_and_one_of_noise_none():
    rng, cells, right = np.random.default_rng(0), [], []
    for _ in range(80):
        each = rng.normal(0, 3.0, (6, 3, 2, 6, 9))
        each[0, :, 1, 3:] += 12.0
        cells.append(each)
        right.append(np.arange(6) == 0)
    exponents = fit_exponents(cells, right)
    assert exponents.shape == (2, 6)
    assert exponents[1, 3] > 5 * max(exponents[0].max(), exponents[1, 0])


def test_the_expected_calibration_error_of_a_known_case():
    said = np.array([0.95] * 10 + [0.55] * 10)
    right = np.array([True] * 9 + [False] + [True] * 3 + [False] * 7)
    found = reliability(said, right)
    assert found.error == pytest.approx(0.5 * 0.05 + 0.5 * 0.25)
    np.testing.assert_array_equal(found.count, [10, 10])
    with pytest.raises(ValueError, match="no answers"):
        reliability(np.zeros(0), np.zeros(0, bool))


def test_the_bound_of_clopper_and_pearson():
    assert least_share(299, 299) == pytest.approx(0.05 ** (1 / 299))
    assert least_share(298, 298) < 0.99 < least_share(299, 299)
    assert least_share(0, 5) == 0.0


def test_a_threshold_is_given_only_where_enough_answers_vouch_for_it():
    said = np.linspace(1.0, 0.0, 1000)
    right = said >= 0.4
    least = threshold(said, right, 0.9)
    assert least is not None
    assert right[said >= least].mean() > 0.9
    assert threshold(said[:100], right[:100], 0.99) is None
    assert threshold(said, ~right, 0.9) is None


def test_equal_probabilities_stand_on_one_side_of_a_threshold():
    said = np.array([0.9] * 100 + [0.5] * 100)
    right = np.array([True] * 100 + [True, False] * 50)
    assert threshold(said, right, 0.9) == 0.9
