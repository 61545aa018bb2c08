# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What stands and moves in the streets: people, vehicles, stops, lights, bridges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("trimesh", reason="the city's shrubs need trimesh")

from soups import lowest, size, soup_bytes

from ms2cl_ros.training.city import (
    bridges,
    lorries,
    people,
    signals,
    street_things,
    transit,
    two_wheelers,
    vehicles,
)
from ms2cl_ros.training.city.skins import Skins, paint_skins
from ms2cl_ros.training.city.soup import CAR, LEAF, SIGN, Soup
from ms2cl_ros.training.city.textures import GLASS


@pytest.fixture(scope="module")
def skins() -> Skins:
    return paint_skins(np.random.default_rng(3))


POLES = np.array([[0.0, 0, 0], [30, 2, 0], [55, 9, 0]])
Maker = Callable[[np.random.Generator, Skins], Soup]
THINGS: dict[str, Maker] = {
    "standing": people.pedestrian,
    "walking": lambda rng, skins: people.pedestrian(rng, skins, rng.uniform(0, 6)),
    "group": people.walker_group,
    "cyclist": two_wheelers.cyclist,
    "motorcycle": two_wheelers.motorcycle,
    "motorcyclist": two_wheelers.motorcyclist,
    "bicycle_stand": two_wheelers.bicycle_stand,
    "vehicle": vehicles.vehicle,
    "lorry": lorries.lorry,
    "articulated": lorries.articulated,
    "bus": lorries.bus,
    "tram": lorries.tram,
    "trailer": lorries.trailer,
    "moving": lorries.moving,
    "bus_stop": transit.bus_stop,
    "tram_stop": transit.tram_stop,
    "bench": transit.bench,
    "traffic_light": signals.traffic_light,
    "walk_light": signals.walk_light,
    "level_crossing": signals.level_crossing,
    "road_bridge": bridges.road_bridge,
    "railway_bridge": bridges.railway_bridge,
    "footbridge": bridges.footbridge,
    "gantry": bridges.gantry,
    "advertising_column": street_things.advertising_column,
    "city_light": street_things.city_light,
    "billboard": street_things.billboard,
    "wheelie_bins": street_things.wheelie_bins,
    "litter_bin": street_things.litter_bin,
    "bollards": street_things.bollards,
    "planter": street_things.planter,
    "site_barrier": street_things.site_barrier,
    "cones": street_things.cones,
    "cafe": street_things.cafe,
    "seat": street_things.seat,
    "power_line": lambda rng, skins: street_things.power_line(rng, skins, POLES),
}  # fmt: skip
BURIED = {"road_bridge": 0.51, "railway_bridge": 0.51}


@pytest.mark.parametrize("name", THINGS)
def test_a_thing_is_decided_by_its_generator_and_stands_on_the_ground(name: str, skins: Skins) -> None:
    known = set(range(skins.book.add(np.zeros((1, 1, 3), np.uint8))))
    for seed in range(6):
        one, two = (THINGS[name](np.random.default_rng([9, seed]), skins) for _ in range(2))
        assert soup_bytes(one) == soup_bytes(two)
        assert np.isfinite(one.corners).all() and np.isfinite(one.uv).all()
        assert -BURIED.get(name, 0.03) <= lowest(one) <= 0.03
        assert set(one.texture.tolist()) <= known
        assert len(one) < 4000


