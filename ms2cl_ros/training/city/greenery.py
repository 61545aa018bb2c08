# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Trees, shrubs and gardens on their places; trees are drawn once and planted often, turned, scaled and tinted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ms2cl_ros.training.city import plants
from ms2cl_ros.training.city.plan import KERB, Stretch, footprint
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import Soup

if TYPE_CHECKING:
    from ms2cl_ros.training.city.site import Site

HEIGHTS = np.array([4.0, 5.5, 7.0, 9.0, 11.0, 13.5, 16.0])
# Below this nothing may hang over a carriageway, metres.
HEADROOM = 2.9


class Nursery:
    """Trees to choose from."""

    def __init__(self, rng: np.random.Generator, skins: Skins) -> None:
        def broad(height: float, clear: float | None = None) -> Soup:
            return plants.broadleaf(rng, height, skins.leaf, int(rng.choice(skins.bark)), clear)

        self.free = [[broad(h) for _ in range(3)] for h in HEIGHTS]
        self.high = [[broad(h, max(1.15 * HEADROOM, 0.3 * h)) for _ in range(3)] for h in HEIGHTS]
        self.conifers = [plants.conifer(rng, h, skins.needle, int(rng.choice(skins.bark))) for h in (5, 8, 11, 15)]
        self.bushes = [plants.bush(rng, w, h, skins.leaf) for w, h in ((1.0, 0.8), (1.6, 1.3), (2.2, 1.6), (2.6, 2.4))]
        self.foreign = skins.stock.meshes.get("tree", [])

    def tree(self, rng: np.random.Generator, height: float, street: bool = False) -> tuple[Soup, float]:
        """A tree and its scale for about `height` metres; a street's tree leaves HEADROOM below its crown."""
        if not street and self.foreign and rng.random() < 0.25:
            soup = self.foreign[int(rng.integers(len(self.foreign)))]
            return soup, float(np.clip(height / max(float(soup.corners[..., 2].max()), 1.0), 0.6, 1.4))
        if not street and rng.random() < 0.16:
            k = int(np.argmin(np.abs(np.array([5, 8, 11, 15]) - height)))
            return self.conifers[k], float(np.clip(height / (5, 8, 11, 15)[k], 0.75, 1.25))
        k = int(np.argmin(np.abs(HEIGHTS - height)))
        soup = (self.high if street else self.free)[k][int(rng.integers(3))]
        return soup, float(np.clip(height / HEIGHTS[k], 0.9 if street else 0.75, 1.25))


def shade(rng: np.random.Generator) -> np.ndarray:
    """A tree's own tint."""
    return rng.uniform(0.75, 1.2) * rng.uniform(0.92, 1.08, 3)


def tree_at(site: Site, x: Stretch, s: float, behind: float, height: float) -> None:
    """A tree `behind` metres beyond the pavement, unless something stands there; none hangs low over a road."""
    px, py, _ = site.frame(x, s, behind)
    place_tree(site, px, py, height)


def place_tree(site: Site, px: float, py: float, height: float) -> None:
    """A tree at a place of the map, if it is free."""
    rng, room = site.rng, min(0.1 * height, 1.0)
    if site.plan.blocked(footprint(px, py, 0.0, -room, room, -room, room)):
        return
    away = float(site.plan.beyond_pavements(np.array([[px, py]]), 9.0)[0])
    if away < 0.5:
        return
    soup, scale = site.nursery.tree(rng, height, street=away < 0.45 * height)
    site.add(soup, px, py, rng.uniform(0, 2 * np.pi), KERB - 0.05, scale, shade(rng))


def street_trees(site: Site, x: Stretch, spacing: float, height: float) -> None:
    """A row of trees of one kind on the verge, or at the back of the pavement where there is none."""
    rng = site.rng
    kind = int(rng.integers(3))
    k = int(np.argmin(np.abs(HEIGHTS - height)))
    from_kerb = x.verge / 2 if x.verge else x.walk - 0.5
    for s in np.arange(x.s0 + rng.uniform(1, 4), x.s1 - 1, spacing):
        if rng.random() < 0.9 and site.plan.open_at(x.road, x.side, s, 6.0):
            px, py, _ = site.frame(x, s + rng.uniform(-0.6, 0.6), x.kerb - x.edge + from_kerb)
            soup = site.nursery.high[k][kind if rng.random() < 0.8 else int(rng.integers(3))]
            site.add(soup, px, py, rng.uniform(0, 6), KERB - 0.05, rng.uniform(0.9, 1.12), shade(rng))


def bush_at(site: Site, x: Stretch, s: float, behind: float) -> None:
    """A shrub beyond the pavement."""
    rng = site.rng
    px, py, h = site.frame(x, s, behind)
    soup = site.nursery.bushes[int(rng.integers(4 if behind > 1.5 else 2))]
    room = np.array([[px, py]])
    if not site.plan.blocked(footprint(px, py, h, -0.6, 0.6, -0.6, 0.6)) and (
        site.plan.beyond_pavements(room, 3.0)[0] > min(0.5, behind - 0.2)
    ):
        site.add(soup, px, py, rng.uniform(0, 6), KERB - 0.03, rng.uniform(0.75, 1.15), shade(rng))


def garden(site: Site, x: Stretch, s0: float, s1: float, depth: float) -> None:
    """Trees and shrubs before and beside a house."""
    rng = site.rng
    for _ in range(rng.poisson(1.8)):
        tree_at(site, x, rng.uniform(s0, s1), rng.uniform(1.0, max(1.6, depth)), rng.uniform(3, 11))
    for _ in range(rng.poisson(1.8)):
        bush_at(site, x, rng.uniform(s0, s1), rng.uniform(0.7, max(1.2, depth)))
    if rng.random() < 0.5:
        tree_at(site, x, rng.uniform(s0, s1), depth + rng.uniform(10, 22), rng.uniform(8, 16))
