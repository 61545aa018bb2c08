# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Traffic lights: heads on a post, on an arm over the road, for people on foot; level crossings.

Local frame: the mast at the origin, an arm reaches towards -y; heads look at the traffic that comes from -x.
"""

from __future__ import annotations

import itertools

import numpy as np

from ms2cl_ros.training.city.rods import disc, rod
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import SIGN, Soup, Tint, box, cylinder, merge, place, slab

_POLE, _CASE = (0.28, 0.29, 0.28), (0.012, 0.014, 0.013)
_LIT = {"red": (1.0, 0.03, 0.02), "amber": (1.0, 0.45, 0.02), "green": (0.03, 0.9, 0.3)}
_DIM = {"red": (0.09, 0.008, 0.006), "amber": (0.1, 0.05, 0.006), "green": (0.006, 0.06, 0.03)}
STATES = ("red", "green", "amber", "off")


def traffic_light(rng: np.random.Generator, skins: Skins, arm: float | None = None, state: str | None = None) -> Soup:
    """A mast of about 3.5 m, or of 6 m with an arm of `arm` metres (None: drawn, one in two has one)."""
    reach = (float(rng.uniform(3.0, 6.0)) if rng.random() < 0.5 else 0.0) if arm is None else arm
    shown = str(rng.choice(STATES[:3], p=[0.55, 0.38, 0.07])) if state is None else state
    height = rng.uniform(5.6, 6.3) if reach else rng.uniform(3.3, 3.8)
    case = _CASE if rng.random() < 0.7 else (0.03, 0.06, 0.035)
    parts = [cylinder(0.1 if reach else 0.06, 0.07 if reach else 0.05, height, skins.white, _POLE, sides=8)]
    parts.append(place(head(skins, shown, case), -0.16, 0, 2.4))
    if reach:
        parts.append(rod((0, 0, height - 0.35), (0, -reach, height), 0.07, 0.045, tint=_POLE, sides=8))
        parts.append(place(head(skins, shown, case, board=True), -0.14, -reach + 0.2, height - 0.95))
        if reach > 4.5:
            parts.append(place(head(skins, shown, case, board=True), -0.14, -reach / 2, height - 1.1))
    if rng.random() < 0.6:
        parts.append(place(walk_head(skins, shown != "green", case), 0, 0.14, 2.2, -np.pi / 2))
    if rng.random() < 0.5:
        parts.append(box(-0.08, 0.02, -0.06, 0.06, 1.0, 1.22, skins.white, (0.6, 0.45, 0.02)))
    return merge(parts)


def head(skins: Skins, state: str, case: Tint = _CASE, board: bool = False) -> Soup:
    """Three lights of 0.9 m in a case that looks towards -x, its foot at z = 0; `board`: with a plate behind it."""
    parts = [slab(-0.1, 0.1, -0.15, 0.15, 0, 0.92, skins.white, case)]
    if board:
        parts.append(slab(0.1, 0.12, -0.32, 0.32, -0.18, 1.1, skins.white, (0.015, 0.015, 0.015)))
    for colour, z in (("green", 0.16), ("amber", 0.46), ("red", 0.76)):
        parts.append(_lamp(0.105, z, _LIT[colour] if state == colour else _DIM[colour]))
        parts.append(slab(-0.24, -0.1, -0.12, 0.12, z + 0.11, z + 0.125, skins.white, case))
    return merge(parts)


def walk_head(skins: Skins, stop: bool, case: Tint = _CASE) -> Soup:
    """Two lights for people on foot, looking towards -x."""
    parts = [slab(-0.09, 0.09, -0.13, 0.13, 0, 0.58, skins.white, case)]
    parts.append(_lamp(0.09, 0.15, _DIM["green"] if stop else _LIT["green"]))
    parts.append(_lamp(0.09, 0.43, _LIT["red"] if stop else _DIM["red"]))
    return merge(parts)


def walk_light(rng: np.random.Generator, skins: Skins) -> Soup:
    """A short mast that only people on foot look at."""
    post = cylinder(0.05, 0.05, 3.0, skins.white, _POLE, sides=6)
    return merge([post, place(walk_head(skins, bool(rng.random() < 0.6)), -0.14, 0, 2.3)])


def level_crossing(rng: np.random.Generator, skins: Skins, arm: float = 5.0) -> Soup:
    """A barrier, raised or down over the road (-y), with a cross and two red lights."""
    up = rng.random() < 0.7
    tip = np.array([0, -arm * (0.17 if up else 1.0), 1.0 + arm * (0.98 if up else 0.0)])
    root, pieces = np.array([0.0, 0, 1.0]), 8
    ends = [root + (tip - root) * k / pieces for k in range(pieces + 1)]
    bar = [
        rod(a, b, 0.05, tint=(0.7, 0.03, 0.03) if k % 2 else (0.8, 0.8, 0.8), sides=4)
        for k, (a, b) in enumerate(itertools.pairwise(ends))
    ]
    cross = [
        place(slab(-0.6, 0.6, -0.02, 0.02, -0.07, 0.07, skins.white, (0.8, 0.8, 0.8), SIGN), 0, 0) for _ in range(2)
    ]
    arms = [_tilted(c, a) for c, a in zip(cross, (0.6, -0.6))]
    sign = place(merge(arms), -0.08, 0.6, 2.6, -np.pi / 2)
    lights = [place(_lamp(0.1, 0.0, _DIM["red"]), -0.02, 0.6 + y, 1.9) for y in (-0.15, 0.15)]
    return merge(
        [
            box(-0.25, 0.25, -0.25, 0.25, 0, 1.1, skins.white, (0.4, 0.4, 0.4)),
            *bar,
            place(cylinder(0.06, 0.06, 2.9, skins.white, _POLE, sides=6), 0, 0.6),
            sign,
            *lights,
        ]
    )


def _lamp(radius: float, z: float, tint: Tint) -> Soup:
    """A round light that looks towards -x, just before the case."""
    return place(disc(0, 0, radius, tint, z=z), -0.105, 0, heading=np.pi / 2)


def _tilted(soup: Soup, angle: float) -> Soup:
    """Turned about y."""
    c, s = np.cos(angle), np.sin(angle)
    corners = soup.corners @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return Soup(corners.astype(np.float32), soup.uv, soup.texture, soup.tint, soup.material)
