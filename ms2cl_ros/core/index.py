# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Nearest descriptors, built and kept up to date from the store.

Of a view only its id and its descriptors are kept here. What is answered is read from the store when it is asked for:
so a moved submap answers with its new pose at once, a removed one not at all, and scores are exact.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ms2cl_ros.core.centring import moved, scores, shift_of, straight_ahead
from ms2cl_ros.core.config import IndexConfig
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.types import View
from ms2cl_ros.core.vectors import FEWEST, Vectors, sample_for, threads

PAGE = 512  # views read at a time
AT_ONCE = 2048  # views that one refresh takes over at most, so that no query waits for thousands
FEW = 64  # views from which the headings of a view are estimated
MANY = 512  # views from which it is estimated what all of the map has in common; it is asked again as the map doubles
STRETCH = 2  # neighbouring views in a training sample: scattered ones tell more, but each place costs a look-up
OUTGROWN = 4  # times as many descriptors as the lists were made for
GONE = 0.2  # share of views that are no longer in the store
SPARE = 4  # views scored exactly beyond those asked for: 8 bits a number blur the order a little


@dataclass(frozen=True)
class Entry:
    """One searchable descriptor: a view of a submap, looked at along one heading."""

    submap_id: int
    view: View
    heading: float
    T_base_lidar: np.ndarray


@dataclass(frozen=True)
class _Page:
    """Views in the order of their ids: `ids` and `counts` (n,) int64, `descriptors` (sum of counts, D) float32."""

    ids: np.ndarray
    counts: np.ndarray
    descriptors: np.ndarray


class _Shelf:
    """Descriptors, and which view each belongs to. `shift`: (D,) that all were moved by, judged from so many views."""

    def __init__(self, vectors: Vectors, shift: np.ndarray, judged: int = 0) -> None:
        self.vectors, self.shift, self.judged = vectors, shift, judged
        self.ids, self.ends = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.gone = np.zeros(0, bool)
        self.last = 0  # the store has been read up to this view id

    def add(self, page: _Page) -> None:
        """Takes the next views."""
        self.vectors.add(moved(page.descriptors, self.shift) if self.shift.any() else page.descriptors)
        ends = np.cumsum(page.counts) + (self.ends[-1] if len(self.ends) else 0)
        self.ids, self.ends = np.concatenate([self.ids, page.ids]), np.concatenate([self.ends, ends])
        self.gone = np.concatenate([self.gone, np.zeros(len(page.ids), bool)])
        self.last = int(page.ids[-1])

    def views(self, rows: np.ndarray) -> list[int]:
        """Positions of the views that rows belong to, each once, in the order of their best row."""
        return list(dict.fromkeys(np.searchsorted(self.ends, rows, side="right").tolist()))


