# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What lines a road: rows of houses, villas, avenues, parks, works, squares, car parks, fields, woods."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ms2cl_ros.training.city import furniture, houses, street_things, transit
from ms2cl_ros.training.city.districts import DISTRICTS
from ms2cl_ros.training.city.greenery import bush_at, garden, place_tree, street_trees, tree_at
from ms2cl_ros.training.city.plan import KERB, LEFT, PARKING, Stretch, footprint
from ms2cl_ros.training.city.soup import Soup
from ms2cl_ros.training.city.stock import SHARE

if TYPE_CHECKING:
    from ms2cl_ros.training.city.site import Site

ROOFS = {"old_town": [0.5, 0.25, 0.08, 0.17, 0.0], "arterial": [0.25, 0.1, 0.1, 0.15, 0.4],
         "industrial": [0.3, 0.1, 0.05, 0.05, 0.5], "country": [0.6, 0.2, 0.2, 0.0, 0.0]}
_ROOFS = [0.42, 0.2, 0.13, 0.1, 0.15]
BAY = 5.9


def house(site: Site, x: float, y: float, heading: float, width: float, district: str, row: bool) -> bool:
    """A house with its front at the origin of a frame, if there is room; it differs from the last one."""
    rng, d = site.rng, DISTRICTS[district]
    depth = rng.uniform(8, 13)
    if not site.claim(x, y, heading, width / 2, depth):
        return False
    stock = site.skins.stock
    if not row and rng.random() < SHARE / 2:
        mesh = stock.pick(rng, "house", width + 3, depth + 4)
        if mesh is not None:
            site.add(mesh, x, y, heading)
            return True
    for _ in range(6):
        height = houses.heights(rng, *(d.high if row else d.low))
        roof = str(rng.choice(houses.ROOFS, p=ROOFS.get(district, _ROOFS)))
        if abs(height - site.last[0]) > 1.2 and roof != site.last[2]:
            break
    site.last = (height, width, roof)
    shop = row and bool(rng.random() < (0.45 if district in ("old_town", "arterial") else 0.15))
    site.add(houses.house(rng, site.skins, width, depth, height, roof, shop), x, y, heading)
    return True


def terrace(site: Site, x: Stretch) -> None:
    """Fronts at the pavement, some set back, with passages that a wall closes."""
    rng, s, d = site.rng, x.s0, DISTRICTS[x.district]
    while s < x.s1 - 5:
        width = min(rng.uniform(7.5, 19) if x.district != "old_town" else rng.uniform(5.5, 12), x.s1 - s)
        tight = x.district == "old_town"
        back = rng.choice([0.05, rng.uniform(0.1, 0.7), rng.uniform(1.2, 3.5)], p=[0.75, 0.2, 0.05] if tight
                          else [0.35, 0.4, 0.25])
        # on a bend a front has to move back a little, or be narrower, to be clear of pavement and neighbour
        for more, share in ((0.0, 1.0), (0.35, 0.96), (1.0, 0.88)):
            if house(site, *site.frame(x, s + width / 2, back + more), share * width, x.district, True):
                break
        if back > 1.2:
            front(site, x, s, s + width, 0.25)
        s += width
        if rng.random() < d.open_row:
            gap = rng.uniform(2.5, 6)
            front(site, x, s, s + gap, rng.uniform(0.5, 3), "wall")
            s += gap


def villas(site: Site, x: Stretch) -> None:
    """Detached houses behind gardens, no two set back alike."""
    rng, d = site.rng, DISTRICTS[x.district]
    s, before = x.s0 + rng.uniform(0, 3), 0.0
    while s < x.s1 - 6:
        width, back = min(rng.uniform(7.5, 15), x.s1 - s), rng.uniform(*d.setback)
        back = back if abs(back - before) > 1.5 else (back + 4) % 9 + 1
        before = back
        house(site, *site.frame(x, s + width / 2, back), width, x.district, False)
        gap = rng.uniform(*d.gap)
        front(site, x, s - 0.5, s + width + gap - 3.0, 0.25)
        garden(site, x, s, s + width + gap, back)
        if gap > 3.5 and rng.random() < 0.6:
            px, py, h = site.frame(x, s + width + gap / 2, 3.0)
            site.park(px, py, h + np.pi / 2)
        s += width + gap


