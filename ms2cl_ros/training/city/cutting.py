# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cutting triangles along a line on the ground, as pavements end where another road runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ms2cl_ros.training.city.soup import Soup

Field = Callable[[np.ndarray], np.ndarray]


def cut(soup: Soup, field: Field, keep_from: float = 0.0) -> tuple[Soup, np.ndarray]:
    """What lies where `field` ((n, 2) metres to (n,)) is at least `keep_from`, and the (k, 2, 3) edges of the cut.

    The field is taken to be linear within a triangle; an edge has what was kept on its left.
    """
    if not len(soup):
        return soup, np.zeros((0, 2, 3))
    value = field(soup.corners[..., :2].reshape(-1, 2).astype(float)).reshape(-1, 3) - keep_from
    inside = value >= 0
    count = inside.sum(1)
    if (count == 3).all():
        return soup, np.zeros((0, 2, 3))
    parts, edges = [_taken(soup, np.flatnonzero(count == 3))], []
    for n in (1, 2):
        rows = np.flatnonzero(count == n)
        if len(rows):
            # the corner that stands alone comes first
            alone = np.argmax(inside[rows] if n == 1 else ~inside[rows], 1)
            order = (alone[:, None] + np.arange(3)) % 3
            new, edge = _clipped(_taken(soup, rows), np.take_along_axis(value[rows], order, 1), order, n == 1)
            parts.append(new)
            edges.append(edge)
    whole = Soup(*(np.concatenate([getattr(p, f) for p in parts]) for f in Soup.__dataclass_fields__))
    return whole, np.concatenate(edges) if edges else np.zeros((0, 2, 3))


def _taken(soup: Soup, rows: np.ndarray) -> Soup:
    return Soup(*(getattr(soup, f)[rows] for f in Soup.__dataclass_fields__))


def _clipped(soup: Soup, value: np.ndarray, order: np.ndarray, tip: bool) -> tuple[Soup, np.ndarray]:
    """Triangles of which one corner is kept (`tip`) or one is lost; it is the first in `order`."""
    t = value[:, :1] / (value[:, :1] - value[:, 1:])

    def split(of: np.ndarray) -> tuple[np.ndarray, ...]:
        ordered = np.take_along_axis(of, order[..., None], 1)
        a, b, c = ordered[:, 0], ordered[:, 1], ordered[:, 2]
        p, q = a + t[:, :1] * (b - a), a + t[:, 1:] * (c - a)
        if tip:
            return np.stack([a, p, q], 1), p, q
        return np.concatenate([np.stack([p, b, c], 1), np.stack([p, c, q], 1)]), q, p

    corners, p, q = split(soup.corners.astype(float))
    n = 1 if tip else 2
    new = Soup(
        corners.astype(np.float32),
        split(soup.uv.astype(float))[0].astype(np.float32),
        np.tile(soup.texture, n),
        np.tile(soup.tint, (n, 1)),
        np.tile(soup.material, n),
    )
    return new, np.stack([p, q], 1)
