# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The synthetic city's world: routes and their roads, junctions, districts, seasons, traffic, what a scene holds."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from ms2cl_ros.core.errors import ConfigError

pytest.importorskip("trimesh", reason="the city's trees need trimesh")
pytest.importorskip("embreex", reason="tracing the city needs embreex")

from ms2cl_ros.training.city.city import City, build_city, movers
from ms2cl_ros.training.city.cutting import cut
from ms2cl_ros.training.city.districts import DISTRICTS
from ms2cl_ros.training.city.merging import distinct_roads, kept_on_road
from ms2cl_ros.training.city.network import Network
from ms2cl_ros.training.city.recipe import Day, Recipe
from ms2cl_ros.training.city.routes import given_line, line
from ms2cl_ros.training.city.scene import directions
from ms2cl_ros.training.city.soup import CAR, GROUND, LEAF, Soup, quads, rectangle

HALF = 3.4


def widths(s: float) -> tuple[float, int, str]:
    return HALF, 1, "residential"


@pytest.fixture(scope="module")
def eight() -> City:
    return build_city(Recipe(seed=2, route="eight", length=360.0, district="residential"))


@pytest.fixture(scope="module")
def there_and_back() -> City:
    return build_city(Recipe(seed=2, route="there_and_back", length=300.0, district="country"))


def poses_folder() -> Path:
    for folder in (os.environ.get("MS2CL_DATA"), Path(__file__).resolve().parents[2] / "shared/data"):
        if folder and (Path(folder) / "kitti_odometry_poses" / "00.txt").is_file():
            return Path(folder)
    pytest.skip("KITTI's odometry poses are not here (MS2CL_DATA)")


def soup_bytes(soup: Soup) -> bytes:
    return b"".join(np.ascontiguousarray(getattr(soup, f.name)).tobytes() for f in dataclasses.fields(soup))


def through(network: Network) -> list:
    return [road for road in network.roads if not road.side]


# -- from driven lines to roads


def square(side: float, laps: int, drift: float) -> np.ndarray:
    """(n, 2) counter-clockwise laps with rounded corners, each lap `drift` metres further out."""
    a = np.linspace(0, 2 * np.pi * laps, 4000 * laps)
    rounded = (np.abs(np.cos(a)) ** 6 + np.abs(np.sin(a)) ** 6) ** (-1 / 6)
    r = side * rounded + drift * a / (2 * np.pi)
    return np.stack([r * np.cos(a), r * np.sin(a)], 1)


def test_a_second_lap_a_metre_aside_runs_on_the_roads_of_the_first() -> None:
    driven = line(square(60.0, 2, 1.0))
    network = distinct_roads(driven, widths)
    total = sum(road.line.length for road in network.roads)
    assert total == pytest.approx(driven.length / 2, rel=0.05)
    kept = kept_on_road(driven.xy, network)
    assert network.outside(kept).max() < -0.9
    assert np.linalg.norm(kept - driven.xy, axis=1).max() < 1.0


def test_coming_back_in_the_other_lane_makes_one_road_between_the_two(there_and_back: City) -> None:
    """Out in the right-hand lane, back in the other: one road, and its middle lies between them to half a metre."""
    roads = through(there_and_back.network)
    assert len(roads) == 1 and len(there_and_back.network.turning) == 1
    route = there_and_back.route
    s = np.array([0.15, 0.3, 0.4]) * route.length
    out, back = (np.stack(route.at(k)[:2], 1) for k in (s, route.length - s))
    d_out, d_back = roads[0].line.nearest(out)[1], roads[0].line.nearest(back)[1]
    assert (d_out < -1.0).all() and (d_back > 1.0).all()
    assert np.abs(d_out + d_back).max() < 0.5


