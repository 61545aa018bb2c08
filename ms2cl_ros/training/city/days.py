# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a day changes: the leaves and the lawns of its season, and who has parked where."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city.pieces import Piece
from ms2cl_ros.training.city.recipe import Day
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import GROUND, LEAF, Soup
from ms2cl_ros.training.city.vehicles import vehicle

OCCUPIED = 0.62
SNOWY = 0.4
# Share of its leaves that a tree keeps in winter.
LEFT_IN_WINTER = 0.07
_AUTUMN = np.array([[2.2, 1.25, 0.5], [2.4, 0.85, 0.4], [1.9, 1.5, 0.5], [1.3, 1.1, 0.7], [1.05, 1.0, 0.95]])


def seasoned(soup: Soup, skins: Skins, seed: int, day: Day) -> Soup:
    """The soup as it looks in the day's season; in winter most leaf cards are gone, and snow may lie."""
    if day.season == "summer":
        return soup
    rng = np.random.default_rng([seed, 9, day.number])
    leaf = (soup.material == LEAF) & np.isin(soup.texture, [*skins.leaf, *skins.stock.textures("leaf")])
    lawn = (soup.material == GROUND) & np.isin(soup.texture, [*skins.grass, *skins.stock.textures("grass")])
    tint, texture, keep = soup.tint.copy(), soup.texture, np.ones(len(soup), bool)
    if day.season == "spring":
        tint[leaf] *= np.array([1.15, 1.2, 0.75], np.float32)
        tint[lawn] *= np.array([0.95, 1.1, 0.9], np.float32)
    elif day.season == "autumn":
        colours = {t: _AUTUMN[rng.integers(len(_AUTUMN))] * rng.uniform(0.85, 1.1) for t in np.unique(texture[leaf])}
        for number, colour in colours.items():
            tint[leaf & (texture == number)] *= colour.astype(np.float32)
        tint[lawn] *= np.array([1.12, 0.98, 0.85], np.float32)
    else:
        keep = ~leaf | (_scatter(soup.corners[:, 0]) < LEFT_IN_WINTER)
        tint[leaf] *= np.array([1.3, 0.9, 0.7], np.float32)
        tint[lawn] *= np.array([1.1, 0.95, 0.9], np.float32) * 0.8
        if rng.random() < SNOWY:
            texture = texture.copy()
            white = lawn | np.isin(texture, skins.roof)
            texture[white] = skins.white
            tint[white] = rng.uniform(0.75, 0.9) * np.array([0.97, 0.98, 1.0], np.float32)
    return Soup(soup.corners[keep], soup.uv[keep], texture[keep], tint[keep], soup.material[keep])


def _scatter(points: np.ndarray) -> np.ndarray:
    """(n,) numbers from 0 to 1 that depend on (n, 3) points alone: both halves of a card share their first corner."""
    bits = np.ascontiguousarray(points, np.float32).view(np.uint32).astype(np.uint64)
    mixed = (bits[:, 0] * 73856093 ^ bits[:, 1] * 19349663 ^ bits[:, 2] * 83492791) & 0xFFFFFFFF
    return ((mixed * 2654435761) & 0xFFFFFFFF) / 2.0**32


def parked(bays: np.ndarray, skins: Skins, seed: int, day: Day, rows: np.ndarray) -> list[Piece]:
    """The cars of a day in those bays, of (n, 3) x, y, heading, that are named: a share `day.car_change` of all differs
    from day 0, in who stands there or whether anybody does."""
    cars = []
    for i in rows:
        x, y, heading = bays[i]
        redrawn = np.random.default_rng([seed, 2, i, day.number]).random() < day.car_change
        rng = np.random.default_rng([seed, 3, i, day.number if redrawn else 0])
        if rng.random() < OCCUPIED:
            flip, (along, aside) = np.pi * rng.integers(2), rng.normal(0, [0.25, 0.08])
            c, s = np.cos(heading), np.sin(heading)
            cars.append(Piece(vehicle(rng, skins), x + along * c - aside * s, y + along * s + aside * c,
                              heading=heading + flip + rng.normal(0, 0.02)))
    return cars
