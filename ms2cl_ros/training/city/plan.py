# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The plan of the street: stretches of either side, and which ground is taken."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ms2cl_ros.training.city.routes import Route

LEFT, RIGHT = 1, -1
KINDS = ("terrace", "villas", "avenue", "park", "works")
PARKING = 2.2
KERB = 0.11
FRONT = 4.0


@dataclass(frozen=True)
class Stretch:
    """One side of the road from `s0` to `s1` metres. `parking`, `verge`, `walk`: widths in metres, from the
    road outwards."""

    side: int
    s0: float
    s1: float
    kind: str
    parking: float
    verge: float
    walk: float
    edge: float

    @property
    def kerb(self) -> float:
        """Metres from the centreline to the kerb."""
        return self.edge - self.verge - self.walk


def plan_side(rng: np.random.Generator, length: float, side: int, half_width: float) -> list[Stretch]:
    """Stretches of 30 to 65 m all round, no two neighbours of the same kind."""
    n = max(3, round(length / rng.uniform(42, 52)))
    ends = np.linspace(0, length, n + 1)
    ends[1:-1] += rng.uniform(-10, 10, n - 1)
    kinds: list[str] = []
    for i in range(n):
        weights = np.array([0.3, 0.34, 0.16, 0.1, 0.1])
        for other in kinds[-1:] + (kinds[:1] if i == n - 1 else []):
            weights[KINDS.index(other)] = 0
        kinds.append(str(rng.choice(KINDS, p=weights / weights.sum())))
    return [_stretch(rng, side, a, b, kind, half_width) for a, b, kind in zip(ends[:-1], ends[1:], kinds, strict=True)]


def _stretch(rng: np.random.Generator, side: int, s0: float, s1: float, kind: str, half_width: float) -> Stretch:
    parking = PARKING if kind != "park" and rng.random() < 0.6 else 0.0
    verge = rng.uniform(2.2, 3.2) if kind == "avenue" else rng.choice([0.0, 1.3]) if kind == "villas" else 0.0
    walk = rng.uniform(1.6, 3.0) if kind == "terrace" else rng.uniform(1.3, 2.2)
    return Stretch(side, s0, s1, kind, parking, verge, walk, half_width + parking + verge + walk)


@dataclass
class Plan:
    """Where things may stand. Footprints are rectangles; nothing may overlap another, the pavements or the road."""

    route: Route
    stretches: list[Stretch]
    half_width: float
    crossings: list[float] = field(default_factory=list)
    _taken: list[np.ndarray] = field(default_factory=list)

    def edge(self, s: np.ndarray, side: int) -> np.ndarray:
        """Metres from the centreline to the back of the pavement at (n,) `s` on one side."""
        mine = [x for x in self.stretches if x.side == side]
        index = np.searchsorted([x.s1 for x in mine], s % self.route.length).clip(0, len(mine) - 1)
        return np.array([x.edge for x in mine])[index]

    def clear_of_street(self, points: np.ndarray, margin: float = 0.0) -> bool:
        """Whether all (n, 2) points lie behind the pavements by `margin` metres."""
        if self.route.distance(points).min() > 20:
            return True
        s, d = self.route.nearest(points)
        return bool((np.abs(d) > np.where(d > 0, self.edge(s, LEFT), self.edge(s, RIGHT)) + margin).all())

    def take(self, corners: np.ndarray, margin: float = 0.0) -> bool:
        """Reserves a rectangle (4, 2) if it is free; says whether it was."""
        if not self.clear_of_street(_outline(corners), margin) or self.blocked(corners):
            return False
        self._taken.append(corners)
        return True

    def reserve(self, corners: np.ndarray) -> None:
        """Reserves a rectangle (4, 2) whatever lies there."""
        self._taken.append(corners)

    def blocked(self, corners: np.ndarray) -> bool:
        """Whether a rectangle (4, 2) overlaps one that is taken."""
        return any(_overlap(corners, other) for other in self._taken)


def footprint(x: float, y: float, heading: float, x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    """(4, 2) corners on the map of a rectangle given in a local frame at x, y, heading."""
    c, s = np.cos(heading), np.sin(heading)
    local = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return local @ np.array([[c, s], [-s, c]]) + [x, y]


def _outline(corners: np.ndarray) -> np.ndarray:
    """Points about a metre apart along the rim of a rectangle, and its centre."""
    t = np.linspace(0, 1, 2 + int(np.linalg.norm(np.ptp(corners, axis=0))))[:, None]
    rim = [a * (1 - t) + b * t for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
    return np.concatenate([*rim, corners.mean(0)[None]])


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Separating axes of two rectangles."""
    if np.linalg.norm(a.mean(0) - b.mean(0)) > np.linalg.norm(a[0] - a[2]) / 2 + np.linalg.norm(b[0] - b[2]) / 2:
        return False
    for rectangle in (a, b):
        for axis in (rectangle[1] - rectangle[0], rectangle[2] - rectangle[1]):
            p, q = a @ axis, b @ axis
            if p.max() <= q.min() or q.max() <= p.min():
                return False
    return True
