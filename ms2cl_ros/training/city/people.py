# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pedestrians with limbs, standing or in any phase of a step. Local frame: they look towards +x, soles on z = 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2cl_ros.training.city.rods import ball, rod
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import Soup, Tint, box, cylinder, merge, place
from ms2cl_ros.training.city.stock import mixed

STRIDE = 0.75  # metres of a double step per metre of height: the phase turns once while somebody walks that far
_SKIN = ((0.55, 0.33, 0.23), (0.42, 0.23, 0.15), (0.62, 0.40, 0.30), (0.16, 0.08, 0.05), (0.28, 0.15, 0.09))
_HAIR = ((0.02, 0.015, 0.01), (0.08, 0.05, 0.03), (0.25, 0.16, 0.06), (0.4, 0.4, 0.4), (0.12, 0.03, 0.01))
_DULL = ((0.02, 0.02, 0.03), (0.03, 0.05, 0.12), (0.12, 0.1, 0.07), (0.2, 0.2, 0.2), (0.05, 0.08, 0.05))


@dataclass(frozen=True)
class Looks:
    """How somebody is built and dressed; `height`: metres, colours linear."""

    height: float
    girth: float
    skin: Tint
    hair: Tint
    top: Tint
    legs: Tint
    shoes: Tint
    skirt: bool
    bag: str


def looks(rng: np.random.Generator, child: bool | None = None) -> Looks:
    """Anybody: one in seven a child, unless `child` says so."""
    small = rng.random() < 1 / 7 if child is None else child
    height = rng.uniform(1.05, 1.5) if small else float(np.clip(rng.normal(1.72, 0.09), 1.5, 1.98))
    bright = rng.random() < (0.7 if small else 0.4)
    top = rng.uniform(0.02, 0.7, 3) if bright else np.array(_DULL[int(rng.integers(len(_DULL)))]) * rng.uniform(0.7, 2)
    return Looks(
        height,
        rng.uniform(0.88, 1.25),
        _SKIN[int(rng.integers(len(_SKIN)))],
        _HAIR[int(rng.integers(len(_HAIR)))],
        top,
        np.array(_DULL[int(rng.integers(len(_DULL)))]) * rng.uniform(0.8, 1.6),
        (0.03, 0.03, 0.03) if rng.random() < 0.7 else (0.7, 0.7, 0.7),
        bool(rng.random() < 0.18),
        str(rng.choice(["", "", "rucksack", "bag"])),
    )


def pedestrian(
    rng: np.random.Generator, skins: Skins, phase: float | None = None, child: bool | None = None, share: float = 0.0
) -> Soup:
    """Somebody on foot; `phase` 0 to 2 pi of the double step, None for standing still. With the chance `share` one of
    the stock's persons, who only stand."""
    if phase is None and share:
        return mixed(rng, skins.stock, "person", lambda: figure(looks(rng, child), None), share)
    return figure(looks(rng, child), phase)


def figure(who: Looks, phase: float | None) -> Soup:
    """The body in its pose, the lower foot on the ground."""
    h = who.height
    swing = 0.0 if phase is None else 0.39 * np.sin(phase)
    hip, parts, soles = np.array([0.0, 0, 0.525 * h]), [], []
    for side, angle, back in ((-1, swing, phase), (1, -swing, None if phase is None else phase + np.pi)):
        foot, leg = _leg(who, hip + np.array([0, side * 0.052 * h * who.girth, 0]), angle, back)
        parts += leg
        soles.append(foot)
    parts += [*_trunk(who, hip), *_arms(who, swing), *_head(who)]
    return place(merge(parts), 0, 0, -min(soles))


def walker_group(rng: np.random.Generator, skins: Skins, phase: float | None = None) -> Soup:
    """Two or three people side by side, now and then with a pram."""
    n = int(rng.integers(2, 4))
    parts = [
        place(
            pedestrian(
                rng, skins, None if phase is None else phase + rng.uniform(0, 1), child=bool(k and rng.random() < 0.3)
            ),
            rng.uniform(-0.3, 0.3),
            (k - (n - 1) / 2) * 0.68,
        )
        for k in range(n)
    ]
    if rng.random() < 0.3:
        parts.append(place(pram(rng), 0.95, -(n - 1) / 2 * 0.68))
    return merge(parts)


