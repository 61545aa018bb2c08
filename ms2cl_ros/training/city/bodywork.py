# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parts that vehicles share: paint, wheels, panes and lamps on a body's faces. Front towards +x, wheels on z = 0."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city.rods import PANE
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import CAR, SIGN, Soup, Tint, box, loft, quads, triangles

UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
DARK = (0.015, 0.015, 0.017)
_RUBBER, _ALLOY = (0.02, 0.02, 0.022), (0.32, 0.32, 0.33)
# Colours of European registrations, linear, and how often each is met.
_PAINT = (
    ((0.012, 0.012, 0.014), 0.19),
    ((0.75, 0.75, 0.74), 0.2),
    ((0.42, 0.43, 0.44), 0.15),
    ((0.13, 0.135, 0.14), 0.17),
    ((0.02, 0.05, 0.19), 0.1),
    ((0.33, 0.015, 0.02), 0.07),
    ((0.09, 0.2, 0.35), 0.03),
    ((0.03, 0.09, 0.05), 0.03),
    ((0.25, 0.2, 0.13), 0.03),
    ((0.65, 0.38, 0.02), 0.02),
    ((0.5, 0.12, 0.02), 0.01),
)


def paint(rng: np.random.Generator) -> np.ndarray:
    """(3,) a car's colour, linear."""
    weights = np.array([w for _, w in _PAINT])
    colour = np.array(_PAINT[int(rng.choice(len(_PAINT), p=weights / weights.sum()))][0])
    return np.clip(colour * rng.uniform(0.75, 1.3) * rng.uniform(0.93, 1.07, 3), 0, 0.9)


def wheel(x: float, y: float, radius: float, width: float = 0.2, arch: bool = True) -> list[Soup]:
    """One wheel whose outer face is at `y`, with a rim and the dark of its arch."""
    out = np.sign(y)
    angle = np.arange(12) * 2 * np.pi / 12
    ring = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], 1)
    centre = np.array([x, y, radius])
    inner = ring * radius + centre - [0, out * width, 0]
    parts = [loft(ring * radius + centre, inner, 0, _RUBBER, CAR)]
    parts += [round_face(centre, radius, _RUBBER, 0.0), round_face(centre, 0.62 * radius, _ALLOY, 0.006 * out)]
    if arch:
        parts.append(round_face(centre + np.array([0, 0, 0.13 * radius]), 1.13 * radius, DARK, -0.006 * out))
    return parts


def round_face(centre: np.ndarray, radius: float, tint: Tint, aside: float) -> Soup:
    """A disc across y, `aside` metres from the centre along y."""
    angle = np.arange(12) * 2 * np.pi / 12
    ring = np.stack([radius * np.cos(angle), np.full(12, aside), radius * np.sin(angle)], 1) + centre
    fan = np.stack([np.repeat(ring[:1], 10, 0), ring[1:-1], ring[2:]], 1)
    return triangles(fan, np.full((10, 3, 2), 0.5), 0, tint, CAR)


def wheels(axles: list[float], half: float, radius: float, width: float = 0.2, arch: bool = True) -> list[Soup]:
    """Wheels of both sides of all axles (x); `half`: y of their outer faces."""
    return [part for x in axles for y in (-half, half) for part in wheel(x, y, radius, width, arch)]


def patch(
    face: np.ndarray, across: tuple[float, float], up: tuple[float, float], texture: int = 0, tint: Tint = DARK,
    material: int = CAR, uv: np.ndarray = UNIT, off: float = 0.012,
) -> Soup:  # fmt: skip
    """A piece of a face (4, 3) given as low left, low right, high right, high left; `across`, `up`: shares 0 to 1. It
    lies `off` metres before the face, on the side from which the corners run counter-clockwise."""
    a, b, c, d = np.asarray(face, float)
    normal = np.cross(b - a, d - a)
    normal = normal / max(float(np.linalg.norm(normal)), 1e-9) * off
    corners = [
        (a * (1 - u) + b * u) * (1 - v) + (d * (1 - u) + c * u) * v + normal
        for u, v in ((across[0], up[0]), (across[1], up[0]), (across[1], up[1]), (across[0], up[1]))
    ]
    return quads(np.array([corners]), uv, texture, tint, material)


def pane(face: np.ndarray, across: tuple[float, float], up: tuple[float, float], skins: Skins) -> Soup:
    """Clear glass on a face; arguments as for `patch`."""
    return patch(face, across, up, skins.windscreen, uv=PANE)


def band(x0: float, x1: float, y: float, z0: float, z1: float) -> np.ndarray:
    """(4, 3) an upright face along x at `y`, its front on the outer side."""
    left, right = (x0, x1) if y < 0 else (x1, x0)
    return np.array([[left, y, z0], [right, y, z0], [right, y, z1], [left, y, z1]])


def end(x: float, half: float, z0: float, z1: float, front: bool = True) -> np.ndarray:
    """(4, 3) the upright face at the front (+x) or the rear end of a body."""
    s = half if front else -half
    return np.array([[x, -s, z0], [x, s, z0], [x, s, z1], [x, -s, z1]])


def mirror(
    x0: float, x1: float, y: float, reach: tuple[float, float], z: tuple[float, float], tint: Tint = DARK
) -> Soup:
    """An outside mirror; `reach`: shares of `y` at which it begins and ends, `z`: its lower and upper edge."""
    low, high = sorted((y * reach[0], y * reach[1]))
    return box(x0, x1, low, high, z[0], z[1], 0, tint, CAR)


def lamps(
    front: np.ndarray, rear: np.ndarray, up: tuple[float, float] = (0.35, 0.85), wide: float = 0.22
) -> list[Soup]:
    """Head lamps, grille, tail lamps and number plates, which reflect like signs, on a front and a rear face."""
    parts = []
    for face, tint in ((front, (0.75, 0.75, 0.7)), (rear, (0.3, 0.01, 0.015))):
        parts += [patch(face, across, up, 0, tint) for across in ((0.02, wide), (1 - wide, 0.98))]
        parts.append(patch(face, (0.36, 0.64), (0.05, 0.3), 0, (0.75, 0.75, 0.72), SIGN, off=0.02))
    parts.append(patch(front, (wide + 0.06, 0.94 - wide), (up[0], up[1] - 0.1), 0, DARK))
    return parts
