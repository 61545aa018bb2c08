# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""SQLite is the truth: what `add` returned from is there, for every reader, and nothing else is taken for a map."""

import dataclasses
import sqlite3

import numpy as np
import pytest

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import rotation_z, transform
from ms2cl_ros.core.index import Index
from ms2cl_ros.core.sidecar import CameraInput, Embedding, LidarInput, Sidecar
from ms2cl_ros.core.store import Store, pack, unpack
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap, View

GRID = AngularGrid(4, 10, 2.0, 4.0, 9.0)
MODEL = Sidecar("tiny", CameraInput("c", "0", "whole_image", None, (2, 2), ("red",), (0.0,), (1.0,)),
                LidarInput("l", "0", GRID, (4, 10), ("valid",), (0.0,), (1.0,), 1.0, 90.0),
                Embedding(3, 1, "cosine", 10.0), {})
RNG = np.random.default_rng(1)


def submap(x: float, headings: int = 2, descriptors: np.ndarray | None = None) -> Submap:
    T = transform([x, 2.0, 0.5]) @ rotation_z(0.3)
    if descriptors is None:
        descriptors = RNG.normal(size=(headings, 3))
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    ranges = RNG.uniform(0, 90, (4, 40)).astype(np.float32)
    view = View(T @ transform([0.0, 1.5, 0.0]), np.arange(headings) * 0.5, descriptors.astype(np.float32))
    return Submap(int(x * 1e9), T, transform([0.0, 0.0, 1.7]), RangeImage(ranges, GRID.panorama()), (view,),
                  np.eye(6) * 0.1, travelled=x)


def test_a_range_image_survives_storage_within_half_a_centimetre():
    image = RangeImage(RNG.uniform(0, 200, (4, 40)).astype(np.float32), GRID.panorama())
    assert np.abs(unpack(pack(image), GRID.panorama()).ranges - image.ranges).max() <= 0.0051


def test_what_was_added_is_read_back_by_another_connection(tmp_path):
    with Store.open(tmp_path / "m.db", MODEL, write=True) as writer:
        kept = writer.add(submap(3.0))
        with Store.open(tmp_path / "m.db", MODEL, write=False) as reader:
            assert reader.count() == 1
            [(key, lidar, view)] = reader.views_after(0)
            np.testing.assert_allclose(view.T_map_base, kept.views[0].T_map_base, atol=1e-12)
            np.testing.assert_array_equal(view.descriptors, kept.views[0].descriptors)
            np.testing.assert_array_equal(lidar, kept.T_base_lidar)
            assert (key, view.id) == (kept.id, kept.views[0].id)
            assert np.abs(reader.panorama(key).ranges - kept.panorama.ranges).max() <= 0.0051
            assert reader.poses()[0][:2] == (key, 3_000_000_000)


def test_a_reader_sees_submaps_added_after_it_opened(tmp_path):
    with Store.open(tmp_path / "m.db", MODEL, write=True) as writer:
        writer.add(submap(0.0))
        with Store.open(tmp_path / "m.db", MODEL, write=False) as reader:
            index = Index(reader, 3)
            assert index.refresh() == 1
            target = writer.add(submap(7.0, 1, np.array([[0.0, 0.6, 0.8]])))
            assert index.refresh() == 1
            (score, best), *_ = index.search(np.array([0.0, 0.6, 0.8]), 2)
            assert best.submap_id == target.id
            assert score == pytest.approx(1.0, abs=1e-6)
            assert index.refresh() == 0


def test_the_index_gives_every_view_once_with_its_best_heading(tmp_path):
    with Store.open(tmp_path / "m.db", MODEL, write=True) as writer:
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
    with Store.open(tmp_path / "m.db", MODEL, write=True) as writer:
        index = Index(writer, 3)
        assert index.refresh() == 0
        assert index.search(np.array([1.0, 0.0, 0.0]), 5) == []


def test_each_writer_session_is_kept_apart(tmp_path):
    for _ in range(2):
        with Store.open(tmp_path / "m.db", MODEL, write=True) as writer:
            assert writer.add(submap(1.0)).session == writer.add(submap(2.0)).session
    sessions = sqlite3.connect(tmp_path / "m.db").execute("SELECT DISTINCT session FROM submaps").fetchall()
    assert sessions == [(1,), (2,)]


def test_a_second_writer_is_refused_and_welcome_once_the_first_has_closed(tmp_path):
    with Store.open(tmp_path / "m.db", MODEL, write=True), pytest.raises(StoreError, match="another process"):
        Store.open(tmp_path / "m.db", MODEL, write=True)
    Store.open(tmp_path / "m.db", MODEL, write=True).close()


def test_a_map_of_another_model_is_refused_with_both_names(tmp_path):
    Store.open(tmp_path / "m.db", MODEL, write=True).close()
    other = dataclasses.replace(MODEL, name="other", embedding=Embedding(4, 1, "cosine", 10.0))
    for write in (True, False):
        with pytest.raises(StoreError, match=r"'tiny'.*'other'"):
            Store.open(tmp_path / "m.db", other, write=write)


def test_files_that_are_no_map_are_refused(tmp_path):
    (tmp_path / "text.db").write_text("no database at all, but long enough to be read as a header of one " * 30)
    with pytest.raises(StoreError, match="file is not a database"):
        Store.open(tmp_path / "text.db", MODEL, write=False)
    foreign = sqlite3.connect(tmp_path / "foreign.db")
    foreign.execute("CREATE TABLE t (x)")
    foreign.close()
    with pytest.raises(StoreError, match="no map of ms2cl_ros"):
        Store.open(tmp_path / "foreign.db", MODEL, write=True)
    with pytest.raises(StoreError, match="ms2cl map"):
        Store.open(tmp_path / "missing.db", MODEL, write=False)


def test_a_map_of_a_later_schema_is_refused(tmp_path):
    Store.open(tmp_path / "m.db", MODEL, write=True).close()
    db = sqlite3.connect(tmp_path / "m.db")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="schema 99"):
        Store.open(tmp_path / "m.db", MODEL, write=True)


def test_a_view_with_a_flipped_bit_is_refused_and_named(tmp_path):
    with Store.open(tmp_path / "m.db", MODEL, write=True) as writer:
        writer.add(submap(1.0))
        db = sqlite3.connect(tmp_path / "m.db")
        blob = bytearray(db.execute("SELECT descriptors FROM views").fetchone()[0])
        blob[5] ^= 1
        db.execute("UPDATE views SET descriptors = ?", (bytes(blob),))
        db.commit()
        with pytest.raises(StoreError, match=r"view 1 .* damaged"):
            list(writer.views_after(0))


def test_a_write_that_fails_leaves_the_map_as_it_was_and_the_next_one_works(tmp_path):
    with Store.open(tmp_path / "m.db", MODEL, write=True) as writer:
        writer.add(submap(1.0))
        writer._db.execute("PRAGMA max_page_count = 1")  # SQLite's own "disk full"
        with pytest.raises(StoreError, match="full"):
            for x in range(50):
                writer.add(submap(float(x)))
        before = writer.count()
        writer._db.execute("PRAGMA max_page_count = 100000")
        writer.add(submap(9.0))
        assert writer.count() == before + 1
