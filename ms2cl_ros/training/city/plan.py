# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The plan of the city: stretches of either side of every road, and which ground is taken."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ms2cl_ros.training.city.districts import DISTRICTS
from ms2cl_ros.training.city.network import Network

LEFT, RIGHT = 1, -1
PARKING = 2.2
KERB = 0.11
FRONT = 4.0
# Metres from another road's carriageway within which there is neither parking nor verge, and nothing tall at the kerb.
MOUTH = 9.0
_CELL = 24.0
Where = Callable[[float, float], str]


@dataclass(frozen=True)
class Stretch:
    """One side of a road from `s0` to `s1` metres. `parking`, `verge`, `walk`: widths in metres, from the road
    outwards; `edge`: from the middle to the back of the pavement."""

    road: int
    side: int
    s0: float
    s1: float
    kind: str
    district: str
    parking: float
    verge: float
    walk: float
    edge: float

    @property
    def kerb(self) -> float:
        """Metres from the road's middle to the kerb."""
        return self.edge - self.verge - self.walk

    @property
    def length(self) -> float:
        """Metres along the road."""
        return self.s1 - self.s0


class Plan:
    """Where things may stand. Footprints are rectangles; nothing may overlap another, a pavement or a road."""

    def __init__(self, rng: np.random.Generator, network: Network, where: Where) -> None:
        self.network = network
        self._taken: dict[tuple[int, int], list[np.ndarray]] = defaultdict(list)
        self._low = np.array([r.line.xy.min(0) for r in network.roads])
        self._high = np.array([r.line.xy.max(0) for r in network.roads])
        self.mouths = [{side: self._near_others(i, side) for side in (LEFT, RIGHT)} for i in range(len(network.roads))]
        self.stretches = [
            x for i in range(len(network.roads)) for side in (LEFT, RIGHT) for x in self._side(rng, i, side, where)
        ]
        self._edges = {}
        for i, side in itertools.product(range(len(network.roads)), (LEFT, RIGHT)):
            mine = [x for x in self.stretches if (x.road, x.side) == (i, side)]
            self._edges[i, side] = np.array([x.s1 for x in mine]), np.array([x.edge for x in mine])
        self._widest = max(x.edge for x in self.stretches)

    # -- stretches
    def _near_others(self, i: int, side: int) -> np.ndarray:
        """Metres from the kerb of road i, each metre along, to the nearest other carriageway."""
        road, network = self.network.roads[i], self.network
        x, y, _ = road.line.at(np.arange(0.0, road.line.length, 1.0), side * road.half_width)
        linked = {k for pair in network.joined if i in pair for k in pair} | {i}
        rows = np.delete(network.distances(np.stack([x, y], 1)), sorted(linked), 0)
        return rows.min(0) if len(rows) else np.full(len(x), 1e3)

    def open_at(self, i: int, side: int, s: float, room: float) -> bool:
        """Whether the kerb of road i is at least `room` metres from any other carriageway at `s`."""
        near = self.mouths[i][side]
        return bool(near[int(np.clip(s % self.network.roads[i].line.length, 0, len(near) - 1))] > room)

    def _side(self, rng: np.random.Generator, i: int, side: int, where: Where) -> list[Stretch]:
        """Stretches of 30 to 65 m, no two neighbours of the same kind where there is a choice; shorter at junctions."""
        road = self.network.roads[i]
        length = road.line.length
        n = max(1, round(length / rng.uniform(42, 52)))
        ends = np.linspace(0, length, n + 1)
        ends[1:-1] += rng.uniform(-10, 10, n - 1)
        clear = self.mouths[i][side] > MOUTH
        borders = np.flatnonzero(np.diff(clear.astype(int))) + 1.0
        out, last = [], ""
        for a, b in itertools.pairwise(ends):
            x, y, _ = road.line.at((a + b) / 2)
            name = where(float(x), float(y))
            last = _kind(rng, name, last)
            widths = _widths(rng, name, last)
            cuts = [a, *(c for c in borders if a + 3 < c < b - 3), b]
            for p, q in itertools.pairwise(cuts):
                free = bool(clear[int(min((p + q) / 2, len(clear) - 1))])
                parking, verge, walk = widths if free else (0.0, 0.0, widths[2])
                out.append(Stretch(i, side, float(p), float(q), last, name, parking, verge, walk,
                                   road.half_width + parking + verge + walk))
        return out

    # -- ground
    def beyond_pavements(self, points: np.ndarray, far: float = 40.0) -> np.ndarray:
        """(n,) metres that (n, 2) points lie behind the nearest pavement, negative on roads and pavements; at most
        `far`."""
        out = np.full(len(points), far)
        reach = far + self._widest
        low, high = points.min(0) - reach, points.max(0) + reach
        for i in np.flatnonzero(((self._low < high) & (self._high > low)).all(1)):
            line = self.network.roads[i].line
            distance, index = line.tree.query(points, distance_upper_bound=reach)
            near = np.flatnonzero(np.isfinite(distance))
            if not len(near):
                continue
            index = index[near]
            s, h, offset = line.s[index], line.heading[index], points[near] - line.xy[index]
            left = offset[:, 1] * np.cos(h) - offset[:, 0] * np.sin(h) > 0
            edge = np.where(left, self._edge(int(i), LEFT, s), self._edge(int(i), RIGHT, s))
            out[near] = np.minimum(out[near], distance[near] - edge)
        for x, y, radius in self.network.turning:
            out = np.minimum(out, np.hypot(points[:, 0] - x, points[:, 1] - y) - radius - 1.5)
        return out

    def _edge(self, i: int, side: int, s: np.ndarray) -> np.ndarray:
        ends, edges = self._edges[i, side]
        return edges[np.searchsorted(ends, s).clip(0, len(edges) - 1)]

    def take(self, corners: np.ndarray, margin: float = 0.0) -> bool:
        """Reserves a rectangle (4, 2) if it is free and behind all pavements by `margin` metres; says whether."""
        if self.blocked(corners):
            return False
        outline = _outline(corners)
        behind = self.beyond_pavements(outline, 5.0).min()
        # the rounded corners of junctions reach beyond the pavements
        if behind <= margin or (behind < 4.0 and self.network.outside(outline).min() < 0.5):
            return False
        self.reserve(corners)
        return True

    def reserve(self, corners: np.ndarray) -> None:
        """Reserves a rectangle (4, 2) whatever lies there."""
        for cell in _cells(corners):
            self._taken[cell].append(corners)

    def blocked(self, corners: np.ndarray) -> bool:
        """Whether a rectangle (4, 2) overlaps one that is taken."""
        return any(_overlap(corners, other) for cell in _cells(corners) for other in self._taken.get(cell, ()))


