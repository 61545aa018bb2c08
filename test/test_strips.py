# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A turn is embedded once into a strip, kept as that, and read back bit by bit, whatever keeps it."""

import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import write_tiny_model
from tiny_submaps import GRID, MODEL, submap

from ms2cl_ros.core.config import EncoderConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import ModelError, StoreError
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.mapper import embedded, headings_around
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.records import ViewRecord
from ms2cl_ros.core.maps.recovery import recover
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.sidecar import Embedding, Sidecar, sha256
from ms2cl_ros.core.strips import first_columns, looks, rounded
from ms2cl_ros.core.types import RangeImage, Submap, View

NUMBERS, WIDTH, COLUMNS = 32, 50, 10
AROUND = dataclasses.replace(MODEL, name="around", lidar=dataclasses.replace(MODEL.lidar, around=True),
                             embedding=Embedding(NUMBERS * COLUMNS, COLUMNS, "cosine", 10.0))


def strip(seed: int) -> np.ndarray:
    return rounded(np.random.default_rng(seed).normal(size=(NUMBERS, WIDTH)).astype(np.float32))


def seen(x: float, headings: int = WIDTH, rendered: bool = False) -> View:
    """A view with a strip of its own for each x."""
    around, turn = headings_around(headings), strip(int(x * 10) + rendered)
    first = first_columns(around, WIDTH, COLUMNS)
    return View(submap(x).T_map_base @ transform([0.0, float(rendered), 0.0]), around, looks(turn, first, COLUMNS),
                np.full((3, 8), 7, np.uint8), rendered, strip=turn)


def with_strip(x: float, points: int = 0) -> Submap:
    return dataclasses.replace(submap(x, points=points), views=(seen(x),))


def same(found: View, given: View) -> None:
    """Bit by bit what was given."""
    assert found.strip.tobytes() == given.strip.tobytes() and found.strip.dtype == np.float32
    assert found.descriptors.tobytes() == given.descriptors.tobytes() and found.descriptors.dtype == np.float32
    assert found.headings.tobytes() == given.headings.tobytes()
    assert (found.rendered, found.coarse.tolist()) == (given.rendered, given.coarse.tolist())


# strips ------------------------------------------------------------------------------------------------------------


def test_a_heading_is_the_columns_around_it_across_the_seam_too_at_unit_length():
    turn = np.arange(12, dtype=np.float32).reshape(2, 6)  # columns of 60 degrees from +180 down
    first = first_columns(np.deg2rad([0.0, 120.0, 180.0]), 6, 2)
    assert first.tolist() == [2, 0, 5]
    wanted = np.array([[2, 3, 8, 9], [0, 1, 6, 7], [5, 0, 11, 6]], np.float32)
    found = looks(turn, first, 2)
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), rtol=1e-6)


def test_headings_between_columns_have_no_place_in_a_strip():
    assert first_columns(headings_around(24), 50, 10) is None
    assert first_columns(headings_around(50), 50, 9) is None, "the middle of nine columns is no border"
    assert first_columns(headings_around(25), 50, 10).tolist() == [(20 - 2 * i) % 50 for i in range(25)]


def test_rounding_is_done_once_and_forgives_any_size_of_numbers():
    turn = np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32)
    once = rounded(turn)
    np.testing.assert_array_equal(rounded(once), once)
    np.testing.assert_array_equal(once.astype(np.float16).astype(np.float32), once)
    for factor in (1e-9, 1e9):
        np.testing.assert_allclose(rounded(turn * np.float32(factor)), once, atol=1e-3)
    assert not rounded(np.zeros((2, 3), np.float32)).any()


def test_an_empty_strip_gives_zeros_rather_than_nan():
    assert not looks(np.zeros((2, 6), np.float32), np.arange(6), 2).any()


