# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a city is put together from: pieces that know where they stand, so that those near a place can be had alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ms2cl_ros.training.city.soup import WHITE, Soup, Tint, merge, place
from ms2cl_ros.training.city.terrain import Terrain


@dataclass(frozen=True)
class Piece:
    """A soup (which many pieces may share), and where it stands: metres, radians."""

    soup: Soup
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    heading: float = 0.0
    scale: float = 1.0
    tint: Tint = WHITE

    def placed(self) -> Soup:
        """The soup where it stands, on level ground."""
        return place(self.soup, self.x, self.y, self.z, self.heading, self.scale, self.tint)


class Pieces:
    """All pieces of a city, above its ground."""

    def __init__(self, pieces: Sequence[Piece], terrain: Terrain) -> None:
        self._pieces = [p for p in pieces if len(p.soup)]
        self._terrain = terrain
        bounds: dict[int, tuple[np.ndarray, float]] = {}
        circles = []
        for p in self._pieces:
            if id(p.soup) not in bounds:
                corners = p.soup.corners[..., :2].reshape(-1, 2)
                middle = (corners.min(0) + corners.max(0)) / 2
                bounds[id(p.soup)] = middle, float(np.linalg.norm(corners - middle, axis=1).max())
            (mx, my), radius = bounds[id(p.soup)]
            c, s = np.cos(p.heading) * p.scale, np.sin(p.heading) * p.scale
            circles.append((p.x + c * mx - s * my, p.y + s * mx + c * my, radius * p.scale))
        self._circles = np.array(circles).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._pieces)

    def near(self, x: float, y: float, reach: float) -> Soup:
        """Everything with a part within `reach` metres of a place, and little else; on the terrain."""
        far = np.hypot(self._circles[:, 0] - x, self._circles[:, 1] - y) - self._circles[:, 2]
        return self._merged(np.flatnonzero(far <= reach))

    def all(self) -> Soup:
        """Everything, on the terrain."""
        return self._merged(np.arange(len(self._pieces)))

    def _merged(self, rows: np.ndarray) -> Soup:
        if not len(rows):
            return nothing()
        return lifted(merge([self._pieces[k].placed() for k in rows]), self._terrain)


def lifted(soup: Soup, terrain: Terrain) -> Soup:
    """The soup raised by the ground's height under every corner."""
    corners = soup.corners.copy()
    corners[..., 2] += terrain.height(corners[..., 0].astype(float), corners[..., 1].astype(float)).astype(np.float32)
    return Soup(corners, soup.uv, soup.texture, soup.tint, soup.material)


def nothing() -> Soup:
    """A soup of no triangle."""
    return Soup(np.zeros((0, 3, 3), np.float32), np.zeros((0, 3, 2), np.float32), np.zeros(0, np.int32),
                np.zeros((0, 3), np.float32), np.zeros(0, np.uint8))