def _kind(rng: np.random.Generator, district: str, last: str) -> str:
    kinds = dict(DISTRICTS[district].kinds)
    if last in kinds and kinds[last] < 0.5 * sum(kinds.values()):
        del kinds[last]
    weights = np.array(list(kinds.values()))
    return str(rng.choice(list(kinds), p=weights / weights.sum()))


def _widths(rng: np.random.Generator, district: str, kind: str) -> tuple[float, float, float]:
    """Parking, verge and walk of a stretch."""
    d = DISTRICTS[district]
    parking = PARKING if kind not in ("park", "wood", "field", "car_park") and rng.random() < d.parking else 0.0
    verge = rng.uniform(2.2, 3.2) if kind == "avenue" else 1.3 if rng.random() < d.verge else 0.0
    walk = rng.uniform(*d.walk) * (1.25 if kind in ("terrace", "square") and d.kerbed else 1.0)
    return parking, verge, walk


def footprint(x: float, y: float, heading: float, x0: float, x1: float, y0: float, y1: float) -> np.ndarray:
    """(4, 2) corners on the map of a rectangle given in a local frame at x, y, heading."""
    c, s = np.cos(heading), np.sin(heading)
    local = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    return local @ np.array([[c, s], [-s, c]]) + [x, y]


def _cells(corners: np.ndarray) -> list[tuple[int, int]]:
    low, high = (corners.min(0) // _CELL).astype(int), (corners.max(0) // _CELL).astype(int)
    return [(i, j) for i in range(low[0], high[0] + 1) for j in range(low[1], high[1] + 1)]


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
