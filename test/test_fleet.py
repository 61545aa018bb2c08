# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Robots share a map: each works on its own cache, the server comes and goes, nothing is lost and nothing is twice."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from uuid import uuid4

import numpy as np
import postgres_server
import pytest
from tiny_submaps import MODEL, rendered, submap

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.index import Index
from ms2cl_ros.core.maps.cache import Cache
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.exchange import Exchange, Part
from ms2cl_ros.core.maps.parcels import ADDED, MOVED, VIEWS
from ms2cl_ros.core.sidecar import Embedding

psycopg = pytest.importorskip("psycopg", reason="the extra [fleet] is not installed")
if postgres_server.programs() is None:
    pytest.skip(postgres_server.MISSING, allow_module_level=True)

pytestmark = pytest.mark.usefixtures("hurry")


@pytest.fixture
def fleet(url, tmp_path):
    """Opens robots' maps by name; they are closed at the end."""
    opened = []

    def robot(name, write=True, query=""):
        store = open_map(f"{url}?robot={name}{query}", MODEL, write, tmp_path / f"{name}.db")
        opened.append(store)
        return store
    yield robot
    for store in opened:
        store.close()


def until(condition, timeout=20.0):
    """Waits until the condition holds; returns whether it did in time."""
    end = time.monotonic() + timeout
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def places(store):
    return sorted(float(T[0, 3]) for _, _, T in store.poses())


def test_two_robots_see_each_others_submaps_and_tell_them_from_their_own(fleet, url):
    a, b = fleet("a"), fleet("b")
    for x in (1.0, 2.0):
        a.add(submap(x, points=30))
    mine = b.add(submap(50.0, points=30))
    assert a.settle(20)
    assert until(lambda: places(b) == [1.0, 2.0, 50.0])
    assert until(lambda: places(a) == [1.0, 2.0, 50.0])
    assert b.own() == [mine.id]
    assert b.unrendered() == [mine.id]
    assert (b.status()["own"], b.status()["others"]) == (1, 2)
    foreign = next(k for k, _, T in b.poses() if T[0, 3] == 1.0)
    there, here = submap(1.0, points=30), b.submap(foreign)
    np.testing.assert_array_equal(here.views[0].descriptors, there.views[0].descriptors)
    np.testing.assert_allclose(here.views[0].T_map_base, there.views[0].T_map_base, atol=1e-12)
    assert len(here.points) == 30
    assert (a.check(), b.check()) == ([], [])
    with open_map(url, MODEL, write=False) as shared:
        assert (shared.count(), shared.check()) == (3, [])


def test_a_robot_finds_its_place_in_what_another_has_mapped(fleet):
    a, b = fleet("a"), fleet("b", write=False)
    index = Index(b, 3)
    index.refresh()
    for x in range(8):
        a.add(submap(float(x)))
    assert until(lambda: b.count() == 8)
    index.refresh()
    _, found = index.search(submap(5.0).views[0].descriptors[1], 1)[0]
    np.testing.assert_allclose(found.view.T_map_base, submap(5.0).views[0].T_map_base, atol=1e-9)


def test_moves_removals_and_views_reach_the_others(fleet, url):
    a, b = fleet("a"), fleet("b")
    kept = [a.add(submap(x, points=9)) for x in (1.0, 2.0, 3.0)]
    assert until(lambda: b.count() == 3)
    before = b.revision()
    a.add_views(kept[0].id, [rendered(1.0, 1.75)])
    a.update_poses({kept[1].id: transform([77.0, 0.0, 0.0])})
    a.remove([kept[2].id])
    assert until(lambda: places(b) == [1.0, 77.0] and b.view_count() == 3)
    assert b.revision() != before
    moved, = b.near(np.array([77.0, 0.0]), 1.0)
    np.testing.assert_allclose(b.submap(moved).T_map_base, transform([77.0, 0.0, 0.0]))
    b.update_poses({moved: transform([88.0, 0.0, 0.0])})
    assert until(lambda: places(a) == [1.0, 88.0])
    with open_map(url, MODEL, write=False) as shared:
        assert (places(shared), shared.view_count(), shared.check()) == ([1.0, 88.0], 3, [])


def test_what_one_robot_has_removed_another_does_not_bring_back(fleet, url):
    a, b = fleet("a"), fleet("b")
    kept = a.add(submap(1.0))
    assert until(lambda: b.count() == 1)
    b.remove([b.poses()[0][0]])
    a.update_poses({kept.id: transform([5.0, 0.0, 0.0])})
    assert until(lambda: a.count() == 0)
    assert until(lambda: a.status()["waiting"] == b.status()["waiting"] == 0)
    with open_map(url, MODEL, write=False) as shared:
        assert shared.count() == 0


