# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where points of a camera's optical frame fall in its picture, and whether it can see them at all."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.polynomial import Polynomial

from ms2cl_ros.core.errors import SensorError
from ms2cl_ros.core.types import CameraModel

# How many coefficients OpenCV takes for each model; none means no distortion.
PINHOLE = (0, 4, 5, 8, 12, 14)
MODELS = {"plumb_bob": PINHOLE, "rational_polynomial": PINHOLE, "equidistant": (0, 4)}
# cv2.projectPoints fills a Jacobian that Python cannot decline, some 300 bytes a point.
CHUNK = 50_000


def check(camera: CameraModel) -> None:
    """Raises SensorError unless `camera` is calibrated and of a model that `project` knows."""
    if camera.model not in MODELS:
        raise SensorError(f"unknown distortion model {camera.model!r}; known are: {', '.join(MODELS)}")
    if len(camera.distortion) not in MODELS[camera.model]:
        raise SensorError(f"{camera.model} with {len(camera.distortion)} distortion coefficients; it takes "
                          f"{' or '.join(map(str, MODELS[camera.model]))}")
    if not (np.all(np.isfinite(camera.K)) and camera.K[0, 0] > 0 and camera.K[1, 1] > 0):
        raise SensorError(f"the camera is uncalibrated: K is {np.ravel(camera.K).tolist()}; calibrate it and publish "
                          "its CameraInfo")
    if not np.all(np.isfinite(camera.distortion)):
        raise SensorError(f"the camera is uncalibrated: its distortion is {list(camera.distortion)}")
    if camera.width < 1 or camera.height < 1:
        raise SensorError(f"CameraInfo says the picture is {camera.width} x {camera.height}; publish its real size")


def project(camera: CameraModel, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(uv, visible)` of (N, 3) points in the optical frame (z forward, x right, y down), metres.

    `uv`: (N, 2) float64, pixels, (0, 0) the middle of the first one; NaN where the model does not hold, that is
    behind the camera or so far out that the distortion polynomial folds back. `visible`: (N,) bool, inside the
    picture. A fisheye sees beyond 90 degrees if its polynomial does. Raises SensorError as `check` does.
    """
    check(camera)
    points = np.asarray(points, np.float64).reshape(-1, 3)
    uv = np.full((len(points), 2), np.nan)
    place = _equidistant if camera.model == "equidistant" else _pinhole
    for start in range(0, len(points), CHUNK):
        place(camera, points[start:start + CHUNK], uv[start:start + CHUNK])
    with np.errstate(invalid="ignore"):
        visible = np.all((uv >= -0.5) & (uv < (camera.width - 0.5, camera.height - 0.5)), axis=1)
    return uv, visible


def _pinhole(camera: CameraModel, points: np.ndarray, uv: np.ndarray) -> None:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        squared = (points[:, 0] ** 2 + points[:, 1] ** 2) / points[:, 2] ** 2
        holds = (points[:, 2] > 0) & (squared < pinhole_limit(camera.distortion)) & np.isfinite(squared)
    if holds.any():
        none = np.zeros(3)
        found, _ = cv2.projectPoints(points[holds], none, none, camera.K, np.array(camera.distortion or (0.0,) * 4))
        uv[holds] = found.reshape(-1, 2)


def _equidistant(camera: CameraModel, points: np.ndarray, uv: np.ndarray) -> None:
    radius = np.hypot(points[:, 0], points[:, 1])
    theta = np.arctan2(radius, points[:, 2])
    holds = (theta < equidistant_limit(camera.distortion)) & (np.abs(points).sum(axis=1) > 0)
    bent = theta * Polynomial((1.0, *camera.distortion))(theta ** 2)
    scale = np.divide(bent, radius, out=np.zeros_like(bent), where=radius > 0)
    image = np.column_stack([points[:, :2] * scale[:, None], np.ones(len(points))]) @ camera.K.T
    uv[holds] = image[holds, :2]


def _first_root(*polynomials: Polynomial) -> float:
    """The smallest positive real root of any of them, inf if there is none."""
    roots = np.concatenate([p.trim().roots() for p in polynomials] + [[]])
    real = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
    return float(real.min()) if real.size else np.inf


@lru_cache(maxsize=64)
def pinhole_limit(distortion: tuple[float, ...]) -> float:
    """Up to which squared distance from the axis (in units of z) the distorted radius still grows."""
    k1, k2, _, _, k3, k4, k5, k6 = (*distortion, *(0.0,) * 8)[:8]
    s, above, below = Polynomial([0, 1]), Polynomial([1, k1, k2, k3]), Polynomial([1, k4, k5, k6])
    growth = (above + 2 * s * above.deriv()) * below - 2 * s * above * below.deriv()
    return _first_root(growth, below)


@lru_cache(maxsize=64)
def equidistant_limit(distortion: tuple[float, ...]) -> float:
    """Up to which angle from the axis (radians, at most pi) the distorted angle still grows."""
    growth = Polynomial([1.0, *(k * (2 * i + 3) for i, k in enumerate(distortion))])
    return min(float(np.sqrt(_first_root(growth))), np.pi)
