# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of a shared map on PostgreSQL, and how a map of an earlier version becomes one of this version."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps import schema
from ms2cl_ros.core.maps.server import SCHEMA, Database, Server
from ms2cl_ros.core.sidecar import Sidecar

# `changed` numbers grow with every change, in the order in which changes become visible (see Server.write), so that
# whoever has seen all up to one of them misses nothing by asking for what is greater.
TABLES = """
CREATE TABLE meta (key text PRIMARY KEY, value text NOT NULL);
CREATE TABLE writes (               -- writes of the last days: one that is tried again is not carried out twice
    token uuid PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE SEQUENCE changes;
CREATE SEQUENCE submap_ids;
CREATE SEQUENCE view_ids;
CREATE TABLE sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    robot text NOT NULL,            -- who drove
    name text NOT NULL,
    first_stamp_ns bigint NOT NULL
);
CREATE TABLE submaps (
    id bigint PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,       -- given by who made it: what is pushed again is not stored twice
    session bigint NOT NULL REFERENCES sessions (id),
    stamp_ns bigint NOT NULL,
    t_map_base bytea NOT NULL,      -- 16 float64, row by row
    covariance bytea,               -- 36 float64, or NULL where unknown
    t_base_lidar bytea NOT NULL,
    travelled double precision NOT NULL,
    sensor text NOT NULL,
    checksum bigint NOT NULL,       -- over the columns above but uid
    place point NOT NULL,
    rendered smallint NOT NULL,     -- 1 once views have been rendered around it; 2 where no points are kept
    changed bigint NOT NULL
);
CREATE INDEX submaps_place ON submaps USING gist (place);
CREATE INDEX submaps_changed ON submaps (changed);
CREATE INDEX submaps_session ON submaps (session);
CREATE INDEX submaps_unrendered ON submaps (id) WHERE rendered = 0;
CREATE TABLE scans (
    submap bigint PRIMARY KEY REFERENCES submaps (id) ON DELETE CASCADE,
    panorama bytea NOT NULL,        -- zlib of uint16 centimetres on the map's grid, the whole turn, 0 = no return
    panorama_checksum bigint NOT NULL,
    points bytea,                   -- see records.pack_points
    points_checksum bigint
);
ALTER TABLE scans ALTER panorama SET STORAGE EXTERNAL, ALTER points SET STORAGE EXTERNAL;
CREATE TABLE views (
    id bigint PRIMARY KEY,
    submap bigint NOT NULL REFERENCES submaps (id) ON DELETE CASCADE,
    t_submap_view bytea NOT NULL,   -- base pose of the view in the submap's base frame, 16 float64
    headings bytea NOT NULL,        -- n float64, radians
    coarse bytea,                   -- see records.pack_coarse
    rendered smallint NOT NULL,
    checksum bigint NOT NULL,       -- over the columns above, the descriptors and, where there is one, the strip
    descriptors bytea NOT NULL,     -- n x D float32; empty where a strip is kept
    strip bytea                     -- see records.pack_strip
);
ALTER TABLE views ALTER descriptors SET STORAGE EXTERNAL, ALTER strip SET STORAGE EXTERNAL;
CREATE INDEX views_submap ON views (submap);
CREATE TABLE removed (              -- so that copies of the map learn of it, and nothing removed is pushed again
    uid uuid PRIMARY KEY,
    changed bigint NOT NULL
);
CREATE INDEX removed_changed ON removed (changed);
"""
PAGE = 256  # views brought to this version at a time
FORGET_WRITES = "DELETE FROM writes WHERE at < now() - interval '3 days'"
MAP_EXISTS = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = 'meta'"


def prepare(server: Server, model: Sidecar | None, write: bool) -> dict[str, str]:
    """`meta` of the map, which a writer makes or brings to this version first. Raises StoreError with the remedy."""
    def work(db: Database) -> dict[str, str]:
        if not db.execute(MAP_EXISTS, (SCHEMA,)).fetchone():
            if not write:
                raise StoreError(f"{server.name} is a database, but holds no map: make one with submap_mapper or "
                                 f"`ms2cl map`, or check the name of the database")
            _create(db, server, model)
        meta = dict(db.execute("SELECT key, value FROM meta").fetchall())
        _suits(meta, server.name, model)
        _migrate(db, meta, server.name, write)
        if write:
            db.execute(FORGET_WRITES)
        return meta
    return server.prepare(work) if write else server.read(work)


