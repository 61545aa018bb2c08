# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Trees, bushes and hedges: leaf cards strewn over ellipsoids and boxes, around a dark core that beams seldom pass."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city.rods import rod
from ms2cl_ros.training.city.soup import LEAF, PLAIN, Soup, cylinder, loft, merge, quads, rectangle, triangles

_UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def cards(rng: np.random.Generator, centres: np.ndarray, half: float, textures: list[int], shade: np.ndarray) -> Soup:
    """Square cards of half width `half` metres, turned at random, about `centres` (n, 3); `shade` (n,) darkens each."""
    n = len(centres)
    u = _unit(rng.normal(size=(n, 3)))
    v = _unit(np.cross(u, rng.normal(size=(n, 3))))
    u, v = u * half, v * half
    corners = np.stack([centres - u - v, centres + u - v, centres + u + v, centres - u + v], 1)
    tint = (shade * rng.uniform(0.75, 1.25, n))[:, None] * np.ones(3)
    return quads(corners, _UNIT, rng.choice(textures, n), tint, LEAF)


def _core(centre: np.ndarray, extent: np.ndarray, texture: int, rng: np.random.Generator) -> Soup:
    """A dark, lumpy ball inside a crown."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=1).triangles
    uv = 0.4 + 0.2 * rng.random((len(ball), 3, 2))
    return triangles(ball * extent + centre, uv, texture, (0.3, 0.3, 0.3), LEAF)


def broadleaf(rng: np.random.Generator, height: float, leaf: list[int], bark: int, clear: float | None = None) -> Soup:
    """A tree of `height` metres whose crown begins at `clear` metres (default: a sixth to two fifths of the height)."""
    low = rng.uniform(0.16, 0.4) * height if clear is None else clear
    spread, half = rng.uniform(0.24, 0.4) * height, (height - low) / 2
    trunk = cylinder(rng.uniform(0.008, 0.016) * height + 0.04, 0.06, low + half, bark, material=PLAIN)
    parts, blobs = [trunk, *_limbs(rng, low, half, spread, height, bark)], int(rng.integers(2, 6))
    chosen = list(rng.choice(leaf, 2))
    for _ in range(blobs):
        centre = np.array([*(rng.uniform(-0.45, 0.45, 2) * spread), low + half + rng.uniform(-0.4, 0.4) * half])
        extent = np.array([spread, spread, half]) * rng.uniform(0.5, 0.75)
        p = _unit(rng.normal(size=(int(rng.integers(40, 70)), 3))) * rng.uniform(0.55, 1.0, (1, 1))
        p = p * rng.uniform(0.6, 1.0, (len(p), 1))
        shade = (0.5 + 0.5 * np.linalg.norm(p, axis=1)) * (0.75 + 0.25 * p[:, 2])
        parts.append(cards(rng, p * extent + centre, rng.uniform(0.4, 0.75) * max(1.0, height / 10), chosen, shade))
        if rng.random() < 0.6:
            parts.append(_core(centre, extent * 0.5, chosen[0], rng))
    return merge(parts)


def _limbs(rng: np.random.Generator, low: float, half: float, spread: float, height: float, bark: int) -> list[Soup]:
    """Branches from the trunk into the crown, and twigs from them: what is left of a tree in winter."""
    out = []
    for a in np.arange(7) * 0.9 * np.pi + rng.uniform(0, 6):
        start = np.array([0, 0, low + rng.uniform(-0.05, 0.75) * half])
        way = np.array([np.cos(a), np.sin(a), rng.uniform(0.5, 1.6)])
        end = start + way * spread * rng.uniform(0.55, 0.85)
        out.append(rod(start, end, 0.006 * height + 0.02, 0.015, bark, sides=4))
        for _ in range(3):
            from_ = start + (end - start) * rng.uniform(0.35, 0.9)
            tip = from_ + (way * 0.5 + rng.normal(0, 0.5, 3) + [0, 0, 0.3]) * spread * rng.uniform(0.25, 0.5)
            out.append(rod(from_, tip, 0.02, 0.01, bark, sides=3))
    return out


def conifer(rng: np.random.Generator, height: float, leaf: list[int], bark: int) -> Soup:
    """A cone of drooping cards."""
    n, radius = int(rng.integers(70, 120)), rng.uniform(0.13, 0.26) * height
    down, angle = rng.random(n) ** 0.7, rng.uniform(0, 2 * np.pi, n)
    reach = radius * down * rng.uniform(0.5, 1.0, n)
    centres = np.stack([reach * np.cos(angle), reach * np.sin(angle), height * (1 - 0.9 * down)], 1)
    chosen = list(rng.choice(leaf, 2))
    inside = cylinder(radius * 0.55, 0.05, height * 0.86, chosen[0], (0.25, 0.25, 0.25), LEAF, z=height * 0.08)
    return merge(
        [
            cylinder(0.2, 0.1, height * 0.3, bark),
            inside,
            cards(rng, centres, rng.uniform(0.4, 0.8), chosen, np.full(n, rng.uniform(0.45, 0.75))),
        ]
    )


def bush(rng: np.random.Generator, width: float, height: float, leaf: list[int]) -> Soup:
    """A round shrub that stands on the ground."""
    extent = np.array([width / 2, width / 2 * rng.uniform(0.7, 1.1), height / 2])
    centre = np.array([0, 0, height / 2])
    p = _unit(rng.normal(size=(60, 3))) * rng.uniform(0.65, 1.0, (60, 1))
    chosen = list(rng.choice(leaf, 2))
    half = 0.22 * max(width, height)
    return merge(
        [
            cards(rng, p * extent * 0.9 + centre, half, chosen, 0.6 + 0.4 * p[:, 2]),
            _core(centre, extent * 0.7, chosen[0], rng),
        ]
    )


def hedge(rng: np.random.Generator, length: float, depth: float, height: float, leaf: list[int]) -> Soup:
    """A clipped hedge along x, centred on the origin."""
    half = np.array([length, depth, height]) / 2
    faces = np.array([0.1 * depth * height, length * height, length * depth / 2])
    n = int(28 * faces.sum())
    p, axis = rng.uniform(-1, 1, (n, 3)), rng.choice(3, n, p=faces / faces.sum())
    side = np.where(axis == 2, 1.0, rng.choice([-1.0, 1.0], n))
    p[np.arange(n), axis] = side * rng.uniform(0.82, 1.0, n)
    low, high = (rectangle(-half[0], half[0], -half[1] + 0.14, half[1] - 0.14, z) for z in (0.0, height - 0.14))
    body = loft(low, high, leaf[0], (0.3, 0.3, 0.3), LEAF, 1.0, leaf[0], (0.35, 0.35, 0.35))
    folded = 0.36 + 0.28 * np.abs(body.uv % 2 - 1)
    body = Soup(body.corners, folded.astype(np.float32), body.texture, body.tint, body.material)
    return merge([body, cards(rng, p * half + [0, 0, half[2]], 0.24, leaf[:2], 0.6 + 0.3 * p[:, 2])])
