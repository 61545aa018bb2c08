# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Offsets between picture and view on synthetic streets: what is made, kept and counted."""

import numpy as np
import pytest
from compact_drives import CAMERA_GRID, LIDAR_GRID, PlaceEmbedder

pytest.importorskip("embreex", reason="embreex is not installed: the city is optional")

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.training import viewpoint
from ms2cl_ros.training.city import offsets
from ms2cl_ros.training.city.offsets import CONDITIONS, FIRST_SEED, Street, places, streets

SPEC = PlaceEmbedder().sidecar


def street(first: int, n: int = 3) -> Street:
    """Pictures of places `first`, `first` + 1 ...; 5 m along, the map holds the next place's view instead."""
    shape = n, LIDAR_GRID.rows, LIDAR_GRID.turn_columns
    number = first + np.arange(n)[:, None, None]
    rgb = np.broadcast_to((10 + 3 * number)[..., None], (n, CAMERA_GRID.rows, CAMERA_GRID.columns, 3)).astype(np.uint8)
    own = np.broadcast_to(3.0 + number, shape).astype(np.float16)
    sweeps = np.repeat(own[:, None], len(places()), 1)
    sweeps[:, places().index((5.0, 0.0))] += 1
    poses = np.stack([transform([12.0 * (first + i), 0.0, 0.0]) for i in range(n)])
    return Street(rgb, np.ones(rgb.shape[:3], bool), poses, np.array(0.0), own, sweeps,
                  np.repeat(own[:, None], len(places()), 1))


def test_conditions_that_differ_in_heading_alone_share_a_place():
    assert len(places()) == len(CONDITIONS) - 3 and places()[0] == (0.0, 0.0)


def test_recall_is_counted_by_condition_and_kind_of_view():
    figures = viewpoint.table(PlaceEmbedder(), [street(0), street(10)])
    assert figures["same pose", viewpoint.SWEEP, "descriptor"].ranks == {"1": 1.0, "5": 1.0}
    # each picture finds its neighbour's view; the last of each street finds none like it, and its own is the next best
    assert figures["5 m along", viewpoint.SWEEP, "descriptor"].ranks["1"] == pytest.approx(2 / 6)
    assert figures["5 m along", viewpoint.VIEW, "descriptor"].ranks["1"] == 1.0
    same = figures[viewpoint.SAME_DAY.name, viewpoint.SWEEP, "descriptor"]
    assert (same.queries, same.segments) == (6, 2) and same.chance == pytest.approx(1 / 6)
    assert (viewpoint.SAME_DAY.name, viewpoint.VIEW, "descriptor") not in figures
    told = viewpoint.plain(figures, [FIRST_SEED, FIRST_SEED + 1], PlaceEmbedder())
    of_sweeps = told["conditions"]["5 m along"]["single sweep"]
    assert of_sweeps["descriptor"]["recall"]["1"] == pytest.approx(2 / 6, abs=1e-4)
    assert viewpoint.rich_table(figures).row_count == len(CONDITIONS) + 1


def test_seeds_that_training_may_have_seen_are_refused():
    with pytest.raises(ConfigError, match=str(FIRST_SEED)):
        streets([7], 1, SPEC.camera, LIDAR_GRID)


def test_a_street_is_made_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(offsets, "make_street", lambda task: street(task.seed - FIRST_SEED))
    first = streets([FIRST_SEED, FIRST_SEED + 4], 3, SPEC.camera, LIDAR_GRID, cache=tmp_path)
    monkeypatch.setattr(offsets, "make_street", lambda task: pytest.fail("made again"))
    again = streets([FIRST_SEED, FIRST_SEED + 4], 3, SPEC.camera, LIDAR_GRID, cache=tmp_path)
    for a, b in zip(first, again, strict=True):
        for name, value in vars(a).items():
            np.testing.assert_array_equal(value, getattr(b, name))


def test_a_real_street_has_pictures_sweeps_and_views_that_agree_on_ranges(monkeypatch):
    monkeypatch.setattr(offsets, "places", lambda: [(0.0, 0.0), (5.0, 0.0)])
    monkeypatch.setattr(offsets, "MAP_STEP", 4.0)
    monkeypatch.setattr(offsets, "TRUE_STEP_DEG", 0.5)
    monkeypatch.setattr(offsets, "MAP_STEP_DEG", 0.5)
    [made] = streets([FIRST_SEED], 1, SPEC.camera, LIDAR_GRID)
    n = len(made.rgb)
    assert n == 1 and made.rgb.shape == (n, CAMERA_GRID.rows, CAMERA_GRID.columns, 3)
    assert made.sweeps.shape == made.views.shape == (n, 2, LIDAR_GRID.rows, LIDAR_GRID.turn_columns)
    sweep, view = made.sweeps[:, 0].astype(float), made.views[:, 0].astype(float)
    both = (sweep > 0) & (view > 0)
    assert both.mean() > 0.3
    assert np.median(np.abs(np.log(sweep[both] / view[both]))) < 0.1, "one place seen twice on one day"
    moved = made.sweeps[:, 1].astype(float)
    other = (sweep > 0) & (moved > 0)
    assert np.median(np.abs(np.log(sweep[other] / moved[other]))) > 0.01, "5 m on it looks otherwise"
