# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is left of a map whose mapper is killed: kill -9 at random moments while submaps stream in.

    python benchmarks/durability.py [--kills 500] [--seed 0] [--folder FOLDER] [--json]

A process of its own streams submaps with points and views into one SQLite map and says which ones it has stored. It
is killed; then the map is opened for writing at once, as the next mapper would, and everything that was said to be
stored is read back and compared with what was given. One round in eight starts with no file, so that some kills hit
the making of it. A kill ends a process, not the machine: what the disk itself loses in a power cut is not tried here.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.maps.records import POINT_STEP
from ms2cl_ros.core.maps.sqlite import SqliteStore
from ms2cl_ros.core.sidecar import CameraInput, Embedding, LidarInput, Sidecar
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap, View

GRID = AngularGrid(16, 20, 5.0, 1.0, 3.6)
SIZE, HEADINGS, POINTS = 64, 8, 2000
MODEL = Sidecar("durability", CameraInput("c", "0", "whole_image", None, (2, 2), ("red",), (0.0,), (1.0,)),
                LidarInput("l", "0", GRID, (16, 20), ("valid",), (0.0,), (1.0,), 1.0, 90.0),
                Embedding(SIZE, 1, "cosine", 10.0), {})


@dataclass
class Result:
    """What happened. `acknowledged`: submaps, and rendered views, that were said to be stored; `lost`: of them."""

    kills: int = 0
    acknowledged: int = 0
    acknowledged_views: int = 0
    lost: int = 0
    unacknowledged_but_there: int = 0
    faults: int = 0
    slowest_opening_s: float = 0.0
    submaps: int = 0
    seconds: float = 0.0


def submap(number: int) -> Submap:
    """The same submap for the same number, different for every other."""
    rng = np.random.default_rng(number)
    T = transform([number * 2.0, 0.0, 0.0])
    ranges = rng.uniform(0, 90, (GRID.rows, GRID.turn_columns)).astype(np.float32)
    return Submap(number, T, np.eye(4), RangeImage(ranges, GRID.panorama()), (view(number, T, False),),
                  points=rng.uniform(-50, 50, (POINTS, 3)).astype(np.float32), sensor="random")


def view(number: int, T: np.ndarray, rendered: bool) -> View:
    """A view with random descriptors of unit length."""
    vectors = np.random.default_rng(number + (10**9 if rendered else 0)).normal(size=(HEADINGS, SIZE))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    coarse = np.full((2, 8), number % 256, np.uint8)
    return View(T @ transform([0.0, 1.75 * rendered, 0.0]), np.arange(HEADINGS) * 0.7, vectors, coarse, rendered)


def stream(path: Path, first: int) -> None:
    """Stores submaps until it is killed, and says after each what is on disk."""
    with SqliteStore.open(path, MODEL, write=True) as store:
        print("open", flush=True)
        for number in range(first, first + 10**6):
            stored = store.add(submap(number))
            print("submap", number, stored.id, flush=True)
            store.add_views(stored.id or 0, [view(number, stored.T_map_base, True)])
            print("views", number, stored.id, flush=True)


def kill_once(path: Path, first: int, rng: random.Random) -> list[list[str]]:
    """Streams into `path`, kills the process at a random moment; returns its words."""
    child = subprocess.Popen([sys.executable, __file__, "--stream", str(path), str(first)], stdout=subprocess.PIPE,
                             text=True)
    assert child.stdout is not None
    if path.exists() and rng.random() < 0.9:
        said = [child.stdout.readline().split()]
        time.sleep(rng.uniform(0.0, 0.5))
    else:
        said = []
        while not path.exists() and child.poll() is None:  # while the file is being made
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.05))
    child.kill()
    said += [line.split() for line in child.stdout if line.endswith("\n")]
    child.wait()
    child.stdout.close()
    return [words for words in said if words]


