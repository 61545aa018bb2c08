# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small things of a street: power lines, advertising, bins, bollards, planters, café tables, building-site barriers.

Local frame: along x, front towards the road (-y), z = 0 on the ground.
"""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np

from ms2cl_ros.training.city.rods import ball, rod, wire
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import LEAF, SIGN, Soup, box, cylinder, merge, panel, place, slab
from ms2cl_ros.training.city.stock import mixed
from ms2cl_ros.training.city.transit import bench

_STEEL, _DARK = (0.25, 0.25, 0.26), (0.03, 0.03, 0.03)
_BINS = ((0.02, 0.02, 0.02), (0.01, 0.05, 0.2), (0.25, 0.14, 0.03), (0.5, 0.4, 0.02), (0.02, 0.09, 0.03))


def power_line(rng: np.random.Generator, skins: Skins, feet: np.ndarray) -> Soup:
    """Wooden poles with cross arms at `feet` (n, 3) metres, and the wires between them."""
    height, arms, wires = rng.uniform(7.0, 9.5), int(rng.integers(1, 3)), int(rng.integers(2, 5))
    parts, holds = [], []
    way = np.diff(feet, axis=0, append=feet[-1:] + (feet[-1:] - feet[-2:-1] if len(feet) > 1 else [[1.0, 0, 0]]))
    for foot, along in zip(np.asarray(feet, float), way):
        heading = float(np.arctan2(along[1], along[0]))
        side = np.array([-np.sin(heading), np.cos(heading), 0.0])
        parts.append(place(pole(skins, height, arms), float(foot[0]), float(foot[1]), float(foot[2]), heading))
        level = foot + np.array([0, 0, height - 0.28])
        holds.append(np.stack([level + side * y for y in np.linspace(-0.85, 0.85, wires)]))
    for a, b in itertools.pairwise(holds):
        sag = 0.012 * float(np.linalg.norm(b[0] - a[0]))
        parts += [wire(p, q, sag) for p, q in zip(a, b)]
    return merge(parts)


def pole(skins: Skins, height: float, arms: int = 1) -> Soup:
    """One wooden pole; its arms lie across x."""
    parts = [cylinder(0.15, 0.1, height, skins.bark[0], sides=8)]
    for k in range(arms):
        z = height - 0.4 - 0.6 * k
        parts.append(slab(-0.06, 0.06, -1.0, 1.0, z, z + 0.1, skins.bark[0]))
        parts += [
            place(cylinder(0.04, 0.03, 0.12, 0, (0.35, 0.35, 0.3), sides=5, z=z + 0.1), 0, y) for y in (-0.85, 0.85)
        ]
    return merge(parts)


def advertising_column(rng: np.random.Generator, skins: Skins) -> Soup:
    """A round column full of posters under a hood."""
    radius, height, sides = rng.uniform(0.55, 0.75), rng.uniform(2.5, 3.1), 16
    column = _posted(cylinder(radius, radius, height, int(rng.choice(skins.posters)), sides=sides, z=0.4))
    foot = cylinder(radius + 0.1, radius + 0.06, 0.4, skins.white, (0.2, 0.2, 0.2), sides=sides)
    hood = cylinder(radius + 0.22, radius + 0.2, 0.16, skins.white, (0.12, 0.2, 0.15), sides=sides, z=height + 0.4)
    cap = cylinder(radius + 0.1, 0.1, 0.5, skins.white, (0.12, 0.2, 0.15), sides=sides, z=height + 0.56)
    return merge([foot, column, hood, cap])


def city_light(rng: np.random.Generator, skins: Skins) -> Soup:
    """A poster behind glass on a foot, both sides, across the pavement."""
    posters = [panel(-0.6, 0.6, y, 0.75, 2.5, int(rng.choice(skins.posters))) for y in (-0.101, 0.101)]
    frame = slab(-0.68, 0.68, -0.1, 0.1, 0.65, 2.6, skins.white, _STEEL)
    return place(
        merge([box(-0.4, 0.4, -0.08, 0.08, 0, 0.65, skins.white, _STEEL), frame, *posters]), 0, 0, heading=np.pi / 2
    )


def billboard(rng: np.random.Generator, skins: Skins) -> Soup:
    """A hoarding of 3.6 x 2.6 m on legs."""
    low = rng.uniform(0.6, 2.4)
    legs = [box(x - 0.09, x + 0.09, 0.04, 0.2, 0, low + 2.4, skins.white, _STEEL) for x in (-1.5, 1.5)]
    board = slab(-1.85, 1.85, -0.08, 0.04, low - 0.05, low + 2.65, skins.white, (0.5, 0.5, 0.5))
    return merge([*legs, board, panel(-1.78, 1.78, -0.085, low, low + 2.6, int(rng.choice(skins.posters)))])


def wheelie_bins(rng: np.random.Generator, skins: Skins, share: float = 0.25) -> Soup:
    """One to five bins of a household on the pavement."""
    n = int(rng.integers(1, 6))
    parts = []
    for k in range(n):
        own = partial(wheelie_bin, _BINS[int(rng.integers(len(_BINS)))])
        one = mixed(rng, skins.stock, "bin", own, share, 2.0, 1.6, 1.7)
        parts.append(
            place(
                one,
                (k - (n - 1) / 2) * rng.uniform(0.7, 0.85) * (2.0 if len(one) > 200 else 1.0),
                rng.uniform(-0.08, 0.08),
                heading=rng.normal(0, 0.15),
            )
        )
    return merge(parts)


def wheelie_bin(tint: tuple[float, float, float] = _BINS[0]) -> Soup:
    """A bin of 0.58 x 0.7 x 1.07 m on two wheels."""
    body = merge(
        [
            box(-0.24, 0.24, -0.24, 0.3, 0.1, 0.98, 0, tint),
            box(-0.29, 0.29, -0.33, 0.35, 0.96, 1.06, 0, np.array(tint) * 1.4),
        ]
    )
    wheels = [rod((x - 0.03, 0.27, 0.1), (x + 0.03, 0.27, 0.1), 0.1, tint=_DARK, sides=8) for x in (-0.24, 0.24)]
    return merge(
        [
            body,
            *wheels,
            rod((-0.25, 0.38, 0.98), (0.25, 0.38, 0.98), 0.02, tint=tint, sides=4),
            box(-0.2, 0.2, -0.22, -0.16, 0, 0.1, 0, tint),
        ]
    )


def litter_bin(rng: np.random.Generator, skins: Skins) -> Soup:
    """A round bin, on a post or standing."""
    tint = rng.choice([[0.1, 0.2, 0.1], [0.25, 0.25, 0.26], [0.6, 0.2, 0.02]])
    if rng.random() < 0.5:
        return merge(
            [
                cylinder(0.22, 0.25, 0.85, skins.white, tint, sides=10),
                cylinder(0.27, 0.27, 0.06, skins.white, _DARK, sides=10, z=0.85),
            ]
        )
    return merge(
        [
            cylinder(0.035, 0.035, 1.15, skins.white, _STEEL, sides=6),
            place(cylinder(0.16, 0.19, 0.5, skins.white, tint, sides=8, z=0.55), 0, -0.2),
        ]
    )


def bollards(rng: np.random.Generator, skins: Skins, length: float = 6.0, share: float = 0.2) -> Soup:
    """A row of posts along x, with chains or without."""
    n, height, style = max(2, round(length / 1.6)), rng.uniform(0.8, 1.0), int(rng.integers(3))
    xs = np.linspace(-length / 2, length / 2, n)
    tint = [(0.03, 0.03, 0.03), (0.35, 0.35, 0.34), (0.4, 0.03, 0.03)][style]
    own = [cylinder(0.06, 0.055, height, skins.white, tint, sides=8), ball((0, 0, height), 0.07, tint)]
    own.append(cylinder(0.063, 0.06, 0.1, skins.white, (0.8, 0.8, 0.8), SIGN, 8, height - 0.25))
    post = mixed(rng, skins.stock, "bollard", lambda: merge(own), share)
    parts = [place(post, x, 0) for x in xs]
    if style == 0 and len(post) < 120:
        parts += [wire((a, 0, height - 0.05), (b, 0, height - 0.05), 0.2, 0.02) for a, b in itertools.pairwise(xs)]
    return merge(parts)


def planter(rng: np.random.Generator, skins: Skins) -> Soup:
    """A tub with a shrub."""
    from ms2cl_ros.training.city.plants import bush

    half = rng.uniform(0.35, 0.8)
    tub = box(-half, half, -0.35, 0.35, 0, 0.5, skins.white, np.array((0.25, 0.24, 0.22)) * rng.uniform(0.5, 2))
    return merge(
        [tub, place(bush(rng, 2 * half, rng.uniform(0.4, 1.0), skins.leaf[:8]), 0, 0, 0.42, scale=(1, 0.6, 1))]
    )


def site_barrier(rng: np.random.Generator, skins: Skins, length: float = 6.0, share: float = 0.3) -> Soup:
    """Red and white boards on feet along x, a lamp on each, sometimes steel fences instead."""
    n = max(1, round(length / 2.0))
    step, parts = length / n, []
    fence = rng.random() < 0.35
    for k in range(n):
        x = -length / 2 + step * (k + 0.5)
        if fence:
            parts.append(
                place(mixed(rng, skins.stock, "barrier", lambda: _mesh_fence(skins, step), share, step + 0.8), x, 0)
            )
            continue
        parts.append(place(_board(step * 0.96), x, 0, heading=rng.normal(0, 0.03)))
        parts.append(place(ball((0, 0, 1.2), 0.09, (0.9, 0.35, 0.02)), x - step * 0.45, 0))
    return merge(parts)


def cones(rng: np.random.Generator, skins: Skins, length: float = 8.0, share: float = 0.5) -> Soup:
    """A row of cones along x."""
    xs = np.arange(-length / 2, length / 2 + 0.1, rng.uniform(1.5, 2.5))
    own = [box(-0.19, 0.19, -0.19, 0.19, 0, 0.04, 0, _DARK)]
    own += [
        cylinder(0.14 - 0.05 * k, 0.09 - 0.05 * k + 0.02, 0.23, 0, tint, SIGN, 10, 0.04 + 0.23 * k)
        for k, tint in enumerate(((0.8, 0.1, 0.02), (0.8, 0.8, 0.8), (0.8, 0.1, 0.02)))
    ]
    return merge(
        [place(mixed(rng, skins.stock, "bollard", lambda: merge(own), share), x, rng.normal(0, 0.1)) for x in xs]
    )


def cafe(rng: np.random.Generator, skins: Skins) -> Soup:
    """Tables, chairs and a parasol or two before a café."""
    parts = []
    cloth = rng.uniform(0.1, 0.8, 3)
    for k in range(int(rng.integers(2, 5))):
        x, y = 2.3 * k, rng.uniform(-0.4, 0.4)
        table = merge(
            [
                cylinder(0.04, 0.04, 0.72, 0, _STEEL, sides=6),
                cylinder(0.4, 0.4, 0.03, 0, (0.5, 0.45, 0.4), sides=10, z=0.72),
            ]
        )
        parts.append(place(table, x, y))
        parts += [
            place(_chair(), x, y, heading=a) for a in rng.uniform(0, 1) + np.arange(int(rng.integers(2, 4))) * 2.1
        ]
        if rng.random() < 0.5:
            parts.append(
                place(
                    merge(
                        [
                            cylinder(0.025, 0.025, 2.5, 0, _STEEL, sides=5),
                            cylinder(1.4, 0.05, 0.5, 0, cloth, sides=8, z=2.1),
                        ]
                    ),
                    x,
                    y,
                )
            )
    return place(merge(parts), -2.3, 0)


def seat(rng: np.random.Generator, skins: Skins, share: float = 0.4) -> Soup:
    """A bench, from the stock with the chance `share`."""
    return mixed(rng, skins.stock, "bench", lambda: bench(rng, skins), share)


def _posted(column: Soup) -> Soup:
    """Posters of a natural size: the picture spans 3 m instead of one."""
    return Soup(column.corners, column.uv / 3, column.texture, column.tint, column.material)


def _chair() -> Soup:
    parts = [
        slab(0.55, 0.95, -0.2, 0.2, 0.43, 0.47, 0, (0.1, 0.1, 0.1)),
        slab(0.93, 0.97, -0.2, 0.2, 0.5, 0.85, 0, (0.1, 0.1, 0.1)),
    ]
    return merge(
        [
            *parts,
            *(
                rod((x, y, 0), (x, y, 0.6 if x > 0.8 else 0.43), 0.015, tint=_STEEL, sides=4)
                for x in (0.58, 0.94)
                for y in (-0.18, 0.18)
            ),
        ]
    )


def _board(length: float) -> Soup:
    """A striped board at 0.9 to 1.1 m on two feet."""
    half, n = length / 2, max(2, round(length / 0.3))
    edges = np.linspace(-half, half, n + 1)
    stripes = [
        slab(a, b, -0.02, 0.02, 0.85, 1.1, 0, (0.75, 0.03, 0.03) if k % 2 else (0.8, 0.8, 0.8), SIGN)
        for k, (a, b) in enumerate(itertools.pairwise(edges))
    ]
    feet = [box(x - 0.1, x + 0.1, -0.35, 0.35, 0, 0.12, 0, _DARK) for x in (-half + 0.2, half - 0.2)]
    posts = [box(x - 0.02, x + 0.02, -0.02, 0.02, 0.1, 1.1, 0, _STEEL) for x in (-half + 0.2, half - 0.2)]
    return merge([*stripes, *feet, *posts])


def _mesh_fence(skins: Skins, length: float) -> Soup:
    """A piece of site fence, 2 m high, on concrete feet."""
    half = length / 2
    frame = [
        rod(a, b, 0.02, tint=_STEEL, sides=4)
        for a, b in (((-half, 0, 0.1), (-half, 0, 2)), ((half, 0, 0.1), (half, 0, 2)), ((-half, 0, 2), (half, 0, 2)))
    ]
    feet = [box(x - 0.12, x + 0.12, -0.35, 0.35, 0, 0.13, 0, (0.3, 0.3, 0.29)) for x in (-half, half)]
    uv = np.array([[0, 0], [length / 2.5, 0], [length / 2.5, 0.999], [0, 0.999]])
    return merge([*frame, *feet, panel(-half, half, 0, 0.15, 1.98, skins.mesh, material=LEAF, uv=uv)])
