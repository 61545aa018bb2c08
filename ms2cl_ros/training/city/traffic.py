# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What moves: cars, vans and cyclists in their lanes, people on the pavements, wherever they are at a given second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ms2cl_ros.training.city.districts import DISTRICTS
from ms2cl_ros.training.city.network import Network, Road
from ms2cl_ros.training.city.people import pedestrian, walker_group
from ms2cl_ros.training.city.pieces import Piece
from ms2cl_ros.training.city.plan import KERB, Stretch
from ms2cl_ros.training.city.recipe import Day
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import Soup
from ms2cl_ros.training.city.two_wheelers import cyclist, motorcyclist
from ms2cl_ros.training.city.vehicles import vehicle

# Metres of lane per vehicle, m/s, and people on foot per 100 m of pavement, by district.
HEADWAY = {"residential": 170.0, "old_town": 190.0, "arterial": 60.0, "park": 220.0, "industrial": 120.0,
           "country": 260.0}
SPEED = {"residential": 8.0, "old_town": 6.0, "arterial": 13.0, "park": 9.0, "industrial": 10.0, "country": 18.0}
WALKERS = {"residential": 0.7, "old_town": 3.0, "arterial": 1.8, "park": 1.0, "industrial": 0.2, "country": 0.04}
MODELS_KEPT = 600
STEPS = 8
Models = OrderedDict[tuple, Soup]


def moving(network: Network, stretches: Sequence[Stretch], skins: Skins, seed: int, day: Day, t_s: float,
           near: tuple[float, float], reach: float, models: Models) -> list[Piece]:
    """Pieces within `reach` metres of `near` at `t_s` seconds; `models` keeps those that have been drawn."""
    out: list[Piece] = []
    for i, road in enumerate(network.roads):
        if road.line.distance(np.array(near)) < reach + 10:
            for way in (1, -1):
                for lane in range(road.lanes):
                    out += _lane(road, (seed, 12, day.number, i, way + 1, lane), way, lane, day, t_s, skins, models)
                out += _cyclists(road, (seed, 13, day.number, i, way + 1), way, day, t_s, skins, models)
    out = [p for p in out if not _in_the_way(p, near)]
    for k, stretch in enumerate(stretches):
        out += _walkers(network.roads[stretch.road], stretch, (seed, 14, day.number, k), day, t_s, skins, models)
    return [p for p in out if np.hypot(p.x - near[0], p.y - near[1]) < reach]


def _in_the_way(p: Piece, near: tuple[float, float]) -> bool:
    """Whether somebody at `near` would be in this vehicle, or so close that either would have braked."""
    dx, dy = near[0] - p.x, near[1] - p.y
    c, s = np.cos(p.heading), np.sin(p.heading)
    return bool(abs(dx * c + dy * s) < 9.0 and abs(dy * c - dx * s) < 2.2)


def _lane(road: Road, key: tuple[int, ...], way: int, lane: int, day: Day, t_s: float, skins: Skins,
          models: Models) -> list[Piece]:
    """Vehicles of one lane, all at one speed, never nearer than 14 m."""
    rng = np.random.default_rng(list(key))
    gap = HEADWAY[road.district] * (2.0 if road.side else 1.0) / max(day.traffic, 1e-6)
    length, speed = road.line.length, SPEED[road.district] * rng.uniform(0.8, 1.15)
    n = int(min(rng.poisson(length / gap), length / 14))
    slots = rng.permutation(max(1, int(length / 14)))[:n]
    offset, aside = rng.uniform(0, length), road.half_width * (lane + 0.5) / road.lanes
    out = []
    for k, slot in enumerate(slots):
        s = (offset + slot * length / max(1, int(length / 14)) + speed * t_s) % length
        wobble = 0.15 * np.sin(0.05 * s + k)
        x, y, h = road.line.at(s if way > 0 else length - s, -way * (aside + wobble))
        soup = _model(models, (*key, k), lambda r: vehicle(r, skins) if r.random() < 0.94 else motorcyclist(r, skins))
        out.append(Piece(soup, float(x), float(y), 0.0, float(h) + (0.0 if way > 0 else np.pi)))
    return out


def _cyclists(road: Road, key: tuple[int, ...], way: int, day: Day, t_s: float, skins: Skins,
              models: Models) -> list[Piece]:
    rng = np.random.default_rng(list(key))
    length, speed = road.line.length, rng.uniform(3.5, 5.5)
    n = rng.poisson(0.0 if road.side else length / 350.0 * day.traffic)
    out = []
    for k, start in enumerate(rng.uniform(0, length, n)):
        s = (start + speed * t_s) % length
        x, y, h = road.line.at(s if way > 0 else length - s, -way * (road.half_width - 0.45))
        step = int(s / 5.0 * STEPS) % STEPS
        soup = _model(models, (*key, k), partial(cyclist, skins=skins, phase=2 * np.pi * step / STEPS), step)
        out.append(Piece(soup, float(x), float(y), 0.0, float(h) + (0.0 if way > 0 else np.pi)))
    return out


def _walkers(road: Road, x: Stretch, key: tuple[int, ...], day: Day, t_s: float, skins: Skins,
             models: Models) -> list[Piece]:
    """People who walk to and fro along one stretch's pavement, and some who stand."""
    rng = np.random.default_rng(list(key))
    n = rng.poisson(WALKERS[x.district] * x.length / 100 * day.traffic)
    if not n or x.length < 3 or not DISTRICTS[x.district].kerbed:
        return []
    out = []
    for k in range(n):
        start, speed, aside = rng.uniform(0, 2 * x.length), rng.uniform(0.9, 1.6), rng.uniform(0.55, x.walk - 0.35)
        speed = 0.0 if rng.random() < 0.15 else speed
        run = (start + speed * t_s) % (2 * x.length)
        way = 1 if run < x.length else -1
        s = x.s0 + (run if way > 0 else 2 * x.length - run)
        px, py, h = road.line.at(s, x.side * (x.edge - x.walk + aside))
        step = int(speed * t_s / 1.5 * STEPS) % STEPS if speed else -1
        phase = None if step < 0 else 2 * np.pi * step / STEPS
        draw = walker_group if rng.random() < 0.12 else pedestrian
        soup = _model(models, (*key, k), partial(draw, skins=skins, phase=phase), step)
        turn = rng.uniform(0, 6) if not speed else 0.0 if way > 0 else np.pi
        out.append(Piece(soup, float(px), float(py), KERB, float(h) + turn))
    return out


def _model(models: Models, key: tuple[int, ...], draw: Callable[[np.random.Generator], Soup], step: int = 0) -> Soup:
    """Whoever the key stands for, in one of their poses; drawn once, the same person in each."""
    if (key, step) not in models:
        models[key, step] = draw(np.random.default_rng([*key, 1]))
        while len(models) > MODELS_KEPT:
            models.popitem(last=False)
    models.move_to_end((key, step))
    return models[key, step]
