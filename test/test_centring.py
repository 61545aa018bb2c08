# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What all pictures of a camera, and all views of a map, have in common tells no place from another."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ms2cl_ros.core import centring
from ms2cl_ros.core.calibration import Calibration, Confidence, Evidence
from ms2cl_ros.core.centring import PICTURES, VIEWS, Centre, Pictures, moved, scores, shift_of, straight_ahead
from ms2cl_ros.core.config import TrustConfig
from ms2cl_ros.core.errors import ModelError
from ms2cl_ros.core.trust import find_calibration
from ms2cl_ros.tools.embedding import centred, similarity

D = 24


def unit(seed: int, *shape: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(*shape, D)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_a_picture_is_moved_by_what_the_cameras_mean_has_moved():
    usual, first = 0.4 * unit(1), unit(2)
    camera = Pictures(usual)
    mean = (PICTURES * usual + first) / (PICTURES + 1)
    wanted = first - (mean - usual)
    np.testing.assert_allclose(camera(first), wanted / np.linalg.norm(wanted), atol=1e-6)


def test_a_robot_that_stands_learns_nothing_from_standing():
    camera, other, picture = Pictures(0.4 * unit(1)), Pictures(0.4 * unit(1)), unit(2)
    once = camera(picture)
    for _ in range(200):
        np.testing.assert_array_equal(camera(picture), once)
    np.testing.assert_array_equal(camera(unit(3)), [other(picture), other(unit(3))][1])


def test_after_many_pictures_the_cameras_own_look_is_gone():
    usual, look, camera = np.zeros(D, np.float32), unit(5), Pictures(np.zeros(D))
    pictures = moved(unit(6, 2000) + 2.0 * look, usual)
    assert (pictures @ look).mean() > 0.8
    assert abs(np.mean([camera(p) @ look for p in pictures][500:])) < 0.1


def test_the_shift_of_a_map_is_believed_the_more_the_more_views_it_has():
    usual, view = 0.4 * unit(1), unit(2)
    np.testing.assert_array_equal(shift_of([], usual), np.zeros(D))
    for n in (1, 20, 400):
        np.testing.assert_allclose(shift_of([view] * n, usual), (view - usual) * n / (VIEWS + n), atol=1e-6)


def test_scores_are_those_of_moved_descriptors():
    descriptors, query, shift = unit(1, 50), unit(2), 0.5 * unit(3)
    np.testing.assert_allclose(scores(descriptors, query, shift), moved(descriptors, shift) @ query, atol=1e-6)
    np.testing.assert_array_equal(scores(descriptors, query, np.zeros(D)), descriptors @ query)


def test_straight_ahead_is_the_heading_nearest_to_zero_round_the_turn():
    assert straight_ahead(np.radians([170.0, 300.0, 355.0, 20.0])) == 2


def test_views_that_happen_to_look_like_the_camera_draw_fewer_pictures_once_it_is_at_home():
    rng, look = np.random.default_rng(0), unit(7)
    places = rng.normal(size=(80, D)).astype(np.float32)
    scans = moved(places + rng.normal(size=(80, 1)) * look, np.zeros(D))[:, None]
    images = moved(places + 6.0 * look + 0.6 * rng.normal(size=(80, D)), np.zeros(D))
    home = Centre(np.zeros(D, np.float32), np.zeros(D, np.float32))

    def found(images, scans):
        return (similarity(images, scans).argmax(1) == np.arange(80)).mean()
    before, drive = found(images, scans), np.zeros(80, int)
    assert before < 0.5  # 39 of 80; 63 with the camera at home
    assert found(*centred(images, drive, scans, np.zeros(1), home)) > before + 0.2
    same = centred(images, drive, scans, np.zeros(1), None)
    assert same[0] is images and same[1] is scans


def test_each_drive_begins_with_a_camera_at_home():
    images, scans = unit(1, 6), unit(2, 6, 1)
    home = Centre(0.4 * unit(3), 0.4 * unit(4))
    moved_images, _ = centred(images, np.array([0, 0, 0, 1, 1, 1]), scans, np.zeros(1), home)
    camera = Pictures(home.camera)
    np.testing.assert_array_equal(moved_images[3:], [camera(i) for i in images[3:]])


def known(size: int = D) -> Calibration:
    centre = Centre(0.4 * unit(3)[:size], 0.4 * unit(4)[:size])
    return Calibration(Evidence(0.0, 40.0), None, Confidence(0.0), centre=centre)


def test_a_centre_travels_with_the_calibration():
    back = Calibration.from_mapping(known().to_mapping()).centre
    np.testing.assert_allclose(back.camera, known().centre.camera, atol=6e-5)
    np.testing.assert_allclose(back.lidar, known().centre.lidar, atol=6e-5)
    assert Calibration.from_mapping(replace(known(), centre=None).to_mapping()).centre is None
    broken = known().to_mapping() | {"centre": {"camera": "0.1 x", "lidar": "0.1 0.2"}}
    with pytest.raises(ModelError, match="calibration"):
        Calibration.from_mapping(broken)


def test_a_centre_of_another_size_is_refused():
    model = SimpleNamespace(name="m", calibration=known(20).to_mapping(), embedding=SimpleNamespace(size=D))
    with pytest.raises(ModelError, match=r"\[20\] numbers.*24"):
        find_calibration(TrustConfig(), model)
    model.calibration = known().to_mapping()
    assert find_calibration(TrustConfig(), model).centre is not None


def test_the_mean_of_a_camera_forgets_what_is_long_past(monkeypatch):
    monkeypatch.setattr(centring, "REMEMBERED", 100.0)
    camera, before, after = Pictures(np.zeros(D)), unit(8), unit(9)
    for seed in range(300):
        camera(moved(unit(seed) + 1.5 * before, np.zeros(D)))
    later = [camera(moved(unit(seed) + 1.5 * after, np.zeros(D))) @ after for seed in range(300, 900)]
    assert abs(np.mean(later[-200:])) < 0.1 < np.mean(later[:20])