def avenue(site: Site, x: Stretch) -> None:
    """A row of trees on the verge, then houses of either sort."""
    street_trees(site, x, site.rng.uniform(7, 13), site.rng.uniform(7, 14))
    detached = x.district in ("residential", "park", "country") and site.rng.random() < 0.6
    (villas if detached else terrace)(site, x)


def park(site: Site, x: Stretch) -> None:
    """Lawn with trees and shrubs, a low fence at times, a bench, a landmark."""
    rng = site.rng
    if rng.random() < 0.5:
        front(site, x, x.s0, x.s1, 0.3, str(rng.choice(["hedge", "bars", "mesh"])))
    for s in np.arange(x.s0 + 2, x.s1 - 2, 4.5):
        for q in (3.0, 9.0, 16.0, 25.0, 36.0):
            if rng.random() < 0.4:
                tree_at(site, x, s + rng.uniform(-2, 2), q + rng.uniform(-1, 3), rng.uniform(5, 16))
        if rng.random() < 0.5:
            bush_at(site, x, s, rng.uniform(1.2, 7))
    landmark(site, x, 2.5)
    set_down(site, x, street_things.seat(rng, site.skins), 1.2, 1.0, 0.8)


def wood(site: Site, x: Stretch) -> None:
    """A forest down to the road."""
    rng = site.rng
    for s in np.arange(x.s0, x.s1, 3.2):
        for q in (2.0, 5.0, 8.5, 13.0, 19.0, 26.0, 34.0):
            if rng.random() < 0.6:
                tree_at(site, x, s + rng.uniform(-1.6, 1.6), q + rng.uniform(-1, 2), rng.uniform(7, 17))
        if rng.random() < 0.6:
            bush_at(site, x, s, rng.uniform(0.8, 4))


def field(site: Site, x: Stretch) -> None:
    """Open land behind a fence, a hedge or nothing; a tree here and there, a barn."""
    rng = site.rng
    kind = str(rng.choice(["", "bars", "mesh", "hedge"], p=[0.4, 0.25, 0.15, 0.2]))
    if kind:
        front(site, x, x.s0, x.s1, rng.uniform(0.3, 1.5), kind)
    for s in np.arange(x.s0 + 3, x.s1, 9.0):
        if rng.random() < 0.3:
            tree_at(site, x, s, rng.uniform(1.5, 5.0), rng.uniform(5, 14))
        if rng.random() < 0.35:
            bush_at(site, x, s, rng.uniform(0.8, 3.0))
    if rng.random() < 0.3:
        hall(site, x, (x.s0 + x.s1) / 2, rng.uniform(14, 30), rng.uniform(8, 16), 7.0)


def works(site: Site, x: Stretch) -> None:
    """A hall or two behind a fence and a yard with vehicles."""
    rng, s = site.rng, x.s0 + 1
    front(site, x, x.s0, x.s1, 0.3, str(rng.choice(["mesh", "wall", "bars", "planks"])))
    while s < x.s1 - 9:
        width = min(rng.uniform(12, 34), x.s1 - s)
        hall(site, x, s + width / 2, rng.uniform(2.5, 14), width, rng.uniform(10, 24))
        for _ in range(int(rng.integers(0, 4))):
            px, py, h = site.frame(x, s + rng.uniform(0, width), rng.uniform(2.0, 6.0))
            site.park(px, py, h)
        s += width + rng.uniform(3, 12)
    for s in np.arange(x.s0 + 3, x.s1, 12.0):
        if rng.random() < 0.3:
            tree_at(site, x, s, rng.uniform(1.2, 2.5), rng.uniform(4, 9))


