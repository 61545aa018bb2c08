# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What happens between light and file: lens blur, smear, drops, exposure, tone, noise and JPEG."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ms2cl_ros.core.errors import DataError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Below this blur, in samples, nothing is seen of it.
LEAST_BLUR = 0.25
# Fog fills the picture with its own light, and an automatic exposure lets it; against the sun it closes.
BRIGHTER = {"fog": 2.4, "low_sun": 0.85}
# Without the sun a camera's tone shows its darkest and brightest less far apart.
FLATTER = {"overcast": 0.6, "rain": 0.6, "fog": 0.5}


@dataclass(frozen=True)
class Film:
    """How a camera develops. `exposure`: linear median aimed at in the lower half of the picture; `balance`: (3,)
    factors; `blur`: sigma of the lens and `smear`: (right, down) of the motion, both in pixels; `noise`: 1 as in life;
    `vignette`: 0 none, 1 as a simple lens; `flare`: 0 none, 1 plain to see; `drops` on the lens; `quality` of the
    JPEG, 0 for none."""

    exposure: float = 0.2
    balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.6
    contrast: float = 0.7
    saturation: float = 0.85
    noise: float = 1.0
    blur: float = 0.45
    smear: tuple[float, float] = (0.0, 0.0)
    vignette: float = 0.25
    flare: float = 0.5
    drops: int = 0
    quality: int = 0


def draw_film(rng: np.random.Generator, weather: str, wildness: float = 0.0) -> Film:
    """A day's camera: mildly different from day to day, at `wildness` 1 hardly to be recognised."""
    w = wildness
    exposure = rng.uniform(0.15, 0.27) * BRIGHTER.get(weather, 1.0)
    contrast = rng.uniform(0.5, 1.0) * FLATTER.get(weather, 1.0)
    return Film(
        exposure=exposure * float(np.exp(rng.normal(0, 0.45 * w))),
        balance=tuple((rng.uniform(0.95, 1.05, 3) * np.exp(rng.normal(0, 0.17 * w, 3))).tolist()),
        gamma=rng.uniform(1.4, 1.7) * float(np.exp(rng.normal(0, 0.2 * w))),
        contrast=float(np.clip(contrast + rng.normal(0, 0.3 * w), -0.3, 1.0)),
        saturation=max(0.0, rng.uniform(0.7, 0.95) + rng.uniform(-0.7, 0.6) * w),
        noise=float(np.exp(rng.uniform(-0.3, 0.3) + rng.uniform(0, 2.2) * w)),
        blur=0.45 + rng.exponential(0.8) * w,
        smear=tuple((rng.normal(0, [2.5 * w + 0.2, 0.8 * w + 0.1])).tolist()),
        vignette=float(np.clip(rng.uniform(0.1, 0.4) + rng.uniform(-0.4, 0.8) * w, 0, 1.2)),
        flare=rng.uniform(0.2, 0.8) * (1 + w),
        drops=int(rng.integers(2, 14)) if weather == "rain" else 0,
        quality=int(rng.uniform(95 - 70 * w, 96)),
    )


def develop(linear: np.ndarray, film: Film, rng: np.random.Generator, pixels: float = 1.0) -> np.ndarray:
    """(H, W, 3) linear light to (H, W, 3) uint8. `pixels`: how many pixels of the camera one sample of `linear` is
    wide; blur and noise shrink accordingly."""
    image = _optics(np.minimum(linear, 12).astype(np.float32), film, rng, pixels)
    image *= np.float32(film.exposure / max(float(np.median(image[len(image) // 2 :])), 1e-4)) * np.array(
        film.balance, np.float32
    )
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(film.noise / max(pixels, 1.0))
    image += grain * (0.002 + 0.004 * np.sqrt(np.clip(image, 0, 1)))
    image = np.clip(image, 0, 1) ** np.float32(1 / film.gamma)
    image = image * (1 - film.contrast) + film.contrast * (3 * image**2 - 2 * image**3)
    if film.saturation != 1.0:
        grey = (image @ LUMA)[..., None]
        image = grey + (image - grey) * np.float32(film.saturation)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def compress(rgb: np.ndarray, film: Film) -> np.ndarray:
    """(H, W, 3) uint8, red first, as it comes back from a JPEG of the film's quality; DataError if OpenCV cannot."""
    if not film.quality:
        return rgb
    done, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, film.quality])
    back = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
    if back is None:
        raise DataError(f"OpenCV could not write a picture of {rgb.shape} as a JPEG of quality {film.quality}")
    return np.ascontiguousarray(back[..., ::-1])


def _optics(image: np.ndarray, film: Film, rng: np.random.Generator, pixels: float) -> np.ndarray:
    if film.drops:
        image = _drops(image, film.drops, rng)
    if film.blur / pixels > LEAST_BLUR:
        image = cv2.GaussianBlur(image, (0, 0), film.blur / pixels)
    right, down = film.smear[0] / pixels, film.smear[1] / pixels
    if np.hypot(right, down) > 2 * LEAST_BLUR:
        image = cv2.filter2D(image, -1, _line(right, down), borderType=cv2.BORDER_REPLICATE)
    return image


def _line(right: float, down: float) -> np.ndarray:
    """A kernel that spreads a point evenly along a line through it, `right` and `down` long."""
    half = int(np.ceil(max(abs(right), abs(down)) / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for t in np.linspace(-0.5, 0.5, 8 * half + 1):
        x, y = half + t * right, half + t * down
        i, j = int(y), int(x)
        kernel[i : i + 2, j : j + 2] += np.outer([1 - (y - i), y - i], [1 - (x - j), x - j])
    return kernel / kernel.sum()


def _drops(image: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Drops on the lens: round patches out of focus."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.float32)
    for x, y, size in zip(rng.uniform(0, width, count), rng.uniform(0, height, count), rng.gamma(3.0, 0.006, count)):
        cv2.circle(mask, (int(x), int(y)), max(1, int(size * width)), 1.0, -1, cv2.LINE_AA)
    mask = cv2.GaussianBlur(mask, (0, 0), width / 300)[..., None] * np.float32(0.85)
    soft = cv2.GaussianBlur(image, (0, 0), width / 70)
    return image * (1 - mask) + soft * mask