class Index:
    """Inner-product search over every heading of every view.

    Exact up to `config.flat_limit` descriptors, clustered beyond. The store's new views are seen by the next `refresh`.
    What takes long, clustering a map that has grown or shedding what was removed, happens on one core in the
    background; answers go on meanwhile. Only a map found at the start is read in the first `refresh`, on all cores.
    `usual`: (D,) the model's own mean of what a LiDAR sees ahead (`centring.Centre.lidar`); descriptors are moved so
    that the map's lies there, too. One thread at a time.
    """

    def __init__(self, store: Store, size: int, config: IndexConfig | None = None,
                 usual: np.ndarray | None = None) -> None:
        self._store, self._size, self._config, self._usual = store, size, config or IndexConfig(), usual
        self._shelf = _Shelf(Vectors.flat(size), np.zeros(size, np.float32))
        self._revision = store.revision()
        self._builder: _Builder | None = None

    def __len__(self) -> int:
        return len(self._shelf.vectors)

    @property
    def exact(self) -> bool:
        """Whether every descriptor is looked at now."""
        return self._shelf.vectors.exact

    @property
    def building(self) -> bool:
        """Whether a better index is in the making."""
        return self._builder is not None

    def refresh(self) -> int:
        """Takes over what the store has gained; returns how many views were added.

        After the first time at most `AT_ONCE`, the rest at the next calls. Raises StoreError if the store cannot be
        read, also for what happened in the background.
        """
        self._take_over()
        newest = self._store.last_view_id()
        if newest == self._shelf.last and self._store.revision() == self._revision:
            return 0
        before = len(self._shelf.ids)
        if before:
            self._read_on(newest)
        else:
            self._shelf = self._build(0, lambda: True)
            self._shelf.last = max(self._shelf.last, newest)
        self._improve()
        return len(self._shelf.ids) - before

    def wait(self) -> None:
        """Returns when nothing is being built in the background."""
        while self._builder is not None:
            self._builder.join()
            self._take_over()
            self.refresh()

    def search(self, query: np.ndarray, k: int) -> list[tuple[float, Entry]]:
        """The best heading of each of the `k` best views for a (D,) unit descriptor: (cosine, entry), best first.

        Raises StoreError if the store cannot be read.
        """
        shelf, found = self._shelf, dict[int, tuple[float, Entry] | None]()
        query = np.asarray(query, np.float32)
        wanted = k if self.exact else k + SPARE
        count, everywhere = 8 * wanted, False
        while len(self) and k > 0:
            _, rows = shelf.vectors.search(query, min(count, len(self)), everywhere)
            for number in shelf.views(rows):
                if sum(f is not None for f in found.values()) >= wanted:
                    break
                if number not in found:
                    found[number] = self._look_up(number, query)
            whole = everywhere or self.exact
            if sum(f is not None for f in found.values()) >= wanted or (whole and count >= len(self)):
                break
            everywhere = everywhere or len(rows) < count
            count *= 4
        kept = [f for f in found.values() if f is not None]
        return sorted(kept, key=lambda f: -f[0])[:k]

    def _look_up(self, number: int, query: np.ndarray) -> tuple[float, Entry] | None:
        """Exact score and entry of the view at a position; None if it is no longer in the store."""
        shelf = self._shelf
        if shelf.gone[number]:
            return None
        wanted = int(shelf.ids[number])
        for submap, lidar, view in self._store.views_after(wanted - 1, 1):
            if view.id == wanted:
                cosines = scores(view.descriptors, query, shelf.shift)
                best = int(np.argmax(cosines))
                return float(cosines[best]), Entry(submap, view, float(view.headings[best]), lidar)
            shelf.gone[number:np.searchsorted(shelf.ids, view.id or 0)] = True
            return None
        shelf.gone[number:] = True
        return None

    def _read_on(self, newest: int) -> None:
        page = self._page(self._shelf.last, AT_ONCE)
        if page is not None:
            with threads(1):
                self._shelf.add(page)
        if page is None or len(page.ids) < AT_ONCE:
            self._shelf.last = max(self._shelf.last, newest)  # damaged views at the end are not read again and again

    def _page(self, last: int, limit: int) -> _Page | None:
        views = [view for _, _, view in self._store.views_after(last, limit)]
        if not views:
            return None
        return _Page(np.array([view.id for view in views], np.int64),
                     np.array([len(view.headings) for view in views], np.int64),
                     np.concatenate([view.descriptors for view in views]))

    def _pages(self) -> Iterator[_Page]:
        """Everything in the store; the next page is read while the caller works on one."""
        with ThreadPoolExecutor(1) as reader:
            page = self._page(0, PAGE)
            while page is not None:
                following = reader.submit(self._page, int(page.ids[-1]), PAGE)
                yield page
                page = following.result()

    def _build(self, cores: int, going: Callable[[], bool]) -> _Shelf:
        """All that the store holds, read anew, in the kind of index that suits it."""
        shift, judged = self._shift()
        with threads(cores):
            shelf = _Shelf(self._empty(shift, going), shift, judged)
        with threads(1):  # another core reads meanwhile
            for page in self._pages():
                if not going():
                    break
                shelf.add(page)
        return shelf

    def _shift(self) -> tuple[np.ndarray, int]:
        """What the map's looks straight ahead have in common that the model's do not, (D,), and of how many views."""
        if self._usual is None:
            return np.zeros(self._size, np.float32), 0
        views = self._scattered(MANY)
        return shift_of([v.descriptors[straight_ahead(v.headings)] for v in views], self._usual), len(views)

    def _empty(self, shift: np.ndarray, going: Callable[[], bool]) -> Vectors:
        views, few = self._store.view_count(), self._scattered(FEW)
        each = np.mean([len(view.headings) for view in few]) if few else 0.0
        rows = int(views * each)
        if self._suits(rows) == "flat":
            return Vectors.flat(self._size)
        sample = np.concatenate([v.descriptors for v in self._scattered(int(sample_for(rows) / each))])
        return Vectors.clustered(moved(sample, shift), rows, self._config.quantise, going)

    def _scattered(self, views: int) -> list[View]:
        """About so many views from all over the map, or all."""
        starts = np.linspace(0, self._store.last_view_id(), max(1, views // STRETCH), endpoint=False).astype(int)
        found = {view.id: view for start in starts for _, _, view in self._store.views_after(int(start), STRETCH)}
        there = self._store.view_count()
        if 2 * len(found) < min(views, there):  # most ids are gone, as in a pruned map: read through it
            every = max(1, there // views)
            found = {view.id: view for _, _, view in islice(self._store.views_after(0), 0, None, every)}
        return list(found.values())

    def _suits(self, rows: int) -> str:
        if self._config.kind == "flat" or rows < FEWEST:
            return "flat"
        return "ivf" if self._config.kind == "ivf" or rows > self._config.flat_limit else "flat"

    def _improve(self) -> None:
        """Begins to build another index where this one no longer suits."""
        if self._builder is not None:
            return
        vectors, views, revision = self._shelf.vectors, len(self._shelf.ids), self._store.revision()
        shrunk = revision != self._revision and views - self._store.view_count() > GONE * views
        self._revision = revision
        outgrown = len(vectors) > OUTGROWN * (vectors.planned or len(vectors))
        judged = self._shelf.judged
        misjudged = self._usual is not None and judged < MANY / 2 and views > 2 * max(judged, FEW)
        if shrunk or outgrown or misjudged or (self.exact and self._suits(len(vectors)) == "ivf"):
            self._builder = _Builder(self._build)
            self._builder.start()

    def _take_over(self) -> None:
        if self._builder is not None and not self._builder.is_alive():
            done, self._builder = self._builder, None
            self._shelf = done.shelf()


class _Builder(threading.Thread):
    """Builds a shelf on one core; gives up when the process ends."""

    def __init__(self, build: Callable[[int, Callable[[], bool]], _Shelf]) -> None:
        super().__init__(name="index")
        self._build = build
        self._shelf: _Shelf | None = None
        self._failure: Exception | None = None

    def run(self) -> None:
        """The work."""
        try:
            self._shelf = self._build(1, threading.main_thread().is_alive)
        except Exception as e:  # raised where the shelf is asked for
            self._failure = e

    def shelf(self) -> _Shelf:
        """What was built; raises what went wrong."""
        if self._failure is not None:
            raise self._failure
        assert self._shelf is not None
        return self._shelf