def square(site: Site, x: Stretch) -> None:
    """A paved place with trees, seats and a landmark; houses stand at its back."""
    rng, deep = site.rng, site.rng.uniform(12, 22)
    for s in np.arange(x.s0 + 4, x.s1 - 3, rng.uniform(6, 9)):
        for q in (2.5, deep - 4):
            if rng.random() < 0.5:
                tree_at(site, x, s, q, rng.uniform(5, 11))
    landmark(site, x, rng.uniform(2, 5))
    things = (street_things.seat, street_things.advertising_column, street_things.planter, street_things.cafe)
    for _ in range(int(rng.integers(2, 6))):
        thing = things[int(rng.integers(len(things)))]
        set_down(site, x, thing(rng, site.skins), rng.uniform(1.0, deep - 3), 1.2, 1.5)
    s = x.s0
    while s < x.s1 - 6:
        width = min(rng.uniform(8, 16), x.s1 - s)
        house(site, *site.frame(x, s + width / 2, deep), width, x.district, True)
        s += width


def car_park(site: Site, x: Stretch) -> None:
    """Rows of bays behind a low hedge, a shop or a hall behind them."""
    rng, rows = site.rng, int(site.rng.integers(1, 4))
    front(site, x, x.s0, x.s1, 0.3, str(rng.choice(["hedge", "bars", "mesh"])), 0.9)
    for row in range(rows):
        for s in np.arange(x.s0 + 2, x.s1 - 2, 2.7):
            px, py, h = site.frame(x, s, 4.0 + 8.0 * row)
            site.park(px, py, h + np.pi / 2)
    for s in np.arange(x.s0 + 3, x.s1, 13.0):
        tree_at(site, x, s, 7.6, rng.uniform(4, 8))
    hall(site, x, (x.s0 + x.s1) / 2, 6.0 + 8.0 * rows, min(x.length - 4, 34.0), rng.uniform(12, 22))


KINDS: Mapping[str, Callable[[Site, Stretch], None]] = {
    "terrace": terrace, "villas": villas, "avenue": avenue, "park": park, "wood": wood, "field": field,
    "works": works, "square": square, "car_park": car_park,
}  # fmt: skip


def hall(site: Site, x: Stretch, s: float, behind: float, width: float, depth: float) -> None:
    """A workshop or supermarket, if there is room."""
    rng = site.rng
    px, py, h = site.frame(x, s, behind)
    if width > 6 and site.claim(px, py, h, width / 2, depth):
        mesh = site.skins.stock.pick(rng, "hall", width + 2, depth + 6) if rng.random() < SHARE / 2 else None
        site.add(mesh or houses.hall(rng, site.skins, width, depth, rng.uniform(3.8, 9.5)), px, py, h)


def front(site: Site, x: Stretch, s0: float, s1: float, behind: float, kind: str = "", height: float = 0.0) -> None:
    """A fence, wall or hedge along the pavement, in pieces of about 3 m; other roads stay open."""
    rng, skins = site.rng, site.skins
    if not kind and rng.random() < 0.12:
        return
    kind = kind or str(rng.choice(furniture.FENCES, p=[0.3, 0.18, 0.14, 0.1, 0.28]))
    height = height or furniture.fence_height(rng, kind)
    texture, tint = furniture.fence_texture(rng, skins, kind), rng.uniform(0.65, 1.15) * rng.uniform(0.95, 1.05, 3)
    behind = max(behind, 0.65) if kind == "hedge" else behind
    ends = np.linspace(max(s0, x.s0), min(s1, x.s1), max(2, int((s1 - s0) / 3.0) + 1))
    at = np.array([site.frame(x, s, behind)[:2] for s in ends])
    away, between = (
        np.minimum(site.plan.beyond_pavements(p, 5.0), site.plan.network.outside(p) - 0.9)
        for p in (at, (at[:-1] + at[1:]) / 2)
    )
    for k, (a, b) in enumerate(itertools.pairwise(at)):
        length = float(np.linalg.norm(b - a))
        if 0.4 < length < 6 and min(away[k], away[k + 1], between[k]) > min(0.05, behind - 0.1):
            piece = furniture.fence(rng, skins, kind, length, height, texture, tint)
            site.add(piece, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2, float(np.arctan2(b[1] - a[1], b[0] - a[0])))


