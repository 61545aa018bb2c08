# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bridges over the road and gantries. Local frame: the road below runs along x through the origin, at z = 0; the bridge
crosses it along y."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city.rods import prism, rod
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import GROUND, SIGN, Soup, Tint, box, cylinder, loft, merge, panel, place, slab

_CONCRETE, _STEEL = (0.36, 0.35, 0.33), (0.12, 0.17, 0.15)


def road_bridge(
    rng: np.random.Generator, skins: Skins, gap: float = 12.0, width: float = 9.0, clearance: float = 4.8
) -> Soup:
    """A concrete bridge over a road of `gap` metres between its abutments: girders, deck, parapets with railings, banks
    on both sides and, over a wide gap, piers in the middle."""
    half, depth, w = gap / 2, rng.uniform(0.7, 1.1), width / 2
    tint, top = np.array(_CONCRETE) * rng.uniform(0.7, 1.2), clearance + depth + 0.25
    reach = half + top * 1.6 + 3.0
    parts = [slab(-w, w, -reach, reach, clearance + depth, top, skins.white, tint)]
    parts += [
        slab(x - 0.3, x + 0.3, -half - 0.5, half + 0.5, clearance, clearance + depth, skins.white, tint * 0.85)
        for x in np.linspace(-w + 0.6, w - 0.6, max(2, int(width / 2.4)))
    ]
    parts += [_parapet(skins, rng, reach, x, top, tint) for x in (-w + 0.12, w - 0.12)]
    parts += [
        place(_abutment(rng, skins, half, w, clearance + depth, reach, tint), 0, 0, heading=h) for h in (0.0, np.pi)
    ]
    if gap > 16:
        parts += [
            place(cylinder(0.45, 0.45, clearance, skins.white, tint, sides=10), x, 0)
            for x in np.linspace(-w + 1.2, w - 1.2, 3)
        ]
        parts.append(slab(-w + 0.4, w - 0.4, -0.6, 0.6, clearance - 0.7, clearance, skins.white, tint))
    return merge(parts)


def railway_bridge(
    rng: np.random.Generator, skins: Skins, gap: float = 11.0, width: float = 6.0, clearance: float = 4.5
) -> Soup:
    """A bridge of steel girders with webs and stiffeners on stone abutments."""
    half, w, depth = gap / 2, width / 2, rng.uniform(1.4, 2.0)
    tint = np.array(_STEEL) * rng.uniform(0.6, 1.6)
    stone, top = int(rng.choice(skins.stone)), clearance + 0.45
    reach = half + top * 1.6 + 2.0
    parts = [slab(-w, w, -half - 0.6, half + 0.6, clearance + 0.25, top, skins.white, tint * 0.8)]
    for x in (-w, w):
        parts.append(slab(x - 0.05, x + 0.05, -half - 0.8, half + 0.8, clearance, clearance + depth, skins.white, tint))
        parts += [
            slab(x - 0.25, x + 0.25, -half - 0.8, half + 0.8, z, z + 0.06, skins.white, tint)
            for z in (clearance, clearance + depth)
        ]
        parts += [
            slab(x - 0.22, x + 0.22, y - 0.03, y + 0.03, clearance, clearance + depth, skins.white, tint)
            for y in np.arange(-half, half + 0.1, 1.5)
        ]
    for heading in (0.0, np.pi):
        parts.append(
            place(_abutment(rng, skins, half, w, clearance, reach, (0.9, 0.9, 0.9), stone), 0, 0, heading=heading)
        )
    return merge(parts)


def footbridge(rng: np.random.Generator, skins: Skins, gap: float = 14.0, clearance: float = 4.9) -> Soup:
    """A narrow bridge with railings, on legs, with a flight of stairs at both ends."""
    half, w, tint = gap / 2, rng.uniform(1.1, 1.5), rng.uniform(0.15, 0.5) * rng.uniform(0.8, 1.2, 3)
    parts = [slab(-w, w, -half - 1, half + 1, clearance, clearance + 0.35, skins.white, tint)]
    bars = int(rng.choice(skins.bars))
    for x in (-w, w):
        rail = panel(-half - 1, half + 1, 0, clearance + 0.35, clearance + 1.45, bars, uv=_repeated((gap + 2) / 2.5))
        parts.append(place(rail, x, 0, heading=np.pi / 2))
        parts += [rod((x * 0.7, y, 0), (x * 0.7, y, clearance), 0.16, tint=tint, sides=8) for y in (-half, half)]
    parts += [_stairs(skins, half + 1, w, clearance + 0.35, tint, sign) for sign in (-1.0, 1.0)]
    return merge(parts)


