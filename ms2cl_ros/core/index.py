# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Nearest descriptors by FAISS, built and kept up to date from the store. The only file that imports faiss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.store import Store
from ms2cl_ros.core.types import View


@dataclass(frozen=True)
class Entry:
    """One searchable descriptor: a view of a submap, looked at along one heading."""

    submap_id: int
    view: View
    heading: float
    T_base_lidar: np.ndarray


class Index:
    """Exact inner-product search over every heading of every view.

    New views of the store are seen by the next `refresh`; moved or removed submaps rebuild everything.
    """

    def __init__(self, store: Store, size: int) -> None:
        self._store, self._size = store, size
        self._clear(store.revision())

    def _clear(self, revision: int) -> None:
        import faiss
        self._faiss = faiss.IndexFlatIP(self._size)
        self._views: list[tuple[int, np.ndarray, View]] = []
        self._rows: list[tuple[int, int]] = []
        self._last, self._revision = 0, revision

    def __len__(self) -> int:
        return self._faiss.ntotal

    def refresh(self) -> int:
        """Takes over what the store has gained; returns how many views were added."""
        revision = self._store.revision()
        if revision != self._revision:
            self._clear(revision)
        if self._store.last_view_id() == self._last:
            return 0
        fresh = list(self._store.views_after(self._last))
        for item in fresh:
            self._rows += [(len(self._views), h) for h in range(len(item[2].headings))]
            self._views.append(item)
        if fresh:
            self._faiss.add(np.concatenate([view.descriptors for _, _, view in fresh]))
            self._last = fresh[-1][2].id or 0
        return len(fresh)

    def search(self, query: np.ndarray, k: int) -> list[tuple[float, Entry]]:
        """The best heading of each of the `k` best views for a (D,) unit descriptor: (cosine, entry), best first."""
        wanted, found = min(4 * k, len(self)), {}
        while wanted:
            scores, rows = self._faiss.search(query[None].astype(np.float32), wanted)
            found = self._best(scores[0], rows[0])
            if len(found) >= k or wanted == len(self):
                break
            wanted = min(4 * wanted, len(self))
        return list(found.values())[:k]

    def _best(self, scores: np.ndarray, rows: np.ndarray) -> dict[int, tuple[float, Entry]]:
        best: dict[int, tuple[float, Entry]] = {}
        for score, row in zip(scores, rows):
            number, heading = self._rows[row]
            if number not in best:
                submap, lidar, view = self._views[number]
                best[number] = (float(score), Entry(submap, view, float(view.headings[heading]), lidar))
        return best
