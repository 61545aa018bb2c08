# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Insert rate, start-up, memory, query time and recall of a map of N submaps, beside other ways to search it.

    python benchmarks/database.py OUTPUT --shards FOLDER [--submaps 1000 10000 100000] [--descriptors FILE]

One SQLite map grows from size to size in a temporary folder inside OUTPUT, which needs 5 GB for 100,000 submaps and is
removed at the end. At every size each way to search is measured in a process of its own: `start` is from opening the
map to the first answer, memory is what the process holds then and at its highest. Recall is the share of the ten best
views by exact search that are among the ten found. What the descriptors are: see `descriptors.py`.
OUTPUT/database.json keeps the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from beside import K, exact, hnsw, percentiles, pgvector, timed
from descriptors import World, obtain

from ms2cl_ros.core import sidecar
from ms2cl_ros.core.config import EncoderConfig, IndexConfig
from ms2cl_ros.core.encoder import model_folder
from ms2cl_ros.core.index import Index
from ms2cl_ros.core.maps.database import open_map

WAYS = ("index", "exact", "hnsw", "pgvector")
TIMED_EXACT = 50


def memory(key: str) -> float:
    """Megabytes of this process: `VmRSS` now, `VmHWM` at its highest."""
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(key + ":"))
    return int(line.split()[1]) / 1e3


def use_index(store: Any, queries: np.ndarray, size: int) -> dict[str, Any]:
    """The product's own index, as a node has it."""
    began, worked = time.perf_counter(), time.process_time()
    index = Index(store, size, IndexConfig())
    index.refresh()
    index.search(queries[0], K)
    start = {"start_s": time.perf_counter() - began, "start_cpu_s": time.process_time() - worked}

    def search(query: np.ndarray) -> list[int]:
        index.refresh()
        return [entry.view.id or 0 for _, entry in index.search(query, K)]

    found, spent = timed(search, queries)
    return {**start, **percentiles(spent), "kind": "flat" if index.exact else "ivf", "found": found}


def measure(way: str, path: Path, queries_file: Path, model: str) -> dict[str, Any]:
    """One way on one map, in this process."""
    queries, before = np.load(queries_file), memory("VmRSS")
    contract = sidecar.load(model_folder(model))
    with open_map(path, contract, write=False) as store:
        if way == "index":
            out = use_index(store, queries, contract.embedding.size)
        elif way == "exact":
            out = exact(store, queries, TIMED_EXACT)
        else:
            out = {"hnsw": hnsw, "pgvector": pgvector}[way](store, queries)
    return out | {"rss_mb": memory("VmRSS"), "peak_mb": memory("VmHWM"), "before_mb": before}