def _create(db: Database, server: Server, model: Sidecar | None) -> None:
    if model is None:
        raise StoreError(f"{server.name} holds no map yet, and a new map needs a model: make it with `ms2cl map`")
    db.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    db.execute(TABLES)
    rows = [("schema", str(_newest())), *schema.meta(model).items()]
    for row in rows:
        db.execute("INSERT INTO meta VALUES (%s, %s)", row)
    db.execute("INSERT INTO meta VALUES ('uid', gen_random_uuid()::text)")


def _suits(meta: dict[str, str], name: str, model: Sidecar | None) -> None:
    made = meta.get("fingerprint", "")
    if model is not None and made != model.fingerprint:
        raise StoreError(f"{name} was made with model '{meta.get('model')}' ({made[:12]}), not '{model.name}' "
                         f"({model.fingerprint[:12]}): choose that one, compute the map anew with `ms2cl database "
                         "reembed`, or map again into another database")


def _migrate(db: Database, meta: dict[str, str], name: str, write: bool) -> None:
    version, newest = int(meta["schema"]), _newest()
    if version == newest:
        return
    if version > newest:
        raise StoreError(f"{name} has schema {version}, this version reads {newest}: install the version of "
                         "ms2cl_ros that wrote it")
    if not write:
        raise StoreError(f"{name} has schema {version} of an earlier version: open it once for writing with this one, "
                         f"with submap_mapper or `ms2cl map`, which brings it to {newest}; robots with the earlier "
                         "version are then refused")
    for step in STEPS[version - 1:]:
        step(db)
    db.execute("UPDATE meta SET value = %s WHERE key = 'schema'", (str(newest),))
    meta["schema"] = str(newest)


def _newest() -> int:
    return len(STEPS) + 1


def _from_1(db: Database) -> None:
    """Version 1 kept each heading in a row of its own, of pgvector's type, and knew no strips."""
    found = db.execute("SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'").fetchone()
    if found is None:
        raise StoreError("the map is of an earlier version that kept its descriptors by the extension vector, which "
                         "has been dropped: restore a backup of it")
    db.execute("ALTER TABLE views ADD COLUMN descriptors bytea NOT NULL DEFAULT '', ADD COLUMN strip bytea")
    db.execute("ALTER TABLE views ALTER descriptors DROP DEFAULT, ALTER descriptors SET STORAGE EXTERNAL, "
               "ALTER strip SET STORAGE EXTERNAL")
    last: int | None = -2**63
    while last is not None:
        rows = db.execute(
            f"SELECT id, (SELECT string_agg({found[0]}.vector_send(descriptor), ''::bytea ORDER BY number) "
            f"FROM descriptors WHERE view = views.id) FROM views WHERE id > %s ORDER BY id LIMIT {PAGE}", (last,),
            binary=True).fetchall()
        with db.cursor() as cursor:
            cursor.executemany("UPDATE views SET descriptors = %s WHERE id = %s",
                               [(_from_vectors(blob), key) for key, blob in rows])
        last = rows[-1][0] if rows else None
    db.execute("DROP TABLE descriptors")


def _from_vectors(blob: bytes | None) -> bytes:
    """(n, D) little-endian float32 from n vectors as pgvector sends them: D and 0 as uint16, D float32, big-endian."""
    size = int.from_bytes((blob or b"")[:2], "big")
    if not blob or len(blob) % (4 + 4 * size):
        return b""  # its checksum will tell
    return np.frombuffer(blob, "u1").reshape(-1, 4 + 4 * size)[:, 4:].copy().view(">f4").astype("<f4").tobytes()


STEPS: tuple[Callable[[Database], None], ...] = (_from_1,)
"""From version i + 1 to i + 2."""
