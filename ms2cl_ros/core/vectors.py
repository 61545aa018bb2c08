# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Inner-product search among many unit descriptors: exact, or clustered. The only file that imports faiss.

Clustered means inverted lists (IVF). A query comes from a camera and lies at a cosine of 0.6 from what it should find,
far outside the cloud of LiDAR descriptors, so many lists must be looked into: about a tenth of 1.2 million descriptors.
The lists are chosen in the few principal directions that hold most of the variance. That finds the same neighbours as
choosing them in all directions and makes building more than three times faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

PROBED_LISTS = 208
LISTS_PER_ROOT = 2.0  # lists for each square root of the number of descriptors
SAMPLE_PER_LIST = 50
ITERATIONS = 6
VARIANCE = 0.9  # share that the directions in which lists are chosen must hold
FEWEST = 1000  # descriptors; fewer are not worth clustering


def lists_for(rows: int) -> int:
    """How many lists `rows` descriptors are sorted into."""
    return max(1, min(round(LISTS_PER_ROOT * rows**0.5), rows // SAMPLE_PER_LIST))


def sample_for(rows: int) -> int:
    """How many descriptors are needed for training lists for `rows`."""
    return min(rows, SAMPLE_PER_LIST * lists_for(rows))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """FAISS uses `count` cores in the calling thread; 0 for all."""
    import faiss
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count or before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class Vectors:
    """Descriptors by row, numbered as they came."""

    def __init__(self, engine: Any, planned: int | None) -> None:
        self._engine, self.planned = engine, planned

    @classmethod
    def flat(cls, size: int) -> Vectors:
        """None yet, searched exactly; (N, size) float32."""
        import faiss
        return cls(faiss.IndexFlatIP(size), None)

    @classmethod
    def clustered(cls, sample: np.ndarray, planned: int, quantise: bool,
                  going: Callable[[], bool] = lambda: True) -> Vectors:
        """None yet, in lists trained on a (n, D) float32 sample, as many as suit `planned` descriptors.

        `quantise`: 8 bits a number, else 32. Training stops early, and is of no use, when `going` says no.
        """
        import faiss
        size, lists = sample.shape[1], lists_for(planned)
        directions = _principal(sample)
        low = directions.apply(sample)
        means = None
        for _ in range(ITERATIONS):
            if not going():
                break
            step = faiss.Kmeans(low.shape[1], lists, niter=1, seed=1, min_points_per_centroid=1,
                                max_points_per_centroid=len(low))
            step.train(low, init_centroids=means)
            means = step.centroids
        coarse = faiss.IndexFlatL2(low.shape[1])
        coarse.add(means if means is not None else low[:lists])
        chooser = faiss.IndexPreTransform(directions, coarse)
        engine: Any
        if quantise:
            engine = faiss.IndexIVFScalarQuantizer(chooser, size, lists, faiss.ScalarQuantizer.QT_8bit,
                                                   faiss.METRIC_INNER_PRODUCT, False)
            engine.sq.rangestat_arg = 0.1  # room for numbers that the sample does not reach
        else:
            engine = faiss.IndexIVFFlat(chooser, size, lists, faiss.METRIC_INNER_PRODUCT)
        engine.train(sample)
        return cls(engine, planned)

    def __len__(self) -> int:
        return self._engine.ntotal

    @property
    def exact(self) -> bool:
        """Whether every descriptor is looked at."""
        return self.planned is None

    def add(self, descriptors: np.ndarray) -> None:
        """Takes (n, D) float32."""
        if len(descriptors):
            self._engine.add(np.ascontiguousarray(descriptors, np.float32))

    def search(self, query: np.ndarray, count: int, everywhere: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(scores, rows) of at most `count` rows for a (D,) descriptor, best first, on one core.

        `everywhere`: in all lists rather than in the likely ones.
        """
        with threads(1):
            if not self.exact:
                self._engine.nprobe = self._engine.nlist if everywhere else min(PROBED_LISTS, self._engine.nlist)
            scores, rows = self._engine.search(np.ascontiguousarray(query, np.float32)[None], count)
        there = rows[0] >= 0
        return scores[0][there], rows[0][there]


def _principal(sample: np.ndarray) -> Any:
    """The rotation onto the fewest principal directions that hold `VARIANCE` of a (n, D) sample."""
    import faiss
    size = sample.shape[1]
    rotation = faiss.PCAMatrix(size, size)
    rotation.train(sample)
    shares = np.cumsum(faiss.vector_to_array(rotation.eigenvalues))
    kept = int(np.searchsorted(shares, VARIANCE * shares[-1])) + 1
    rotation.d_out = min(size, -(-kept // 16) * 16)
    rotation.prepare_Ab()
    return rotation