def test_what_happens_to_a_submap_while_it_is_being_sent_is_sent_too(tmp_path):
    with open_map(tmp_path / "c.db", MODEL, write=True) as node, Cache.at(tmp_path / "c.db", MODEL) as cache:
        kept = node.add(submap(1.0))
        (uid, happened, number), = cache.outbox(9)
        assert happened & ADDED
        node.update_poses({kept.id: np.eye(4)})
        cache.sent([(uid, number, 1)])
        (_, happened, later), = cache.outbox(9)
        assert happened & MOVED
        cache.sent([(uid, later, 2)])
        assert cache.waiting() == 0


def test_two_robots_that_alter_the_same_submap_while_the_server_is_away_both_have_their_way(server, fleet):
    a, b = fleet("a"), fleet("b")
    kept = a.add(submap(1.0, points=5))
    assert until(lambda: b.count() == 1)
    server.kill()
    try:
        a.add_views(kept.id, [rendered(1.0, 1.75)])
        b.update_poses({b.poses()[0][0]: transform([40.0, 0.0, 0.0])})
        assert until(lambda: a.status()["state"] == b.status()["state"] == "away")
    finally:
        server.start()
    assert until(lambda: places(a) == places(b) == [40.0] and a.view_count() == b.view_count() == 2)


def sent_by_hand(url, tmp_path):
    """A shared map with one submap of a robot that is not connected: (exchange, its uid, its parcel)."""
    with open_map(tmp_path / "c.db", MODEL, write=True) as node, Cache.at(tmp_path / "c.db", MODEL) as cache:
        node.add(submap(1.0, points=5))
        (uid, happened, _), = cache.outbox(9)
        parcel = cache.parcel(uid, "by hand")
    shared = Exchange.open(url, MODEL, True)
    assert shared.send([(uid, parcel, happened)])[0] > 0
    return shared, uid, parcel


def test_sending_again_changes_nothing(url, tmp_path):
    shared, uid, parcel = sent_by_hand(url, tmp_path)
    with shared:
        before = shared.listing(0, Part(), True).upto
        assert shared.send([(uid, parcel, ADDED), (uid, parcel, MOVED)]) == [None, None]
        assert (shared.count(), shared.view_count(), shared.listing(0, Part(), True).upto) == (1, 1, before)


def test_views_that_are_sent_late_do_not_take_a_move_of_another_robot_back(url, tmp_path):
    shared, uid, parcel = sent_by_hand(url, tmp_path)
    with shared:
        shared.update_poses({1: transform([40.0, 0.0, 0.0])})
        shared.send([(uid, dataclasses.replace(parcel, views=parcel.views * 2, rendered=1), VIEWS)])
        assert (places(shared), shared.view_count(), shared.unrendered()) == ([40.0], 2, [])


def test_a_move_that_is_sent_late_does_not_bring_back_what_was_removed(url, tmp_path):
    shared, uid, parcel = sent_by_hand(url, tmp_path)
    with shared:
        shared.remove([1])
        assert shared.send([(uid, parcel, MOVED)]) == [None]
        assert shared.count() == 0


def test_a_submap_that_does_not_suit_the_map_does_not_hold_up_the_others(url, tmp_path):
    shared, _, parcel = sent_by_hand(url, tmp_path)
    with shared:
        short = dataclasses.replace(parcel.views[0], descriptors=b"\0" * 4)
        bad = dataclasses.replace(parcel, uid=uuid4(), views=(short,))
        good = dataclasses.replace(parcel, uid=uuid4())
        refused, stored = shared.send([(bad.uid, bad, ADDED), (good.uid, good, ADDED)])
        assert "does not suit" in str(refused)
        assert stored > 0
        assert shared.count() == 2


def test_only_the_part_around_the_robot_is_fetched_and_what_is_far_leaves_the_cache(fleet):
    a, b = fleet("a"), fleet("b", write=False, query="&radius=100")
    for x in range(0, 1000, 50):
        a.add(submap(float(x)))
    b.look_around(np.array([100.0, 2.0]))
    assert a.settle(20)
    assert b.settle(20)
    around = [0.0, 50.0, 100.0, 150.0, 200.0]
    assert until(lambda: set(around) <= set(places(b)) and max(places(b)) <= 300.0)
    b.look_around(np.array([900.0, 2.0]))
    assert until(lambda: places(b) and min(places(b)) >= 700.0)
    assert set(places(b)) >= {800.0, 850.0, 900.0, 950.0}
    assert a.count() == 20


