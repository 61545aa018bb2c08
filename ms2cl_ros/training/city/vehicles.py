# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cars and vans. Local frame: front towards +x, centred, wheels on z = 0. White parts take the tint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2cl_ros.training.city.bodywork import DARK, UNIT, band, end, lamps, mirror, paint, pane, patch, wheels
from ms2cl_ros.training.city.rods import prism
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import CAR, Soup, box, loft, merge, quads
from ms2cl_ros.training.city.stock import SHARE, mixed

BAY_LENGTH = 6.1


@dataclass(frozen=True)
class Shape:
    """A body. Metres: `length`, `width`, `height`, `waist`; shares of the length from the middle: where the windscreen
    meets the bonnet and the roof (`scuttle`, `brow`), where the roof and the rear window end (`back`, `tail`)."""

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    waist: float
    scuttle: float
    brow: float
    back: float
    tail: float
    wheel: float
    often: float


SHAPES = {
    "hatchback": Shape((3.7, 4.35), (1.68, 1.82), (1.42, 1.54), 0.9, 0.22, 0.06, -0.38, -0.47, 0.31, 0.36),
    "saloon": Shape((4.4, 4.95), (1.74, 1.88), (1.40, 1.48), 0.9, 0.2, 0.04, -0.22, -0.34, 0.32, 0.14),
    "estate": Shape((4.4, 4.9), (1.74, 1.86), (1.42, 1.52), 0.9, 0.21, 0.05, -0.43, -0.48, 0.32, 0.2),
    "suv": Shape((4.2, 4.75), (1.8, 1.94), (1.60, 1.74), 1.04, 0.22, 0.08, -0.41, -0.475, 0.36, 0.18),
    "people_carrier": Shape((4.2, 4.7), (1.76, 1.86), (1.62, 1.76), 0.98, 0.29, 0.08, -0.44, -0.485, 0.32, 0.12),
}


def vehicle(rng: np.random.Generator, skins: Skins, share: float = SHARE) -> Soup:
    """One vehicle that fits a parking bay: mostly cars, now and then a van; with the chance `share` from the stock."""
    if rng.random() < 0.14:
        return mixed(rng, skins.stock, "van", lambda: van(rng, skins, paint(rng)), share, BAY_LENGTH)
    return mixed(rng, skins.stock, "car", lambda: car(rng, skins, paint(rng)), share, BAY_LENGTH)


def car(rng: np.random.Generator, skins: Skins, tint: np.ndarray, kind: str | None = None) -> Soup:
    """A car of one of SHAPES (None: drawn by how often it is met)."""
    often = np.array([s.often for s in SHAPES.values()])
    drawn = list(SHAPES)[int(rng.choice(len(SHAPES), p=often / often.sum()))]
    shape = SHAPES[drawn if kind is None else kind]
    length, half, top = rng.uniform(*shape.length), rng.uniform(*shape.width) / 2, rng.uniform(*shape.height)
    nose, waist = length / 2, shape.waist + rng.uniform(-0.03, 0.03)
    clad = tint if shape.wheel < 0.34 or rng.random() < 0.4 else np.array(DARK)
    scuttle = shape.scuttle * length
    lower = _ring(-nose + 0.07, scuttle, nose - 0.1, half - 0.04, 0.22 + 0.4 * (shape.wheel - 0.31))
    middle = _ring(-nose, scuttle, nose, half, 0.54)
    upper = _ring(-nose + 0.06, scuttle, nose - 0.14, half - 0.05, waist)
    upper[3:7, 2] -= 0.17
    deck = [upper[[2, 3, 4, 4]], upper[[2, 4, 5, 7]], upper[[7, 5, 6, 6]], upper[[0, 1, 8, 9]], upper[[1, 2, 7, 8]]]
    parts = [
        loft(lower, middle, skins.white, clad, CAR),
        loft(middle, upper, skins.white, tint, CAR),
        quads(np.stack(deck), UNIT, skins.white, tint, CAR),
        *_greenhouse(skins, shape, length, half, waist, top, tint),
    ]
    parts += lamps(np.stack([*middle[[4, 5]], *upper[[5, 4]]]), np.stack([*middle[[9, 0]], *upper[[0, 9]]]))
    parts.append(box(-nose + 0.3, nose - 0.3, -half + 0.08, half - 0.08, 0.16, 0.3, skins.white, DARK, CAR))
    for y in (-half, half):
        at = (shape.scuttle - 0.055) * length
        parts.append(mirror(at, at + 0.12, y, (0.93, 1.09), (waist - 0.02, waist + 0.12), tint))
    if shape.back < -0.4 and rng.random() < 0.5:
        a, b = shape.back * length + 0.3, shape.brow * length - 0.2
        parts += [
            box(a, b, y - 0.02, y + 0.02, top - 0.05, top + 0.05, 0, DARK, CAR) for y in (-half + 0.3, half - 0.3)
        ]
    return merge([*parts, *wheels([-0.3 * length, 0.315 * length], half + 0.012, shape.wheel)])


