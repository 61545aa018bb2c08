# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every map promises, whatever is behind it: a file, a server, or a server with a cache."""

import sqlite3

import numpy as np
import pytest
from tiny_submaps import MODEL, rendered, submap, unit

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.store import Store


@pytest.fixture(params=["file", "server", "cache"])
def opened(request, tmp_path):
    """Opens the same new map again and again, for writing or reading: a file, a server, or a server with a cache."""
    place = tmp_path / "m.db" if request.param == "file" else request.getfixturevalue("url")

    def open_it(write: bool) -> Store:
        return open_map(place, MODEL, write, tmp_path / "cache.db" if request.param == "cache" else None)
    return open_it


def test_what_was_added_is_read_back_whole_by_another_reader(opened):
    with opened(True) as writer:
        given = submap(3.0, points=200)
        kept = writer.add(given)
        with opened(False) as reader:
            found = reader.submap(kept.id)
            assert (found.stamp_ns, found.travelled, found.sensor) == (3_000_000_000, 3.0, "tiny")
            np.testing.assert_array_equal(found.T_map_base, given.T_map_base)
            np.testing.assert_array_equal(found.covariance, given.covariance)
            np.testing.assert_array_equal(found.views[0].descriptors, given.views[0].descriptors)
            np.testing.assert_allclose(found.views[0].T_map_base, given.views[0].T_map_base, atol=1e-12)
            assert np.abs(found.panorama.ranges - given.panorama.ranges).max() <= 0.0051
            assert len(found.points) == 200
            assert [(k, v.id) for k, _, v in reader.views_after(0)] == [(kept.id, kept.views[0].id)]
            assert reader.poses()[0][:2] == (kept.id, 3_000_000_000)
            assert (reader.count(), reader.view_count(), reader.check()) == (1, 1, [])


def test_moved_submaps_take_their_views_along_and_change_the_revision(opened):
    with opened(True) as store:
        a, b = store.add(submap(1.0)), store.add(submap(2.0))
        before = store.revision()
        shift = transform([500.0, -3.0, 0.0])
        assert store.update_poses({a.id: shift @ a.T_map_base, 10**6: np.eye(4)}) == 1
        assert store.revision() != before
        views = {k: v for k, _, v in store.views_after(0)}
        np.testing.assert_allclose(views[a.id].T_map_base, shift @ a.views[0].T_map_base, atol=1e-9)
        np.testing.assert_allclose(views[b.id].T_map_base, b.views[0].T_map_base, atol=1e-9)
        assert store.near(np.array([501.0, -1.0]), 1.0) == [a.id]
        with pytest.raises(StoreError, match="no pose"):
            store.update_poses({a.id: np.full((4, 4), np.nan)})


def test_removed_submaps_are_gone_with_their_views_and_ids_never_come_back(opened):
    with opened(True) as store:
        a, b = store.add(submap(1.0)), store.add(submap(2.0))
        assert store.remove([b.id, 10**6]) == 1
        c = store.add(submap(3.0))
        assert c.id > b.id
        assert c.views[0].id > b.views[0].id
        assert [k for k, _, _ in store.views_after(0)] == [a.id, c.id]
        with pytest.raises(StoreError, match=f"no submap {b.id}"):
            store.submap(b.id)


def test_submaps_with_points_wait_to_be_rendered_around_until_they_were(opened):
    with opened(True) as store:
        a, b, _ = store.add(submap(1.0, points=5)), store.add(submap(2.0, points=5)), store.add(submap(3.0))
        assert store.unrendered() == [a.id, b.id]
        views = store.add_views(a.id, [rendered(1.0, 1.75), rendered(1.0, -1.75)])
        store.add_views(b.id, [])
        assert store.unrendered() == []
        found = store.submap(a.id).views
        assert [v.rendered for v in found] == [False, True, True]
        np.testing.assert_array_equal(found[2].coarse, views[1].coarse)
        np.testing.assert_allclose(found[2].T_map_base, views[1].T_map_base, atol=1e-12)


def test_near_gives_ids_by_distance_and_views_come_in_the_order_of_ids_up_to_the_limit(opened):
    with opened(True) as store:
        ids = {x: store.add(submap(x)).id for x in (-70.0, -3.0, 0.0, 2.0, 65.0)}
        assert store.near(np.array([0.5, 2.0]), 3.6) == [ids[0.0], ids[2.0], ids[-3.0]]
        seen = [v.id for _, _, v in store.views_after(0)]
        assert seen == sorted(seen)
        assert [v.id for _, _, v in store.views_after(seen[0], limit=2)] == seen[1:3]
        assert store.last_view_id() == seen[-1]


def test_sessions_carry_names_and_begin_with_their_first_submap(opened):
    with opened(True) as store:
        assert store.add(submap(1.0)).session == store.add(submap(2.0)).session
        store.begin_session("never driven")
        store.begin_session("second")
        store.add(submap(5.0))
        found = [(s.name, s.first_stamp_ns, s.submaps) for s in store.sessions()]
        assert found == [("", 1_000_000_000, 2), ("second", 5_000_000_000, 1)]


def test_a_view_that_does_not_suit_the_model_is_refused_and_nothing_of_its_submap_stays(opened):
    with opened(True) as store:
        with pytest.raises(StoreError, match="does not suit"):
            store.add(submap(1.0, descriptors=unit(np.random.default_rng(0), 2, 4)))
        assert (store.count(), store.view_count()) == (0, 0)


def test_a_saved_copy_is_an_sqlite_map_with_the_same_submaps_and_sessions(opened, tmp_path):
    with opened(True) as store:
        a = store.add(submap(1.0, points=50))
        store.add_views(a.id, [rendered(1.0, 1.75)])
        store.begin_session("later")
        store.add(submap(2.0, points=50))
        store.save(tmp_path / "copy.db")
        store.add(submap(3.0))
    with open_map(tmp_path / "copy.db", MODEL, write=True) as copy:
        assert [s.name for s in copy.sessions()] == ["", "later"]
        assert (copy.count(), copy.view_count(), copy.check()) == (2, 3, [])
        assert len(copy.unrendered()) == 1
        copy.add(submap(9.0))
    tables = sqlite3.connect(tmp_path / "copy.db").execute("SELECT name FROM sqlite_master").fetchall()
    assert not [name for name, in tables if name.startswith("fleet")]


def test_a_reader_may_not_write(opened):
    opened(True).close()
    with opened(False) as reader, pytest.raises(StoreError, match="reading only"):
        reader.add(submap(1.0))
