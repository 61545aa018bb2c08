# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""SQLite is the truth: what `add` returned from is there, for every reader, and nothing else is taken for a map."""

import dataclasses
import sqlite3
import threading

import numpy as np
import pytest
from scipy.spatial import cKDTree
from tiny_submaps import GRID, MODEL, rendered, submap, write_schema_1

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import rotation_z, transform
from ms2cl_ros.core.index import Index
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.filelock import FileLock
from ms2cl_ros.core.maps.records import (
    POINT_STEP,
    checksum,
    pack_points,
    pack_ranges,
    unpack_points,
    unpack_ranges,
)
from ms2cl_ros.core.sidecar import Embedding
from ms2cl_ros.core.types import RangeImage

RNG = np.random.default_rng(1)


def test_a_range_image_survives_storage_within_half_a_centimetre():
    image = RangeImage(RNG.uniform(0, 200, (4, 40)).astype(np.float32), GRID.panorama())
    assert np.abs(unpack_ranges(pack_ranges(image), GRID.panorama()).ranges - image.ranges).max() <= 0.0051


def test_what_was_added_is_read_back_by_another_connection(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        kept = writer.add(submap(3.0))
        with open_map(tmp_path / "m.db", MODEL, write=False) as reader:
            assert reader.count() == 1
            [(key, lidar, view)] = reader.views_after(0)
            np.testing.assert_allclose(view.T_map_base, kept.views[0].T_map_base, atol=1e-12)
            np.testing.assert_array_equal(view.descriptors, kept.views[0].descriptors)
            np.testing.assert_array_equal(lidar, kept.T_base_lidar)
            assert (key, view.id) == (kept.id, kept.views[0].id)
            assert np.abs(reader.panorama(key).ranges - kept.panorama.ranges).max() <= 0.0051
            assert reader.poses()[0][:2] == (key, 3_000_000_000)


def test_a_reader_sees_submaps_added_after_it_opened(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        writer.add(submap(0.0))
        with open_map(tmp_path / "m.db", MODEL, write=False) as reader:
            index = Index(reader, 3)
            assert index.refresh() == 1
            target = writer.add(submap(7.0, 1, np.array([[0.0, 0.6, 0.8]])))
            assert index.refresh() == 1
            (score, best), *_ = index.search(np.array([0.0, 0.6, 0.8]), 2)
            assert best.submap_id == target.id
            assert score == pytest.approx(1.0, abs=1e-6)
            assert index.refresh() == 0


def test_the_index_gives_every_view_once_with_its_best_heading(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        around = np.array([[1.0, 0.0, 0.0], [0.9, np.sqrt(1 - 0.81), 0.0], [0.0, 0.0, 1.0]])
        for x in range(5):
            writer.add(submap(float(x), 3, around))
        index = Index(writer, 3)
        index.refresh()
        found = index.search(np.array([0.9, np.sqrt(1 - 0.81), 0.0]), 4)
        assert len({e.view.id for _, e in found}) == 4
        assert all(e.heading == 0.5 and s == pytest.approx(1.0, abs=1e-6) for s, e in found)
        assert len(index.search(around[0], 50)) == 5


def test_an_empty_map_answers_with_nothing(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        index = Index(writer, 3)
        assert index.refresh() == 0
        assert index.search(np.array([1.0, 0.0, 0.0]), 5) == []


def test_each_writer_session_is_kept_apart(tmp_path):
    for _ in range(2):
        with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
            assert writer.add(submap(1.0)).session == writer.add(submap(2.0)).session
    sessions = sqlite3.connect(tmp_path / "m.db").execute("SELECT DISTINCT session FROM submaps").fetchall()
    assert sessions == [(1,), (2,)]


def test_a_second_writer_is_refused_and_welcome_once_the_first_has_closed(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True), pytest.raises(StoreError, match="another process"):
        open_map(tmp_path / "m.db", MODEL, write=True)
    open_map(tmp_path / "m.db", MODEL, write=True).close()


def test_a_map_of_another_model_is_refused_with_both_names(tmp_path):
    open_map(tmp_path / "m.db", MODEL, write=True).close()
    other = dataclasses.replace(MODEL, name="other", embedding=Embedding(4, 1, "cosine", 10.0))
    for write in (True, False):
        with pytest.raises(StoreError, match=r"'tiny'.*'other'"):
            open_map(tmp_path / "m.db", other, write=write)


def test_files_that_are_no_map_are_refused(tmp_path):
    (tmp_path / "text.db").write_text("no database at all, but long enough to be read as a header of one " * 30)
    with pytest.raises(StoreError, match="file is not a database"):
        open_map(tmp_path / "text.db", MODEL, write=False)
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE t (x)")
    foreign.close()
    with pytest.raises(StoreError, match="no map of ms2cl_ros"):
        open_map(tmp_path / "foreign.db", MODEL, write=True)
    with pytest.raises(StoreError, match="ms2cl map"):
        open_map(tmp_path / "missing.db", MODEL, write=False)


def test_a_map_of_a_later_schema_is_refused(tmp_path):
    open_map(tmp_path / "m.db", MODEL, write=True).close()
    db = sqlite3.connect(tmp_path / "m.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="schema 99"):
        open_map(tmp_path / "m.db", MODEL, write=True)


def test_points_survive_storage_within_half_a_step_of_the_lattice_in_another_order():
    points = RNG.uniform(-120, 120, (3000, 3)).astype(np.float32)
    back = unpack_points(pack_points(points))
    assert (back.shape, back.dtype) == (points.shape, np.float32)
    away, nearest = cKDTree(points).query(back)
    assert away.max() <= np.sqrt(3) * POINT_STEP / 2 + 1e-4
    assert len(set(nearest)) == len(points)


def test_points_beyond_the_lattice_are_kept_more_coarsely_and_none_are_none():
    far = np.array([[400.0, -400.0, 3.0]])
    np.testing.assert_allclose(unpack_points(pack_points(far)), far, atol=0.0075)
    assert unpack_points(pack_points(np.zeros((0, 3)))).shape == (0, 3)
    assert unpack_points(pack_points(None)) is None
    with pytest.raises(StoreError, match="1 of a submap's 2 points are not finite"):
        pack_points(np.array([[0.0, 0.0, np.nan], [1.0, 1.0, 1.0]]))


def test_a_checksum_tells_fields_and_kinds_apart():
    assert checksum(b"ab", b"c") != checksum(b"a", b"bc")
    assert len({checksum(1), checksum(1.0), checksum("1"), checksum(b"1"), checksum(None)}) == 5


def test_a_submap_is_read_back_whole(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        kept = writer.add(submap(3.0, points=50))
        aside, = writer.add_views(kept.id, [rendered(3.0, 1.75)])
        back = writer.submap(kept.id)
        assert (back.id, back.stamp_ns, back.session, back.travelled, back.sensor) == (1, 3 * 10**9, 1, 3.0, "tiny")
        np.testing.assert_array_equal(back.covariance, kept.covariance)
        assert len(back.points) == 50
        assert [(v.id, v.rendered) for v in back.views] == [(1, False), (2, True)]
        np.testing.assert_array_equal(back.views[1].coarse, aside.coarse)
        np.testing.assert_allclose(back.views[1].T_map_base, aside.T_map_base, atol=1e-12)
        assert writer.submap(kept.id, views=False).views == ()
        assert (writer.count(), writer.view_count(), writer.last_view_id()) == (1, 2, 2)
        with pytest.raises(StoreError, match="no submap 7"):
            writer.submap(7)


def test_submaps_with_points_wait_to_be_rendered_around_until_they_were(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        keys = [writer.add(submap(x, points=9 if x != 2.0 else 0)).id for x in (1.0, 2.0, 3.0)]
        assert writer.unrendered() == [keys[0], keys[2]]
        writer.add_views(keys[0], [])
        assert writer.unrendered() == [keys[2]]


def test_near_gives_ids_by_distance_on_both_sides_of_zero_and_of_strips(tmp_path):
    places = [-130.0, -64.0, -1.0, 0.0, 63.9, 64.1, 500.0]
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        keys = {x: writer.add(submap(x)).id for x in places}
        for centre, radius in ((0.0, 1.5), (64.0, 65.0), (-100.0, 40.0), (0.0, 1e6), (250.0, 10.0)):
            wanted = sorted((x for x in places if abs(x - centre) <= radius), key=lambda x: abs(x - centre))
            assert writer.near(np.array([centre, 2.0]), radius) == [keys[x] for x in wanted]
        assert writer.near(np.array([0.0, 50.0]), 40.0) == []


def test_moved_submaps_take_their_views_along_and_are_found_at_the_new_place(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        kept = writer.add(submap(3.0))
        before = writer.revision()
        T = transform([900.0, -5.0, 0.0]) @ rotation_z(1.0)
        assert writer.update_poses({kept.id: T, 99: T}) == 1
        [(_, _, view)] = writer.views_after(0)
        expected = T @ np.linalg.inv(kept.T_map_base) @ kept.views[0].T_map_base
        np.testing.assert_allclose(view.T_map_base, expected, atol=1e-9)
        assert writer.near(T[:2, 3], 1.0) == [kept.id]
        assert writer.near(kept.T_map_base[:2, 3], 1.0) == []
        assert writer.revision() != before
        assert writer.check() == []
        with pytest.raises(StoreError, match="no pose"):
            writer.update_poses({kept.id: np.full((4, 4), np.nan)})


def test_removed_submaps_are_gone_with_their_views_and_their_ids_never_come_back(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        keys = [writer.add(submap(x)).id for x in (1.0, 2.0, 3.0)]
        assert writer.remove([keys[2], 77]) == 1
        assert writer.view_count() == 2
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        again = writer.add(submap(4.0))
        assert (again.id, again.views[0].id) == (4, 4)
        assert [key for key, _, _ in writer.poses()] == [1, 2, 4]


def test_views_come_in_the_order_of_ids_across_pages_and_up_to_the_limit(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        a, b = writer.add(submap(1.0)), writer.add(submap(2.0))
        for key, x in ((b.id, 2.0), (a.id, 1.0)):
            writer.add_views(key, [rendered(x, 0.1 * i) for i in range(100)])
        got = [(key, view.id) for key, _, view in writer.views_after(0)]
        assert got == [(1, 1), (2, 2)] + [(2, i) for i in range(3, 103)] + [(1, i) for i in range(103, 203)]
        assert [view.id for _, _, view in writer.views_after(150, 3)] == [151, 152, 153]
        assert list(writer.views_after(202)) == []


def test_sessions_carry_their_names_and_begin_with_their_first_submap(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        writer.add(submap(1.0))
        writer.begin_session("second round")
        assert len(writer.sessions()) == 1
        writer.add(submap(2.0))
        writer.add(submap(3.0))
        assert [(s.id, s.name, s.first_stamp_ns, s.submaps) for s in writer.sessions()] == \
            [(1, "", 10**9, 1), (2, "second round", 2 * 10**9, 2)]


def test_a_view_that_does_not_suit_the_model_is_refused_and_nothing_of_its_submap_stays(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        for vectors in (np.ones((2, 4)), np.ones((3, 3)), np.full((2, 3), np.nan)):
            with pytest.raises(StoreError, match="3 finite numbers a heading"):
                writer.add(submap(1.0, 2, vectors))
        assert (writer.count(), writer.sessions()) == (0, [])


def test_any_model_is_let_in_by_tools_that_only_look_but_makes_no_new_map(tmp_path):
    with pytest.raises(StoreError, match="needs a model"):
        open_map(tmp_path / "m.db", None, write=True)
    open_map(tmp_path / "m.db", MODEL, write=True).close()
    with open_map(tmp_path / "m.db", None, write=False) as store:
        made = store.made_with()
        assert (made.name, made.fingerprint, made.size, made.grid) == ("tiny", MODEL.fingerprint, 3, GRID)


@pytest.mark.parametrize("write", [True, False])
def test_a_map_of_the_first_schema_is_brought_up_to_date_when_opened(tmp_path, write):
    write_schema_1(tmp_path / "old.db", [1.0, 2.0, 3.0])
    db = sqlite3.connect(tmp_path / "old.db")
    db.execute("UPDATE views SET descriptors = zeroblob(24) WHERE id = 2")
    db.commit()
    db.close()
    with open_map(tmp_path / "old.db", MODEL, write=write) as store:
        assert [(key, stamp) for key, stamp, _ in store.poses()] == [(1, 10**9), (2, 2 * 10**9), (3, 3 * 10**9)]
        assert [view.id for _, _, view in store.views_after(0)] == [1, 3]
        assert store.check() == ["view 2 of submap 2 is damaged (checksum)"]  # it was so before, and still is
        back, given = store.submap(3), submap(3.0)
        np.testing.assert_array_equal(back.T_map_base, given.T_map_base)
        np.testing.assert_array_equal(back.views[0].descriptors, given.views[0].descriptors)
        assert np.abs(back.panorama.ranges - given.panorama.ranges).max() <= 0.0051
        assert store.near(np.array([1.0, 2.0]), 1.5) == [1, 2]
        assert (store.unrendered(), store.sessions()[0].submaps) == ([], 3)
        if write:
            assert (store.add(submap(4.0)).id, store.drop_damaged(), store.check()) == \
                (4, ["view 2 of submap 2 is damaged (checksum)"], [])


def test_a_reader_waits_for_the_writer_that_brings_an_old_map_up_to_date(tmp_path):
    write_schema_1(tmp_path / "old.db", [1.0])
    lock = FileLock.take(tmp_path / "old.db")  # as a mapper that has just started

    def mapper() -> None:
        lock.release()
        open_map(tmp_path / "old.db", MODEL, write=True).close()
    soon = threading.Timer(0.3, mapper)
    soon.start()
    with open_map(tmp_path / "old.db", MODEL, write=False) as reader:
        assert reader.count() == 1
    soon.join()


def test_an_old_map_of_another_model_is_refused_before_it_is_changed(tmp_path):
    write_schema_1(tmp_path / "old.db", [1.0])
    other = dataclasses.replace(MODEL, name="other", embedding=Embedding(4, 1, "cosine", 10.0))
    with pytest.raises(StoreError, match="'other'"):
        open_map(tmp_path / "old.db", other, write=True)
    with pytest.raises(StoreError, match="model that made it"):
        open_map(tmp_path / "old.db", None, write=True)
    assert sqlite3.connect(tmp_path / "old.db").execute("PRAGMA user_version").fetchone() == (1,)


def test_a_url_of_another_kind_is_refused(tmp_path):
    with pytest.raises(StoreError, match="mysql"):
        open_map("mysql://somewhere/map", MODEL, write=True)
