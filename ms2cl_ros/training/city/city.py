# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The city itself: what stands for good, the cars that are parked there on a day, and scenes to be traced."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.training.city.building_site import BuildingSite
from ms2cl_ros.training.city.plan import LEFT, RIGHT, Plan, plan_side
from ms2cl_ros.training.city.recipe import Day, Recipe
from ms2cl_ros.training.city.routes import Route, beside, rounded_block
from ms2cl_ros.training.city.scene import Scene
from ms2cl_ros.training.city.skins import Skins, paint_skins, with_assets
from ms2cl_ros.training.city.soup import Soup, merge, place
from ms2cl_ros.training.city.terrain import Terrain, rolling_terrain
from ms2cl_ros.training.city.textures import Textures
from ms2cl_ros.training.city.vehicles import vehicle

SCENES_KEPT = 2


@dataclass(frozen=True)
class City:
    """A finished city. `route`: the driven line, in the right-hand lane; `network`: the middle lines of the roads;
    `static`: all that never moves; `bays`: (n, 3) x, y, heading of where cars may stand."""

    recipe: Recipe
    route: Route
    network: tuple[Route, ...]
    terrain: Terrain
    half_width: float
    skins: Skins
    textures: Textures
    static: Soup
    bays: np.ndarray
    _scenes: OrderedDict[tuple, Scene] = field(default_factory=OrderedDict, repr=False, compare=False)

    @property
    def seed(self) -> int:
        """The recipe's."""
        return self.recipe.seed

    def oncoming(self, s: np.ndarray) -> np.ndarray:
        """(n,) metres from the driven line, to the left, to the middle of the other direction's lane at (n,) `s`."""
        return np.full(np.shape(s), self.half_width)

    def scene(self, day: Day, near: tuple[float, float] | float | None = None, reach: float = 150.0) -> Scene:
        """What stands there on a day, ready to be traced, at least within `reach` metres of `near` (x, y in metres, or
        metres along the route; None: everything). The last few are kept."""
        key = (day.number, day.season, day.car_change)
        if key not in self._scenes:
            day.check()
            self._scenes[key] = Scene(merge([self.static, parked(self, day)]), self.textures)
        self._scenes.move_to_end(key)
        while len(self._scenes) > SCENES_KEPT:
            self._scenes.popitem(last=False)
        return self._scenes[key]


def build_city(recipe: Recipe) -> City:
    """The city of a recipe; the same recipe gives the same city. Raises ConfigError for what makes none."""
    recipe.check()
    if recipe.route != "block":
        raise ConfigError(f"no route {recipe.route!r} is known")
    rng = np.random.default_rng([recipe.seed, 1])
    half, terrain, skins = rng.uniform(3.2, 3.9), rolling_terrain(rng), paint_skins(rng)
    skins = with_assets(skins, recipe.assets, np.random.default_rng([recipe.seed, 4]))
    middle = rounded_block(rng, recipe.length, half / 2)
    stretches = plan_side(rng, middle.length, LEFT, half) + plan_side(rng, middle.length, RIGHT, half)
    plan = Plan(middle, stretches, half, list(rng.uniform(0, middle.length, 3)))
    work = BuildingSite(rng, plan, skins)
    work.build()
    static, route = lift(merge(work.parts), terrain), beside(middle, -half / 2)
    return City(recipe, route, (middle,), terrain, half, skins, skins.book.bind(), static, np.array(work.bays))


def lift(soup: Soup, terrain: Terrain) -> Soup:
    """The soup raised by the ground's height under every corner."""
    corners = soup.corners.copy()
    corners[..., 2] += terrain.height(corners[..., 0].astype(float), corners[..., 1].astype(float)).astype(np.float32)
    return Soup(corners, soup.uv, soup.texture, soup.tint, soup.material)


def parked(city: City, day: Day) -> Soup:
    """The cars of a day: a share `day.car_change` of the bays differs from day 0, in who stands there or whether
    anybody does."""
    cars = []
    for i, (x, y, heading) in enumerate(city.bays):
        redrawn = np.random.default_rng([city.seed, 2, i, day.number]).random() < day.car_change
        rng = np.random.default_rng([city.seed, 3, i, day.number if redrawn else 0])
        if rng.random() < 0.62:
            flip = np.pi * rng.integers(2)
            shift = rng.normal(0, [0.25, 0.08])
            cars.append(
                place(
                    vehicle(rng, city.skins),
                    x + shift[0] * np.cos(heading) - shift[1] * np.sin(heading),
                    y + shift[0] * np.sin(heading) + shift[1] * np.cos(heading),
                    heading=heading + flip + rng.normal(0, 0.02),
                )
            )
    return lift(merge(cars), city.terrain) if cars else _nothing(city.static)


def movers(city: City, day: Day, t_s: float, near: tuple[float, float] | float, reach: float = 150.0) -> Soup:
    """What moves within `reach` metres of `near` at `t_s` seconds of a day."""
    return _nothing(city.static)


def _nothing(like: Soup) -> Soup:
    return Soup(like.corners[:0], like.uv[:0], like.texture[:0], like.tint[:0], like.material[:0])
