# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The index finds what exact search finds, keeps up with the store, and answers while it is built anew."""

import gc
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import faiss
import numpy as np
import pytest

from ms2cl_ros.core import index as module
from ms2cl_ros.core.centring import scores, shift_of
from ms2cl_ros.core.config import IndexConfig
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.index import Index
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.sidecar import CameraInput, Embedding, LidarInput, Sidecar
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap, View
from ms2cl_ros.core.vectors import lists_for, sample_for

D, HEADINGS = 16, 60
GRID = AngularGrid(4, 10, 2.0, 4.0, 9.0)
MODEL = Sidecar("tiny", CameraInput("c", "0", "whole_image", None, (2, 2), ("red",), (0.0,), (1.0,)),
                LidarInput("l", "0", GRID, (4, 10), ("valid",), (0.0,), (1.0,), 1.0, 90.0),
                Embedding(D, 1, "cosine", 10.0), {})
IVF = IndexConfig(kind="ivf")


def unit(seed: int, *shape: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(*shape, D)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def place(number: int) -> np.ndarray:
    """The descriptors of a submap by number, alike for no two of them."""
    return unit(number, HEADINGS)


def seen(number: int, heading: int) -> np.ndarray:
    """What a camera there would see: 0.05 of something else in it."""
    query = place(number)[heading] + 0.05 * unit(10_000 + number)
    return query / np.linalg.norm(query)


def submap(x: float, descriptors: np.ndarray) -> Submap:
    T = transform([x, 2.0, 0.5])
    view = View(T @ transform([0.0, 1.5, 0.0]), np.arange(len(descriptors)) * 0.1, descriptors)
    panorama = RangeImage(np.full((4, 40), 9.0, np.float32), GRID.panorama())
    return Submap(int(x * 1e9), T, transform([0.0, 0.0, 1.7]), panorama, (view,), travelled=x)


def fill(store, numbers):
    return [store.add(submap(float(n), place(n))) for n in numbers]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A map of 20 submaps, 1200 descriptors; not to be written."""
    path = tmp_path_factory.mktemp("index") / "m.db"
    with open_map(path, MODEL, write=True) as writer:
        fill(writer, range(20))
    with open_map(path, MODEL, write=False) as reader:
        yield reader


@pytest.fixture
def store(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        yield writer


def ids(found):
    return [entry.submap_id for _, entry in found]


@pytest.mark.parametrize("quantise", [True, False])
def test_flat_and_clustered_give_the_same_views_headings_and_scores(large, quantise):
    flat, clustered = (Index(large, D, IndexConfig(kind=kind, quantise=quantise)) for kind in ("flat", "ivf"))
    assert flat.refresh() == clustered.refresh() == 20
    assert (flat.exact, clustered.exact) == (True, False)
    assert len(flat) == len(clustered) == 20 * HEADINGS
    for number in range(0, 20, 3):
        a, b = (index.search(seen(number, number % HEADINGS), 5) for index in (flat, clustered))
        assert ids(a) == ids(b)
        assert [e.heading for _, e in a] == [e.heading for _, e in b]
        np.testing.assert_allclose([s for s, _ in a], [s for s, _ in b], atol=1e-6)


def test_scores_are_those_of_the_stored_descriptors(large):
    index = Index(large, D, IVF)
    index.refresh()
    query = unit(99)
    exact = np.array([(place(n) @ query).max() for n in range(20)])
    found = index.search(query, 10)
    np.testing.assert_allclose([s for s, _ in found], np.sort(exact)[::-1][:10], atol=1e-6)
    assert ids(found) == (np.argsort(-exact)[:10] + 1).tolist()


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_a_view_comes_once_and_all_views_come_when_asked_for(large, kind):
    index = Index(large, D, IndexConfig(kind=kind))
    index.refresh()
    assert sorted(ids(index.search(unit(5), 500))) == list(range(1, 21))
    assert index.search(unit(5), 0) == []


def test_many_alike_headings_of_one_view_crowd_out_no_other_view(store):
    alike = np.repeat(unit(1)[None], 200, axis=0)
    store.add(submap(0.0, alike))
    fill(store, range(5, 9))
    index = Index(store, D)
    index.refresh()
    found = index.search(unit(1), 3)
    assert len(set(ids(found))) == 3
    assert ids(found)[0] == 1


def test_an_empty_map_answers_with_nothing(store):
    index = Index(store, D, IVF)
    assert (index.refresh(), len(index), index.search(unit(1), 5)) == (0, 0, [])


def test_the_index_switches_at_the_limit_and_answers_before_while_and_after(store):
    index = Index(store, D, IndexConfig(flat_limit=1100))
    fill(store, range(18))
    index.refresh()
    assert index.exact
    assert not index.building
    fill(store, [18, 19])
    assert index.refresh() == 2
    assert index.building
    assert ids(index.search(seen(19, 3), 1)) == [20]
    fill(store, [20])
    index.wait()
    assert not index.exact
    assert ids(index.search(seen(20, 3), 1)) == [21]
    fill(store, [21])
    assert index.refresh() == 1
    assert [ids(index.search(seen(n, 0), 1)) for n in (0, 19, 21)] == [[1], [20], [22]]


def test_lists_are_made_anew_for_a_map_that_has_grown_much(store, monkeypatch):
    monkeypatch.setattr(module, "FEWEST", 100)
    index = Index(store, D, IVF)
    fill(store, range(2))
    index.refresh()
    planned = index._shelf.vectors.planned
    fill(store, range(2, 11))
    index.refresh()
    index.wait()
    assert (planned, index._shelf.vectors.planned) == (2 * HEADINGS, 11 * HEADINGS)
    assert ids(index.search(seen(10, 1), 1)) == [11]


def test_views_of_another_process_are_seen_by_the_next_refresh(store, tmp_path):
    fill(store, range(3))
    store.close()
    script = ("import sys; sys.path.insert(0, sys.argv[1]); import test_index as t\n"
              "with t.open_map(sys.argv[2], t.MODEL, write=True) as w: t.fill(w, [7])")
    with open_map(tmp_path / "m.db", MODEL, write=False) as reader:
        index = Index(reader, D)
        assert index.refresh() == 3
        folder = str(Path(__file__).parent)
        subprocess.run([sys.executable, "-c", script, folder, str(tmp_path / "m.db")], check=True)
        assert index.refresh() == 1
        assert ids(index.search(seen(7, 0), 1)) == [4]
        assert index.refresh() == 0


def test_a_refresh_takes_over_a_bounded_number_and_the_next_one_goes_on(store, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 3)
    index = Index(store, D)
    fill(store, [0])
    index.refresh()
    fill(store, range(1, 9))
    assert [index.refresh() for _ in range(4)] == [3, 3, 2, 0]


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_a_moved_submap_answers_with_its_new_pose(store, kind):
    fill(store, range(20))
    index = Index(store, D, IndexConfig(kind=kind))
    index.refresh()
    before = index.search(seen(4, 0), 1)[0][1].view.T_map_base
    move = transform([10.0, -3.0, 0.0])
    store.update_poses({5: move @ store.submap(5).T_map_base})
    index.refresh()
    np.testing.assert_allclose(index.search(seen(4, 0), 1)[0][1].view.T_map_base, move @ before, atol=1e-9)


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_removed_views_are_never_answered_again(store, kind):
    fill(store, range(20))
    index = Index(store, D, IndexConfig(kind=kind))
    index.refresh()
    store.remove([2, 3, 20])
    index.refresh()
    assert max(index.search(seen(n, 0), 1)[0][0] for n in (1, 2, 19)) < 0.9  # where it was there: 0.999
    assert sorted(ids(index.search(unit(3), 500))) == sorted(set(range(1, 21)) - {2, 3, 20})


def test_what_was_removed_is_shed_in_the_background(store):
    fill(store, range(20))
    index = Index(store, D, IVF)
    index.refresh()
    store.remove(list(range(1, 17)))
    index.refresh()
    assert ids(index.search(unit(3), 500)) != []
    index.wait()
    assert len(index) == 4 * HEADINGS
    assert index.exact
    store.remove(list(range(17, 21)))
    index.refresh()
    assert index.search(unit(3), 5) == []


@pytest.mark.parametrize("at", [2, 4])
def test_a_damaged_view_is_left_out_and_named_and_the_others_are_found(store, tmp_path, at):
    fill(store, range(4))
    with sqlite3.connect(tmp_path / "m.db") as db:
        blob = bytearray(db.execute("SELECT descriptors FROM views WHERE id = ?", (at,)).fetchone()[0])
        blob[5] ^= 1
        db.execute("UPDATE views SET descriptors = ? WHERE id = ?", (bytes(blob), at))
    index = Index(store, D)
    assert index.refresh() == 3
    assert sorted(ids(index.search(seen(at - 1, 0), 9))) == sorted({1, 2, 3, 4} - {at})
    assert any(f"view {at}" in line for line in store.damage())
    assert index.refresh() == 0
    fill(store, [9])
    assert index.refresh() == 1


def test_a_view_damaged_after_it_was_read_is_not_answered(store, tmp_path):
    fill(store, range(3))
    index = Index(store, D)
    index.refresh()
    with sqlite3.connect(tmp_path / "m.db") as db:
        db.execute("UPDATE views SET T_submap_view = zeroblob(128) WHERE id = 2")
    assert sorted(ids(index.search(seen(1, 0), 9))) == [1, 3]


def test_a_failure_in_the_background_is_raised_by_the_next_refresh_and_tried_again(store, monkeypatch):
    fill(store, range(17))
    index = Index(store, D, IndexConfig(flat_limit=1020))
    index.refresh()
    read = store.views_after

    def failing(*args):
        if threading.current_thread().name == "index":
            raise StoreError("the disk is gone")
        return read(*args)

    monkeypatch.setattr(store, "views_after", failing)
    fill(store, [17])
    index.refresh()
    with pytest.raises(StoreError, match="the disk is gone"):
        index.wait()
    assert ids(index.search(seen(17, 0), 1)) == [18]
    monkeypatch.undo()
    fill(store, [18])
    index.refresh()
    index.wait()
    assert not index.exact


def test_views_are_not_kept_in_memory(large):
    def views() -> int:
        gc.collect()
        return sum(type(thing) is View for thing in gc.get_objects())
    before = views()  # those of other tests
    index = Index(large, D)
    index.refresh()
    assert views() == before


def test_searching_leaves_the_process_its_cores(large):
    index = Index(large, D, IVF)
    before = faiss.omp_get_max_threads()
    index.refresh()
    index.search(unit(1), 3)
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize("rows", [0, 1, 49, 1000, 100_000, 1_200_000, 100_000_000])
def test_lists_are_never_more_than_their_training_sample_bears(rows):
    assert lists_for(rows) >= 1
    assert sample_for(rows) <= rows
    assert lists_for(rows) == 1 or sample_for(rows) >= 50 * lists_for(rows)


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_answers_are_those_of_descriptors_moved_by_what_the_map_has_in_common(large, kind):
    usual = 0.3 * unit(77)
    index = Index(large, D, IndexConfig(kind=kind), usual)
    index.refresh()
    shift = shift_of([place(n)[0] for n in range(20)], usual)
    for number in (2, 11):
        query = seen(number, 7)
        want = np.array([scores(place(n), query, shift).max() for n in range(20)])
        found = index.search(query, 5)
        assert [entry.submap_id - 1 for _, entry in found] == np.argsort(-want)[:5].tolist()
        np.testing.assert_allclose([score for score, _ in found], np.sort(want)[::-1][:5], atol=1e-5)


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_a_map_whose_early_views_are_gone_is_sampled_from_what_is_left(store, monkeypatch, kind):
    monkeypatch.setattr(module, "MANY", 8)
    monkeypatch.setattr(module, "FEW", 1)
    usual = 0.3 * unit(77)
    fill(store, range(80))
    store.remove(list(range(1, 61)))
    index = Index(store, D, IndexConfig(kind=kind), usual)
    index.refresh()
    assert not index.building  # judged from too few, it would be built anew for ever
    shift = shift_of([place(n)[0] for n in range(60, 80, 2)], usual)
    assert index.search(seen(71, 3), 1)[0][0] == pytest.approx(scores(place(71), seen(71, 3), shift).max(), abs=1e-5)


def test_what_a_growing_map_has_in_common_is_asked_again(store, monkeypatch):
    monkeypatch.setattr(module, "FEW", 4)
    usual, index = 0.3 * unit(77), None
    fill(store, range(2))
    index = Index(store, D, usual=usual)
    index.refresh()
    few = index.search(seen(1, 3), 1)[0][0]
    fill(store, range(2, 20))
    index.refresh()
    assert index.building
    index.wait()
    shift = shift_of([place(n)[0] for n in range(20)], usual)
    assert index.search(seen(1, 3), 1)[0][0] == pytest.approx(scores(place(1), seen(1, 3), shift).max(), abs=1e-5)
    assert index.search(seen(1, 3), 1)[0][0] != pytest.approx(few, abs=1e-4)
    assert not index.building
