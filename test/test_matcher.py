# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The matcher on a map of the small town: what it answers, and when it answers nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ms2cl_ros.core import sidecar
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.matcher import Matcher, seen_cells
from ms2cl_ros.core.types import AngularGrid, CameraImage, CameraModel

CAMERA = CameraModel(160, 80, np.array([[90.0, 0.0, 80.0], [0.0, 90.0, 40.0], [0.0, 0.0, 1.0]]))
MOUNT = transform([0.3, 0.0, 1.7], [-0.5, 0.5, -0.5, 0.5])


def noise(seed: int, stamp_s: float) -> CameraImage:
    rgb = np.random.default_rng(seed).integers(0, 255, (80, 160, 3), dtype=np.uint8)
    return CameraImage(rgb, round(stamp_s * 1e9), "camera")


@pytest.fixture
def matcher(maps, config):
    encoder = Encoder.load(config.encoder)
    with open_map(maps / "a.db", encoder.sidecar, write=False) as store:
        yield Matcher(config, encoder, store)


def test_every_image_gets_an_answer_that_says_how_much_it_is_worth(matcher):
    for i in range(4):
        match = matcher.locate(noise(i, i), CAMERA, MOUNT)
        assert match.stamp_ns == i * 10**9
        assert match.state in ("LOST", "TRACKING")
        assert 0.0 <= match.probability < 0.99
        assert [c.evidence for c in match.candidates] == sorted((c.evidence for c in match.candidates), reverse=True)
        assert np.linalg.eigvalsh(match.covariance).min() > 0


def test_images_of_nothing_leave_the_belief_outside_of_the_map_until_it_is_reset(matcher):
    for i in range(30):
        matcher.locate(noise(i, 0.5 * i), CAMERA, MOUNT)
    assert matcher.trust.belief.outside > 0.5
    matcher.reset()
    assert matcher.trust.belief.outside == pytest.approx(0.1)


def test_an_empty_map_answers_nothing_and_is_no_evidence(config, tmp_path):
    encoder = Encoder.load(config.encoder)
    with open_map(tmp_path / "empty.db", encoder.sidecar, write=True) as store:
        matcher = Matcher(config, encoder, store)
        for i in range(20):
            assert matcher.locate(noise(i, i), CAMERA, MOUNT) is None
        assert matcher.trust.belief.outside == pytest.approx(0.1)


def test_candidates_below_the_least_score_are_no_match_but_are_evidence(maps, config):
    config = replace(config, retrieval=replace(config.retrieval, min_score=0.999))
    encoder = Encoder.load(config.encoder)
    with open_map(maps / "a.db", encoder.sidecar, write=False) as store:
        matcher = Matcher(config, encoder, store)
        assert matcher.locate(noise(0, 0), CAMERA, MOUNT) is None
        assert matcher.trust.belief.outside > 0.1


def test_cells_of_the_range_map_that_the_camera_does_not_see_are_left_out(tiny_model):
    model = sidecar.load(Path(tiny_model))
    grid = AngularGrid(rows=12, columns=40, elevation_top_deg=18.0, elevation_step_deg=3.0, azimuth_step_deg=2.0)
    model = replace(model, camera=replace(model.camera, grid=grid), range_map=sidecar.RangeMap(4, 20, 8, 1.0, 40.0))
    valid = np.ones((12, 40), bool)
    valid[:, :10], valid[:4] = False, False
    seen = seen_cells(valid, model)
    # the LiDAR's grid begins two rows lower than the camera's: of its first two rows, one cell, nothing is seen
    assert seen.shape == (4, 20)
    assert not seen[0].any()
    assert not seen[:, :5].any()
    assert seen[1:, 5:].all()
