# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Textures of any size in one flat buffer, with mip maps for colour.

Alpha says what a beam meets: 0 to 127 nothing, 128 to 223 glass, 224 to 255 something opaque. It is always read at full
resolution, so that every sensor sees the same leaves; only colour comes from a mip map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

HOLE, GLASS, SOLID = 0, 176, 255
LEVELS = 9
_LINEAR = (np.linspace(0, 1, 256) ** 2.2).astype(np.float32)


@dataclass(frozen=True)
class Textures:
    """All textures. `texels`: (t, 4) uint8 sRGB and alpha; `offset`, `width`, `height`: (textures, LEVELS) int64."""

    texels: np.ndarray
    offset: np.ndarray
    width: np.ndarray
    height: np.ndarray

    def _index(self, texture: np.ndarray, uv: np.ndarray, level: np.ndarray | int) -> np.ndarray:
        w, h = self.width[texture, level], self.height[texture, level]
        column = (uv[:, 0] % 1 * w).astype(np.int64) % w
        row = ((1 - uv[:, 1] % 1) * h).astype(np.int64) % h
        return self.offset[texture, level] + row * w + column

    def alpha(self, texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
        """(n,) uint8 at full resolution; `texture` (n,), `uv` (n, 2)."""
        return self.texels[self._index(texture, uv, 0), 3]

    def colour(self, texture: np.ndarray, uv: np.ndarray, level: np.ndarray | int) -> np.ndarray:
        """(n, 3) float32 linear colour, 0 to 1, at a mip level (n,)."""
        return _LINEAR[self.texels[self._index(texture, uv, level), :3]]


class TextureBook:
    """Collects textures; `add` gives each its number, `bind` makes the buffer. Number 0 is plain white."""

    def __init__(self) -> None:
        self._images: list[np.ndarray] = []
        self.add(np.full((1, 1, 3), 255, np.uint8))

    def add(self, image: np.ndarray) -> int:
        """Takes an (h, w, 3 or 4) uint8 picture, RGB or RGBA; returns its number."""
        if image.shape[2] == 3:
            image = np.dstack([image, np.full(image.shape[:2], SOLID, np.uint8)])
        self._images.append(np.ascontiguousarray(image))
        return len(self._images) - 1

    def image(self, number: int) -> np.ndarray:
        """The (h, w, 4) uint8 picture of a number."""
        return self._images[number]

    def repaint(self, painter: Callable[[np.ndarray], np.ndarray]) -> None:
        """Every picture but plain white as `painter` gives it back, of the same size."""
        self._images[1:] = [painter(image) for image in self._images[1:]]

    def bind(self) -> Textures:
        """The buffer with all mip levels."""
        texels, offset, size, total = [], [], [], 0
        for image in self._images:
            chain = _mip_maps(image)
            offset.append(total + np.cumsum([0] + [c.shape[0] * c.shape[1] for c in chain[:-1]]))
            size.append([c.shape[:2] for c in chain])
            texels += [c.reshape(-1, 4) for c in chain]
            total += sum(c.shape[0] * c.shape[1] for c in chain)
        shape = np.array(size, np.int64)
        return Textures(np.concatenate(texels), np.array(offset, np.int64), shape[..., 1], shape[..., 0])


def _mip_maps(image: np.ndarray) -> list[np.ndarray]:
    """The picture and its halvings; holes take the mean colour of what is opaque, so that no dark rims appear."""
    solid = image[..., 3] >= 128
    if not solid.all():
        image = image.copy()
        image[~solid, :3] = image[solid, :3].mean(0) if solid.any() else 0
    chain = [image]
    while len(chain) < LEVELS:
        h, w = chain[-1].shape[:2]
        chain.append(
            cv2.resize(chain[-1], (max(1, w // 2), max(1, h // 2)), interpolation=cv2.INTER_AREA).reshape(
                max(1, h // 2), max(1, w // 2), 4
            )
        )
    return chain
