# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The city itself: what stands for good, and scenes of it to be traced on a day, near a place."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ms2cl_ros.training.city.days import parked, seasoned
from ms2cl_ros.training.city.horizon import ring
from ms2cl_ros.training.city.network import Network
from ms2cl_ros.training.city.painters import wild
from ms2cl_ros.training.city.pieces import Piece, Pieces, lifted
from ms2cl_ros.training.city.plan import Plan, Stretch
from ms2cl_ros.training.city.recipe import Day, Recipe
from ms2cl_ros.training.city.routes import Route
from ms2cl_ros.training.city.scene import Scene
from ms2cl_ros.training.city.site import Site
from ms2cl_ros.training.city.skins import Skins, paint_skins, with_assets
from ms2cl_ros.training.city.soup import Soup, merge
from ms2cl_ros.training.city.streets import lay_out
from ms2cl_ros.training.city.terrain import Terrain
from ms2cl_ros.training.city.textures import Textures
from ms2cl_ros.training.city.traffic import moving

SCENES_KEPT = 3
# A scene serves all places of a cell of this size, metres.
CELL = 40.0
Near = tuple[float, float] | float


@dataclass(frozen=True)
class City:
    """A finished city. `route`: the driven line, in its lane, revisits included; `network`: the distinct roads;
    `pieces`: all that never moves; `bays`: (n, 3) x, y, heading of where cars may stand; `stretches`: what lines the
    roads."""

    recipe: Recipe
    route: Route
    network: Network
    terrain: Terrain
    skins: Skins
    textures: Textures
    pieces: Pieces
    bays: np.ndarray
    stretches: tuple[Stretch, ...]
    _scenes: OrderedDict[tuple, Scene] = field(default_factory=OrderedDict, repr=False, compare=False)
    _models: OrderedDict[tuple, Soup] = field(default_factory=OrderedDict, repr=False, compare=False)

    @property
    def seed(self) -> int:
        """The recipe's."""
        return self.recipe.seed

    @property
    def half_width(self) -> float:
        """Metres from the middle to the rim of the carriageway where the route begins."""
        return self.network.roads[int(self.network.nearest(self.route.xy[:1])[0])].half_width

    @cached_property
    def static(self) -> Soup:
        """All that never moves, on the terrain, in summer."""
        return self.pieces.all()

    @cached_property
    def _oncoming(self) -> np.ndarray:
        return _other_lane(self.route, self.network)

    def oncoming(self, s: np.ndarray) -> np.ndarray:
        """(n,) metres from the driven line, to the left, to the middle of the other direction's lane at (n,) `s`."""
        s = np.asarray(s, float)
        at = s % self.route.length if self.route.closed else s.clip(0, self.route.length)
        return np.interp(at, self.route.s, self._oncoming)

    def place(self, near: Near) -> tuple[float, float]:
        """x, y of a place given so, or by metres along the route."""
        if isinstance(near, tuple | list | np.ndarray):
            return float(near[0]), float(near[1])
        x, y, _ = self.route.at(float(near))
        return float(x), float(y)

    def scene(self, day: Day, near: Near | None = None, reach: float = 150.0) -> Scene:
        """What stands there on a day, ready to be traced, at least within `reach` metres of `near` (x, y in metres, or
        metres along the route; None: everything). The last few are kept; neighbouring places share one."""
        x, y, around = self._cell(near, reach)
        look = dataclasses.replace(day, traffic=1.0, weather="fair")
        key = (look, x, y, around)
        if key not in self._scenes:
            day.check()
            self._scenes[key] = Scene(self._standing(day, x, y, around), self.textures)
        self._scenes.move_to_end(key)
        while len(self._scenes) > SCENES_KEPT:
            self._scenes.popitem(last=False)
        return self._scenes[key]

    def _cell(self, near: Near | None, reach: float) -> tuple[float, float, float | None]:
        """Middle of the scene that serves a place, and how far around it there must be everything (None: all over).

        A city that one sees nearly all of from anywhere has a single scene.
        """
        if near is None or not np.isfinite(reach):
            return 0.0, 0.0, None
        (low_x, low_y), (high_x, high_y) = self.route.xy.min(0), self.route.xy.max(0)
        radius = float(np.hypot(high_x - low_x, high_y - low_y)) / 2
        if radius <= reach:
            return float(low_x + high_x) / 2, float(low_y + high_y) / 2, reach + radius
        x, y = (round(v / CELL) * CELL for v in self.place(near))
        return x, y, reach + 0.71 * CELL

    def _standing(self, day: Day, x: float, y: float, reach: float | None) -> Soup:
        static = self.static if reach is None else self.pieces.near(x, y, reach)
        rows = np.arange(len(self.bays))
        if reach is not None:
            rows = rows[np.hypot(self.bays[:, 0] - x, self.bays[:, 1] - y) < reach + 8]
        cars = Pieces(parked(self.bays, self.skins, self.seed, day, rows), self.terrain).all()
        parts = [seasoned(static, self.skins, self.seed, day), cars]
        if reach is not None:
            parts.append(lifted(ring(self.seed, x, y, reach + 30, self.skins), self.terrain))
        return merge(parts)