def set_down(site: Site, x: Stretch, soup: Soup, behind: float, half: float, depth: float) -> None:
    """Something with a footprint, somewhere along the stretch, if there is room."""
    px, py, h = site.frame(x, site.rng.uniform(x.s0 + 2, max(x.s0 + 2.1, x.s1 - 2)), behind)
    if site.plan.take(footprint(px, py, h, -half, half, -depth, depth), -0.3):
        site.add(soup, px, py, h)


def landmark(site: Site, x: Stretch, behind: float) -> None:
    """Something of which a street has few."""
    rng = site.rng
    things = (furniture.landmark, street_things.advertising_column, street_things.billboard, transit.bus_stop)
    set_down(site, x, things[int(rng.integers(len(things)))](rng, site.skins), behind, 2.1, 1.2)


def bays(site: Site, x: Stretch) -> None:
    """Parking bays where the road is straight enough."""
    if not x.parking:
        return
    line, half = site.plan.network.roads[x.road].line, site.plan.network.roads[x.road].half_width
    for s in np.arange(x.s0 + BAY / 2, x.s1 - BAY / 2, BAY):
        bend = abs(float(line.at(s + 4)[2] - line.at(s - 4)[2]))
        if bend < 0.2 and site.plan.open_at(x.road, x.side, s, 8.0):
            px, py, h = line.at(s, x.side * (half + PARKING / 2))
            site.bays.append((float(px), float(py), float(h if x.side == LEFT else h + np.pi)))


def close_ends(site: Site) -> None:
    """Something across the end of every road that leads nowhere: a house, a hedge, trees."""
    rng, network = site.rng, site.plan.network
    for i, road in enumerate(network.roads):
        for s, out in () if road.line.closed else ((0.0, -1), (road.line.length, 1)):
            x, y, h = (float(v) for v in road.line.at(s, 0.0))
            h = h if out > 0 else h + np.pi
            others = [r for k, r in enumerate(network.roads) if k != i]
            tip = np.array([[x + 4 * np.cos(h), y + 4 * np.sin(h)]])
            if others and min(float(r.outside(tip)[0]) for r in others) < 3:
                continue
            rounds = [p for p in network.turning if np.hypot(p[0] - x, p[1] - y) < p[2] + 8]
            gap = max([road.half_width, *(np.hypot(p[0] - x, p[1] - y) + p[2] for p in rounds)]) + 5.0
            fx, fy = x + gap * np.cos(h), y + gap * np.sin(h)
            if rng.random() < 0.6:
                house(site, fx, fy, h - np.pi / 2, rng.uniform(10, 15), road.district, False)
            for across in np.arange(-14, 14.1, 3.5):
                px, py = fx + 2 * np.cos(h) - across * np.sin(h), fy + 2 * np.sin(h) + across * np.cos(h)
                place_tree(site, px, py, rng.uniform(5, 12))
            half = road.half_width + 1.5
            kind = str(rng.choice(["hedge", "wall", "planks"]))
            texture, tall = furniture.fence_texture(rng, site.skins, kind), furniture.fence_height(rng, kind)
            fence = furniture.fence(rng, site.skins, kind, 2 * half, tall, texture, np.ones(3))
            site.add(fence, fx - 3.2 * np.cos(h), fy - 3.2 * np.sin(h), h + np.pi / 2, KERB - 0.1)
