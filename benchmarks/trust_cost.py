#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one update of the belief costs in maps of many submaps: search, comparison with ranges, belief and decision.

    python benchmarks/trust_cost.py [--submaps 1000 10000 100000] [--headings 12] [--updates 200] [--json FILE]

The map is drawn, not driven: a view a submap, descriptors and ranges at random, places 10 m apart. A robot drives
through it at 8 m/s, 10 images a second; each picture resembles its place, so that it is found in most images. Told are
milliseconds by the wall (median and 95th percentile) and of processor time (median), of the updates after the first
fifth, when the belief is as full as it gets; drawing 40 views anew is part of the search and costs 2 to 3 ms.
`hypotheses`: the most that were kept.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from beside import percentiles

from ms2cl_ros.core.calibration import RangeLikelihood
from ms2cl_ros.core.config import IndexConfig, TrustConfig
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.index import Index
from ms2cl_ros.core.mapper import headings_around
from ms2cl_ros.core.retrieval import candidates
from ms2cl_ros.core.sidecar import RangeMap
from ms2cl_ros.core.trust import Trust
from ms2cl_ros.core.types import StampedPose, View
from ms2cl_ros.core.verification import Verifier

SIZE, CANDIDATES, PERIOD_NS = 320, 10, 100_000_000
RANGES = RangeMap(24, 80, 32, 2.0, 90.0)
TURN = 400
PLACE, SPEED = 10.0, 8.0
# Cosine of a picture and its place; that of others is normal with a deviation of 1 / 18.
ALIKE = 0.3
STAGES = ("search", "ranges", "belief", "update")
Clock = tuple[float, float]
T_CAMERA = transform([0.0, 0.0, 1.6], [-0.5, 0.5, -0.5, 0.5])


class Drawn:
    """A map that draws each view from its id whenever it is asked for; what an `Index` wants of a store."""

    def __init__(self, submaps: int, headings: int) -> None:
        self._submaps, self._around = submaps, headings_around(headings)

    def revision(self) -> int:
        """Never changes."""
        return 0

    def last_view_id(self) -> int:
        """The last submap's."""
        return self._submaps

    def view_count(self) -> int:
        """One a submap."""
        return self._submaps

    def view(self, key: int) -> View:
        """In rows of 100 places."""
        rng = np.random.default_rng(key)
        descriptors = rng.normal(size=(len(self._around), SIZE)).astype(np.float32)
        descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
        row, column = divmod(key, 100)
        return View(transform([PLACE * column, PLACE * row, 0.0]), self._around, descriptors,
                    rng.integers(0, RANGES.bins + 1, (RANGES.rows, TURN), np.uint8), id=key)

    def views_after(self, last: int, limit: int | None = None) -> Iterator[tuple[int, np.ndarray, View]]:
        """In order."""
        end = self._submaps if limit is None else min(self._submaps, last + limit)
        for key in range(last + 1, end + 1):
            yield key, np.eye(4), self.view(key)


def picture(store: Drawn, key: int, rng: np.random.Generator) -> np.ndarray:
    """(SIZE,) like the view of a place, straight ahead."""
    noise = rng.normal(size=SIZE)
    mixed = ALIKE * store.view(key).descriptors[0] + np.sqrt(1.0 - ALIKE**2) * noise / np.linalg.norm(noise)
    return (mixed / np.linalg.norm(mixed)).astype(np.float32)


def measure(submaps: int, headings: int, updates: int) -> dict[str, Any]:
    """Milliseconds by stage."""
    store, rng = Drawn(submaps, headings), np.random.default_rng(1)
    began = time.perf_counter()
    index = Index(store, SIZE, IndexConfig())  # type: ignore[arg-type]
    index.refresh()
    index.wait()
    start = time.perf_counter() - began
    prior = np.full((RANGES.bins + 1, RANGES.rows), 1.0 / (RANGES.bins + 1))
    verifier = Verifier(RANGES, RangeLikelihood(np.full((2, RANGES.rows), 0.01), prior))
    trust, spent, most = Trust(TrustConfig(), None, 30.0), {stage: list[Clock]() for stage in STAGES}, 0
    for i in range(updates):
        key = 1 + int(i * SPEED * PERIOD_NS / 1e9 / PLACE) % submaps
        query, logits = picture(store, key, rng), rng.normal(size=(RANGES.bins + 1, RANGES.rows, RANGES.columns))
        lap = [clock()]

        def compared(coarse: np.ndarray, around: np.ndarray, logits: np.ndarray = logits,
                     lap: list[Clock] = lap) -> Any:
            lap.append(clock())
            out = verifier.score(logits, coarse, around)
            lap.append(clock())
            return out

        found = candidates(index, query, 0.0, T_CAMERA, CANDIDATES, compared)
        odometry = StampedPose(i * PERIOD_NS, transform([i * SPEED * PERIOD_NS / 1e9, 0.0, 0.0]))
        lap.append(clock())
        trust.judge(trust.weigh(found), i * PERIOD_NS, odometry, query)
        lap.append(clock())
        most = max(most, len(trust.belief.hypotheses))
        begin, before, after, judged, end = lap
        for stage, (a, b) in zip(STAGES, ((begin, before), (before, after), (judged, end), (begin, end))):
            spent[stage].append((b[0] - a[0], b[1] - a[1]))
    kept = {stage: percentiles(values[updates // 5:]) for stage, values in spent.items()}
    return {"submaps": submaps, "headings": headings, "index": "flat" if index.exact else "ivf",
            "index_start_s": round(start, 2), "updates": updates - updates // 5, "hypotheses": most, "ms": kept}


def clock() -> Clock:
    """Seconds by the wall, and of this process's processor time."""
    return time.perf_counter(), time.process_time()


def main() -> None:
    """Prints a line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submaps", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--headings", type=int, default=12)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    out = []
    for submaps in args.submaps:
        one = measure(submaps, args.headings, args.updates)
        out.append(one)
        stages = "  ".join(f"{s} {one['ms'][s]['p50_ms']:.2f} (p95 {one['ms'][s]['p95_ms']:.2f}, processor "
                           f"{one['ms'][s]['cpu_p50_ms']:.2f}) ms" for s in STAGES)
        print(f"{submaps:7d} submaps x {args.headings} headings, {one['index']}: {stages}, "
              f"{one['hypotheses']} hypotheses", flush=True)
    if args.json:
        args.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
