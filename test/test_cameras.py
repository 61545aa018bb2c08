# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Projection against OpenCV and by hand, and what a camera cannot see."""

import cv2
import numpy as np
import pytest

from ms2cl_ros.core.cameras import check, equidistant_limit, pinhole_limit, project
from ms2cl_ros.core.errors import SensorError
from ms2cl_ros.core.types import CameraModel

K = np.array([[700.0, 0, 620], [0, 710, 180], [0, 0, 1]])
PLUMB_BOB = (-0.37, 0.2, 0.001, -0.0007, -0.06)
RATIONAL = (0.9, 0.15, 0.0003, -0.0002, 0.01, 1.2, 0.3, 0.02)
FISHEYE = (0.02, -0.01, 0.004, -0.001)
POINTS = np.random.default_rng(5).uniform((-4, -1.2, 5), (4, 1.2, 30), (2000, 3))


def camera(model="plumb_bob", distortion=(), k=K, width=1240, height=370):
    return CameraModel(width, height, k, distortion, model)


@pytest.mark.parametrize(("model", "distortion"), [
    ("plumb_bob", ()), ("plumb_bob", PLUMB_BOB[:4]), ("plumb_bob", PLUMB_BOB), ("rational_polynomial", RATIONAL),
    ("rational_polynomial", (*RATIONAL, 0.001, 0, -0.001, 0)),
    ("rational_polynomial", (*RATIONAL, 0.001, 0, -0.001, 0, 0.01, -0.02))])
def test_pinhole_models_agree_with_opencv(model, distortion):
    uv, visible = project(camera(model, distortion), POINTS)
    expected = cv2.projectPoints(POINTS, np.zeros(3), np.zeros(3), K, np.array(distortion or [0.0] * 4))[0]
    np.testing.assert_allclose(uv, expected.reshape(-1, 2), atol=1e-9)
    assert 0.5 < visible.mean() <= 1.0


@pytest.mark.parametrize("distortion", [(), FISHEYE])
def test_the_fisheye_agrees_with_opencv(distortion):
    uv, visible = project(camera("equidistant", distortion), POINTS)
    rays = POINTS.reshape(1, -1, 3)
    expected = cv2.fisheye.projectPoints(rays, np.zeros(3), np.zeros(3), K, np.array(distortion or [0.0] * 4))[0][0]
    np.testing.assert_allclose(uv, expected, atol=1e-9)
    assert 0.5 < visible.mean() <= 1.0


@pytest.mark.parametrize("model", ["plumb_bob", "equidistant"])
def test_the_optical_axis_falls_on_the_principal_point(model):
    uv, visible = project(camera(model), np.array([[0.0, 0.0, 7.0]]))
    np.testing.assert_allclose(uv, [[620, 180]])
    assert visible.all()


def test_right_and_down_in_the_optical_frame_are_right_and_down_in_the_picture():
    uv, _ = project(camera(), np.array([[1.0, 0.5, 10.0]]))
    np.testing.assert_allclose(uv, [[690.0, 215.5]])


def test_the_picture_ends_half_a_pixel_beyond_the_middle_of_its_last_pixel():
    u = np.array([-0.51, -0.49, 1239.49, 1239.51])
    points = np.stack([(u - 620) / 700, np.zeros(4), np.ones(4)], axis=1)
    assert project(camera(), points)[1].tolist() == [False, True, True, False]


@pytest.mark.parametrize("distortion", [(), PLUMB_BOB])
def test_points_behind_a_pinhole_or_beside_it_are_not_visible(distortion):
    points = np.array([[0.0, 0, -5], [1, 0, -5], [3, 0, 0], [0, 0, 0], [np.nan, 0, 1], [0, 0, np.inf]])
    uv, visible = project(camera(distortion=distortion), points)
    assert not visible[:5].any()
    assert np.isnan(uv[:5]).all()


