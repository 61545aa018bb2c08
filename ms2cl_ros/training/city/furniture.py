# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What stands on pavements and along plots: lamps, signs, bins, shelters, walls and fences."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city.plants import hedge
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import LEAF, SIGN, Soup, Tint, box, cylinder, merge, panel, place, slab

FENCES = ("wall", "planks", "bars", "mesh", "hedge")
_GREY = (0.3, 0.3, 0.31)


def lamp(skins: Skins, height: float, arm: float) -> Soup:
    """A street lamp whose arm reaches towards -y."""
    parts = [cylinder(0.09, 0.06, height, skins.white, _GREY)]
    if arm:
        parts.append(slab(-0.04, 0.04, -arm, 0, height - 0.1, height, skins.white, _GREY))
    return merge(
        [*parts, slab(-0.16, 0.16, -arm - 0.35, -arm + 0.3, height - 0.08, height + 0.06, skins.white, (0.5, 0.5, 0.5))]
    )


def traffic_sign(rng: np.random.Generator, skins: Skins) -> Soup:
    """One or two faces on a post, turned to the traffic (-x)."""
    height, size = rng.uniform(2.2, 3.0), rng.uniform(0.55, 0.9)
    parts = [cylinder(0.035, 0.035, height, skins.white, (0.45, 0.45, 0.45), sides=5)]
    for k in range(int(rng.integers(1, 3))):
        face = panel(
            -size / 2,
            size / 2,
            -0.05,
            height - size * (k + 1),
            height - size * k,
            int(rng.choice(skins.signs)),
            material=SIGN,
        )
        parts.append(place(face, 0, 0, heading=-np.pi / 2))
    return merge(parts)


def bin_or_box(rng: np.random.Generator, skins: Skins) -> Soup:
    """A litter bin, a junction box, a bollard or a hydrant."""
    kind = rng.integers(4)
    if kind == 0:
        return cylinder(0.24, 0.27, 0.9, skins.white, rng.choice([[0.1, 0.2, 0.1], [0.3, 0.3, 0.3], [0.5, 0.2, 0.05]]))
    if kind == 1:
        return box(-0.6, 0.6, -0.2, 0.2, 0, rng.uniform(1.0, 1.5), skins.white, (0.35, 0.37, 0.35))
    if kind == 2:
        return merge([place(cylinder(0.07, 0.07, 0.95, skins.white, (0.5, 0.1, 0.1)), x, 0) for x in (-1.8, 0, 1.8)])
    return cylinder(0.13, 0.1, 0.8, skins.white, (0.5, 0.05, 0.05))


def landmark(rng: np.random.Generator, skins: Skins) -> Soup:
    """Something of which a street has few: a poster column, a shelter, a kiosk, a hoarding."""
    kind, poster = rng.integers(4), int(rng.choice(skins.posters))
    if kind == 0:
        column = cylinder(0.65, 0.65, 2.8, poster, sides=14)
        return merge([column, cylinder(0.8, 0.1, 0.6, skins.white, (0.2, 0.25, 0.2), sides=14, z=2.8)])
    if kind == 1:
        back = [panel(-2.0, 2.0, 0.6, 0.15, 2.3, skins.windscreen), panel(-2.0, -0.9, 0.55, 0.3, 2.0, poster)]
        posts = [
            place(cylinder(0.05, 0.05, 2.4, skins.white, _GREY, sides=5), x, y) for x in (-2, 2) for y in (-0.6, 0.6)
        ]
        return merge([*back, *posts, slab(-2.1, 2.1, -0.8, 0.7, 2.4, 2.55, skins.white, (0.4, 0.4, 0.4))])
    if kind == 2:
        return merge(
            [
                box(-1.5, 1.5, -1.1, 1.1, 0, 2.5, skins.hall[0], rng.uniform(0.5, 1.2, 3), metres=6.0),
                slab(-1.9, 1.9, -1.7, 1.3, 2.5, 2.7, skins.white, rng.uniform(0.1, 0.8, 3)),
            ]
        )
    legs = [place(cylinder(0.08, 0.08, 3.0, skins.white, _GREY, sides=5), x, 0) for x in (-1.4, 1.4)]
    return merge([*legs, slab(-1.9, 1.9, -0.1, 0.1, 1.0, 3.4, poster)])


def mast(rng: np.random.Generator, skins: Skins) -> Soup:
    """A wooden pole with cross arms."""
    height = rng.uniform(7, 9.5)
    return merge(
        [
            cylinder(0.15, 0.11, height, skins.bark[0]),
            *(slab(-0.06, 0.06, -1.0, 1.0, height - z, height - z + 0.1, skins.bark[0]) for z in (0.4, 1.0)),
        ]
    )


def fence(
    rng: np.random.Generator, skins: Skins, kind: str, length: float, height: float, texture: int, tint: Tint
) -> Soup:
    """A piece of fence along x, centred on the origin; `texture` for walls, planks and bars."""
    a = length / 2 + 0.02
    if kind == "hedge":
        return hedge(rng, length, min(1.1, 0.5 + 0.3 * height), height, skins.clipped[texture % 6 : texture % 6 + 2])
    if kind == "wall":
        coping = slab(-a, a, -0.19, 0.19, height, height + 0.08, skins.white, (0.35, 0.35, 0.34))
        return merge([box(-a, a, -0.14, 0.14, -0.5, height, texture, tint, metres=2.2), coping])
    posts = cylinder(0.06, 0.06, height + 0.1, skins.white, _GREY, sides=5)
    uv = np.array([[0, 0], [length / 2.5, 0], [length / 2.5, 0.999], [0, 0.999]])
    return merge(
        [
            panel(-a, a, 0.0, 0.05, height, texture, tint, LEAF if kind == "mesh" else 0, uv),
            place(posts, -length / 2, 0),
        ]
    )


def fence_texture(rng: np.random.Generator, skins: Skins, kind: str) -> int:
    """A texture number that suits the kind of fence (for a hedge: which leaves)."""
    choices = {
        "wall": [*skins.stone, skins.hall[0], skins.white],
        "planks": skins.planks,
        "bars": skins.bars,
        "mesh": [skins.mesh],
        "hedge": list(range(6)),
    }
    return int(rng.choice(choices[kind]))


def fence_height(rng: np.random.Generator, kind: str) -> float:
    """Metres, as gardens have them."""
    low, high = {"wall": (0.5, 2.3), "planks": (0.9, 2.0), "bars": (0.9, 1.6), "mesh": (1.0, 2.2), "hedge": (0.8, 2.6)}[
        kind
    ]
    return float(rng.uniform(low, high))
