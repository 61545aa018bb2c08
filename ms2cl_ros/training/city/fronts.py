# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fronts of houses: photographs from the stock where there are any, painted ones otherwise."""

from __future__ import annotations

import cv2
import numpy as np

from ms2cl_ros.training.city.painters import TEXELS_PER_METRE, Facade, facade
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.stock import SHARE
from ms2cl_ros.training.city.textures import GLASS


def front(
    rng: np.random.Generator,
    skins: Skins,
    width: float,
    height: float,
    colour: np.ndarray,
    shop: bool = False,
    share: float = SHARE,
) -> Facade:
    """The front of a house of `width` x `height` metres; with the chance `share` a photograph of about that height.

    An empty stock draws nothing from `rng`, so that a city without assets stays what it is.
    """
    if skins.stock.photographs and rng.random() < share:
        cls = "facade" if height < 22 or rng.random() < 0.3 else "facade_office"
        found = skins.stock.photograph(rng, cls, height)
        if found is not None:
            return photographed(skins.book.image(found.texture), found.width, found.height, width, height)
    return facade(rng, width, height, colour, shop)


def photographed(image: np.ndarray, shown: float, tall: float, width: float, height: float) -> Facade:
    """A photograph (h, w, 4) uint8 of `shown` x `tall` metres, put on a front of `width` x `height` metres: stretched
    to its height, repeated or cut in whole window axes across."""
    repeats = max(1, round(width / (shown * height / tall)))
    row = np.concatenate([image] * repeats, 1)
    if width < 0.7 * shown * height / tall:
        row = row[:, : max(8, int(row.shape[1] * width / (shown * height / tall)))]
    size = (max(8, int(width * TEXELS_PER_METRE)), max(8, int(height * TEXELS_PER_METRE)))
    alpha = cv2.resize(np.ascontiguousarray(row[..., 3]), size, interpolation=cv2.INTER_NEAREST)
    colour = cv2.resize(np.ascontiguousarray(row[..., :3]), size, interpolation=cv2.INTER_AREA)
    columns = _axes((alpha == GLASS).mean(0), width)
    spacing = width / len(columns)
    return Facade(np.dstack([colour, alpha]), columns, min(1.6, 0.5 * spacing), max(1, round(height / 3.05)))


def tone(image: np.ndarray) -> np.ndarray:
    """(3,) float sRGB, 0 to 255: the colour of a front's wall, for the walls beside it."""
    solid = image[image[..., 3] != GLASS][:, :3] if image.shape[2] == 4 else image.reshape(-1, 3)
    return np.median(solid, axis=0).astype(float) if len(solid) else np.full(3, 128.0)


def _axes(dark: np.ndarray, width: float) -> np.ndarray:
    """Metres from the left to the middle of each run of columns (w,) in which panes are frequent."""
    smooth = np.convolve(dark, np.ones(TEXELS_PER_METRE // 2) / (TEXELS_PER_METRE // 2), "same")
    inside = np.concatenate([[False], smooth > smooth.mean() + 1e-6, [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    middles = edges.reshape(-1, 2).mean(1) * width / len(dark)
    even = max(1, round(width / 2.6))
    return middles if 0.5 * even <= len(middles) <= 2 * even else (np.arange(even) + 0.5) * width / even