def test_distortion_that_folds_back_hides_what_lies_beyond_the_fold():
    folding = (-0.3, 0.0, 0.0, 0.0)
    # r (1 - 0.3 r^2) grows up to r^2 = 1 / 0.9, and comes back to the middle at r^2 = 1 / 0.3
    assert pinhole_limit(folding) == pytest.approx(1 / 0.9)
    radius = np.array([0.2, 1.0, 1.1, np.sqrt(1 / 0.3)])
    points = np.stack([radius, np.zeros(4), np.ones(4)], axis=1)
    uv, visible = project(camera(distortion=folding), points)
    assert visible.tolist() == [True, True, False, False]
    assert np.isnan(uv[2:]).all()


def test_up_to_the_fold_the_picture_only_moves_outwards():
    for distortion in (PLUMB_BOB, RATIONAL, (0.1, -0.4, 0.0, 0.0, 0.05), (-0.3, 0, 0, 0, 0, -0.5, 0, 0)):
        edge = min(np.sqrt(pinhole_limit(distortion)), 50.0)
        radius = np.linspace(0, edge * 0.9999, 2000)
        plain = (*distortion[:2], 0.0, 0.0, *distortion[4:])
        uv, _ = project(camera(distortion=plain), np.stack([radius, 0 * radius, 1 + 0 * radius], axis=1))
        assert np.all(np.diff(uv[:, 0]) > 0)


def test_models_without_a_fold_have_no_limit():
    assert pinhole_limit(()) == np.inf
    assert pinhole_limit((0.1, 0.2, 0.0, 0.0)) == np.inf
    assert equidistant_limit(()) == pytest.approx(np.pi)


def test_a_fisheye_sees_beyond_ninety_degrees_until_its_own_fold():
    wide = camera("equidistant", (), np.array([[300.0, 0, 620], [0, 300, 620], [0, 0, 1]]), 1240, 1240)
    angle = np.radians([0, 60, 100, 118])
    points = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1) * 4.0
    uv, visible = project(wide, points)
    np.testing.assert_allclose(uv[:, 0], 620 + 300 * angle)
    assert visible.tolist() == [True, True, True, True]
    # theta - theta^3 / 3 grows up to theta = 1, that is 57.3 degrees
    folding = (-1 / 3, 0.0, 0.0, 0.0)
    assert equidistant_limit(folding) == pytest.approx(1.0)
    bent = CameraModel(1240, 1240, wide.K, folding, "equidistant")
    assert project(bent, points)[1].tolist() == [True, False, False, False]


def test_many_points_give_the_same_as_few():
    points = np.tile(POINTS, (60, 1))
    uv, visible = project(camera(distortion=PLUMB_BOB), points)
    few = project(camera(distortion=PLUMB_BOB), POINTS)
    np.testing.assert_array_equal(uv.reshape(60, -1, 2), np.broadcast_to(few[0], (60, 2000, 2)))
    np.testing.assert_array_equal(visible.reshape(60, -1), np.broadcast_to(few[1], (60, 2000)))


def test_no_points_give_no_pixels():
    uv, visible = project(camera(), np.zeros((0, 3)))
    assert uv.shape == (0, 2) and visible.shape == (0,)


@pytest.mark.parametrize(("bad", "reason"), [
    (camera("omnidirectional"), "'omnidirectional'; known are: plumb_bob, rational_polynomial, equidistant"),
    (camera("plumb_bob", (0.1, 0.2)), "with 2 distortion coefficients"),
    (camera("equidistant", PLUMB_BOB), "equidistant with 5 distortion coefficients; it takes 0 or 4"),
    (camera(k=np.zeros((3, 3))), "uncalibrated"),
    (camera(k=np.full((3, 3), np.nan)), "uncalibrated"),
    (camera(distortion=(np.nan,) * 4), "uncalibrated"),
    (camera(width=0), "0 x 370"),
])
def test_a_camera_that_cannot_be_used_is_refused_with_the_reason(bad, reason):
    with pytest.raises(SensorError, match=reason):
        check(bad)
    with pytest.raises(SensorError, match=reason):
        project(bad, POINTS)
