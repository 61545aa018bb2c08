# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The building site: fills a plan with houses, gardens, trees and furniture, stretch by stretch."""

from __future__ import annotations

import itertools

import numpy as np

from ms2cl_ros.training.city import furniture, ground, houses, plants
from ms2cl_ros.training.city.plan import FRONT, KERB, PARKING, RIGHT, Plan, Stretch, footprint
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import Soup, place

BAY = 5.9


class BuildingSite:
    """Collects triangles in `parts` and places for parked cars (x, y, heading) in `bays`; keeps
    footprints in the plan."""

    def __init__(self, rng: np.random.Generator, plan: Plan, skins: Skins) -> None:
        self.rng, self.plan, self.skins = rng, plan, skins
        self.parts: list[Soup] = []
        self.bays: list[tuple[float, float, float]] = []
        self.side_streets: list[float] = []
        self.last = (0.0, 0.0, "")
        self.greens = [self._tree(h) for h in rng.uniform(5, 15, 14)]

    def build(self) -> None:
        """Everything, in the order in which it may claim ground."""
        rng, plan = self.rng, self.plan
        self._side_streets()
        self.parts += [
            ground.road(rng, plan, self.skins),
            ground.land(rng, plan, self.skins),
            ground.horizon(rng, plan, self.skins),
        ]
        for stretch in plan.stretches:
            self.parts.append(ground.pavement(rng, plan, self.skins, stretch))
            self._bays(stretch)
            getattr(self, "_" + stretch.kind)(stretch)
            self._pavement_things(stretch)
        self._background()

    # -- where things go
    def _frame(self, s: float, d: float) -> tuple[float, float, float]:
        """x, y and the heading of a local frame whose y points away from the road."""
        x, y, h = self.plan.route.at(s, d)
        return float(x), float(y), float(h if d > 0 else h + np.pi)

    def _put(self, soup: Soup, s: float, d: float, turn: float = 0.0, z: float = KERB) -> None:
        x, y, h = self._frame(s, d)
        self.parts.append(place(soup, x, y, z, h + turn))

    def _near_side_street(self, s: float, side: int, margin: float) -> bool:
        length = self.plan.route.length
        return side == RIGHT and any(
            abs((s - c + length / 2) % length - length / 2) < margin for c in self.side_streets
        )

    # -- houses
    def _lot(self, x: float, y: float, heading: float, width: float, style: str) -> bool:
        """A house with its front at the origin of a frame, if there is room; it differs from the last one."""
        rng = self.rng
        depth = rng.uniform(8, 13)
        if not self.plan.take(footprint(x, y, heading, -width / 2, width / 2, 0, depth), 0.0):
            return False
        low, high = {"terrace": (6, 17), "villas": (3, 8), "back": (4, 13)}[style]
        for _ in range(6):
            height = houses.heights(rng, low, high)
            roof = str(rng.choice(houses.ROOFS, p=[0.42, 0.2, 0.13, 0.1, 0.15]))
            if abs(height - self.last[0]) > 1.2 and roof != self.last[2]:
                break
        self.last = (height, width, roof)
        shop = style == "terrace" and bool(rng.random() < 0.3)
        self.parts.append(place(houses.house(rng, self.skins, width, depth, height, roof, shop), x, y, KERB, heading))
        return True

    def _terrace(self, x: Stretch) -> None:
        """Tall fronts at the pavement, some set back, with passages that a wall closes."""
        rng, s = self.rng, x.s0
        while s < x.s1 - 6:
            width = min(rng.uniform(7.5, 19), x.s1 - s)
            back = rng.choice([0.05, rng.uniform(0.1, 0.7), rng.uniform(1.2, 3.5)], p=[0.35, 0.4, 0.25])
            self._lot(*self._frame(s + width / 2, x.side * (x.edge + back)), width, "terrace")
            if back > 1.2:
                self._front(s, s + width, x, 0.25)
            s += width
            if rng.random() < 0.3:
                gap = rng.uniform(2.5, 6)
                self._front(s, s + gap, x, rng.uniform(0.5, 3), "wall")
                s += gap

    def _villas(self, x: Stretch) -> None:
        """Detached houses behind gardens, no two set back alike."""
        rng, s, before = self.rng, x.s0 + self.rng.uniform(0, 3), 0.0
        while s < x.s1 - 6:
            width, back = min(rng.uniform(7.5, 15), x.s1 - s), rng.uniform(1.5, 9)
            back = back if abs(back - before) > 1.5 else (back + 4) % 9 + 1
            before = back
            self._lot(*self._frame(s + width / 2, x.side * (x.edge + back)), width, "villas")
            gap = rng.uniform(2, 8)
            self._front(s - 0.5, s + width + gap - 3.0, x, 0.25)
            self._garden(s, s + width + gap, x, back)
            if gap > 3.5 and rng.random() < 0.6:
                px, py, h = self._frame(s + width + gap / 2, x.side * (x.edge + 3.0))
                if self.plan.take(footprint(px, py, h, -1.2, 1.2, -2.6, 2.6)):
                    self.bays.append((px, py, h + np.pi / 2))
            s += width + gap

    def _avenue(self, x: Stretch) -> None:
        """A row of trees on the verge, then houses of either sort."""
        rng = self.rng
        height, spacing = rng.uniform(7, 14), rng.uniform(7, 13)
        for s in np.arange(x.s0 + 2, x.s1 - 1, spacing):
            if rng.random() < 0.9 and not self._near_side_street(s, x.side, 6):
                tree = self._tree(height * rng.uniform(0.8, 1.2), clear=rng.uniform(2.6, 3.6))
                self._put(tree, s + rng.uniform(-0.6, 0.6), x.side * (x.kerb + x.verge / 2), rng.uniform(0, 6))
        (self._terrace if rng.random() < 0.5 else self._villas)(x)

    def _park(self, x: Stretch) -> None:
        """Lawn with trees and shrubs, a low fence at times, a landmark."""
        rng = self.rng
        if rng.random() < 0.6:
            self._front(x.s0, x.s1, x, 0.3, str(rng.choice(["hedge", "bars", "mesh"])))
        for s in np.arange(x.s0 + 2, x.s1 - 2, 4.0):
            for q in (3.0, 9.0, 16.0, 25.0):
                if rng.random() < 0.42:
                    self._tree_at(s + rng.uniform(-2, 2), x, q + rng.uniform(-1, 3), rng.uniform(5, 16))
            if rng.random() < 0.5:
                self._bush_at(s, x, rng.uniform(1.2, 7))
        self._landmark(x, 2.5)

    def _works(self, x: Stretch) -> None:
        """A hall or two behind a fence and a yard with vehicles."""
        rng, s = self.rng, x.s0 + 1
        self._front(x.s0, x.s1, x, 0.3, str(rng.choice(["mesh", "wall", "bars", "planks"])))
        while s < x.s1 - 9:
            width, depth = min(rng.uniform(12, 30), x.s1 - s), rng.uniform(10, 17)
            fx, fy, h = self._frame(s + width / 2, x.side * (x.edge + rng.uniform(2.5, 9)))
            if self.plan.take(footprint(fx, fy, h, -width / 2, width / 2, 0, depth)):
                self.parts.append(
                    place(houses.hall(rng, self.skins, width, depth, rng.uniform(3.8, 8.5)), fx, fy, KERB, h)
                )
            for _ in range(int(rng.integers(0, 4))):
                bx, by, h = self._frame(s + rng.uniform(0, width), x.side * (x.edge + 3.2))
                if self.plan.take(footprint(bx, by, h, -2.7, 2.7, -1.2, 1.2)):
                    self.bays.append((bx, by, h))
            s += width + rng.uniform(3, 10)
        for s in np.arange(x.s0 + 3, x.s1, 12.0):
            if rng.random() < 0.35:
                self._tree_at(s, x, rng.uniform(1.2, 2.5), rng.uniform(4, 9))

    # -- green and small things
    def _tree(self, height: float, clear: float | None = None) -> Soup:
        rng, skins = self.rng, self.skins
        if rng.random() < 0.16 and clear is None:
            return plants.conifer(rng, height, skins.leaf[:8], int(rng.choice(skins.bark)))
        leaf = skins.leaf if rng.random() < 0.15 else skins.leaf[:8]
        return plants.broadleaf(rng, height, leaf, int(rng.choice(skins.bark)), clear)

    def _tree_at(self, s: float, x: Stretch, behind: float, height: float) -> None:
        """A tree `behind` metres beyond the pavement, unless a house stands there; none hangs low over the road."""
        fx, fy, h = self._frame(s, x.side * (x.edge + behind))
        room = 0.22 * height
        if not self.plan.clear_of_street(np.array([[fx, fy]]), 0.5) or self.plan.blocked(
            footprint(fx, fy, h, -room, room, -room, room)
        ):
            return
        near = behind + x.edge - self.plan.half_width < 0.45 * height
        green = (
            self._tree(height, clear=max(2.6, 0.3 * height))
            if near
            else self.greens[int(self.rng.integers(len(self.greens)))]
        )
        self.parts.append(
            place(
                green,
                fx,
                fy,
                KERB,
                self.rng.uniform(0, 6),
                tint=self.rng.uniform(0.75, 1.2) * self.rng.uniform(0.93, 1.07, 3),
            )
        )

    def _bush_at(self, s: float, x: Stretch, behind: float) -> None:
        fx, fy, h = self._frame(s, x.side * (x.edge + behind))
        width = min(self.rng.uniform(0.8, 3.0), 1.6 * behind)
        if not self.plan.blocked(footprint(fx, fy, h, -width / 2, width / 2, -width / 2, width / 2)):
            self.parts.append(
                place(plants.bush(self.rng, width, self.rng.uniform(0.7, 2.6), self.skins.leaf[:8]), fx, fy, KERB, h)
            )

    def _garden(self, s0: float, s1: float, x: Stretch, depth: float) -> None:
        """Trees and shrubs before and beside a house."""
        rng = self.rng
        for _ in range(rng.poisson(2.2)):
            self._tree_at(rng.uniform(s0, s1), x, rng.uniform(0.9, max(1.5, depth)), rng.uniform(3, 11))
        for _ in range(rng.poisson(1.6)):
            self._bush_at(rng.uniform(s0, s1), x, rng.uniform(0.7, max(1.2, depth)))
        if rng.random() < 0.5:
            self._tree_at(rng.uniform(s0, s1), x, depth + rng.uniform(10, 22), rng.uniform(8, 16))

    def _front(self, s0: float, s1: float, x: Stretch, behind: float, kind: str = "") -> None:
        """A fence, wall or hedge along the pavement, in pieces of about 3 m; side streets and driveways stay open."""
        rng, skins = self.rng, self.skins
        if not kind and rng.random() < 0.12:
            return
        kind = kind or str(rng.choice(furniture.FENCES, p=[0.3, 0.18, 0.14, 0.1, 0.28]))
        height, texture, tint = (
            furniture.fence_height(rng, kind),
            furniture.fence_texture(rng, skins, kind),
            rng.uniform(0.65, 1.15) * rng.uniform(0.95, 1.05, 3),
        )
        ends = np.linspace(max(s0, x.s0), min(s1, x.s1), max(2, int((s1 - s0) / 3.0) + 1))
        for a, b in itertools.pairwise(ends):
            ax, ay, _ = self._frame(a, x.side * (x.edge + behind))
            bx, by, _ = self._frame(b, x.side * (x.edge + behind))
            if np.hypot(bx - ax, by - ay) > 0.4 and not self._near_side_street((a + b) / 2, x.side, 6.5):
                piece = furniture.fence(rng, skins, kind, float(np.hypot(bx - ax, by - ay)), height, texture, tint)
                self.parts.append(place(piece, (ax + bx) / 2, (ay + by) / 2, KERB, float(np.arctan2(by - ay, bx - ax))))

    def _landmark(self, x: Stretch, behind: float) -> None:
        fx, fy, h = self._frame(self.rng.uniform(x.s0 + 3, x.s1 - 3), x.side * (x.edge + behind))
        if self.plan.take(footprint(fx, fy, h, -2.1, 2.1, -1.2, 1.2)):
            self.parts.append(place(furniture.landmark(self.rng, self.skins), fx, fy, KERB, h))

    def _bays(self, x: Stretch) -> None:
        """Parking bays where the road is straight enough, clear of side streets and crossings."""
        if not x.parking:
            return
        for s in np.arange(x.s0 + BAY / 2, x.s1 - BAY / 2, BAY):
            bend = abs(float(self.plan.route.at(s + 4)[2] - self.plan.route.at(s - 4)[2]))
            crossing = any(abs(s - c) < 7 for c in self.plan.crossings)
            if bend < 0.2 and not crossing and not self._near_side_street(s, x.side, 8):
                self.bays.append(self._frame(s, x.side * (self.plan.half_width + PARKING / 2)))

    def _pavement_things(self, x: Stretch) -> None:
        """Lamps, signs, bins, masts at the kerb."""
        rng, d = self.rng, x.side * (x.kerb + 0.45)
        height, arm = rng.uniform(4.5, 9), rng.choice([0.0, 1.2, 1.8])
        for s in np.arange(x.s0 + rng.uniform(2, 9), x.s1, rng.uniform(18, 30)):
            if not self._near_side_street(s, x.side, 5):
                self._put(furniture.lamp(self.skins, height, arm), s, d)
        for _ in range(int(rng.integers(1, 4))):
            s = rng.uniform(x.s0, x.s1)
            turn = 0.0 if x.side == RIGHT else np.pi
            self._put(furniture.traffic_sign(rng, self.skins), s, d, np.pi + turn if rng.random() < 0.7 else turn)
        for _ in range(int(rng.integers(0, 3))):
            s = rng.uniform(x.s0 + 2, x.s1 - 2)
            self._put(
                furniture.bin_or_box(rng, self.skins),
                s,
                x.side * (x.edge - 0.35 if rng.random() < 0.5 else x.kerb + 0.45),
            )
        if x.kind in ("villas", "works") and rng.random() < 0.35:
            for s in np.arange(x.s0 + 4, x.s1, 24.0):
                self._put(furniture.mast(rng, self.skins), s, x.side * (x.edge - 0.25))

    # -- around
    def _side_streets(self) -> None:
        """One or two streets that leave on the right, lined with houses, closed by trees."""
        rng, plan = self.rng, self.plan
        for s in np.array([0.2, 0.7]) * plan.route.length + rng.uniform(-25, 25, 2):
            x, y, h = (float(v) for v in plan.route.at(s))
            half, reach = rng.uniform(2.8, 3.4), rng.uniform(55, 75)
            self.side_streets.append(float(s))
            self.parts.append(ground.side_street(rng, plan, self.skins, s, reach, half))
            plan.reserve(footprint(x, y, h - np.pi / 2, 0, reach, -half - 1.5, half + 1.5))
            for turn, way in ((0.0, 1), (np.pi, -1)):
                for q in np.arange(24, reach - 6, 14.0):
                    cx, cy = (float(v) for v in plan.route.at(s + way * (half + 1.6), -q)[:2])
                    self._lot(cx, cy, h - np.pi / 2 + turn, rng.uniform(8, 13), "back")
            for k in range(-2, 3):
                ex, ey = plan.route.at(s + 5.0 * k, -reach - rng.uniform(2, 5))[:2]
                self.parts.append(place(self.greens[k], float(ex), float(ey), 0.0, rng.uniform(0, 6)))

    def _background(self) -> None:
        """Back houses and trees inside the block and beyond the front row, thinning out towards the horizon."""
        rng, route = self.rng, self.plan.route
        low, high = route.xy.min(0) - 60, route.xy.max(0) + 60
        for x in np.arange(low[0], high[0], 11.0):
            for y in np.arange(low[1], high[1], 11.0):
                px, py = x + rng.uniform(-3, 3), y + rng.uniform(-3, 3)
                distance = float(route.distance(np.array([px, py])))
                if distance < 17 + FRONT:
                    continue
                if rng.random() < 0.4 and self._lot(
                    px, py, rng.choice([0, 0.5, 1, 1.5]) * np.pi + rng.normal(0, 0.1), rng.uniform(8, 14), "back"
                ):
                    continue
                room = footprint(px, py, 0.0, -1.5, 1.5, -1.5, 1.5)
                if rng.random() < 0.75 and not self.plan.blocked(room):
                    self.parts.append(
                        place(
                            self.greens[int(rng.integers(len(self.greens)))],
                            px,
                            py,
                            0.0,
                            rng.uniform(0, 6),
                            rng.uniform(0.8, 1.25),
                            rng.uniform(0.7, 1.15) * rng.uniform(0.93, 1.07, 3),
                        )
                    )
