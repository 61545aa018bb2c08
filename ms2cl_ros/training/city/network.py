# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The roads of a city, and how far anything is from their carriageways; where two meet, the corners are rounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ms2cl_ros.training.city.routes import SPACING, Route

FAR = 60.0
CORNER = 5.5


@dataclass(frozen=True)
class Road:
    """A road. `line`: its middle; `half_width`: metres from there to the carriageway's rim; `lanes` each way."""

    line: Route
    half_width: float
    district: str = "residential"
    lanes: int = 1
    side: bool = False

    @property
    def lane(self) -> float:
        """Metres from the middle to the middle of the outermost lane."""
        return self.half_width * (self.lanes - 0.5) / self.lanes

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.line.xy.min(0) - FAR, self.line.xy.max(0) + FAR

    def outside(self, xy: np.ndarray) -> np.ndarray:
        """(n,) metres that (n, 2) points lie outside the carriageway, negative inside; FAR for all that are far."""
        low, high = self._bounds
        near = ((xy > low) & (xy < high)).all(1)
        out = np.full(len(xy), FAR)
        if near.any():
            points = xy[near]
            distance, index = self.line.tree.query(points)
            offset, h = points - self.line.xy[index], self.line.heading[index]
            along = np.abs(offset[:, 0] * np.cos(h) + offset[:, 1] * np.sin(h))
            across = np.abs(offset[:, 1] * np.cos(h) - offset[:, 0] * np.sin(h))
            out[near] = np.minimum(np.where(along < SPACING, across, distance) - self.half_width, FAR)
        return out


@dataclass(frozen=True)
class Network:
    """All roads. `joined`: pairs of indices of roads that go on in one another; `turning`: (k, 3) x, y and radius,
    metres, of round places where one turns."""

    roads: tuple[Road, ...]
    joined: frozenset[tuple[int, int]] = frozenset()
    turning: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))

    def distances(self, xy: np.ndarray) -> np.ndarray:
        """(roads + turning places, n) metres outside each carriageway, negative inside."""
        rows = [road.outside(xy) for road in self.roads]
        rows += [np.linalg.norm(xy - place[:2], axis=1) - place[2] for place in self.turning]
        return np.array(rows)

    def outside(self, xy: np.ndarray) -> np.ndarray:
        """(n,) metres that (n, 2) points lie outside all carriageways and their rounded corners, negative inside."""
        xy = np.asarray(xy, float)
        return _united(self.distances(xy), self.joined)

    def nearest(self, xy: np.ndarray) -> np.ndarray:
        """(n,) index of the road whose carriageway is nearest to (n, 2) points."""
        return np.argmin(np.array([road.outside(xy) for road in self.roads]), 0)

    def meetings(self) -> list[tuple[int, int, np.ndarray]]:
        """(i, j, (n, 2) points): where road j comes near the middle of road i, if they do not go on in one another."""
        out = []
        for i, road in enumerate(self.roads):
            xy = road.line.xy[::4]
            for j, other in enumerate(self.roads):
                if i != j and not _linked(i, j, self.joined):
                    near = other.outside(xy) < CORNER + road.half_width
                    if near.any():
                        out.append((i, j, xy[near]))
        return out


def _linked(i: int, j: int, joined: frozenset[tuple[int, int]]) -> bool:
    return (min(i, j), max(i, j)) in joined


def _united(rows: np.ndarray, joined: frozenset[tuple[int, int]]) -> np.ndarray:
    """Signed distances of a union whose inner corners are rounded, except between parts that are joined."""
    out = rows.min(0)
    near = np.flatnonzero((rows < CORNER).sum(0) >= 2)
    if not len(near):
        return out
    some = np.flatnonzero((rows[:, near] < CORNER).any(1))
    for a, i in enumerate(some):
        for j in some[a + 1 :]:
            if not _linked(int(i), int(j), joined):
                p, q = rows[i, near], rows[j, near]
                away = np.hypot(np.maximum(CORNER - p, 0), np.maximum(CORNER - q, 0))
                out[near] = np.minimum(out[near], np.maximum(CORNER, np.minimum(p, q)) - away)
    return out
