# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bicycles, cyclists, motorcycles and stands full of bicycles. Local frame: front towards +x, wheels on z = 0."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city.people import Looks, looks
from ms2cl_ros.training.city.rods import ball, disc, rod, tyre
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import CAR, Soup, Tint, box, merge, place

_BLACK, _STEEL = (0.015, 0.015, 0.015), (0.35, 0.35, 0.36)
_SADDLE, _CRANK, _BAR = np.array([-0.28, 0, 0.95]), np.array([-0.08, 0, 0.29]), np.array([0.36, 0, 1.02])


def bicycle(rng: np.random.Generator) -> Soup:
    """A bicycle of about 1.75 m; light falls through its wheels."""
    tint = rng.uniform(0.02, 0.6, 3) if rng.random() < 0.6 else np.full(3, rng.choice([0.02, 0.3, 0.6]))
    head, foot, rear, front = (np.array(p) for p in ((0.36, 0, 0.82), _CRANK, (-0.54, 0, 0.34), (0.54, 0, 0.34)))
    seat = _SADDLE - [0, 0, 0.12]
    tubes = [(head, foot), (head, seat), (seat, foot), (foot, rear), (seat, rear), (head, front)]
    parts = [rod(a, b, 0.02, tint=tint, sides=5) for a, b in tubes]
    parts += [tyre(x, 0, 0.34, 0.045, _BLACK, rim=0.86) for x in (-0.54, 0.54)]
    parts += [
        rod(head, _BAR - [0.02, 0, 0], 0.018, tint=_STEEL, sides=5),
        rod(_BAR + np.array([-0.06, -0.29, 0]), _BAR + np.array([-0.06, 0.29, 0]), 0.016, tint=_BLACK, sides=5),
        box(-0.42, -0.16, -0.08, 0.08, 0.92, 0.98, 0, _BLACK),
        rod(seat, _SADDLE, 0.015, tint=_STEEL, sides=5),
        disc(-0.08, 0.05, 0.1, _STEEL, z=0.29),
    ]
    if rng.random() < 0.4:
        parts.append(box(-0.75, -0.36, -0.07, 0.07, 0.7, 0.73, 0, _BLACK))
    if rng.random() < 0.25:
        parts.append(box(0.45, 0.75, -0.18, 0.18, 0.75, 0.98, 0, (0.2, 0.14, 0.08)))
    return merge(parts)


def cyclist(rng: np.random.Generator, skins: Skins, phase: float = 0.0) -> Soup:
    """Somebody on a bicycle; `phase` 0 to 2 pi of the pedals."""
    who = looks(rng, child=False)
    return merge(
        [bicycle(rng), *_rider(who, _SADDLE, _BAR, _CRANK, phase, bool(rng.random() < 0.5), rng.uniform(0.05, 0.8, 3))]
    )


def motorcycle(rng: np.random.Generator, skins: Skins) -> Soup:
    """A motorcycle of about 2.1 m or a scooter of 1.8 m, parked upright."""
    tint = rng.uniform(0.02, 0.6, 3) if rng.random() < 0.5 else np.full(3, 0.03)
    scooter = rng.random() < 0.4
    axle, radius = (0.62, 0.24) if scooter else (0.72, 0.31)
    parts = [tyre(x, 0, radius, 0.13, _BLACK, CAR, 0.6) for x in (-axle, axle)]
    parts += [disc(x, 0, 0.6 * radius, _STEEL, CAR, radius) for x in (-axle, axle)]
    parts += [
        rod((axle, y, radius), (axle - 0.22, y, 0.98), 0.03, tint=_STEEL, material=CAR, sides=5) for y in (-0.09, 0.09)
    ]
    parts += [
        rod((axle - 0.27, -0.36, 1.04), (axle - 0.27, 0.36, 1.04), 0.022, tint=_BLACK, material=CAR, sides=5),
        ball((axle - 0.12, 0, 0.88), (0.11, 0.1, 0.1), (0.6, 0.6, 0.55), material=CAR),
        box(-axle - 0.12, -0.02, -0.13, 0.13, 0.72, 0.82, 0, _BLACK, CAR),
    ]
    if scooter:
        parts.append(box(-axle - 0.05, -0.05, -0.16, 0.16, 0.32, 0.74, 0, tint, CAR))
        parts.append(box(0.36, 0.44, -0.2, 0.2, 0.25, 0.9, 0, tint, CAR))
        parts.append(box(-0.1, 0.42, -0.17, 0.17, 0.22, 0.3, 0, tint, CAR))
    else:
        parts.append(ball((0.12, 0, 0.83), (0.3, 0.16, 0.14), tint, material=CAR))
        parts.append(box(-0.28, 0.34, -0.16, 0.16, 0.26, 0.66, 0, (0.12, 0.12, 0.12), CAR))
        parts.append(rod((0.1, 0.19, 0.35), (-0.8, 0.2, 0.4), 0.045, tint=_STEEL, material=CAR, sides=6))
    return merge(parts)