def pram(rng: np.random.Generator) -> Soup:
    """A pram that is pushed towards +x."""
    tint = rng.uniform(0.02, 0.3, 3)
    parts = [
        box(-0.3, 0.4, -0.22, 0.22, 0.5, 0.78, 0, tint),
        rod((0.1, -0.21, 0.78), (0.42, -0.21, 1.05), 0.02, tint=tint),
        rod((0.1, 0.21, 0.78), (0.42, 0.21, 1.05), 0.02, tint=tint),
        ball((0.25, 0, 0.85), (0.22, 0.21, 0.2), tint),
        rod((-0.3, 0, 0.75), (-0.55, 0, 1.05), 0.015, tint=(0.1, 0.1, 0.1)),
    ]
    for x in (-0.3, 0.35):
        parts += [
            rod((x, y - 0.02, 0.13), (x, y + 0.02, 0.13), 0.13, tint=(0.02, 0.02, 0.02), sides=8) for y in (-0.22, 0.22)
        ]
        parts += [rod((x, y, 0.13), (0.05, y, 0.52), 0.014, tint=(0.3, 0.3, 0.3), sides=4) for y in (-0.22, 0.22)]
    return merge(parts)


def _leg(who: Looks, hip: np.ndarray, angle: float, phase: float | None) -> tuple[float, list[Soup]]:
    """Thigh, shin and shoe; also the height of the sole. The knee bends while the leg swings forward."""
    h, g = who.height, who.girth
    bend = 0.0 if phase is None else 0.25 + 0.55 * max(0.0, float(np.cos(phase + 0.5)))
    bend = 0.0 if phase is None else bend * (1.0 if np.cos(phase) > -0.3 else 0.3)
    knee = hip + 0.245 * h * np.array([np.sin(angle), 0, -np.cos(angle)])
    low = angle - bend
    ankle = knee + 0.235 * h * np.array([np.sin(low), 0, -np.cos(low)])
    tilt = 0.6 * low
    toe = ankle + np.array([0.13 * h * np.cos(tilt) * 0.9, 0, 0.13 * h * np.sin(tilt) * 0.9 - 0.025 * h])
    heel = ankle + np.array([-0.03 * h, 0, -0.03 * h])
    legs = who.skin if who.skirt else who.legs
    parts = [
        rod(hip, knee, 0.048 * h * g, 0.034 * h * g, tint=who.legs),
        rod(knee, ankle, 0.034 * h * g, 0.022 * h, tint=legs),
        rod(heel, toe, 0.024 * h, 0.018 * h, tint=who.shoes),
    ]
    return float(min(p.corners[..., 2].min() for p in parts)), parts


def _trunk(who: Looks, hip: np.ndarray) -> list[Soup]:
    h, g = who.height, who.girth
    flat = (0.62, 1.0, 1.0)
    waist = cylinder(0.088 * h * g, 0.078 * h * g, 0.12 * h, 0, who.top, sides=8, z=hip[2] - 0.03 * h)
    chest = cylinder(0.078 * h * g, 0.112 * h * (0.5 + 0.5 * g), 0.22 * h, 0, who.top, sides=8, z=hip[2] + 0.09 * h)
    parts = [place(waist, 0, 0, scale=flat), place(chest, 0, 0, scale=flat)]
    if who.skirt:
        parts.append(
            place(
                cylinder(0.13 * h, 0.08 * h, 0.24 * h, 0, who.legs, sides=8, z=hip[2] - 0.2 * h),
                0,
                0,
                scale=(0.75, 1, 1),
            )
        )
    if who.bag == "rucksack":
        parts.append(box(-0.17 * h, -0.06 * h, -0.08 * h, 0.08 * h, 0.6 * h, 0.8 * h, 0, (0.04, 0.05, 0.08)))
    if who.bag == "bag":
        parts.append(box(-0.1 * h, 0.1 * h, 0.15 * h, 0.2 * h, 0.4 * h, 0.53 * h, 0, (0.1, 0.05, 0.03)))
    return parts


def _arms(who: Looks, swing: float) -> list[Soup]:
    """Each arm swings with the other side's leg."""
    h, parts = who.height, []
    for side in (-1, 1):
        angle = side * swing * 0.75
        shoulder = np.array([0.0, side * 0.122 * h * (0.5 + 0.5 * who.girth), 0.815 * h])
        elbow = shoulder + 0.17 * h * np.array([np.sin(angle), side * 0.12, -np.cos(angle)])
        hand = elbow + 0.16 * h * np.array([np.sin(angle + 0.3), 0, -np.cos(angle + 0.3)])
        parts += [
            rod(shoulder, elbow, 0.032 * h, 0.026 * h, tint=who.top),
            rod(elbow, hand, 0.025 * h, 0.018 * h, tint=who.top),
            ball(hand, 0.02 * h, who.skin),
        ]
    return parts


def _head(who: Looks) -> list[Soup]:
    h = who.height
    size = 0.062 * h if h > 1.5 else 0.062 * h + 0.02
    top = h - size * 1.2
    return [
        rod((0, 0, 0.82 * h), (0.01 * h, 0, top), 0.03 * h, tint=who.skin),
        ball((0.008 * h, 0, top), (size, 0.85 * size, 1.15 * size), who.skin),
        ball((-0.02 * h, 0, top + 0.25 * size), (0.95 * size, 0.95 * size, 0.98 * size), who.hair),
    ]
