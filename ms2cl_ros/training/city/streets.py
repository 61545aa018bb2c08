# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The road network of a recipe: the driven line's own roads, carried on beyond their ends, and side streets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from ms2cl_ros.training.city.districts import DISTRICTS, Districts, lay_districts
from ms2cl_ros.training.city.merging import distinct_roads, kept_on_road, revisited
from ms2cl_ros.training.city.network import Network, Road
from ms2cl_ros.training.city.recipe import Recipe
from ms2cl_ros.training.city.routes import (
    Route,
    beside,
    figure_of_eight,
    given_line,
    line,
    rounded_block,
    there_and_back,
)
from ms2cl_ros.training.city.terrain import Terrain, measured_terrain, rolling_terrain

# Metres that a road goes on beyond the end of what is driven, and how far from others a side street has to stay.
BEYOND, APART = 70.0, 17.0
SIDE_STREET = (48.0, 80.0)


@dataclasses.dataclass(frozen=True)
class Layout:
    """What lies where before anything is built. `route`: the driven line; `first_s`: metres along it where it runs for
    the first time, whose places `first_driven` knows."""

    network: Network
    route: Route
    terrain: Terrain
    districts: Districts
    first_s: np.ndarray
    first_driven: cKDTree

    def where(self, x: float, y: float) -> str:
        """The district's name at a place of the map, metres; that of the first pass where there were several."""
        return self.districts.at(float(self.first_s[int(self.first_driven.query([x, y])[1])]))


def lay_out(rng: np.random.Generator, recipe: Recipe, folder: Path | str | None = None) -> Layout:
    """Raises ConfigError for a route that cannot be had, DataError for an unreadable pose file."""
    # the districts come first, since a made line has to know its lane
    districts = lay_districts(rng, recipe.district, min(recipe.length, 1e5))
    width = {name: float(rng.uniform(*DISTRICTS[name].half_width)) for name in DISTRICTS}

    def widths(s: float) -> tuple[float, int, str]:
        name = districts.at(s)
        return width[name], DISTRICTS[name].lanes, name

    half, lanes, _ = widths(recipe.length / 2)
    driven, terrain = _driven(rng, recipe, half * (lanes - 0.5) / lanes, folder)
    network = distinct_roads(driven, widths)
    route = line(kept_on_road(driven.xy, network), driven.closed)
    first = ~revisited(driven)
    network = with_side_streets(rng, carried_on(network))
    return Layout(network, route, terrain, districts, driven.s[first], cKDTree(driven.xy[first]))


def _driven(rng: np.random.Generator, recipe: Recipe, lane: float, folder: Path | str | None) -> tuple[Route, Terrain]:
    """The line as it is given, or made for a lane so many metres from the road's middle; and the ground."""
    terrain = rolling_terrain(rng)
    if recipe.route == "block":
        return beside(rounded_block(rng, recipe.length, lane), -lane), terrain
    if recipe.route == "eight":
        return beside(figure_of_eight(rng, recipe.length), -lane), terrain
    if recipe.route == "there_and_back":
        return line(there_and_back(rng, recipe.length, lane)), terrain
    xyz = given_line(recipe.route, recipe.start, recipe.length, folder)
    return line(xyz[:, :2]), measured_terrain(xyz[::4])


def carried_on(network: Network) -> Network:
    """The network with its loose ends led on, straight, for BEYOND metres or up to the next road."""
    roads = list(network.roads)
    for i, road in enumerate(roads):
        for end in () if road.line.closed else (0, -1):
            tip = road.line.xy[end]
            heading = road.line.heading[end] + (np.pi if end == 0 else 0.0)
            others = [r for k, r in enumerate(roads) if k != i]
            turning = np.linalg.norm(network.turning[:, :2] - tip, axis=1) < network.turning[:, 2] + 4
            if turning.any() or any(r.line.distance(tip) < r.half_width + 1.0 for r in others):
                continue
            far = np.arange(0.25, BEYOND, 0.25)[:, None] * [np.cos(heading), np.sin(heading)] + tip
            if others:
                away = np.min([r.outside(far) + r.half_width for r in others], 0)
                met = np.flatnonzero(away < 0.5)
                far = far[: met[0] + 1] if len(met) else far[: _before(away, 22.0)]
            xy = np.concatenate([far[::-1], roads[i].line.xy] if end == 0 else [roads[i].line.xy, far])
            roads[i] = dataclasses.replace(roads[i], line=line(xy))
    return Network(tuple(roads), network.joined, network.turning)


def _before(away: np.ndarray, room: float) -> int:
    """How many points one may take until it comes nearer than `room` and on, having been further."""
    close = np.flatnonzero((away < room) & (np.maximum.accumulate(away) > room + 4))
    return int(close[0]) if len(close) else len(away)


def with_side_streets(rng: np.random.Generator, network: Network) -> Network:
    """The network with short streets that leave on either side where there is room."""
    roads = list(network.roads)
    for i, road in enumerate(network.roads):
        every = DISTRICTS[road.district].side_streets
        for s in np.arange(rng.uniform(15, every), road.line.length - 12, every * rng.uniform(0.6, 1.2)):
            s = s + rng.uniform(-0.2, 0.2) * every
            side, reach = float(rng.choice([-1, 1])), rng.uniform(*SIDE_STREET)
            if not (road.line.closed or 12 < s < road.line.length - 12):
                continue
            x, y, h = (float(v) for v in road.line.at(s))
            h += side * np.pi / 2 + rng.normal(0, 0.12)
            out = np.arange(0.0, reach, 0.5)
            bow = rng.normal(0, 0.25) * (out / reach) ** 2
            xy = np.array([x, y]) + np.cumsum(np.stack([np.cos(h + bow), np.sin(h + bow)], 1) * 0.5, 0) - 0.25
            away = np.array([r.outside(xy) for k, r in enumerate(roads) if k != i]).reshape(-1, len(xy)).min(
                0, initial=1e3)
            beyond = xy[out > road.half_width + APART]
            if away.min() > APART and road.outside(beyond).min() > APART - 4 and _straight(road, s):
                half = float(rng.uniform(2.5, 3.2))
                roads.append(Road(line(xy), half, road.district, 1, True))
    return Network(tuple(roads), network.joined, network.turning)


def _straight(road: Road, s: float) -> bool:
    h = road.line.at(s + np.array([-9.0, 0.0, 9.0]))[2]
    return bool(np.ptp(h) < 0.3)