def motorcyclist(rng: np.random.Generator, skins: Skins) -> Soup:
    """Somebody on a motorcycle, helmet on."""
    who = looks(rng, child=False)
    seat, grip, rest = np.array([-0.28, 0, 0.84]), np.array([0.42, 0, 1.05]), np.array([-0.1, 0, 0.34])
    return merge([motorcycle(rng, skins), *_rider(who, seat, grip, rest, None, True, rng.uniform(0.02, 0.8, 3))])


def bicycle_stand(rng: np.random.Generator, skins: Skins) -> Soup:
    """Hoops along x with bicycles leaned on most of them."""
    n, parts = int(rng.integers(3, 8)), []
    for k in range(n):
        x = (k - (n - 1) / 2) * 0.85
        parts += [rod((x, y, 0), (x, y, 0.75), 0.025, tint=_STEEL, sides=5) for y in (-0.35, 0.35)]
        parts.append(rod((x, -0.35, 0.75), (x, 0.35, 0.75), 0.025, tint=_STEEL, sides=5))
        if rng.random() < 0.65:
            parts.append(place(bicycle(rng), x + 0.12, rng.uniform(-0.1, 0.1), heading=np.pi / 2 * rng.choice([-1, 1])))
    return merge(parts)


def _rider(
    who: Looks, seat: np.ndarray, grip: np.ndarray, pedal: np.ndarray, phase: float | None, helmet: bool, colour: Tint
) -> list[Soup]:
    """The rider between seat, grips and pedals; `phase` None: both feet on rests."""
    g = who.girth
    hip, shoulder = seat + np.array([0.02, 0, 0.08]), seat + np.array([0.26, 0, 0.58])
    parts = [
        rod(hip, shoulder, 0.13 * g, 0.17, tint=who.top, sides=8),
        rod(shoulder, shoulder + np.array([0.06, 0, 0.12]), 0.055, tint=who.skin),
        ball(shoulder + np.array([0.1, 0, 0.22]), (0.11, 0.095, 0.13), who.skin),
        ball(shoulder + np.array([0.08, 0, 0.26]), (0.14, 0.115, 0.12), colour if helmet else who.hair),
    ]
    for side in (-1, 1):
        angle = 0.0 if phase is None else phase + (np.pi if side > 0 else 0.0)
        crank = 0.0 if phase is None else 0.17
        foot = pedal + np.array([crank * np.cos(angle), side * 0.13, crank * np.sin(angle)])
        start = hip + np.array([0, side * 0.1, 0])
        knee = _joint(start, foot, 0.44, 0.44)
        arm = shoulder + np.array([0, side * 0.19, -0.04])
        hand = grip + np.array([-0.06, side * 0.26, 0.02])
        elbow = (arm + hand) / 2 + [-0.02, side * 0.07, -0.07]
        parts += [
            rod(start, knee, 0.085 * g, 0.06, tint=who.legs),
            rod(knee, foot + np.array([0, 0, 0.05]), 0.06, 0.04, tint=who.legs),
            rod(foot + np.array([-0.06, 0, 0.03]), foot + np.array([0.17, 0, 0.03]), 0.04, 0.03, tint=who.shoes),
            rod(arm, elbow, 0.055, 0.045, tint=who.top),
            rod(elbow, hand, 0.045, 0.03, tint=who.top),
        ]
    return parts


def _joint(start: np.ndarray, end: np.ndarray, upper: float, lower: float) -> np.ndarray:
    """Where a knee is, bent towards +x, for the two lengths (a straight leg where they do not reach)."""
    line = end - start
    far = float(np.linalg.norm(line))
    along = (upper**2 - lower**2 + far**2) / (2 * far)
    aside = np.sqrt(max(0.0, upper**2 - along**2))
    forward = np.cross(line / far, [0.0, 1.0, 0.0])
    forward = forward if forward[0] > 0 else -forward
    return start + line / far * along + forward * aside
