# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Behind the front row: back houses and trees, thinning out towards the woods at the horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ms2cl_ros.training.city.districts import DISTRICTS
from ms2cl_ros.training.city.frontage import house
from ms2cl_ros.training.city.greenery import shade
from ms2cl_ros.training.city.plan import FRONT, footprint

if TYPE_CHECKING:
    from ms2cl_ros.training.city.site import Site

CELL = 11.0
NEAR, FAR = 10.0 + FRONT, 66.0


def fill(site: Site) -> None:
    """Houses and trees between NEAR and FAR metres behind the pavements."""
    rng = site.rng
    xy = np.concatenate([r.line.xy[::8] for r in site.plan.network.roads])
    low, high = xy.min(0) - FAR, xy.max(0) + FAR
    grid = np.stack(np.meshgrid(np.arange(low[0], high[0], CELL), np.arange(low[1], high[1], CELL)), -1).reshape(-1, 2)
    grid += rng.uniform(-3, 3, grid.shape)
    # in blocks, because what is far from all roads is told from their bounds
    blocks = np.array_split(grid, 1 + len(grid) // 500)
    behind = np.concatenate([site.plan.beyond_pavements(block, FAR + 1) for block in blocks])
    for x, y in grid[(behind > NEAR) & (behind < FAR)].tolist():
        district = site.where(x, y)
        d = DISTRICTS[district]
        turn = rng.choice([0, 0.5, 1, 1.5]) * np.pi + rng.normal(0, 0.1)
        if rng.random() < d.built and house(site, x, y, turn, rng.uniform(8, 14), district, district == "old_town"):
            continue
        if rng.random() < d.wooded and not site.plan.blocked(footprint(x, y, 0.0, -1.5, 1.5, -1.5, 1.5)):
            soup, scale = site.nursery.tree(rng, rng.uniform(6, 16))
            site.add(soup, x, y, rng.uniform(0, 6), 0.0, scale, shade(rng))
