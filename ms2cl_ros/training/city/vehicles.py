# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cars and vans. Local frame: front towards +x, centred, wheels on z = 0. White parts take the tint."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import CAR, Soup, loft, merge, quads, triangles

_UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
_DARK = (0.02, 0.02, 0.022)


def vehicle(rng: np.random.Generator, skins: Skins) -> Soup:
    """One parked vehicle: mostly cars, some estates, now and then a van."""
    tint = np.full(3, rng.choice([0.03, 0.08, 0.2, 0.45, 0.8])) if rng.random() < 0.65 else rng.uniform(0.02, 0.5, 3)
    return van(rng, skins, tint) if rng.random() < 0.16 else car(rng, skins, tint)


def car(rng: np.random.Generator, skins: Skins, tint: np.ndarray) -> Soup:
    """A saloon, estate or hatchback of 3.6 to 4.8 m."""
    length, half, top = rng.uniform(3.6, 4.8), rng.uniform(0.82, 0.92), rng.uniform(1.38, 1.65)
    nose, waist = length / 2, rng.uniform(0.84, 0.95)
    tail = rng.choice([0.48, 0.46, 0.33])
    lower = _ring(-nose + 0.06, nose - 0.1, half - 0.05, 0.24)
    middle = _ring(-nose, nose, half, 0.55)
    upper = _ring(-nose + 0.08, nose - 0.16, half - 0.06, waist)
    upper[upper[:, 0] > 0.3 * length, 2] -= 0.14
    body = [
        loft(lower, middle, skins.white, tint, CAR),
        loft(middle, upper, skins.white, tint, CAR, lid=skins.white, lid_tint=tint),
    ]
    cabin = np.array(
        [
            [-tail * length, -half + 0.08, waist - 0.02],
            [0.2 * length, -half + 0.08, waist - 0.06],
            [0.2 * length, half - 0.08, waist - 0.06],
            [-tail * length, half - 0.08, waist - 0.02],
        ]
    )
    roof = np.array(
        [
            [-(tail - 0.07) * length, -half + 0.24, top - 0.02],
            [0.03 * length, -half + 0.24, top],
            [0.03 * length, half - 0.24, top],
            [-(tail - 0.07) * length, half - 0.24, top - 0.02],
        ]
    )
    after = [1, 2, 3, 0]
    glass = quads(
        np.stack([cabin, cabin[after], roof[after], roof], 1),
        _UNIT,
        np.array([skins.car_windows, skins.windscreen] * 2),
        tint,
        CAR,
    )
    return merge(
        [
            *body,
            glass,
            quads(roof[None], _UNIT, skins.white, tint, CAR),
            _lights(skins, nose, half),
            *_wheels(skins, 0.31 * length, half, 0.31),
        ]
    )


def van(rng: np.random.Generator, skins: Skins, tint: np.ndarray) -> Soup:
    """A delivery van of 4.8 to 6 m."""
    length, half, top = rng.uniform(4.8, 6.0), rng.uniform(0.92, 1.02), rng.uniform(1.9, 2.5)
    n = length / 2
    profile = np.array([[-n, 0.35], [n, 0.35], [n, 0.95], [n - 0.55, 1.12], [n - 1.25, top - 0.08], [-n + 0.05, top]])
    tint = np.full(3, 0.75) if rng.random() < 0.5 else tint
    screen = np.array(
        [
            [
                [n - 0.6, -half + 0.1, 1.2],
                [n - 0.6, half - 0.1, 1.2],
                [n - 1.16, half - 0.16, top - 0.2],
                [n - 1.16, -half + 0.16, top - 0.2],
            ]
        ]
    )
    parts = [
        _prism(profile, half, skins.white, tint),
        quads(screen + np.array([0.03, 0, 0.02]), _UNIT, skins.windscreen, tint, CAR),
    ]
    for y in (-half - 0.01, half + 0.01):
        door = np.array([[[n - 1.9, y, 1.15], [n - 0.85, y, 1.15], [n - 1.3, y, top - 0.3], [n - 1.9, y, top - 0.3]]])
        parts.append(quads(door, _UNIT, skins.windscreen, tint, CAR))
    return merge([*parts, _lights(skins, n, half), *_wheels(skins, 0.3 * length, half, 0.34)])


def _ring(x0: float, x1: float, half: float, z: float) -> np.ndarray:
    """(8, 3) plan of a body with cut corners."""
    c = 0.22
    xy = [
        [x0, -half + c],
        [x0 + c, -half],
        [x1 - c, -half],
        [x1, -half + c],
        [x1, half - c],
        [x1 - c, half],
        [x0 + c, half],
        [x0, half - c],
    ]
    return np.c_[np.array(xy), np.full(8, z)]


def _prism(profile: np.ndarray, half: float, texture: int, tint: np.ndarray) -> Soup:
    """A convex profile (k, 2) in x and z, drawn out across y."""
    near = np.stack([profile[:, 0], np.full(len(profile), -half), profile[:, 1]], 1)
    far = near * [1, -1, 1]
    after = np.roll(np.arange(len(profile)), -1)
    skin = quads(np.stack([near, near[after], far[after], far], 1), _UNIT, texture, tint, CAR)
    caps = [np.stack([np.repeat(side[:1], len(side) - 2, 0), side[1:-1], side[2:]], 1) for side in (near, far)]
    return merge([skin, triangles(np.concatenate(caps), np.zeros((2 * len(caps[0]), 3, 2)), texture, tint, CAR)])


def _lights(skins: Skins, nose: float, half: float) -> Soup:
    """Head lamps, tail lamps and number plates."""
    quad = []
    tints = []
    for x, tint in ((nose + 0.012, (0.8, 0.8, 0.75)), (-nose - 0.012, (0.35, 0.02, 0.02))):
        for y in (-half + 0.28, half - 0.28):
            quad.append([[x, y - 0.16, 0.58], [x, y + 0.16, 0.58], [x, y + 0.16, 0.72], [x, y - 0.16, 0.72]])
            tints.append(tint)
        quad.append([[x, -0.26, 0.42], [x, 0.26, 0.42], [x, 0.26, 0.53], [x, -0.26, 0.53]])
        tints.append((0.8, 0.8, 0.8))
    return quads(np.array(quad), _UNIT, skins.white, np.array(tints), CAR)


def _wheels(skins: Skins, axle: float, half: float, radius: float) -> list[Soup]:
    """Four dark discs with a rim."""
    a = np.arange(10) * 2 * np.pi / 10
    disc = np.stack([radius * np.cos(a), 0 * a, radius * np.sin(a)], 1)
    out = []
    for x in (-axle, axle):
        for y in (-half, half):
            rim = disc + np.array([x, y + 0.02 * np.sign(y), radius])
            out.append(loft(rim, disc * [1, 0, 1] + [x, y * 0.75, radius], skins.white, _DARK, CAR))
            fan = np.stack([np.repeat(rim[:1], 8, 0), rim[1:-1], rim[2:]], 1)
            out.append(triangles(fan, np.zeros((8, 3, 2)), skins.white, (0.05, 0.05, 0.055), CAR))
    return out
