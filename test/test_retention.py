# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A map with limits stays below them, loses what it has twice first, and finds its places as before."""

from dataclasses import replace

import numpy as np
import pytest

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.geometry import rotation_z, transform
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.retention import allowed, make_room, thin
from ms2cl_ros.core.sidecar import CameraInput, Embedding, LidarInput, Sidecar
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap, View

GRID = AngularGrid(4, 10, 2.0, 4.0, 9.0)
SIZE, HEADINGS = 16, 4
MODEL = Sidecar("tiny", CameraInput("c", "0", "whole_image", None, (2, 2), ("red",), (0.0,), (1.0,)),
                LidarInput("l", "0", GRID, (4, 10), ("valid",), (0.0,), (1.0,), 1.0, 90.0),
                Embedding(SIZE, 1, "cosine", 10.0), {})
PLACES = 30


def config(**store):
    return replace(Config(), store=replace(Config().store, **store))


def descriptors(seed, noise=0.0, session=0):
    """(HEADINGS, SIZE) unit vectors that belong to a place; another session sees it a little differently."""
    vectors = np.random.default_rng(seed).normal(size=(HEADINGS, SIZE))
    vectors += noise * np.random.default_rng([session + 1, seed]).normal(size=vectors.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def submap(x, y=0.0, z=0.0, turn=0.0, vectors=None, points=None):
    T = transform([x, y, z]) @ rotation_z(turn)
    ranges = np.random.default_rng(int(abs(x) * 10)).uniform(1, 90, (4, 40)).astype(np.float32)
    vectors = descriptors(int(x * 10)) if vectors is None else vectors
    view = View(T, np.arange(HEADINGS) * np.pi / 2, vectors)
    return Submap(int(x * 1e9), T, transform([0, 0, 1.7]), RangeImage(ranges, GRID.panorama()), (view,), points=points)


@pytest.fixture
def store(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as store:
        yield store


def test_without_limits_nothing_goes_and_none_is_read(store):
    for _ in range(3):
        store.add(submap(1.0))
    assert allowed(store, config()) is None
    assert make_room(store, config()) == 0
    assert store.count() == 3


def test_of_one_place_and_heading_the_older_goes_when_the_newest_are_kept(store):
    old, new = store.add(submap(1.0)), store.add(submap(1.9))
    far = store.add(submap(30.0))
    assert thin(store, config()) == 1
    assert [key for key, _, _ in store.poses()] == [new.id, far.id]
    assert old.id != new.id


@pytest.mark.parametrize("other", [submap(2.1), submap(1.0, turn=np.deg2rad(16)), submap(1.0, turn=np.pi),
                                   submap(1.0, z=3.0)], ids=["beyond half the distance", "16 degrees", "the other way",
                                                             "next storey"])
def test_what_stands_apart_or_looks_elsewhere_is_no_duplicate(store, other):
    store.add(submap(1.0))
    store.add(other)
    assert thin(store, config()) == 0


def test_headings_are_compared_across_half_a_turn(store):
    store.add(submap(1.0, turn=np.deg2rad(179)))
    store.add(submap(1.0, turn=np.deg2rad(-179)))
    assert thin(store, config()) == 1


def test_of_one_place_the_one_that_looks_like_its_neighbours_goes_when_the_distinctive_are_kept(store):
    street = descriptors(7)
    for x in (0.0, 4.0):
        store.add(submap(x, vectors=street))
    special = store.add(submap(2.0, vectors=descriptors(8)))
    common = store.add(submap(2.2, vectors=street))
    last = store.add(submap(90.0))
    assert thin(store, config(keep="distinctive")) == 1
    left = [key for key, _, _ in store.poses()]
    assert special.id in left
    assert common.id not in left
    assert last.id in left


def test_a_full_map_without_duplicates_lets_the_oldest_go(store):
    limits = config(max_submaps=5)
    for i in range(9):
        store.add(submap(10.0 * i))
        make_room(store, limits)
        assert store.count() <= 5
    assert [stamp for _, stamp, _ in store.poses()] == [int(1e10 * i) for i in (4, 5, 6, 7, 8)]


def test_a_full_map_keeps_the_distinctive_and_makes_no_hole(store):
    limits, street = config(max_submaps=9, keep="distinctive"), descriptors(7)
    for i in range(12):
        store.add(submap(3.0 * i, vectors=descriptors(100) if i == 4 else street))
    assert make_room(store, limits) == 3
    left = [T[0, 3] for _, _, T in store.poses()]
    assert 12.0 in left
    assert 33.0 in left, "the newest stays"
    assert max(np.diff(left)) <= 6.0, "no two neighbours went"


@pytest.mark.parametrize("keep", ["newest", "distinctive"])
def test_the_newest_submap_stays_even_where_there_is_room_for_one_only(store, keep):
    for i in range(4):
        added = store.add(submap(10.0 * i))
        make_room(store, config(max_submaps=1, keep=keep))
        assert [key for key, _, _ in store.poses()] == [added.id]


def test_megabytes_are_a_limit_too(store):
    points = np.random.default_rng(0).uniform(-20, 20, (4000, 3)).astype(np.float32)
    for i in range(60):
        store.add(submap(5.0 * i, points=points))
        make_room(store, config(max_megabytes=0.5))
        assert store.megabytes() <= 0.5 or store.count() == 1
    assert store.count() > 10, "freed room is used again"


def test_room_is_made_for_more_than_one_so_that_a_full_map_is_not_searched_each_time(store):
    for i in range(101):
        store.add(submap(5.0 * i))
    assert make_room(store, config(max_submaps=100)) == 3
    assert make_room(store, config(max_submaps=100)) == 0


def test_views_rendered_around_a_duplicate_pass_to_the_one_that_stays(store):
    old, new = store.add(submap(1.0)), store.add(submap(1.5))
    aside = View(transform([1.0, 3.0, 0.0]), np.arange(HEADINGS) * np.pi / 2, descriptors(55), rendered=True)
    store.add_views(old.id, [aside])
    assert thin(store, config()) == 1
    scanned, kept = store.submap(new.id).views
    assert not scanned.rendered
    assert kept.rendered
    np.testing.assert_allclose(kept.T_map_base, aside.T_map_base, atol=1e-9)
    np.testing.assert_array_equal(kept.descriptors, aside.descriptors)


def test_a_survivor_that_will_be_rendered_takes_over_no_views(store):
    old = store.add(submap(1.0))
    new = store.add(submap(1.5, points=np.ones((5, 3), np.float32)))
    store.add_views(old.id, [View(transform([1.0, 3.0, 0.0]), np.arange(HEADINGS) * np.pi / 2, descriptors(55),
                                  rendered=True)])
    thin(store, config())
    assert len(store.submap(new.id).views) == 1
    assert store.unrendered() == [new.id]


def recall(store):
    """Share of the places whose descriptor, as another session would see it, finds a submap within 2 m."""
    views = list(store.views_after(0))
    known = np.concatenate([v.descriptors for _, _, v in views])
    x = np.repeat([v.T_map_base[0, 3] for _, _, v in views], HEADINGS)
    found = [abs(x[int(np.argmax(known @ descriptors(place, 0.7, 99)[0]))] - 2.0 * place) <= 2.0
             for place in range(PLACES)]
    return float(np.mean(found))


@pytest.mark.parametrize("keep", ["newest", "distinctive"])
def test_three_sessions_stay_bounded_and_find_as_much_as_one(tmp_path, keep):
    found = {}
    for limit in (0, PLACES):
        with open_map(tmp_path / f"{keep}{limit}.db", MODEL, write=True) as store:
            for session in range(3):
                store.begin_session(f"day {session}")
                for place in range(PLACES):
                    shift = 0.3 * session
                    store.add(submap(2.0 * place + shift, vectors=descriptors(place, 0.7, session)))
                    make_room(store, config(max_submaps=limit, keep=keep))
                    assert not limit or store.count() <= limit
                if session == 0:
                    found["one session", limit] = recall(store)
            found["three sessions", limit] = recall(store)
            places = np.round(np.array([T[0, 3] for _, _, T in store.poses()]) / 2.0)
    assert len(np.unique(places)) >= PLACES - 1, "the bounded map still covers the road"
    assert found["one session", 0] == found["one session", PLACES]
    assert found["three sessions", PLACES] >= found["one session", PLACES]
    assert found["one session", 0] > 0.6, "chance is 3 of 30"
