# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Painters of what grows: lawns, leaf cards, bark, the edge of a wood. RGB(A), uint8."""

from __future__ import annotations

import cv2
import numpy as np

from ms2cl_ros.training.city.painters import finish
from ms2cl_ros.training.city.textures import HOLE, SOLID


def grass(rng: np.random.Generator) -> np.ndarray:
    """6 x 6 m of lawn; tileable enough."""
    tuft = cv2.GaussianBlur(rng.normal(0, 1, (128, 128)).astype(np.float32), (0, 0), 1.2, borderType=cv2.BORDER_REFLECT)
    large = cv2.resize(rng.normal(0, 1, (6, 6)).astype(np.float32), (128, 128), interpolation=cv2.INTER_CUBIC)
    light = (1 + 0.35 * tuft + 0.1 * large)[..., None]
    return np.clip(np.array([84, 96, 52]) * rng.uniform(0.93, 1.07, 3) * rng.uniform(0.8, 1.15) * light, 0, 255).astype(
        np.uint8
    )


def leaves(rng: np.random.Generator, autumn: bool = False) -> np.ndarray:
    """A leaf card: clusters of leaves, holes between them."""
    n = 64
    card = np.zeros((n, n, 4), np.uint8)
    hue, saturation, value = int(rng.integers(26, 48)), int(rng.integers(70, 165)), rng.uniform(45, 115)
    if autumn:
        hue, saturation, value = int(rng.integers(13, 25)), 150, rng.uniform(70, 125)
    for _ in range(int(rng.integers(90, 170))):
        hsv = [
            int(hue + rng.integers(-4, 5)),
            int(np.clip(saturation + rng.integers(-30, 30), 0, 255)),
            int(np.clip(value * rng.uniform(0.45, 1.7), 5, 255)),
        ]
        rgb = cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
        r, a = rng.uniform(0, 30), rng.uniform(0, 2 * np.pi)
        cv2.ellipse(
            card,
            (int(32 + r * np.cos(a)), int(32 + r * np.sin(a))),
            (int(rng.integers(3, 6)), int(rng.integers(2, 4))),
            float(rng.uniform(0, 180)),
            0,
            360,
            [*map(int, rgb), SOLID],
            -1,
        )
    return card


def needles(rng: np.random.Generator) -> np.ndarray:
    """A card of dark twigs full of needles."""
    card = leaves(rng)
    dark = cv2.cvtColor(card[..., :3], cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    tone = np.array([0.62, 0.85, 0.62]) * rng.uniform(0.7, 1.0)
    card[..., :3] = np.clip(dark * tone, 0, 255).astype(np.uint8)
    return card


def forest(rng: np.random.Generator) -> np.ndarray:
    """30 x 10 m of a wood's edge, tileable along it: crowns one before the other, holes above the tree tops."""
    h, w = 96, 288
    wood = np.zeros((h, w, 4), np.uint8)
    wood[h // 3 :] = [14, 20, 12, SOLID]
    tone = np.array([34, 50, 26]) * rng.uniform(0.8, 1.2)
    for row in range(4):
        for x in np.arange(0, w, 13):
            top = h * (0.1 + 0.16 * row) + rng.uniform(-9, 12)
            size = (int(rng.integers(7, 14)), int(rng.integers(12, 24)))
            for _ in range(26):
                at = np.array([x + rng.normal(0, 5), top + size[1]]) + rng.uniform(-1, 1, 2) * size
                rgb = np.clip(tone * rng.uniform(0.4, 1.6) * (0.7 + 0.12 * row), 0, 255)
                colour = [*rgb.astype(int).tolist(), SOLID]
                for shift in (-w, 0, w):
                    centre = (int(at[0]) + shift, int(np.clip(at[1], 3, h)))
                    cv2.ellipse(wood, centre, (int(rng.integers(2, 5)), 3), 0, 0, 360, colour, -1)
    wood[:2, :, 3] = HOLE
    return wood


def bark(rng: np.random.Generator) -> np.ndarray:
    """A trunk's skin."""
    skin = np.empty((32, 32, 3), np.float32)
    skin[:] = np.array([96, 84, 70]) * rng.uniform(0.7, 1.3)
    return finish(skin * rng.uniform(0.6, 1.3, (1, 32, 1)) * rng.uniform(0.85, 1.15, (32, 1, 1)), rng)