def test_roads_that_cross_are_one_carriageway_with_rounded_corners() -> None:
    """Two straight roads at right angles: the corner point lies outside both, but inside the union."""
    cross = [np.stack([np.linspace(-60, 60, 200), np.zeros(200)], 1)]
    cross.append(cross[0][:, ::-1])
    roads = [distinct_roads(line(xy), lambda s: (HALF, 1, "residential")).roads[0] for xy in cross]
    middle = [dataclasses.replace(r, line=line(xy)) for r, xy in zip(roads, cross, strict=True)]
    network = Network(tuple(middle))
    corner = np.array([[HALF + 0.5, HALF + 0.5]])
    assert network.distances(corner).min() == pytest.approx(0.5, abs=0.01)
    assert network.outside(corner)[0] < 0
    assert network.outside(np.array([[30.0, HALF]]))[0] == pytest.approx(0, abs=0.01)


def test_the_whole_driven_line_lies_within_the_carriageways(eight: City, there_and_back: City) -> None:
    for city in (eight, there_and_back):
        assert city.network.outside(city.route.xy).max() < -0.9
        x, y, _ = city.route.at(city.route.s, city.oncoming(city.route.s))
        assert city.network.outside(np.stack([x, y], 1)).max() < -0.5


def test_kittis_camera_poses_become_x_forward_y_left_z_up(tmp_path: Path) -> None:
    """100 m forward, 50 m to the right, 5 m up on the way; a TUM file of a base says the same."""
    forward = np.concatenate([np.linspace(0, 100, 201), np.full(100, 100.0)])
    right = np.concatenate([np.zeros(201), np.linspace(0.5, 50, 100)])
    up = np.linspace(0, 5, 301)
    kitti = np.tile([1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], (301, 1))
    kitti[:, 3], kitti[:, 7], kitti[:, 11] = right, -up, forward
    np.savetxt(tmp_path / "07.txt", kitti)
    tum = np.c_[np.arange(301.0), forward, -right, up, np.tile([0, 0, 0, 1.0], (301, 1))]
    np.savetxt(tmp_path / "tum.txt", tum)
    a = given_line("kitti:07", 0.0, 1e9, tmp_path)
    b = given_line(str(tmp_path / "tum.txt"), 0.0, 1e9)
    assert np.abs(a - b).max() < 1e-6
    assert np.abs(a[0] - [0, 0, 0]).max() < 1.0 and np.abs(a[-1] - [100, -50, 5]).max() < 1.0
    part = given_line("kitti:07", 20.0, 30.0, tmp_path)
    assert part[0, 0] == pytest.approx(20, abs=0.5) and part[-1, 0] == pytest.approx(50, abs=0.5)


def test_kitti_00_is_merged_where_it_comes_by_again() -> None:
    """3.7 km driven; about 0.65 km of it on roads that were there already; nowhere off the road, heights kept."""
    xyz = given_line("kitti:00", 0.0, 1e9, poses_folder())
    driven = line(xyz[:, :2])
    network = distinct_roads(driven, widths)
    total = sum(road.line.length for road in network.roads)
    assert driven.length == pytest.approx(3715, abs=15)
    assert 0.78 < total / driven.length < 0.86
    assert network.outside(driven.xy).max() < 0.3


# -- the ground


def test_a_triangle_is_cut_where_the_field_says() -> None:
    """A 4 x 2 m rectangle cut at x = 1: 6 of 8 square metres stay, and the edge is 2 m long."""
    soup = quads(rectangle(0, 4, 0, 2, 0.0)[None], np.array([[0, 0], [4, 0], [4, 2], [0, 2]]), 0)
    kept, edges = cut(soup, lambda p: p[:, 0] - 1.0)
    area = np.linalg.norm(np.cross(kept.corners[:, 1] - kept.corners[:, 0], kept.corners[:, 2] - kept.corners[:, 0]),
                          axis=1).sum() / 2
    assert area == pytest.approx(6.0, abs=1e-5)
    assert np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1).sum() == pytest.approx(2.0, abs=1e-5)
    assert np.abs(kept.uv - kept.corners[..., :2]).max() < 1e-6


