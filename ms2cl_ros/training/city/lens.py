# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lens: rays through pixels of any camera model, vignetting, and the flare of a sun in or near the view."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.polynomial import Polynomial

from ms2cl_ros.core.cameras import check, equidistant_limit, project
from ms2cl_ros.core.types import CameraModel

# Where an undistorted ray is projected again, it must come back to its pixel this nearly (pixels).
TOLERANCE = 0.01
_ITERATIONS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-10)
# Reflections between the lenses: where on the line from the sun through the centre, how wide (tangent), what colour.
GHOSTS = ((-0.35, 0.035, (0.5, 0.9, 0.6)), (-0.62, 0.07, (0.9, 0.6, 0.4)), (0.45, 0.022, (0.5, 0.6, 1.0)),
          (-1.05, 0.12, (0.6, 0.7, 0.9)))


def pixel_rays(model: CameraModel, offset: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(H * W, 3) float32 unit rays in the optical frame through the pixels' centres (integer u, v), moved by `offset`
    pixels: the inverse of `core.cameras.project`. NaN where the model knows no ray for a pixel.

    Raises SensorError as `core.cameras.check` does.
    """
    check(model)
    return _pixel_rays(*model.key(), tuple(offset))


@lru_cache(maxsize=16)
def _pixel_rays(width: int, height: int, K: tuple, distortion: tuple, kind: str, offset: tuple) -> np.ndarray:
    model = CameraModel(width, height, np.array(K).reshape(3, 3), distortion, kind)
    u, v = np.meshgrid(np.arange(width) + offset[0], np.arange(height) + offset[1])
    pixels = np.stack([u.ravel(), v.ravel()], 1)
    rays = unproject(model, pixels)
    rays.setflags(write=False)
    return rays


def unproject(model: CameraModel, uv: np.ndarray) -> np.ndarray:
    """(n, 3) float32 unit rays of (n, 2) pixels, NaN where there is none."""
    rays = _equidistant(model, uv) if model.model == "equidistant" else _pinhole(model, uv)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    back, _ = project(model, rays)
    with np.errstate(invalid="ignore"):
        rays[~(np.abs(back - uv).max(axis=1) < TOLERANCE)] = np.nan
    return rays.astype(np.float32)


def _pinhole(model: CameraModel, uv: np.ndarray) -> np.ndarray:
    coefficients = np.array(model.distortion or (0.0,) * 4)
    flat = cv2.undistortPoints(uv[:, None].astype(np.float64), model.K, coefficients, None, None, None, _ITERATIONS)
    return np.column_stack([flat.reshape(-1, 2), np.ones(len(uv))])


def _equidistant(model: CameraModel, uv: np.ndarray) -> np.ndarray:
    """Newton on the angle: OpenCV's own gives tangents, which end at 90 degrees."""
    flat = np.column_stack([uv, np.ones(len(uv))]) @ np.linalg.inv(model.K).T
    bent = np.hypot(flat[:, 0], flat[:, 1])
    curve = Polynomial([0.0, 1.0]) * Polynomial((1.0, *model.distortion))(Polynomial([0.0, 0.0, 1.0]))
    slope, most = curve.deriv(), equidistant_limit(model.distortion)
    theta = np.minimum(bent, 0.95 * most)
    for _ in range(20):
        theta = np.clip(theta - (curve(theta) - bent) / np.maximum(slope(theta), 1e-3), 0.0, most)
    scale = np.divide(np.sin(theta), bent, out=np.ones_like(bent), where=bent > 0)
    return np.column_stack([flat[:, :2] * scale[:, None], np.cos(theta)])


def vignette(rays: np.ndarray, strength: float) -> np.ndarray:
    """(n,) float32 share of the light that reaches the sensor along (n, 3) rays of the optical frame."""
    return (1 - strength * (1 - np.clip(rays[:, 2], 0, 1) ** 4)).astype(np.float32)


def flare(rays: np.ndarray, sun: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """(n, 3) float32 light that a sun towards `sun` (optical frame) scatters over (n, 3) rays: a veil around it, and
    reflections between the lenses where it stands before the camera."""
    angle = np.arccos(np.clip(rays @ sun.astype(np.float32), -1, 1))[:, None]
    out = (0.09 * np.exp(-angle / 0.35) + 1.0 * np.exp(-angle / 0.035)) * colour
    if sun[2] > 0.3:
        with np.errstate(divide="ignore", invalid="ignore"):
            place, centre = rays[:, :2] / np.maximum(rays[:, 2:], 1e-3), sun[:2] / sun[2]
        for at, width, tone in GHOSTS:
            edge = np.clip((width - np.linalg.norm(place - at * centre, axis=1)) / (0.2 * width), 0, 1)
            out += 0.035 * edge[:, None] * colour * np.array(tone)
    return out.astype(np.float32)
