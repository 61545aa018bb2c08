# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The building site: where things are put down, and the order in which they claim their ground."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city import background, frontage, kerbside
from ms2cl_ros.training.city.greenery import Nursery
from ms2cl_ros.training.city.ground import Ground
from ms2cl_ros.training.city.horizon import belts
from ms2cl_ros.training.city.pieces import Piece
from ms2cl_ros.training.city.plan import KERB, Plan, Stretch, Where, footprint
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import WHITE, Soup, Tint

BAY = 5.9


class Site:
    """Collects `pieces`, and places for parked cars (x, y, heading) in `bays`; keeps footprints in the plan."""

    def __init__(self, rng: np.random.Generator, plan: Plan, skins: Skins, where: Where) -> None:
        self.rng, self.plan, self.skins, self.where = rng, plan, skins, where
        self.pieces: list[Piece] = []
        self.bays: list[tuple[float, float, float]] = []
        self.nursery = Nursery(rng, skins)
        self.last = (0.0, 0.0, "")

    def build(self) -> None:
        """Everything."""
        ground = Ground(self.rng, self.plan, self.skins)
        ground.lay()
        self.pieces += ground.pieces
        kerbside.over_the_road(self)
        frontage.close_ends(self)
        for stretch in self.plan.stretches:
            frontage.bays(self, stretch)
            frontage.KINDS[stretch.kind](self, stretch)
            kerbside.furnish(self, stretch)
        kerbside.signals(self)
        background.fill(self)
        self.pieces += belts(self.rng, self.plan.network, self.skins)

    def frame(self, x: Stretch, s: float, behind: float) -> tuple[float, float, float]:
        """x, y and the heading of a local frame, `behind` metres beyond the pavement, whose y points away from the
        road."""
        px, py, h = self.plan.network.roads[x.road].line.at(s, x.side * (x.edge + behind))
        return float(px), float(py), float(h if x.side > 0 else h + np.pi)

    def add(self, soup: Soup, x: float, y: float, heading: float, z: float = KERB, scale: float = 1.0,
            tint: Tint = WHITE) -> None:
        """Puts a soup down, whatever is there."""
        self.pieces.append(Piece(soup, x, y, z, heading, scale, tint))

    def at_kerb(self, soup: Soup, x: Stretch, s: float, from_kerb: float, turn: float = 0.0) -> None:
        """Puts something down at `s`, its origin `from_kerb` metres behind the kerb or further, so that it does not
        stand in the road; not at all where it would stand in another road or in a house."""
        low = soup.corners[soup.corners[..., 2] < 2.7][:, :2]
        c, n = np.cos(turn), np.sin(turn)
        local = low @ np.array([[c, n], [-n, c]])
        (x0, y0), (x1, y1) = local.min(0), local.max(0)
        px, py, h = self.frame(x, s, x.kerb - x.edge + max(from_kerb, 0.08 - y0))
        corners = footprint(px, py, h, x0, x1, y0, y1)
        if self.plan.network.outside(corners).min() > 0.04 and not self.plan.blocked(corners):
            self.add(soup, px, py, h + turn)

    def claim(self, x: float, y: float, heading: float, half_width: float, depth: float, margin: float = 0.0) -> bool:
        """Reserves ground in front of and behind a local frame's origin (y from 0 to `depth`), if it is free."""
        return self.plan.take(footprint(x, y, heading, -half_width, half_width, 0.0, depth), margin)

    def park(self, x: float, y: float, heading: float) -> bool:
        """A place for a car off the road, if there is room."""
        if not self.plan.take(footprint(x, y, heading, -2.7, 2.7, -1.1, 1.1), -0.2):
            return False
        self.bays.append((x, y, heading))
        return True