def test_no_kerb_or_pavement_lies_in_a_carriageway(eight: City, there_and_back: City) -> None:
    """The middle of every raised piece of ground lies outside all carriageways and rounded corners, to 8 cm."""
    for city in (eight, there_and_back):
        ground = city.static.corners[city.static.material == GROUND].astype(float)
        middle = ground.mean(1)
        raised = middle[:, 2] - city.terrain.height(middle[:, 0], middle[:, 1]) > 0.04
        assert raised.sum() > 2000
        assert city.network.outside(middle[raised, :2]).min() > -0.08


def test_the_road_is_closed_below_the_wheels(eight: City) -> None:
    """Straight down from everywhere in the carriageways there is ground, at most 8 cm below the street's level."""
    rng = np.random.default_rng(0)
    xy = np.concatenate([np.stack(r.line.at(rng.uniform(0, r.line.length, 300), rng.uniform(-1, 1, 300)
                                            * (r.half_width - 0.2))[:2], 1) for r in eight.network.roads])
    z = eight.terrain.height(xy[:, 0], xy[:, 1])
    hits = eight.scene(Day(), reach=np.inf).cast(np.c_[xy, z + 0.5], np.tile([0.0, 0, -1], (len(xy), 1)))
    height = 0.5 - hits.distance
    assert hits.met.all() and height.min() > -0.08
    assert (height < 0.02).mean() > 0.99


# -- scenes


