# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rods, balls, wheels and wires: what limbs, frames, masts and lines are made of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ms2cl_ros.training.city.soup import PLAIN, WHITE, Soup, Tint, quads, triangles

# The clear middle of the windscreen's picture: glass without its frame.
PANE = np.array([[0.3, 0.3], [0.7, 0.3], [0.7, 0.7], [0.3, 0.7]])
Point = Sequence[float] | np.ndarray


def rod(
    start: Point,
    end: Point,
    radius: float,
    end_radius: float | None = None,
    texture: int = 0,
    tint: Tint = WHITE,
    material: int = PLAIN,
    sides: int = 6,
) -> Soup:
    """A tapered rod between two points (metres), closed at both ends."""
    a, b = np.asarray(start, float), np.asarray(end, float)
    axis = (b - a) / max(float(np.linalg.norm(b - a)), 1e-9)
    side = np.cross(axis, [0.0, 0, 1] if abs(axis[2]) < 0.9 else [1.0, 0, 0])
    side /= np.linalg.norm(side)
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * np.cross(axis, side)
    low, high = a + ring * radius, b + ring * (radius if end_radius is None else end_radius)
    return prism(low, high, texture, tint, material)


def prism(low: np.ndarray, high: np.ndarray, texture: int = 0, tint: Tint = WHITE, material: int = PLAIN) -> Soup:
    """The walls between two rings (k, 3) and both ends."""
    after = np.roll(np.arange(len(low)), -1)
    walls = np.stack([low, low[after], high[after], high], 1)
    corners = np.concatenate([walls[:, [0, 1, 2]], walls[:, [0, 2, 3]], _fan(low), _fan(high)])
    return triangles(corners, np.full((*corners.shape[:2], 2), 0.5), texture, tint, material)


def ball(
    centre: Point, extent: float | Sequence[float], tint: Tint = WHITE, texture: int = 0, material: int = PLAIN
) -> Soup:
    """An octagonal ball of 40 triangles; `extent`: half axes in metres."""
    angle = np.arange(8) * np.pi / 4
    rings = [
        np.stack([np.cos(angle) * np.cos(e), np.sin(angle) * np.cos(e), np.full(8, np.sin(e))], 1)
        for e in np.deg2rad([-50.0, 0.0, 50.0])
    ]
    after = np.roll(np.arange(8), -1)
    faces = [np.stack([np.tile([[0.0, 0, -1]], (8, 1)), rings[0][after], rings[0]], 1)]
    for low, high in itertools.pairwise(rings):
        faces += [np.stack([low, low[after], high[after]], 1), np.stack([low, high[after], high], 1)]
    faces.append(np.stack([rings[2], rings[2][after], np.tile([[0.0, 0, 1]], (8, 1))], 1))
    corners = np.concatenate(faces) * np.asarray(extent, float) + np.asarray(centre, float)
    return triangles(corners, np.full((*corners.shape[:2], 2), 0.5), texture, tint, material)


def tyre(x: float, y: float, radius: float, width: float, tint: Tint, material: int = PLAIN, rim: float = 0.82) -> Soup:
    """A standing ring about an axle along y, open in the middle, its foot on z = 0; `rim`: the inner radius's share."""
    angle = np.arange(12) * 2 * np.pi / 12
    ring = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], 1)
    outer, inner = ring * radius, ring * radius * rim
    half = np.array([0, width / 2, 0])
    after = np.roll(np.arange(12), -1)
    bands = [(outer - half, outer + half), (outer - half, inner - half), (outer + half, inner + half)]
    faces = np.concatenate([np.stack([a, a[after], b[after], b], 1) for a, b in bands])
    return quads(faces + np.array([x, y, radius]), np.full((4, 2), 0.5), 0, tint, material)


def disc(x: float, y: float, radius: float, tint: Tint, material: int = PLAIN, z: float | None = None) -> Soup:
    """An upright disc across y, centred at height `z`, by default standing on the ground."""
    angle = np.arange(12) * 2 * np.pi / 12
    height = radius if z is None else z
    ring = np.stack([x + radius * np.cos(angle), np.full(12, y), height + radius * np.sin(angle)], 1)
    corners = _fan(ring)
    return triangles(corners, np.full((*corners.shape[:2], 2), 0.5), 0, tint, material)


def wire(start: Point, end: Point, sag: float, radius: float = 0.012, tint: Tint = (0.03, 0.03, 0.03)) -> Soup:
    """A hanging wire of eight straight pieces, three-sided; `sag`: metres in the middle."""
    share = np.linspace(0, 1, 9)
    points = np.asarray(start, float) * (1 - share[:, None]) + np.asarray(end, float) * share[:, None]
    points[:, 2] -= sag * 4 * share * (1 - share)
    level = np.cross(points[-1] - points[0], [0.0, 0, 1])
    level = level / max(float(np.linalg.norm(level)), 1e-9) * radius
    ring = np.stack(
        [
            points + np.array([0, 0, radius]),
            points + level - np.array([0, 0, radius]),
            points - level - np.array([0, 0, radius]),
        ],
        1,
    )
    after = [1, 2, 0]
    faces = np.stack([ring[:-1], ring[:-1][:, after], ring[1:][:, after], ring[1:]], 2).reshape(-1, 4, 3)
    return quads(faces, np.full((4, 2), 0.5), 0, tint)


def _fan(ring: np.ndarray) -> np.ndarray:
    """(k - 2, 3, 3) triangles of a convex ring (k, 3)."""
    return np.stack([np.repeat(ring[:1], len(ring) - 2, 0), ring[1:-1], ring[2:]], 1)
