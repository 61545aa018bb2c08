# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Triangles: the one form that everything in the street ends as.

Local frames have x to the right of someone who looks at the front, y away from the viewer, z up, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PLAIN, GROUND, LEAF, CAR, SIGN = range(5)
WHITE = (1.0, 1.0, 1.0)
Tint = Sequence[float] | np.ndarray
_SPLIT = [[0, 1, 2], [0, 2, 3]]
_UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)


@dataclass(frozen=True)
class Soup:
    """n triangles. `corners`: (n, 3, 3) float32 metres; `uv`: (n, 3, 2) float32 in textures, v up; `texture`: (n,)
    int32; `tint`: (n, 3) float32, linear; `material`: (n,) uint8, one of PLAIN, GROUND, LEAF, CAR, SIGN."""

    corners: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    tint: np.ndarray
    material: np.ndarray

    def __len__(self) -> int:
        return len(self.corners)


def triangles(
    corners: np.ndarray,
    uv: np.ndarray,
    texture: int | np.ndarray,
    tint: Tint = WHITE,
    material: int = PLAIN,
) -> Soup:
    """A Soup from (n, 3, 3) corners; texture, tint and material are spread over all triangles."""
    n = len(corners)
    return Soup(
        np.asarray(corners, np.float32),
        np.asarray(uv, np.float32),
        np.broadcast_to(np.int32(texture), n),
        np.broadcast_to(np.asarray(tint, np.float32), (n, 3)),
        np.full(n, material, np.uint8),
    )


def quads(
    corners: np.ndarray,
    uv: np.ndarray,
    texture: int | np.ndarray,
    tint: Tint = WHITE,
    material: int = PLAIN,
) -> Soup:
    """A Soup from (n, 4, 3) corners in order round each quad; uv (n, 4, 2), or (4, 2) for all."""
    corners = np.asarray(corners, float)
    uv = np.broadcast_to(uv, (*corners.shape[:2], 2))
    tint = np.repeat(tint, 2, 0) if np.ndim(tint) == 2 else tint
    texture = np.repeat(texture, 2) if np.ndim(texture) == 1 else texture
    return triangles(corners[:, _SPLIT].reshape(-1, 3, 3), uv[:, _SPLIT].reshape(-1, 3, 2), texture, tint, material)


def merge(soups: Sequence[Soup]) -> Soup:
    """All triangles of several soups."""
    return Soup(
        *(np.concatenate([getattr(s, f) for s in soups]) for f in ("corners", "uv", "texture", "tint", "material"))
    )


def place(
    soup: Soup,
    x: float,
    y: float,
    z: float = 0.0,
    heading: float = 0.0,
    scale: float | Sequence[float] = 1.0,
    tint: Tint = WHITE,
) -> Soup:
    """The soup scaled, turned by `heading` about z, moved and tinted."""
    c, s = np.cos(heading), np.sin(heading)
    turn = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    corners = soup.corners * np.asarray(scale, float) @ turn + [x, y, z]
    return Soup(
        corners.astype(np.float32),
        soup.uv,
        soup.texture,
        (soup.tint * np.asarray(tint)).astype(np.float32),
        soup.material,
    )


def rectangle(x0: float, x1: float, y0: float, y1: float, z: float) -> np.ndarray:
    """(4, 3) corners of a level rectangle, counter-clockwise from (x0, y0)."""
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]], float)


def loft(
    bottom: np.ndarray,
    top: np.ndarray,
    texture: int,
    tint: Tint = WHITE,
    material: int = PLAIN,
    metres: float = 3.0,
    lid: int | None = None,
    lid_tint: Tint = WHITE,
) -> Soup:
    """Walls between two rings of k corners (k, 3), the texture repeating every `metres`; with `lid`, a top as well."""
    k = len(bottom)
    ring = np.arange(k)
    after = (ring + 1) % k
    walls = np.stack([bottom, bottom[after], top[after], top], 1)
    width = np.linalg.norm(bottom[after] - bottom, axis=1) / metres
    height = np.linalg.norm(top - bottom, axis=1) / metres
    uv = np.stack(
        [
            np.stack([0 * width, 0 * width], 1),
            np.stack([width, 0 * width], 1),
            np.stack([width, height], 1),
            np.stack([0 * width, height], 1),
        ],
        1,
    )
    parts = [quads(walls, uv, texture, tint, material)]
    if lid is not None:
        fan = np.stack([np.repeat(top[:1], k - 2, 0), top[1:-1], top[2:]], 1)
        parts.append(triangles(fan, fan[..., :2] / metres, lid, lid_tint, material))
    return merge(parts)


def box(
    x0: float,
    x1: float,
    y0: float,
    y1: float,
    z0: float,
    z1: float,
    texture: int,
    tint: Tint = WHITE,
    material: int = PLAIN,
    metres: float = 3.0,
) -> Soup:
    """An upright box without a bottom."""
    return loft(
        rectangle(x0, x1, y0, y1, z0), rectangle(x0, x1, y0, y1, z1), texture, tint, material, metres, texture, tint
    )


def slab(
    x0: float,
    x1: float,
    y0: float,
    y1: float,
    z0: float,
    z1: float,
    texture: int,
    tint: Tint = WHITE,
    material: int = PLAIN,
) -> Soup:
    """A box that is also closed below, for what hangs in the air."""
    return merge(
        [
            box(x0, x1, y0, y1, z0, z1, texture, tint, material),
            quads(rectangle(x0, x1, y0, y1, z0)[None], _UNIT, texture, tint, material),
        ]
    )


def cylinder(
    radius: float,
    top_radius: float,
    height: float,
    texture: int,
    tint: Tint = WHITE,
    material: int = PLAIN,
    sides: int = 7,
    z: float = 0.0,
) -> Soup:
    """An upright, capped cylinder or cone."""
    a = np.arange(sides) * 2 * np.pi / sides
    ring = np.stack([np.cos(a), np.sin(a), 0 * a], 1)
    return loft(
        ring * radius + [0, 0, z],
        ring * max(top_radius, 1e-3) + [0, 0, z + height],
        texture,
        tint,
        material,
        1.0,
        texture,
        tint,
    )


def panel(
    x0: float,
    x1: float,
    y: float,
    z0: float,
    z1: float,
    texture: int,
    tint: Tint = WHITE,
    material: int = PLAIN,
    uv: np.ndarray | None = None,
) -> Soup:
    """An upright rectangle across y, the texture once over it unless `uv` (4, 2) says otherwise."""
    corners = np.array([[x0, y, z0], [x1, y, z0], [x1, y, z1], [x0, y, z1]], float)
    return quads(corners[None], _UNIT if uv is None else uv, texture, tint, material)
