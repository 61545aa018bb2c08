# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Photographs from the data packages, decoded, cut, bounded in size and given the alpha that both sensors read.

Pillow reads them, SGI .rgb included. Decoded pictures are kept by the process, because one process builds many cities.
"""

from __future__ import annotations

from functools import lru_cache
from weakref import WeakKeyDictionary

import cv2
import numpy as np

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.training.city.textures import GLASS, HOLE, SOLID, TextureBook

SIDE = 384
WHOLE = (0.0, 0.0, 1.0, 1.0)
SHEET, CUTOUT, SKIN, FRONT, LEAVES = "sheet", "cutout", "skin", "front", "leaves"
_numbers: WeakKeyDictionary[TextureBook, dict[tuple, int]] = WeakKeyDictionary()


def texture(book: TextureBook, path: str, use: str, box: tuple[float, float, float, float] = WHOLE) -> int:
    """The picture's number in `book`, where it is entered once. Raises DataError for an unreadable file.

    `use`: SHEET (opaque), CUTOUT (holes), SKIN (holes and panes of a vehicle), FRONT (dark panes of a facade become
    glass), LEAVES (a ragged card with holes).
    """
    known = _numbers.setdefault(book, {})
    key = (path, use, box)
    if key not in known:
        known[key] = book.add(picture(*key))
    return known[key]


@lru_cache(maxsize=400)
def picture(path: str, use: str, box: tuple[float, float, float, float] = WHOLE) -> np.ndarray:
    """(h, w, 4) uint8 RGBA, no side longer than SIDE; arguments as in `texture`."""
    image = _decode(path)
    height, width = image.shape[:2]
    x0, y0, x1, y1 = (round(share * n) for share, n in zip(box, (width, height, width, height), strict=True))
    image = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    largest = max(image.shape[:2])
    if largest > SIDE:
        size = tuple(max(1, round(n * SIDE / largest)) for n in (image.shape[1], image.shape[0]))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(np.dstack([_exposed(image[..., :3], use), _alpha(image, use)]))


@lru_cache(maxsize=2)
def _decode(path: str) -> np.ndarray:
    """(h, w, 4) uint8; the last sheets are kept, because an atlas is cut many times."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as e:
        raise DataError(f"photographs are read with Pillow ({e}); install it with: pip install pillow") from e

    try:
        with Image.open(path) as opened:
            return np.array(opened.convert("RGBA"))
    except (OSError, UnidentifiedImageError, ValueError) as e:
        raise DataError(f"cannot read the picture {path} ({e}); unpack the data package again") from e


def _exposed(rgb: np.ndarray, use: str) -> np.ndarray:
    """Fronts taken in bad light are lifted to a day's brightness; leaves get the dull green of real ones."""
    if use == LEAVES:
        grey = rgb.mean(2, keepdims=True)
        dull = 0.5 * rgb + 0.5 * grey * np.array([1.02, 1.08, 0.8])
        return np.clip(dull * (64.0 / max(float(dull.mean()), 1.0)), 0, 255).astype(np.uint8)
    mean = float(rgb.mean())
    if use == FRONT and 5 < mean < 100:
        return np.clip(rgb * (105.0 / mean), 0, 255).astype(np.uint8)
    return rgb


def _alpha(image: np.ndarray, use: str) -> np.ndarray:
    """(h, w) uint8 of HOLE, GLASS and SOLID."""
    alpha = image[..., 3]
    if use == CUTOUT:
        return np.where(alpha >= 128, SOLID, HOLE).astype(np.uint8)
    if use == LEAVES:
        return np.where((alpha >= 128) & _ragged(*alpha.shape), SOLID, HOLE).astype(np.uint8)
    if use == SKIN:
        return np.select([alpha < 110, alpha < 230], [HOLE, GLASS], SOLID).astype(np.uint8)
    if use == FRONT:
        grey = cv2.medianBlur(cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY), 3)
        return np.where(grey < 0.5 * np.median(grey), GLASS, SOLID).astype(np.uint8)
    return np.full(alpha.shape, SOLID, np.uint8)


def _ragged(height: int, width: int) -> np.ndarray:
    """(h, w) bool: what is left of a card whose rim is torn and which light falls through; the same for every card."""
    noise = np.random.default_rng(11).normal(size=(height, width)).astype(np.float32)
    coarse = np.asarray(cv2.GaussianBlur(noise, (0, 0), max(1.0, width / 24)), float)
    coarse = coarse / max(float(coarse.std()), 1e-6)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray((np.hypot(x, y) + 0.13 * coarse < 0.86) & (coarse < 1.1))