def verify(path: Path, said: list[list[str]], result: Result) -> None:
    """Opens the map for writing and looks for everything that was acknowledged."""
    began = time.perf_counter()
    with SqliteStore.open(path, MODEL, write=True) as store:
        result.slowest_opening_s = max(result.slowest_opening_s, time.perf_counter() - began)
        there = {key for key, _, _ in store.poses()}
        told = {int(words[2]) for words in said if words[0] == "submap"}
        result.unacknowledged_but_there += len({k for k in there if k > max(told, default=0)}) if told else 0
        for kind, number, key in (words for words in said if words[0] != "open"):
            result.acknowledged += kind == "submap"
            result.acknowledged_views += kind == "views"
            result.lost += int(key) not in there or not same(store.submap(int(key)), int(number), kind == "views")


def same(stored: Submap, number: int, rendered: bool) -> bool:
    """Whether a submap is the one that was given, with its rendered view where that was acknowledged."""
    given = submap(number)
    assert stored.points is not None and given.points is not None
    lattice = [np.rint(np.float64(points) / POINT_STEP) for points in (given.points, stored.points)]
    a, b = (points[np.lexsort(points.T)] for points in lattice)
    wanted = (*given.views, view(number, given.T_map_base, True))[:1 + rendered]
    views = zip(wanted, stored.views)
    return bool(stored.stamp_ns == number and np.array_equal(stored.T_map_base, given.T_map_base)
                and np.abs(stored.panorama.ranges - given.panorama.ranges).max() < 0.0051
                and np.array_equal(a, b)
                and len(stored.views) >= len(wanted)
                and all(np.array_equal(v.descriptors, w.descriptors) and np.array_equal(v.coarse, w.coarse)
                        and np.allclose(v.T_map_base, w.T_map_base) and v.rendered == w.rendered for v, w in views))


def run(folder: Path, kills: int, seed: int, progress: bool = False) -> Result:
    """`kills` rounds in `folder`; at the end every checksum of the map is computed anew."""
    rng, result, began = random.Random(seed), Result(), time.monotonic()
    first, path = 1, folder / "map.db"
    everything: list[list[str]] = []
    for k in range(kills):
        fresh = folder / f"new_{k}.db" if k % 8 == 1 else None
        said = kill_once(fresh or path, first, rng)
        verify(fresh or path, said, result)
        result.kills += 1
        first += 1_000_000
        if fresh is None:
            everything += said
        else:
            for leftover in folder.glob(fresh.name + "*"):
                leftover.unlink()
        if progress and (k + 1) % 25 == 0:
            print(f"{k + 1} kills, {result.acknowledged} submaps acknowledged, {result.lost} lost", file=sys.stderr,
                  flush=True)
    counted = Result()
    verify(path, everything, counted)  # the early ones, after all the later kills
    result.lost += counted.lost
    with SqliteStore.open(path, MODEL, write=True) as store:
        result.faults, result.submaps = len(store.check()), store.count()
    result.seconds = round(time.monotonic() - began, 1)
    return result


def main() -> int:
    """Prints the result; 1 if anything acknowledged is lost or damaged."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the map is made; its disk is what is tried")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stream", nargs=2, metavar=("MAP", "FIRST"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stream:
        stream(Path(args.stream[0]), int(args.stream[1]))
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        result = run(Path(folder), args.kills, args.seed, progress=not args.json)
    if args.json:
        print(json.dumps(asdict(result)))
    else:
        print(f"{result.kills} kills in {result.seconds:.0f} s: {result.acknowledged} submaps and "
              f"{result.acknowledged_views} rendered views acknowledged, {result.lost} lost, {result.faults} faults "
              f"among {result.submaps} submaps; {result.unacknowledged_but_there} were stored and killed before they "
              f"could say so; slowest opening {result.slowest_opening_s * 1e3:.0f} ms")
    return int(result.lost > 0 or result.faults > 0)


if __name__ == "__main__":
    sys.exit(main())