# encoder and mapper ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def around(tmp_path_factory) -> Path:
    """A model that pools the whole turn of 180 columns to 2 x 90, where a heading is 20 of these columns."""
    from onnx import TensorProto, helper
    folder = tmp_path_factory.mktemp("around")
    write_tiny_model(folder, "around")
    nodes = [helper.make_node("AveragePool", ["range_image"], ["pooled"], kernel_shape=[4, 2], strides=[4, 2]),
             helper.make_node("Squeeze", ["pooled", "axis"], ["strip"])]
    graph = helper.make_graph(
        nodes, "pooling", [helper.make_tensor_value_info("range_image", TensorProto.FLOAT, ["N", 1, 8, 180])],
        [helper.make_tensor_value_info("strip", TensorProto.FLOAT, ["N", 2, 90])],
        [helper.make_tensor("axis", TensorProto.INT64, [1], [1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    (folder / "lidar.onnx").write_bytes(model.SerializeToString())
    tree = yaml.safe_load((folder / "model.yaml").read_text())
    tree["lidar"] |= {"around": True, "size": [8, 180], "sha256": sha256(folder / "lidar.onnx")}
    tree["embedding"] |= {"columns": 20}
    (folder / "model.yaml").write_text(yaml.safe_dump(tree))
    return folder


def panorama(model: Sidecar) -> RangeImage:
    grid = model.lidar.grid.panorama()
    ranges = np.random.default_rng(4).uniform(2, 38, (grid.rows, grid.columns)).astype(np.float32)
    return RangeImage(ranges, grid)


def test_a_view_keeps_the_strip_where_all_its_headings_lie_on_columns(around, tiny_model):
    encoder = Encoder.load(EncoderConfig(model=str(around)))
    turn = panorama(encoder.sidecar)
    for headings in (90, 45, 1):
        view = embedded(encoder, turn, np.eye(4), headings)
        assert view.strip.shape == (2, 90)
        np.testing.assert_array_equal(rounded(view.strip), view.strip)
        assert view.descriptors.shape == (headings, 40)
        np.testing.assert_allclose(view.descriptors, encoder.embed_turns([turn], view.headings)[0], atol=1e-3)
    between = embedded(encoder, turn, np.eye(4), 8)
    assert between.strip is None
    np.testing.assert_array_equal(between.descriptors, encoder.embed_turns([turn], between.headings)[0])
    windows = Encoder.load(EncoderConfig(model=str(tiny_model)))
    assert embedded(windows, turn, np.eye(4), 90).strip is None
    with pytest.raises(ModelError, match="embed_turns"):
        windows.strip(turn)


def test_a_map_is_embedded_anew_with_a_model_that_goes_round_the_turn(tmp_path, around, tiny_model):
    from small_maps import config_of, make_map, route

    from ms2cl_ros.tools.reembed import reembed
    old = make_map(tmp_path / "old.db", config_of(tiny_model), route()[:3])
    config = config_of(around, submaps={"headings": 45}, views={"spacing": 0.0})
    assert reembed(old, tmp_path / "new.db", config).submaps == 3
    encoder = Encoder.load(config.encoder)
    with open_map(tmp_path / "new.db", encoder.sidecar, write=False) as new:
        assert new.check() == []
        view = new.submap(2).views[0]
        again = embedded(encoder, new.panorama(2), view.T_map_base, 45)
        np.testing.assert_allclose(view.descriptors, again.descriptors, atol=1e-3)
        assert {(v.strip.shape, v.descriptors.shape) for _, _, v in new.views_after(0)} == {((2, 90), (45, 40))}


# stores ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["file", "server", "cache"])
def opened(request, tmp_path):
    """Opens the same new map again and again, for writing or reading."""
    place = tmp_path / "m.db" if request.param == "file" else request.getfixturevalue("url")

    def open_it(write: bool) -> Store:
        return open_map(place, AROUND, write, tmp_path / "cache.db" if request.param == "cache" else None)
    return open_it


def test_what_was_written_is_read_back_bit_by_bit(opened, tmp_path):
    with opened(True) as writer:
        kept = writer.add(with_strip(1.0, points=20))
        writer.add_views(kept.id, [seen(2.0, rendered=True), seen(3.0, headings=25, rendered=True)])
        full = writer.add(dataclasses.replace(submap(5.0), views=(dataclasses.replace(seen(5.0), strip=None),)))
        writer.save(tmp_path / "copy.db")
        with opened(False) as reader, open_map(tmp_path / "copy.db", AROUND, write=False) as saved:
            for store in (reader, saved):
                own, *others = store.submap(kept.id).views
                same(own, seen(1.0))
                same(others[0], seen(2.0, rendered=True))
                same(others[1], seen(3.0, headings=25, rendered=True))
                plain, = store.submap(full.id).views
                assert plain.strip is None
                np.testing.assert_array_equal(plain.descriptors, seen(5.0).descriptors)
                found = [view for _, _, view in store.views_after(0)]
                assert [v.strip is None for v in found] == [False, False, False, True]
                same(found[0], seen(1.0))
                assert store.check() == []


def test_strips_reach_another_robot_as_they_were(server, url, tmp_path, hurry):
    with open_map(url, AROUND, True, tmp_path / "a.db") as a, open_map(url, AROUND, True, tmp_path / "b.db") as b:
        kept = a.add(with_strip(1.0, points=5))
        a.add_views(kept.id, [seen(2.0, rendered=True)])
        assert a.settle(30)
        assert b.settle(30)
        own, late = (view for _, _, view in b.views_after(0))
        same(own, seen(1.0))
        same(late, seen(2.0, rendered=True))


def test_a_view_whose_strip_does_not_give_its_descriptors_is_refused_and_nothing_of_it_stays(opened):
    good = seen(1.0)
    raw = np.random.default_rng(0).normal(size=good.strip.shape).astype(np.float32)
    wrong = [dataclasses.replace(good, strip=np.roll(good.strip, 1, axis=1)),
             dataclasses.replace(good, strip=raw, descriptors=looks(raw, np.arange(WIDTH), COLUMNS)),
             dataclasses.replace(good, headings=good.headings + 0.02),
             dataclasses.replace(good, strip=np.full_like(good.strip, np.nan)),
             dataclasses.replace(good, strip=good.strip[:7])]
    with opened(True) as store:
        for view in wrong:
            with pytest.raises(StoreError, match="strip"):
                store.add(dataclasses.replace(submap(1.0), views=(view,)))
        assert store.count() == 0


def test_a_record_with_half_a_strip_fits_no_map():
    record = ViewRecord.of(seen(1.0), 1, np.eye(4))
    assert record.fits(320)
    assert not record.fits(300)
    for blob in (b"", b"\1", record.strip[:4], record.strip[:-2], record.strip + b"\0\0"):
        assert not dataclasses.replace(record, strip=blob).fits(320)
    assert not dataclasses.replace(record, descriptors=b"\0" * 4).fits(320)


@pytest.mark.parametrize("harm", ["bit", "gone", "appeared"])
def test_a_damaged_strip_in_a_file_is_left_out_named_and_dropped(tmp_path, harm):
    with open_map(tmp_path / "m.db", AROUND, write=True) as store:
        for x in (1.0, 2.0, 3.0):
            store.add(with_strip(x))
        if harm == "appeared":
            plain = dataclasses.replace(submap(4.0), views=(dataclasses.replace(seen(4.0), strip=None),))
            store.add(plain)
    with closing(sqlite3.connect(tmp_path / "m.db")) as db:
        blob = bytearray(db.execute("SELECT strip FROM views WHERE id = 2").fetchone()[0])
        blob[1700] ^= 1
        at, value = {"bit": (2, bytes(blob)), "gone": (2, None), "appeared": (4, bytes(blob))}[harm]
        db.execute("UPDATE views SET strip = ? WHERE id = ?", (value, at))
        db.commit()
    line = f"view {at} of submap {at} is damaged (checksum)"
    with open_map(tmp_path / "m.db", AROUND, write=True) as store:
        assert at not in [view.id for _, _, view in store.views_after(0)]
        assert store.damage() == store.check() == [line]
        found = recover(tmp_path / "m.db", tmp_path / "saved.db")
        assert (found.missing_submaps, found.missing_views) == (0, 1)
        assert (store.drop_damaged(), store.check()) == ([line], [])
    with open_map(tmp_path / "saved.db", AROUND, write=False) as saved:
        assert saved.check() == []
        same(saved.submap(3).views[0], seen(3.0))


def test_a_flipped_bit_of_a_strip_on_a_server_is_found(server, url):
    import psycopg
    with open_map(url, AROUND, write=True) as store:
        for x in (1.0, 2.0):
            store.add(with_strip(x))
        with psycopg.connect(url) as db:
            db.execute("UPDATE ms2cl.views SET strip = set_byte(strip, 1700, get_byte(strip, 1700) # 1) WHERE id = 1")
        assert [view.id for _, _, view in store.views_after(0)] == [2]
        line = "view 1 of submap 1 is damaged (checksum)"
        assert (store.check(), store.drop_damaged(), store.check()) == ([line], [line], [])


def test_a_view_of_fifty_headings_takes_less_than_five_kilobytes(tmp_path):
    sizes = {}
    for kind in ("strip", "full"):
        with open_map(tmp_path / f"{kind}.db", AROUND, write=True) as store:
            key = store.add(with_strip(0.0)).id
            before = store.megabytes()
            views = [seen(float(i), rendered=True) for i in range(100)]
            store.add_views(key, views if kind == "strip" else [dataclasses.replace(v, strip=None) for v in views])
            sizes[kind] = (store.megabytes() - before) * 1e6 / 100
    assert sizes["strip"] < 5_000
    assert sizes["full"] > 64_000


# earlier files -----------------------------------------------------------------------------------------------------


VIEWS_2 = """CREATE TABLE old (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    submap INTEGER NOT NULL REFERENCES submaps (id) ON DELETE CASCADE,
    T_submap_view BLOB NOT NULL,    -- base pose of the view in the submap's base frame, 16 float64
    headings BLOB NOT NULL,         -- n float64, radians
    descriptors BLOB NOT NULL,      -- n x D float32
    coarse BLOB,                    -- uint8 range bins, see records.pack_coarse
    rendered INTEGER NOT NULL,
    checksum INTEGER NOT NULL       -- over all columns above
)"""


def to_schema_2(path: Path) -> None:
    """Makes a map what version 2 wrote: the same tables, but no column for strips."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        beside = db.execute("SELECT sql FROM sqlite_master WHERE tbl_name = 'views' AND type <> 'table'").fetchall()
        db.execute(VIEWS_2)
        db.execute("INSERT INTO old SELECT id, submap, T_submap_view, headings, descriptors, coarse, rendered, "
                   "checksum FROM views")
        db.execute("DROP TABLE views")
        db.execute("ALTER TABLE old RENAME TO views")
        for statement, in beside:
            db.execute(statement)
        db.execute("PRAGMA user_version = 2")


def write_schema_2(path: Path, places: list[float]) -> None:
    with open_map(path, MODEL, write=True) as store:
        for x in places:
            store.add(submap(x, points=9))
    to_schema_2(path)


@pytest.mark.parametrize("write", [True, False])
def test_a_file_of_the_second_schema_is_read_and_written_on(tmp_path, write):
    write_schema_2(tmp_path / "old.db", [1.0, 2.0, 3.0])
    with open_map(tmp_path / "old.db", None, write=write) as store:
        assert store.check() == []
        for key, x in ((1, 1.0), (2, 2.0), (3, 3.0)):
            view, = store.submap(key).views
            assert view.strip is None
            np.testing.assert_array_equal(view.descriptors, submap(x).views[0].descriptors)
        if write:
            turn = rounded(np.arange(1, 41, dtype=np.float32)[None])
            headings = headings_around(40) + np.pi / 40  # three columns have their middle within one
            view = View(np.eye(4), headings, looks(turn, first_columns(headings, 40, 3), 3), strip=turn)
            kept = store.add(dataclasses.replace(submap(4.0), views=(view,)))
            assert store.submap(kept.id).views[0].descriptors.tobytes() == view.descriptors.tobytes()
            assert store.check() == []
    with closing(sqlite3.connect(tmp_path / "old.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_cache_of_the_second_schema_goes_on_with_its_server(server, url, tmp_path, hurry):
    with open_map(url, MODEL, True, tmp_path / "c.db") as store:
        store.add(submap(1.0))
        assert store.settle(30)
    to_schema_2(tmp_path / "c.db")
    with open_map(url, MODEL, True, tmp_path / "c.db") as store:
        store.add(submap(2.0))
        assert store.settle(30)
        assert store.check() == []
    with open_map(url, MODEL, write=False) as shared:
        assert (shared.count(), shared.view_count(), shared.check()) == (2, 2, [])
        assert shared.made_with().grid == GRID