@pytest.mark.parametrize(
    ("make", "low", "high"),
    [
        (lambda r, k: people.pedestrian(r, k, child=False), (0.2, 0.35, 1.48), (0.75, 0.9, 2.05)),
        (lambda r, k: people.pedestrian(r, k, child=True), (0.15, 0.25, 1.0), (0.6, 0.7, 1.55)),
        (lambda r, k: vehicles.car(r, k, np.full(3, 0.3)), (3.6, 1.7, 1.38), (5.05, 2.2, 1.82)),
        (lambda r, k: vehicles.van(r, k, np.full(3, 0.3)), (4.75, 1.85, 1.85), (6.1, 2.45, 2.55)),
        (lambda r, k: two_wheelers.cyclist(r, k), (1.6, 0.4, 1.6), (2.0, 0.8, 2.0)),
        (lorries.bus, (9.9, 2.4, 2.85), (18.2, 2.7, 3.5)),
        (lorries.lorry, (5.9, 2.1, 2.4), (9.8, 3.0, 4.0)),
        (transit.shelter, (3.6, 1.5, 2.3), (5.4, 2.3, 2.8)),
    ],
)
def test_things_have_the_size_they_have_in_life(make: Maker, low: tuple, high: tuple, skins: Skins) -> None:
    """Metres, over 30 draws."""
    for seed in range(30):
        measured = size(make(np.random.default_rng(seed), skins))
        assert (measured >= low).all() and (measured <= high).all(), measured


def test_a_walker_never_leaves_the_ground_and_steps_as_far_as_a_person_does() -> None:
    who = people.looks(np.random.default_rng(4), child=False)
    steps = []
    for phase in np.linspace(0, 2 * np.pi, 16, endpoint=False):
        soup = people.figure(who, float(phase))
        assert abs(lowest(soup)) < 1e-6
        feet = soup.corners[soup.corners[..., 2] < 0.12]
        steps.append(np.ptp(feet[:, 0]))
    assert 0.45 < max(steps) / who.height < 0.75
    assert soup_bytes(people.figure(who, 1.0)) != soup_bytes(people.figure(who, 2.0))


def test_bodywork_panes_and_plates_carry_the_materials_the_sensors_look_for(skins: Skins) -> None:
    textures = skins.book.bind()
    for make in (vehicles.vehicle, lorries.bus, lorries.lorry):
        soup = make(np.random.default_rng(1), skins)
        assert set(soup.material.tolist()) <= {CAR, SIGN, 0}
        assert (soup.material == CAR).mean() > 0.8 and (soup.material == SIGN).any()
        middle = textures.alpha(soup.texture.astype(int), soup.uv.mean(1))
        assert (middle == GLASS).any()
    assert (transit.stop_post(np.random.default_rng(2), skins).material == SIGN).any()
    assert (street_things.planter(np.random.default_rng(2), skins).material == LEAF).any()


def test_a_shelter_is_open_towards_the_road_and_closed_behind(skins: Skins) -> None:
    """The front towards -y: upright panes lie at the back only."""
    soup = transit.shelter(np.random.default_rng(3), skins)
    across = (np.ptp(soup.corners[..., 1], axis=1) < 1e-6) & (np.ptp(soup.corners[..., 0], axis=1) > 0.3)
    large = across & (np.ptp(soup.corners[..., 2], axis=1) > 1.5)
    assert large.any() and (soup.corners[large][..., 1] > 0.4).all()


def test_vehicles_look_towards_plus_x(skins: Skins) -> None:
    """Head lamps are bright, tail lamps red; the bonnet is lower than the tail."""
    for kind in vehicles.SHAPES:
        soup = vehicles.car(np.random.default_rng(2), skins, np.full(3, 0.1), kind)
        red = (soup.tint[:, 0] > 0.25) & (soup.tint[:, 1] < 0.03)
        assert soup.corners[red][..., 0].mean() < -1.5
        points = soup.corners.reshape(-1, 3)
        assert points[points[:, 2] > 1.2, 0].mean() < 0


def test_a_bridge_leaves_the_road_free(skins: Skins) -> None:
    """Nothing hangs lower than the clearance between the abutments, piers in the middle of a wide gap apart."""
    for make, clearance in ((bridges.road_bridge, 4.8), (bridges.railway_bridge, 4.5), (bridges.footbridge, 4.9)):
        soup = make(np.random.default_rng(0), skins, gap=12.0, clearance=clearance)
        inside = (np.abs(soup.corners[..., 1]) < 5.5).all(1) & (np.abs(soup.corners[..., 0]) < 1.0).all(1)
        assert (soup.corners[inside][..., 2] >= clearance - 1e-3).all()
        assert soup.corners[..., 2].max() > clearance + 1.0