def build_city(recipe: Recipe, folder: Path | str | None = None) -> City:
    """The city of a recipe; the same recipe gives the same city. `folder`: where KITTI's odometry poses are (default:
    the environment's MS2CL_DATA).

    Raises ConfigError for what makes no city, DataError for unreadable pose files and assets.
    """
    recipe.check()
    rng = np.random.default_rng([recipe.seed, 1])
    layout = lay_out(rng, recipe, folder)
    skins = with_assets(paint_skins(rng), recipe.assets, rng)
    plan = Plan(rng, layout.network, layout.where)
    site = Site(rng, plan, skins, layout.where)
    site.build()
    pieces = site.pieces
    if recipe.wildness:
        odd = np.random.default_rng([recipe.seed, 10])
        skins.book.repaint(lambda image: wild(odd, image) if odd.random() < recipe.wildness else image)
        pieces = [_odd(odd, p) if odd.random() < recipe.wildness else p for p in pieces]
    bays = np.array(site.bays).reshape(-1, 3)
    return City(recipe, layout.route, layout.network, layout.terrain, skins, skins.book.bind(),
                Pieces(pieces, layout.terrain), bays, tuple(plan.stretches))


def movers(city: City, day: Day, t_s: float, near: Near, reach: float = 150.0) -> Soup:
    """All that moves within `reach` metres of `near` at `t_s` seconds of a day: cars, vans, cyclists, people on foot.

    Nothing drives where `near` is, so that a sensor there is in nobody's car.
    """
    day.check()
    x, y = city.place(near)
    return Pieces(moving(city.network, city.stretches, city.skins, city.seed, day, t_s, (x, y), reach, city._models),
                  city.terrain).all()


def _odd(rng: np.random.Generator, piece: Piece) -> Piece:
    return dataclasses.replace(piece, tint=np.asarray(piece.tint) * rng.uniform(0.3, 1.6, 3))


def _other_lane(route: Route, network: Network) -> np.ndarray:
    """(n,) metres to the left of each point of the route to the other direction's lane, less where that would leave the
    carriageway."""
    step = 4
    xy, heading = route.xy[::step], route.heading[::step]
    best, out = np.full(len(xy), np.inf), np.full(len(xy), 3.4)
    for road in network.roads:
        away = road.outside(xy)
        s, d = road.line.nearest(xy)
        along = np.cos(heading - road.line.at(s)[2])
        closer = (np.abs(along) > 0.85) & (away < np.minimum(best, 0.5))
        own = d * np.sign(along)
        out[closer], best[closer] = (road.lane - own)[closer], away[closer]
    window = np.ones(21) / 21
    out = np.convolve(np.pad(out, 10, mode="edge"), window, mode="valid")
    for _ in range(4):
        x, y, _ = route.at(route.s[::step], out)
        out = np.where(network.outside(np.stack([x, y], 1)) > -1.0, 0.75 * out, out)
    return np.interp(route.s, route.s[::step], np.convolve(np.pad(out, 10, mode="edge"), window, mode="valid"))
