# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The street itself: what stands for good, and the cars that are parked there on a day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.training.city.building_site import BuildingSite
from ms2cl_ros.training.city.plan import LEFT, RIGHT, Plan, plan_side
from ms2cl_ros.training.city.routes import Route, Terrain, rolling_terrain, rounded_block
from ms2cl_ros.training.city.skins import Skins, paint_skins
from ms2cl_ros.training.city.soup import Soup, merge, place
from ms2cl_ros.training.city.textures import Textures
from ms2cl_ros.training.city.vehicles import vehicle


@dataclass(frozen=True)
class Street:
    """A finished street. `static`: all that never moves; `bays`: (n, 3) x, y, heading of where cars may stand."""

    seed: int
    route: Route
    terrain: Terrain
    half_width: float
    skins: Skins
    textures: Textures
    static: Soup
    bays: np.ndarray


def build_street(seed: int, length: float = 400.0) -> Street:
    """The street of a seed, `length` metres round; the same seed gives the same street.

    Raises ConfigError for a length that makes no block and for a negative seed.
    """
    if seed < 0:
        raise ConfigError(f"seed {seed} was given; a street's seed is 0 or more")
    rng = np.random.default_rng([seed, 1])
    route, terrain = rounded_block(rng, length), rolling_terrain(rng)
    skins, half = paint_skins(rng), rng.uniform(3.2, 3.9)
    stretches = plan_side(rng, route.length, LEFT, half) + plan_side(rng, route.length, RIGHT, half)
    plan = Plan(route, stretches, half, list(rng.uniform(0, route.length, 3)))
    work = BuildingSite(rng, plan, skins)
    work.build()
    static = lift(merge(work.parts), terrain)
    return Street(seed, route, terrain, half, skins, skins.book.bind(), static, np.array(work.bays))


def lift(soup: Soup, terrain: Terrain) -> Soup:
    """The soup raised by the ground's height under every corner."""
    corners = soup.corners.copy()
    corners[..., 2] += terrain.height(corners[..., 0].astype(float), corners[..., 1].astype(float)).astype(np.float32)
    return Soup(corners, soup.uv, soup.texture, soup.tint, soup.material)


def parked(street: Street, day: int, change: float) -> Soup:
    """The cars of a day: a share `change` of the bays differs from day 0, in who stands there or whether
    anybody does."""
    cars = []
    for i, (x, y, heading) in enumerate(street.bays):
        redrawn = np.random.default_rng([street.seed, 2, i, day]).random() < change
        rng = np.random.default_rng([street.seed, 3, i, day if redrawn else 0])
        if rng.random() < 0.62:
            flip = np.pi * rng.integers(2)
            shift = rng.normal(0, [0.25, 0.08])
            cars.append(
                place(
                    vehicle(rng, street.skins),
                    x + shift[0] * np.cos(heading) - shift[1] * np.sin(heading),
                    y + shift[0] * np.sin(heading) + shift[1] * np.cos(heading),
                    heading=heading + flip + rng.normal(0, 0.02),
                )
            )
    return lift(merge(cars), street.terrain) if cars else _nothing(street.static)


def _nothing(like: Soup) -> Soup:
    return Soup(like.corners[:0], like.uv[:0], like.texture[:0], like.tint[:0], like.material[:0])
