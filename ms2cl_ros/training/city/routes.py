# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where one drives: a closed, rounded block, and the ground it lies on.

Street coordinates are `s`, metres along the centreline, and `d`, metres to its left. The block is driven
counter-clockwise, so its inside is on the left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ms2cl_ros.core.errors import ConfigError

SPACING = 0.25
CORNER_RADIUS = 16.0
BEND_RADIUS = 60.0
SHORTEST, LONGEST = 240.0, 2000.0


@dataclass(frozen=True)
class Route:
    """A closed centreline; its last point is its first. `xy`: (n, 2) and `s`: (n,) metres; `heading`: (n,) radians,
    unwrapped."""

    xy: np.ndarray
    heading: np.ndarray
    s: np.ndarray
    tree: cKDTree

    @property
    def length(self) -> float:
        """Metres round."""
        return float(self.s[-1])

    def at(self, s: np.ndarray | float, d: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y (metres) and heading (radians) at `s` along and `d` to the left; `s` wraps round."""
        laps, rest = np.divmod(np.asarray(s, float), self.length)
        heading = np.interp(rest, self.s, self.heading) + laps * 2 * np.pi
        x, y = (np.interp(rest, self.s, self.xy[:, k]) for k in (0, 1))
        return x - d * np.sin(heading), y + d * np.cos(heading), heading

    def distance(self, xy: np.ndarray) -> np.ndarray:
        """Metres from each of (..., 2) points to the centreline."""
        return self.tree.query(xy)[0]

    def nearest(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(s, d) of each of (n, 2) points near the centreline."""
        index = self.tree.query(xy)[1]
        offset = xy - self.xy[index]
        h = self.heading[index]
        return self.s[index], offset[:, 1] * np.cos(h) - offset[:, 0] * np.sin(h)


@dataclass(frozen=True)
class Terrain:
    """Gentle hills: a sum of long waves. `waves`: (k, 4) amplitude, two wave numbers, phase."""

    waves: np.ndarray

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Metres above the map's zero."""
        return sum((a * np.sin(kx * x + ky * y + p) for a, kx, ky, p in self.waves), np.zeros(np.shape(x)))

    def gradient(self, x: float, y: float) -> np.ndarray:
        """(2,) slope in x and y."""
        a, kx, ky, p = self.waves.T
        c = a * np.cos(kx * x + ky * y + p)
        return np.array([(c * kx).sum(), (c * ky).sum()])


def rolling_terrain(rng: np.random.Generator, slope: float = 0.007) -> Terrain:
    """Three waves of 90 to 220 m, each at most `slope` steep."""
    wavelength, direction, phase = rng.uniform(90, 220, 3), rng.uniform(0, 2 * np.pi, 3), rng.uniform(0, 2 * np.pi, 3)
    k = 2 * np.pi / wavelength
    return Terrain(np.stack([slope / k, k * np.cos(direction), k * np.sin(direction), phase], 1))


def rounded_block(rng: np.random.Generator, length: float) -> Route:
    """A closed block of about `length` metres with bent sides; raises ConfigError for lengths that make no block."""
    if not SHORTEST <= length <= LONGEST:
        raise ConfigError(f"a street of {length:g} m was asked for; a block needs {SHORTEST:g} to {LONGEST:g} m round")
    aspect = rng.uniform(1.15, 1.6)
    box = np.array([[-aspect, -1], [aspect, -1], [aspect, 1], [-aspect, 1]]) * (1 + rng.normal(0, 0.05, (4, 2)))
    push, along = rng.normal(0, 0.045, 4).clip(-0.07, 0.1), rng.uniform(0.35, 0.65, 4)
    polygon, radius = [], []
    for i in range(4):
        a, b = box[i], box[(i + 1) % 4]
        outward = np.array([b[1] - a[1], a[0] - b[0]])
        polygon += [a, a + along[i] * (b - a) + push[i] * outward]
        radius += [CORNER_RADIUS + rng.uniform(0, 3), BEND_RADIUS]
    size = length / 8
    for _ in range(6):
        xy = _rounded(np.array(polygon) * size, radius)
        size *= length / np.linalg.norm(np.diff(xy, axis=0), axis=1).sum()
    return _route(xy)


def _rounded(polygon: np.ndarray, radius: list[float]) -> np.ndarray:
    """The closed polygon with its corners replaced by arcs; (n, 2), first point repeated at the end."""
    parts = []
    for i, r in enumerate(radius):
        before, here, after = polygon[i - 1], polygon[i], polygon[(i + 1) % len(polygon)]
        u, v = (here - before) / np.linalg.norm(here - before), (after - here) / np.linalg.norm(after - here)
        turn = np.arctan2(u[0] * v[1] - u[1] * v[0], u @ v)
        start = here - u * r * np.tan(abs(turn) / 2)
        centre = start + r * np.sign(turn) * np.array([-u[1], u[0]])
        a = np.linspace(0, turn, max(2, int(abs(turn) * r / SPACING)))
        c, s, arm = np.cos(a), np.sin(a), start - centre
        parts.append(centre + np.stack([c * arm[0] - s * arm[1], s * arm[0] + c * arm[1]], 1))
    xy = np.concatenate(parts)
    return np.concatenate([xy, xy[:1]])


def _route(xy: np.ndarray) -> Route:
    """Resamples a closed polyline evenly and gives it headings."""
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(xy, axis=0), axis=1))])
    even = np.linspace(0, s[-1], int(s[-1] / SPACING) + 1)
    xy = np.stack([np.interp(even, s, xy[:, k]) for k in (0, 1)], 1)
    step = np.roll(xy[:-1], -1, 0) - np.roll(xy[:-1], 1, 0)
    heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    return Route(xy, np.append(heading, heading[0] + 2 * np.pi), even, cKDTree(xy[:-1]))
