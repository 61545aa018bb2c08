# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stops of buses and trams. Local frame: along x, open towards the road (-y), on the pavement at z = 0."""

from __future__ import annotations

import itertools

import numpy as np

from ms2cl_ros.training.city.rods import PANE, disc, rod
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import SIGN, Soup, Tint, box, cylinder, merge, panel, place, slab
from ms2cl_ros.training.city.stock import mixed

_STEEL, _WOOD, _SIGNS = (
    (0.22, 0.22, 0.23),
    (0.2, 0.11, 0.05),
    ((0.75, 0.5, 0.02), (0.02, 0.08, 0.35), (0.6, 0.02, 0.03)),
)


def bus_stop(rng: np.random.Generator, skins: Skins, share: float = 0.3) -> Soup:
    """A stop with a shelter (two in three) or only its post, a bin, and perhaps a bench."""
    post = place(stop_post(rng, skins), -rng.uniform(2.9, 3.6), -0.4)
    if rng.random() < 1 / 3:
        return merge([post, place(bench(rng, skins), 0, 0.3)]) if rng.random() < 0.5 else post
    return merge([post, mixed(rng, skins.stock, "bus_stop", lambda: shelter(rng, skins), share)])


def shelter(rng: np.random.Generator, skins: Skins) -> Soup:
    """Three walls of glass between posts, a flat roof, a bench, a poster in a frame."""
    half, depth, height = rng.uniform(1.6, 2.4), rng.uniform(1.2, 1.6), rng.uniform(2.25, 2.6)
    tint = np.array(_STEEL) * rng.uniform(0.3, 2.0)
    back, front = depth / 2, -depth / 2
    bays = int(rng.integers(2, 5))
    xs = np.linspace(-half, half, bays + 1)
    posts = [rod((x, back, 0), (x, back, height), 0.04, tint=tint, sides=4) for x in xs]
    posts += [rod((x, front, 0), (x, front, height), 0.04, tint=tint, sides=4) for x in (-half, half)]
    panes = [
        panel(a + 0.05, b - 0.05, back, 0.2, height - 0.15, skins.windscreen, uv=PANE)
        for a, b in itertools.pairwise(xs)
    ]
    side = panel(front + 0.1, back - 0.06, 0.0, 0.2, height - 0.15, skins.windscreen, uv=PANE)
    panes.append(place(side, half, 0, heading=np.pi / 2))
    advert = panel(front + 0.15, back - 0.1, 0.0, 0.35, 2.0, int(rng.choice(skins.posters)))
    case = [place(advert, -half + dx, 0, heading=np.pi / 2) for dx in (-0.05, 0.05)]
    roof = slab(-half - 0.25, half + 0.25, front - 0.3, back + 0.15, height, height + 0.12, skins.white, tint * 1.3)
    seat = place(
        bench(rng, skins, rested=False), rng.uniform(-0.3, 0.3), back - 0.32, scale=(min(1.0, half / 1.4), 1, 1)
    )
    return merge([*posts, *panes, *case, roof, seat])


def stop_post(rng: np.random.Generator, skins: Skins) -> Soup:
    """The post with the stop's sign across the road and its timetable."""
    height, colour = rng.uniform(2.5, 3.2), _SIGNS[int(rng.integers(len(_SIGNS)))]
    parts = [cylinder(0.045, 0.045, height, skins.white, _STEEL, sides=6)]
    if rng.random() < 0.5:
        face = merge(
            [disc(0, -0.055, 0.28, colour, SIGN, height - 0.3), disc(0, 0.055, 0.28, colour, SIGN, height - 0.3)]
        )
        parts.append(place(face, 0, 0, heading=np.pi / 2))
    else:
        parts.append(
            place(
                slab(-0.3, 0.3, -0.02, 0.02, height - 0.55, height, skins.white, colour, SIGN),
                0,
                -0.32,
                heading=np.pi / 2,
            )
        )
    parts.append(slab(-0.22, 0.22, -0.09, -0.05, 1.1, 1.75, skins.white, (0.6, 0.6, 0.6)))
    return merge(parts)


def bench(rng: np.random.Generator, skins: Skins, rested: bool = True, tint: Tint | None = None) -> Soup:
    """A bench of 1.6 to 2 m that looks towards -y, with slats and, if `rested`, a back."""
    half, wood = rng.uniform(0.8, 1.0), np.array(_WOOD) * rng.uniform(0.6, 2.0) if tint is None else tint
    parts = [slab(-half, half, y, y + 0.1, 0.42, 0.46, skins.white, wood) for y in (-0.25, -0.12, 0.01, 0.14)]
    if rested:
        parts += [
            slab(-half, half, 0.26 + 0.04 * k, 0.3 + 0.04 * k, z, z + 0.1, skins.white, wood)
            for k, z in enumerate((0.56, 0.72))
        ]
    for x in (-half + 0.15, half - 0.15):
        parts += [box(x - 0.03, x + 0.03, y, y + 0.06, 0, 0.42, skins.white, _STEEL) for y in (-0.22, 0.18)]
        if rested:
            parts.append(rod((x, 0.22, 0.4), (x, 0.36, 0.84), 0.025, tint=_STEEL, sides=4))
    return merge(parts)


def tram_stop(rng: np.random.Generator, skins: Skins, length: float = 24.0) -> Soup:
    """A raised platform with a kerb, two shelters, posts and railings along the back."""
    half, tint = length / 2, rng.uniform(0.25, 0.5, 3)
    parts = [box(-half, half, -1.4, 1.4, 0, 0.28, int(rng.choice(skins.paving)), tint, metres=1.5)]
    parts.append(box(-half, half, -1.5, -1.2, 0, 0.285, skins.white, (0.55, 0.55, 0.5)))
    parts += [place(shelter(rng, skins), x, 0.4, 0.28) for x in (-half * 0.45, half * 0.45)]
    parts += [place(stop_post(rng, skins), x, -0.7, 0.28) for x in (-half + 1, half - 1)]
    rail = panel(
        -half,
        half,
        1.35,
        0.28,
        1.35,
        int(rng.choice(skins.bars)),
        uv=np.array([[0, 0], [length / 2.5, 0], [length / 2.5, 0.999], [0, 0.999]]),
    )
    return merge([*parts, rail])