def apart(way: str, path: Path, queries: Path, model: str) -> dict[str, Any]:
    """`measure` in a process of its own."""
    answer = path.with_name(f"{way}.json")
    command = [sys.executable, __file__, str(answer), "--measure", way, str(path), str(queries), "--model", model]
    done = subprocess.run(command, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    return json.loads(answer.read_text()) if done.returncode == 0 else {"left_out": f"exit code {done.returncode}"}


def recall(found: list[list[int]], truth: list[list[int]]) -> float:
    """Share of the true views among those found."""
    return float(np.mean([len(set(f[:K]) & set(t)) / len(t) for f, t in zip(found, truth)]))


def place_recall(found: list[list[int]], submaps: list[int]) -> float:
    """Share of queries whose best view is one of the five submaps of the place that the camera was at."""
    return float(np.mean([(f[0] - 1) // 5 == number // 5 for f, number in zip(found, submaps)]))


def grow(store: Any, world: World, upto: int) -> dict[str, float]:
    """Adds views up to that many, a submap a transaction; the world's own time is not counted."""
    spent = []
    for number in range(store.view_count(), upto, world.views_each):
        submap = world.submap(number)
        others = [world.view(n) for n in range(number + 1, number + world.views_each)]
        began = time.perf_counter()
        stored = store.add(submap)
        if others:
            store.add_views(stored.id, others)
        spent.append(time.perf_counter() - began)
    return {"inserts_per_s": len(spent) / sum(spent), "insert_p50_ms": float(np.percentile(spent, 50) * 1e3),
            "insert_p95_ms": float(np.percentile(spent, 95) * 1e3), "map_mb": store.megabytes()}


def table(rows: list[dict[str, Any]]) -> str:
    """A line for every size and way."""
    lines = [f"{'submaps':>8s} {'way':9s} {'start s':>8s} {'RSS MB':>7s} {'peak MB':>8s} {'p50 ms':>8s} {'p95 ms':>8s} "
             f"{'CPU p95':>8s} {'recall@10':>9s}"]
    for row in rows:
        if "left_out" in row:
            lines.append(f"{row['submaps']:8d} {row['way']:9s} left out: {row['left_out']}")
            continue
        name = row["way"] + (f" {row['kind']}" if "kind" in row else "")
        lines.append(f"{row['submaps']:8d} {name:9s} {row['start_s']:8.2f} {row['rss_mb']:7.0f} {row['peak_mb']:8.0f} "
                     f"{row['p50_ms']:8.2f} {row['p95_ms']:8.2f} {row['cpu_p95_ms']:8.2f} {row['recall']:9.4f}")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Grows the map from size to size and measures every way at each."""
    model = sidecar.load(model_folder(args.model))
    windows = obtain(args.descriptors, args.shards, EncoderConfig(model=args.model))
    world = World(windows, model, args.headings, args.points, args.seed, args.views_each)
    args.output.mkdir(parents=True, exist_ok=True)
    out: dict[str, Any] = {"windows": len(windows["map"]), "headings": args.headings, "points": args.points,
                           "views_each": args.views_each, "seed": args.seed, "queries": args.queries,
                           "inserts": [], "searches": []}
    with tempfile.TemporaryDirectory(dir=args.output) as folder:
        path = Path(folder) / "map.db"
        for submaps in sorted(args.submaps):
            with open_map(path, model, write=True) as store:
                out["inserts"].append({"submaps": submaps, **grow(store, world, submaps)})
            print(f"{submaps} submaps: " + ", ".join(f"{k} {v:.1f}" for k, v in out["inserts"][-1].items()), flush=True)
            rng = np.random.default_rng([args.seed, submaps])
            at, towards = rng.integers(0, submaps, args.queries), rng.integers(0, args.headings, args.queries)
            queries = Path(folder) / "queries.npy"
            np.save(queries, np.stack([world.query(int(a), int(t)) for a, t in zip(at, towards)]))
            out["searches"] += compare(args, path, queries, submaps, at.tolist())
            (args.output / "database.json").write_text(json.dumps(out, indent=1))
    return out


def compare(args: argparse.Namespace, path: Path, queries: Path, submaps: int, at: list[int]) -> list[dict[str, Any]]:
    """Every way at one size; exact search comes first, as the truth."""
    rows: list[dict[str, Any]] = []
    truth: list[list[int]] = []
    for way in ("exact", *[w for w in args.ways if w != "exact"]):
        row = {"submaps": submaps, "way": way}
        if way in ("hnsw", "pgvector") and submaps > args.graph_limit:
            row["left_out"] = f"building a graph takes too long beyond {args.graph_limit} submaps (--graph-limit)"
        else:
            row |= apart(way, path, queries, args.model)
        if "found" in row:
            found = row.pop("found")
            truth = truth or found
            row |= {"recall": recall(found, truth), "place_recall@1": place_recall(found, at)}
        rows.append(row)
        print(table([row]).splitlines()[1], flush=True)
    return rows


def main() -> None:
    """Prints a line for every size and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder for figures and, while it runs, for the map")
    parser.add_argument("--shards", type=Path, help="folder of training shards of the synthetic city")
    parser.add_argument("--descriptors", type=Path, help="their descriptors: read where the file exists, else written")
    parser.add_argument("--model", default=EncoderConfig().model)
    parser.add_argument("--submaps", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--headings", type=int, default=12)
    parser.add_argument("--points", type=int, default=0, help="points kept with each submap")
    parser.add_argument("--views-each", type=int, default=1,
                        help="views of a submap; sizes count views then, and big maps are made sooner")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--graph-limit", type=int, default=10_000, help="largest map for which HNSW graphs are built")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "MAP", "QUERIES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        way, path, queries = args.measure
        args.output.write_text(json.dumps(measure(way, Path(path), Path(queries), args.model)))
        return
    out = run(args)
    print(table(out["searches"]))


if __name__ == "__main__":
    main()
