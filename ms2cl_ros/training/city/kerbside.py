# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What stands along the kerb and over the road: lamps, signs, signals, stops, bins, wires, bridges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ms2cl_ros.training.city import bridges, furniture, street_things, transit, two_wheelers
from ms2cl_ros.training.city import signals as lights
from ms2cl_ros.training.city.districts import DISTRICTS
from ms2cl_ros.training.city.greenery import street_trees
from ms2cl_ros.training.city.plan import KERB, RIGHT, Stretch, footprint
from ms2cl_ros.training.city.soup import cylinder
from ms2cl_ros.training.city.stock import mixed

if TYPE_CHECKING:
    from ms2cl_ros.training.city.site import Site

# Share of 100 m of road, by district, that a bridge crosses.
BRIDGES = {"arterial": 0.16, "industrial": 0.1, "park": 0.06, "residential": 0.03, "country": 0.03, "old_town": 0.0}


def furnish(site: Site, x: Stretch) -> None:
    """Lamps, trees, signs, bins, masts of one stretch."""
    rng, d, skins = site.rng, DISTRICTS[x.district], site.skins
    if d.lamps and x.length > 6:
        height, arm = rng.uniform(4.5, 9), rng.choice([0.0, 1.2, 1.8])
        lamp = mixed(rng, skins.stock, "lamp", lambda: furniture.lamp(skins, height, arm), max_height=9.0)
        for s in np.arange(x.s0 + rng.uniform(2, d.lamps / 2), x.s1, d.lamps * rng.uniform(0.85, 1.2)):
            site.at_kerb(lamp, x, s, 0.5)
    if d.trees and x.kind != "avenue" and rng.random() < 0.6:
        street_trees(site, x, d.trees * rng.uniform(0.8, 1.3), rng.uniform(6, 11))
    # faces look along -x of a local frame: at those who drive on this side
    facing = np.pi if x.side == RIGHT else 0.0
    for _ in range(int(rng.integers(0, 4) if d.kerbed else rng.integers(0, 2))):
        turn = facing if rng.random() < 0.7 else facing + np.pi
        site.at_kerb(furniture.traffic_sign(rng, skins), x, rng.uniform(x.s0, x.s1), 0.45, turn)
    if not d.kerbed:
        _posts(site, x)
    _small_things(site, x)
    if x.length > 30 and rng.random() < d.masts:
        feet = np.array([[*site.frame(x, s, 0.6)[:2], KERB] for s in np.arange(x.s0 + 2, x.s1, 22.0)])
        if (site.plan.beyond_pavements(feet[:, :2], 3.0) > 0.2).all():
            site.add(street_things.power_line(rng, skins, feet), 0.0, 0.0, 0.0, 0.0)


def _small_things(site: Site, x: Stretch) -> None:
    rng, skins, d = site.rng, site.skins, DISTRICTS[x.district]
    if not d.kerbed or x.length < 8:
        return
    things = [
        (0.5, lambda: furniture.bin_or_box(rng, skins)), (0.25, lambda: street_things.litter_bin(rng, skins)),
        (0.3 * (x.district == "residential"), lambda: street_things.wheelie_bins(rng, skins)),
        (0.12, lambda: two_wheelers.bicycle_stand(rng, skins)), (0.12, lambda: street_things.city_light(rng, skins)),
        (0.15 * (x.district == "old_town"), lambda: street_things.bollards(rng, skins)),
        (0.06, lambda: street_things.advertising_column(rng, skins)),
        (0.05, lambda: street_things.site_barrier(rng, skins)), (0.15, lambda: street_things.planter(rng, skins)),
    ]  # fmt: skip
    for share, thing in things:
        while rng.random() < share:
            back = x.edge - x.kerb - 0.5
            site.at_kerb(thing(), x, rng.uniform(x.s0 + 2, x.s1 - 2), back if rng.random() < 0.5 else 0.55)
            share *= 0.4
    if x.length > 25 and x.district in ("arterial", "residential", "old_town") and rng.random() < 0.14:
        stop = mixed(rng, skins.stock, "bus_stop", lambda: transit.bus_stop(rng, skins))
        site.at_kerb(stop, x, (x.s0 + x.s1) / 2, max(1.5, x.edge - x.kerb - 1.0))


def _posts(site: Site, x: Stretch) -> None:
    """Marker posts along a country road."""
    post = cylinder(0.06, 0.05, 1.0, site.skins.white, (0.7, 0.7, 0.68), sides=5)
    for s in np.arange(x.s0 + 5, x.s1, 25.0):
        site.at_kerb(post, x, s, 0.6)


def signals(site: Site) -> None:
    """Traffic lights, or stop signs, where roads meet: on the right before the other road."""
    rng, plan = site.rng, site.plan
    lit: dict[tuple[int, int], bool] = {}
    for i, j, points in plan.network.meetings():
        road = plan.network.roads[i]
        key = min(i, j), max(i, j)
        busy = "arterial" in (road.district, plan.network.roads[j].district)
        side_street = road.side or plan.network.roads[j].side
        if key not in lit:
            lit[key] = bool(rng.random() < (0.6 if busy else 0.12 if side_street else 0.4))
        s = np.unwrap(road.line.nearest(points)[0], period=road.line.length if road.line.closed else 1e9)
        for at, way in ((s.min(), 1), (s.max(), -1)):
            stop = at - way * rng.uniform(0.5, 2.0)
            if not road.line.closed and not 4 < stop < road.line.length - 4:
                continue
            x, y, h = (float(v) for v in road.line.at(stop, -way * (road.half_width + 0.6)))
            h += 0.0 if way > 0 else np.pi
            if plan.network.outside(np.array([[x, y]]))[0] > 0.35:
                thing = lights.traffic_light(rng, site.skins) if lit[key] else (
                    furniture.traffic_sign(rng, site.skins) if rng.random() < 0.5 else None)
                if thing is not None:
                    site.add(thing, x, y, h)


def over_the_road(site: Site) -> None:
    """Bridges and gantries across roads that are straight and have room beside them; they claim their ground first."""
    rng, plan = site.rng, site.plan
    for i, road in enumerate(plan.network.roads):
        if road.side:
            continue
        for s in np.arange(25.0, road.line.length - 25, 100.0):
            if rng.random() < BRIDGES[road.district]:
                _bridge(site, i, s + rng.uniform(0, 60))


def _bridge(site: Site, i: int, s: float) -> None:
    rng, plan = site.rng, site.plan
    road = plan.network.roads[i]
    bend = abs(float(road.line.at(s + 15)[2] - road.line.at(s - 15)[2]))
    if bend > 0.15 or not all(plan.open_at(i, side, s + k, 30) for side in (1, -1) for k in (-12, 0, 12)):
        return
    x, y, h = (float(v) for v in road.line.at(s))
    edge = max(e.edge for e in plan.stretches if e.road == i and e.s0 - 15 < s < e.s1 + 15)
    gap = 2 * edge + 0.8
    make = (bridges.road_bridge, bridges.railway_bridge, bridges.footbridge)[int(rng.integers(3))]
    for side in (1, -1):
        plan.reserve(footprint(x, y, h, -7, 7, *sorted((side * (gap / 2 - 0.3), side * (gap / 2 + 22)))))
    site.add(make(rng, site.skins, gap), x, y, h, 0.0)
