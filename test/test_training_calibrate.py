# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Calibrating an exported model on cities it has not seen."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.index import Entry
from ms2cl_ros.core.sidecar import RangeMap
from ms2cl_ros.core.types import View
from ms2cl_ros.training import calibrate
from ms2cl_ros.training.calibrate import Asked, Bank

SPEC = RangeMap(rows=6, columns=20, bins=8, near=2.0, far=90.0)
ENCODER = SimpleNamespace(sidecar=SimpleNamespace(range_map=SPEC, embedding=SimpleNamespace(logit_scale=20.0)))
AROUND = np.arange(4) * np.pi / 2


def city(number: int, pictures: int = 24) -> list[Asked]:
    """Views 20 m apart; each picture's descriptor is half its own view's, and its range map reads it well."""
    rng, out = np.random.default_rng(number), []
    for i in range(pictures):
        looks = rng.normal(size=(4, 12))
        looks /= np.linalg.norm(looks, axis=1, keepdims=True)
        asked = looks[0] + rng.normal(0, 0.35, 12)
        coarse = np.repeat(rng.integers(0, 9, (SPEC.rows, 25)), 4, axis=1).astype(np.uint8)
        T = transform([20.0 * i + 1e4 * number, 0.0, 0.0])
        view = View(T, AROUND, looks.astype(np.float32), coarse, id=number * 1000 + i)
        seen = coarse[:, 40:60] == np.arange(9)[:, None, None]
        logits = (1.2 * seen + rng.normal(0, 1, seen.shape)).astype(np.float32)
        out.append(Asked((asked / np.linalg.norm(asked)).astype(np.float32), logits, T, number,
                         Entry(number, view, 0.0, np.eye(4))))
    return out


@pytest.fixture
def cities(monkeypatch):
    monkeypatch.setattr(calibrate, "read", lambda path, encoder, number: city(number))


def test_both_scores_together_find_more_than_the_descriptor_and_the_figures_say_so(cities):
    known = calibrate.calibrate(ENCODER, [Path("a"), Path("b")])
    found = known.reached["recall@1"]
    assert found["both"] >= max(found["descriptor"], found["ranges"])
    assert known.reached["pictures"] == 48
    assert set(known.reached["expected_calibration_error"]) == {"before", "after"}
    assert known.both is not None and known.both.ranges > 0
    assert known.ranges is not None and known.ranges.exponents.max() > 0


def test_one_city_alone_is_refused(cities):
    with pytest.raises(DataError, match="two or more cities"):
        calibrate.calibrate(ENCODER, [Path("a")])


def test_the_bank_answers_with_the_best_heading_of_each_view():
    views = [picture.own for picture in city(1, 5)]
    bank = Bank(views)
    found = bank.search(views[2].view.descriptors[3], 2)
    assert len(found) == 2
    assert found[0][0] == pytest.approx(1.0)
    assert (found[0][1].view.id, found[0][1].heading) == (views[2].view.id, AROUND[3])


def test_a_shard_without_views_is_refused(tmp_path):
    path = tmp_path / "city.npz"
    np.savez(path, img=np.zeros((1, 2, 2, 3)))
    with pytest.raises(DataError, match="no shard of a mapped city"):
        calibrate.read(path, ENCODER, 1)
