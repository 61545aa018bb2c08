# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What lies flat, and the horizon: road, kerbs, pavements, gardens, the land around, far woods and roofs."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city.painters import asphalt
from ms2cl_ros.training.city.plan import FRONT, KERB, Plan, Stretch
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import GROUND, LEAF, Soup, merge, quads

TILE = 8.0
STEP = 2.0
MARGIN = 150.0


def ribbon(
    plan: Plan,
    s: tuple[float, float],
    d: tuple[float, float],
    z: tuple[float, float],
    texture: int,
    metres: float = 3.0,
    tint: float = 1.0,
) -> Soup:
    """A band along the route between two `s` and two `d`, at heights `z` of its two edges."""
    n = max(1, round((s[1] - s[0]) / STEP))
    along = np.linspace(*s, n + 1)
    near, far = (np.stack([*plan.route.at(along, k)[:2], np.full(n + 1, h)], 1) for k, h in zip(d, z, strict=True))
    corners = np.stack([near[:-1], near[1:], far[1:], far[:-1]], 1)
    across = abs(d[1] - d[0]) + abs(z[1] - z[0])
    uv = (
        np.stack(
            [
                np.stack([along[:-1], 0 * along[1:]], 1),
                np.stack([along[1:], 0 * along[1:]], 1),
                np.stack([along[1:], 0 * along[1:] + across], 1),
                np.stack([along[:-1], 0 * along[1:] + across], 1),
            ],
            1,
        )
        / metres
    )
    return quads(corners, uv, texture, np.full(3, tint), GROUND)


def road(rng: np.random.Generator, plan: Plan, skins: Skins) -> Soup:
    """The carriageway, tile by tile: dashes and edge lines, patches, manholes, crossings where the plan has them."""
    width, lines = 2 * plan.half_width, bool(rng.random() < 0.85)
    n = round(plan.route.length / TILE)
    ends = np.linspace(0, plan.route.length, n + 1)
    plain = [
        skins.book.add(asphalt(rng, width, TILE, lines, extra))
        for extra in ("", "", "patch", "patch", "manhole", "crossing")
    ]
    pick = rng.choice(5, n, p=[0.3, 0.3, 0.14, 0.12, 0.14])
    for s in plan.crossings:
        pick[np.searchsorted(ends, s % plan.route.length) - 1] = 5
    tiles = []
    for a, b, k in zip(ends[:-1], ends[1:], pick, strict=True):
        tile = ribbon(plan, (a, b), (-plan.half_width, plan.half_width), (0, 0), plain[k])
        u = (tile.uv[..., :1] * 3.0 - a) / (b - a)
        tiles.append(
            Soup(
                tile.corners,
                np.concatenate([u.clip(0, 0.9995), (tile.uv[..., 1:] * 3.0 / width).clip(0, 0.9995)], 2),
                tile.texture,
                tile.tint,
                tile.material,
            )
        )
    return merge(tiles)


def pavement(rng: np.random.Generator, plan: Plan, skins: Skins, x: Stretch) -> Soup:
    """Parking bays, kerb, verge, pavement and the front gardens' ground of one stretch."""
    paving, lawn, s = int(rng.choice(skins.paving)), int(rng.choice(skins.grass)), (x.s0, x.s1)
    tint, kerb = rng.uniform(0.75, 1.15), x.kerb
    parts = [
        ribbon(plan, s, (x.side * kerb, x.side * kerb), (0, KERB), skins.white, 1.0, 0.35),
        ribbon(plan, s, (x.side * kerb, x.side * (kerb + 0.15)), (KERB, KERB), skins.white, 1.0, 0.38),
    ]
    if x.parking:
        parts.append(ribbon(plan, s, (x.side * plan.half_width, x.side * kerb), (0, 0), paving, 2.0, 0.55))
    if x.verge:
        parts.append(
            ribbon(plan, s, (x.side * (kerb + 0.15), x.side * (kerb + x.verge)), (KERB, KERB + 0.03), lawn, 6.0)
        )
    parts.append(
        ribbon(plan, s, (x.side * (kerb + max(0.15, x.verge)), x.side * x.edge), (KERB, KERB), paving, 2.4, tint)
    )
    yard, size = (paving, 3.0) if x.kind in ("terrace", "works") else (lawn, 6.0)
    parts.append(ribbon(plan, s, (x.side * x.edge, x.side * (x.edge + FRONT)), (KERB, KERB), yard, size, tint * 0.95))
    return merge(parts)


def side_street(rng: np.random.Generator, plan: Plan, skins: Skins, s: float, reach: float, half: float) -> Soup:
    """A road that leaves on the right and runs straight out for `reach` metres."""
    surface = skins.book.add(asphalt(rng, 2 * half, TILE, False))
    x, y, h = plan.route.at(s)
    away, along = np.array([np.sin(h), -np.cos(h)]), np.array([np.cos(h), np.sin(h)])
    q = np.arange(plan.half_width - 0.3, reach, STEP)
    centre = np.array([x, y]) + q[:, None] * away
    left, right = (np.c_[centre + k * half * along, np.full(len(q), KERB + 0.02)] for k in (-1, 1))
    uv = np.array([[0, 0], [STEP / TILE, 0], [STEP / TILE, 0.999], [0, 0.999]])
    return quads(np.stack([left[:-1], left[1:], right[1:], right[:-1]], 1), uv, surface, material=GROUND)


def land(rng: np.random.Generator, plan: Plan, skins: Skins, cell: float = 4.0) -> Soup:
    """The ground behind the front gardens and out to the horizon; it dips below the street."""
    low, high = plan.route.xy.min(0) - MARGIN, plan.route.xy.max(0) + MARGIN
    x, y = np.meshgrid(np.arange(low[0], high[0], cell), np.arange(low[1], high[1], cell))
    distance = plan.route.distance(np.stack([x, y], -1))
    edge = max(k.edge for k in plan.stretches) + FRONT
    grid = np.stack([x, y, np.where(distance < edge, KERB - 0.12, KERB - 0.02)], -1)
    corners = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], 2).reshape(-1, 4, 3)
    return quads(
        corners, corners[..., :2] / 6.0, int(rng.choice(skins.grass)), np.full(3, rng.uniform(0.75, 1.05)), GROUND
    )


def horizon(rng: np.random.Generator, plan: Plan, skins: Skins) -> Soup:
    """Rings of ragged dark woods with roofs among them, so that no bright gap stays below the skyline."""
    middle, half = plan.route.xy.mean(0), np.ptp(plan.route.xy, axis=0) / 2
    parts = []
    for out in (0.62 * MARGIN, 0.85 * MARGIN):
        n = 220
        a = np.linspace(0, 2 * np.pi, n + 1)
        foot = middle + np.stack([np.cos(a), np.sin(a)], 1) * (np.hypot(*half) * 0.9 + out)
        top = rng.uniform(4, 10) * rng.uniform(0.6, 1.4, n + 1)
        top[-1] = top[0]
        low, up = np.c_[foot, np.full(n + 1, -4.0)], np.c_[foot, top]
        corners = np.stack([low[:-1], low[1:], up[1:], up[:-1]], 1)
        tint = rng.uniform(0.35, 0.9, (n, 1)) * np.ones(3)
        uv = 0.35 + 0.3 * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        parts.append(quads(corners, uv, int(rng.choice(skins.leaf)), tint, LEAF))
    return merge(parts)