def rays(city: City, s: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    x, y, _ = (float(v) for v in city.route.at(s))
    rng = np.random.default_rng(1)
    toward = directions(rng.uniform(-np.pi, np.pi, n), np.deg2rad(rng.uniform(-20, 8, n)))
    return np.tile([x, y, float(city.terrain.height(x, y)) + 1.7], (n, 1)), toward


def test_a_part_of_the_city_looks_as_the_whole_within_reach(there_and_back: City) -> None:
    whole, reach = there_and_back.scene(Day()), 50.0
    for s in (10.0, 75.0, 200.0):
        part = there_and_back.scene(Day(), s, reach)
        assert len(part.soup) < 0.9 * len(whole.soup)
        origin, toward = rays(there_and_back, s)
        a, b = whole.cast(origin, toward).distance, part.cast(origin, toward).distance
        near = (a < reach) | (b < reach)
        assert near.sum() > 1500
        assert np.abs(a[near] - b[near]).max() < 1e-3


def test_neighbouring_places_share_a_scene_and_another_day_has_its_own(there_and_back: City) -> None:
    scene = there_and_back.scene(Day(), (1.0, 2.0), 40.0)
    assert there_and_back.scene(Day(), (3.0, -2.0), 40.0) is scene
    assert there_and_back.scene(Day(weather="fog", traffic=0.0), (3.0, -2.0), 40.0) is scene
    assert there_and_back.scene(Day(1), (3.0, -2.0), 40.0) is not scene


def test_the_view_is_closed_all_round(eight: City) -> None:
    """Level rays and those half a degree up end somewhere, at the latest in the woods round the scene."""
    x, y, _ = (float(v) for v in eight.route.at(90.0))
    toward = directions(np.linspace(-np.pi, np.pi, 720), np.deg2rad(0.5))
    origin = np.tile([x, y, float(eight.terrain.height(x, y)) + 1.7], (720, 1))
    assert eight.scene(Day(), (x, y), 60.0).cast(origin, toward).met.mean() > 0.995


# -- districts, seasons, traffic, wildness


def measures(district: str) -> dict[str, float]:
    city = build_city(Recipe(seed=4, length=240.0, district=district))
    static = city.static
    beyond = city.network.outside(static.corners[:, 0, :2].astype(float))
    near = beyond < 14
    ranges = []
    for s in np.arange(0.0, 240.0, 30.0):
        x, y, _ = (float(v) for v in city.route.at(s))
        toward = directions(np.linspace(-np.pi, np.pi, 240), np.deg2rad(2.0))
        origin = np.tile([x, y, float(city.terrain.height(x, y)) + 1.7], (240, 1))
        ranges.append(np.minimum(city.scene(Day(), reach=np.inf).cast(origin, toward).distance, 100.0))
    return {
        "range": float(np.median(ranges)),
        "leaves": float((static.material[near] == LEAF).mean()),
        "width": city.half_width,
        "kerbs": float(sum(DISTRICTS[x.district].kerbed for x in city.stretches) / len(city.stretches)),
    }


def test_districts_differ_in_what_is_built() -> None:
    """Median range of beams 2 degrees up; share of leaves among what is near; width; kerbs."""
    town, road, park, country = (measures(d) for d in ("old_town", "arterial", "park", "country"))
    assert town["range"] < 0.6 * min(road["range"], country["range"])
    assert park["leaves"] > 1.5 * town["leaves"]
    assert road["width"] > 1.8 * max(town["width"], park["width"], country["width"])
    assert country["kerbs"] == 0 and town["kerbs"] == road["kerbs"] == 1


def test_winter_takes_leaves_and_leaves_walls(there_and_back: City) -> None:
    summer, winter = (there_and_back.scene(Day(season=s)).soup for s in ("summer", "winter"))
    leaf, bare = (np.isin(soup.texture, there_and_back.skins.leaf).sum() for soup in (summer, winter))
    assert bare < 0.15 * leaf
    other = [soup.corners[~np.isin(soup.texture, there_and_back.skins.leaf)] for soup in (summer, winter)]
    assert np.array_equal(*other)
    assert not np.array_equal(there_and_back.scene(Day(season="autumn")).soup.tint, summer.tint)


def test_traffic_moves_on_the_roads_and_is_the_same_each_time() -> None:
    city = build_city(Recipe(seed=3, length=240.0, district="arterial"))
    one, again, later = (movers(city, Day(), t, 0.0) for t in (5.0, 5.0, 6.0))
    assert soup_bytes(one) == soup_bytes(again) and soup_bytes(one) != soup_bytes(later)
    assert len(movers(city, Day(traffic=0.0), 5.0, 0.0)) == 0
    vehicles = one.corners[one.material == CAR].reshape(-1, 3).astype(float)
    assert len(vehicles) > 100
    assert np.percentile(city.network.outside(vehicles[:, :2]), 99) < 0.6
    x, y = city.place(0.0)
    assert np.hypot(vehicles[:, 0] - x, vehicles[:, 1] - y).min() > 1.0


def test_wildness_paints_everything_anew_and_moves_nothing() -> None:
    tame, wild = (build_city(Recipe(seed=5, length=240.0, district="old_town", wildness=w)) for w in (0.0, 1.0))
    assert np.array_equal(tame.static.corners, wild.static.corners)
    assert np.array_equal(tame.textures.texels[:, 3], wild.textures.texels[:, 3])
    change = np.abs(tame.textures.texels[:, :3].astype(int) - wild.textures.texels[:, :3])
    assert np.median(change) > 20


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_another_eight(eight: City) -> None:
    again, other = (build_city(dataclasses.replace(eight.recipe, seed=k)) for k in (2, 3))
    assert soup_bytes(again.static) == soup_bytes(eight.static)
    assert again.bays.tobytes() == eight.bays.tobytes()
    assert soup_bytes(other.static) != soup_bytes(eight.static)


@pytest.mark.parametrize(("change", "reason"), [
    ({"route": "spiral"}, "no route 'spiral'"),
    ({"route": "kitti:77"}, "no 77.txt"),
    ({"district": "harbour"}, "no district 'harbour'"),
    ({"length": -1.0}, "must be positive"),
    ({"wildness": 2.0}, "from 0 to 1"),
    ({"route": "eight", "length": 100.0}, "320 to 2000 m"),
])
def test_what_makes_no_city_is_refused_with_the_reason(change: dict, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        build_city(Recipe(**change), tmp_path)


def test_a_day_that_cannot_be_is_refused_with_the_reason(there_and_back: City) -> None:
    with pytest.raises(ConfigError, match="no season 'monsoon'"):
        there_and_back.scene(Day(season="monsoon"))
    with pytest.raises(ConfigError, match="traffic"):
        movers(there_and_back, Day(traffic=-1.0), 0.0, 0.0)