def test_only_the_sessions_asked_for_are_fetched(fleet, url):
    a = fleet("a")
    a.begin_session("first")
    a.add(submap(1.0))
    a.begin_session("second")
    a.add(submap(2.0))
    assert a.settle(20)
    with open_map(url, MODEL, write=False) as shared:
        second, = (s.id for s in shared.sessions() if s.name == "second")
    b = fleet("b", write=False, query=f"&sessions={second}")
    assert until(lambda: places(b) == [2.0])
    assert [s.name for s in b.sessions()] == ["second"]


@pytest.mark.parametrize("query", ["radius=-3", "radius=far", "sessions=1,x"])
def test_a_part_that_is_none_is_refused(url, query, tmp_path):
    with pytest.raises(StoreError, match="radius=METRES"):
        open_map(f"{url}?{query}", MODEL, True, tmp_path / "c.db")


def test_both_nodes_of_a_robot_share_one_cache(fleet):
    mapper, matcher = fleet("a"), fleet("a", write=False)
    other = fleet("b")
    mapper.add(submap(1.0))
    assert places(matcher) == [1.0]
    other.add(submap(2.0))
    assert until(lambda: places(matcher) == places(mapper) == [1.0, 2.0])
    with pytest.raises(StoreError, match="another process"):
        fleet("a")


def test_a_model_that_is_not_the_maps_is_refused_at_once(fleet, url, tmp_path):
    fleet("a").close()
    other = dataclasses.replace(MODEL, name="other", embedding=Embedding(4, 1, "cosine", 10.0))
    with pytest.raises(StoreError, match=r"'tiny'.*'other'"):
        open_map(url, other, True, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
    with pytest.raises(StoreError, match=r"'tiny'.*'other'"):
        open_map(url, other, True, tmp_path / "a.db")


def test_a_cache_of_one_map_is_refused_by_another(fleet, server, tmp_path):
    fleet("a").close()
    server.database()
    with pytest.raises(StoreError, match="belongs to another shared map"):
        fleet("a")


def test_an_existing_map_given_as_the_cache_is_shared_whole(fleet, tmp_path, url):
    with open_map(tmp_path / "a.db", MODEL, write=True) as old:
        kept = old.add(submap(1.0, points=5))
        old.add_views(kept.id, [rendered(1.0, 2.0)])
    assert fleet("a").settle(20)
    with open_map(url, MODEL, write=False) as shared:
        assert (shared.count(), shared.view_count(), shared.unrendered()) == (1, 2, [])


def test_damage_in_a_cache_is_mended_from_the_server_and_never_spread(fleet, url, tmp_path):
    a = fleet("a")
    kept = [a.add(submap(x)) for x in (1.0, 2.0)]
    assert a.settle(20)
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("UPDATE views SET checksum = checksum + 1 WHERE submap = ?", (kept[0].id,))
    assert len(a.check()) == 1
    lost, = a.drop_damaged()
    assert "fetched anew" in lost
    assert until(lambda: places(a) == [1.0, 2.0])
    assert (a.check(), a.view_count()) == ([], 2)
    with open_map(url, MODEL, write=False) as shared:
        assert (shared.view_count(), shared.check()) == (2, [])


def test_a_server_set_back_to_a_backup_is_sent_what_it_has_lost(fleet, url):
    a = fleet("a")
    for x in (1.0, 2.0, 3.0):
        a.add(submap(x))
    assert a.settle(20)
    with psycopg.connect(url) as db:
        db.execute("DELETE FROM ms2cl.submaps WHERE id > 1")
    with open_map(url, MODEL, write=False) as shared:
        assert until(lambda: places(shared) == [1.0, 2.0, 3.0])
    assert places(a) == [1.0, 2.0, 3.0]


def test_while_the_server_is_away_everything_goes_on_and_is_made_good_afterwards(server, fleet, url):
    a, b = fleet("a"), fleet("b")
    first = a.add(submap(0.0))
    assert until(lambda: b.count() == 1)
    server.kill(everything=False)
    try:
        for x in range(1, 6):
            a.add(submap(float(x)))
            b.add(submap(100.0 + x))
        a.update_poses({first.id: transform([-9.0, 0.0, 0.0])})
        assert until(lambda: a.status()["state"] == b.status()["state"] == "away")
        told = a.status()
        assert told["waiting"] == 6
        assert told["failures"] > 0
        assert "does not answer" in told["reason"]
        assert postgres_server.PASSWORD not in str(told)
        assert (a.count(), b.count()) == (6, 6)
        late = fleet("late")
        late.add(submap(500.0))
    finally:
        server.start()
    wanted = [-9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 101.0, 102.0, 103.0, 104.0, 105.0, 500.0]
    assert until(lambda: places(a) == places(b) == places(late) == wanted)
    assert until(lambda: a.status()["state"] == "in step")
    assert a.status()["failures"] == 0
    with open_map(url, MODEL, write=False) as shared:
        assert (places(shared), shared.check()) == (wanted, [])