def gantry(rng: np.random.Generator, skins: Skins, gap: float = 12.0) -> Soup:
    """A frame over the road with boards that the traffic from -x reads."""
    half, height = gap / 2, rng.uniform(5.6, 6.6)
    parts = [rod((0, y, 0), (0, y, height + 0.6), 0.16, tint=_CONCRETE, sides=8) for y in (-half, half)]
    parts += [rod((0, -half, z), (0, half, z), 0.07, tint=_CONCRETE, sides=6) for z in (height, height + 0.6)]
    n = int(gap / 1.2)
    for k in range(n):
        a, b = -half + gap * k / n, -half + gap * (k + 1) / n
        ends = (height, height + 0.6) if k % 2 else (height + 0.6, height)
        parts.append(rod((0, a, ends[0]), (0, b, ends[1]), 0.035, tint=_CONCRETE, sides=4))
    blue = np.array((0.02, 0.09, 0.4)) if rng.random() < 0.6 else np.array((0.02, 0.2, 0.08))
    for y in np.linspace(-half + 2.2, half - 2.2, max(1, int(gap / 5))):
        board = slab(-1.5, 1.5, -0.03, 0.03, height - 0.9, height + 0.9, skins.white, blue, SIGN)
        parts.append(place(board, -0.25, y, heading=-np.pi / 2))
        stripe = slab(-1.0, 0.8, -0.05, -0.03, height - 0.1, height + 0.15, skins.white, (0.8, 0.8, 0.8), SIGN)
        parts.append(place(stripe, -0.25, y, heading=-np.pi / 2))
    return merge(parts)


def _parapet(skins: Skins, rng: np.random.Generator, reach: float, x: float, top: float, tint: Tint) -> Soup:
    """A low wall with a railing on it, along y."""
    wall = box(x - 0.15, x + 0.15, -reach, reach, top - 0.6, top + 0.35, skins.white, tint)
    rail = panel(-reach, reach, 0, top + 0.35, top + 1.15, int(rng.choice(skins.bars)), uv=_repeated(2 * reach / 2.5))
    return merge([wall, place(rail, x, 0, heading=np.pi / 2)])


def _abutment(
    rng: np.random.Generator,
    skins: Skins,
    half: float,
    w: float,
    height: float,
    reach: float,
    tint: Tint,
    stone: int = 0,
) -> Soup:
    """The wall on the +y side, its wings, and the bank behind it that carries the road up there."""
    face = box(-w - 0.3, w + 0.3, half, half + 1.0, -0.5, height, stone, tint, metres=2.5)
    foot, run = 1.5 * height, reach + 6.0
    low = np.array(
        [[-w - foot, half + 0.9, -0.3], [w + foot, half + 0.9, -0.3], [w + foot, run, -0.3], [-w - foot, run, -0.3]]
    )
    crown = np.array([[-w, half + 0.9, height], [w, half + 0.9, height], [w, run, height], [-w, run, height]])
    bank = loft(low, crown, int(rng.choice(skins.grass)), (0.9, 0.9, 0.9), GROUND, 6.0, int(rng.choice(skins.grass)))
    wings = [
        prism(
            np.array([[s * w, half, -0.4], [s * (w + foot), half, -0.4], [s * w, half, height]]),
            np.array([[s * w, half + 0.5, -0.4], [s * (w + foot), half + 0.5, -0.4], [s * w, half + 0.5, height]]),
            0,
            tint,
        )
        for s in (-1, 1)
    ]
    return merge([face, bank, *wings])


def _stairs(skins: Skins, edge: float, w: float, top: float, tint: Tint, sign: float) -> Soup:
    """Steps that come down along x at the end of a footbridge."""
    n = int(np.ceil(top / 0.17))
    rise, run = top / n, 0.3
    parts = []
    for k in range(n):
        x, z = w + run * k, top - rise * (k + 1)
        parts.append(slab(x, x + run, -0.9, 0.9, z, z + 0.05 + rise, skins.white, tint))
    ends = [(w, top), (w + run * n, 0.0)]
    for y in (-0.9, 0.9):
        parts += [
            rod((ends[0][0], y, ends[0][1] + h), (ends[1][0], y, h), 0.03, tint=tint, sides=4) for h in (0.5, 1.0)
        ]
    parts += [
        rod((w + run * n * f, y, 0), (w + run * n * f, y, top * (1 - f) + 1.0), 0.05, tint=tint, sides=4)
        for f in (0.35, 0.7, 0.98)
        for y in (-0.9, 0.9)
    ]
    return place(merge(parts), 0, sign * (edge - 0.9))


def _repeated(times: float) -> np.ndarray:
    return np.array([[0, 0], [times, 0], [times, 0.999], [0, 0.999]])