def van(rng: np.random.Generator, skins: Skins, tint: np.ndarray) -> Soup:
    """A delivery van of 4.8 to 6 m, in one of four cases with windows all along."""
    length, half, top = rng.uniform(4.8, 6.0), rng.uniform(0.93, 1.02), rng.uniform(1.9, 2.5)
    n = length / 2
    tint = np.full(3, 0.72) * rng.uniform(0.85, 1.1) if rng.random() < 0.5 else tint
    nose = [[n - 0.05, 0.3], [n, 0.6], [n - 0.1, 0.98], [n - 0.7, 1.2]]
    profile = np.array([[-n, 0.3], *nose, [n - 1.4, top - 0.08], [n - 1.9, top], [-n + 0.06, top - 0.02]])
    low, high = 0.42 * top + 0.22, top - 0.3
    parts = [prism(_side(profile, -half), _side(profile, half), skins.white, tint, CAR)]
    screen = np.array(
        [[n - 0.7, -half, 1.2], [n - 0.7, half, 1.2], [n - 1.4, half, top - 0.08], [n - 1.4, -half, top - 0.08]]
    )
    parts.append(pane(screen, (0.05, 0.95), (0.06, 0.9), skins))
    rear = end(-n, half, 0.5, top, front=False)
    glazed = rng.random() < 0.25
    if glazed or rng.random() < 0.4:
        parts += [pane(rear, across, (0.5, 0.85), skins) for across in ((0.08, 0.46), (0.54, 0.92))]
    for y in (-half, half):
        door = np.array([[n - 1.95, y, low], [n - 0.82, y, low], [n - 1.32, y, high], [n - 1.95, y, high]])
        parts.append(pane(door if y < 0 else door[[1, 0, 3, 2]], (0.0, 1.0), (0.0, 1.0), skins))
        parts.append(patch(band(-n + 0.1, n - 0.1, y, 0.3, 0.44), (0, 1), (0, 1), tint=DARK, off=0.008))
        parts.append(mirror(n - 1.02, n - 0.88, y, (0.97, 1.18), (low - 0.05, low + 0.25)))
        if glazed:
            side = band(-n + 0.2, n - 2.1, y, low, high)
            parts += [pane(side, (k / 2 + 0.02, k / 2 + 0.48), (0.0, 1.0), skins) for k in range(2)]
    parts += lamps(end(n - 0.03, half, 0.45, 0.98), end(-n, half, 0.45, 1.0, front=False), (0.5, 0.95), 0.2)
    return merge([*parts, *wheels([-0.29 * length, 0.31 * length], half + 0.022, 0.34)])


def _greenhouse(
    skins: Skins, shape: Shape, length: float, half: float, waist: float, top: float, tint: np.ndarray
) -> list[Soup]:
    """Panes between pillars and a roof that is a little domed."""
    foot = _plan(shape.tail * length, shape.scuttle * length, half - 0.06, waist - 0.02)
    edge = _plan(shape.back * length, shape.brow * length, half - 0.2, top - 0.07)
    dome = _plan(shape.back * length + 0.12, shape.brow * length - 0.16, half - 0.36, top)
    after = [1, 2, 3, 0]
    glass = quads(
        np.stack([foot, foot[after], edge[after], edge], 1),
        UNIT,
        np.array([skins.car_windows, skins.windscreen] * 2),
        tint,
        CAR,
    )
    return [glass, loft(edge, dome, skins.white, tint, CAR, lid=skins.white, lid_tint=tint)]


def _plan(x0: float, x1: float, half: float, z: float) -> np.ndarray:
    return np.array([[x0, -half, z], [x1, -half, z], [x1, half, z], [x0, half, z]])


def _side(profile: np.ndarray, y: float) -> np.ndarray:
    """(k, 3) a profile in x and z, put at `y`."""
    return np.stack([profile[:, 0], np.full(len(profile), y), profile[:, 1]], 1)


def _ring(x0: float, between: float, x1: float, half: float, z: float) -> np.ndarray:
    """(10, 3) plan of a body with cut corners and a corner `between` on each side, where the bonnet begins."""
    c, d = 0.22, 0.35
    right = [[x0, -half + c], [x0 + c, -half], [between, -half], [x1 - d, -half], [x1, -half + d]]
    xy = right + [[x, -y] for x, y in reversed(right)]
    return np.c_[np.array(xy), np.full(10, z)]
