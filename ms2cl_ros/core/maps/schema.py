# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of an SQLite map, and how a map of an earlier version becomes one of this version."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.records import DAMAGED, checksum, unpack_matrix
from ms2cl_ros.core.maps.store import MadeWith
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.types import AngularGrid

APPLICATION_ID = 0x4D53324C  # "MS2L"
VERSION = 3
STRIP = 64.0  # metres
TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, first_stamp_ns INTEGER NOT NULL);
CREATE TABLE submaps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions (id),
    stamp_ns INTEGER NOT NULL,
    T_map_base BLOB NOT NULL,       -- 16 float64, row by row
    covariance BLOB,                -- 36 float64, or NULL where unknown
    T_base_lidar BLOB NOT NULL,
    travelled REAL NOT NULL,        -- metres since the session began
    sensor TEXT NOT NULL,
    checksum INTEGER NOT NULL,      -- over all columns above
    strip INTEGER NOT NULL,         -- x / 64 m, rounded down; with y the place on the map, for `near`
    y REAL NOT NULL,
    rendered INTEGER NOT NULL       -- 1 once views have been rendered around it; 2 where no points are kept
);
CREATE INDEX submaps_place ON submaps (strip, y);
CREATE INDEX submaps_session ON submaps (session);
CREATE INDEX submaps_unrendered ON submaps (id) WHERE rendered = 0;
CREATE TABLE scans (                -- apart from submaps, whose rows stay short and quick to walk through
    submap INTEGER PRIMARY KEY REFERENCES submaps (id) ON DELETE CASCADE,
    panorama BLOB NOT NULL,         -- zlib of uint16 centimetres on the map's grid, the whole turn, 0 = no return
    panorama_checksum INTEGER NOT NULL,
    points BLOB,                    -- on a 5 mm lattice, see records.pack_points
    points_checksum INTEGER
);
CREATE TABLE views (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    submap INTEGER NOT NULL REFERENCES submaps (id) ON DELETE CASCADE,
    T_submap_view BLOB NOT NULL,    -- base pose of the view in the submap's base frame, 16 float64
    headings BLOB NOT NULL,         -- n float64, radians
    descriptors BLOB NOT NULL,      -- n x D float32; empty where a strip is kept
    coarse BLOB,                    -- uint8 range bins, see records.pack_coarse
    rendered INTEGER NOT NULL,
    checksum INTEGER NOT NULL,      -- over all columns above and, where there is one, the strip
    strip BLOB                      -- float16 numbers by azimuth column, see records.pack_strip and core.strips
);
CREATE INDEX views_submap ON views (submap);
"""


def statements() -> list[str]:
    """The statements that make the tables of this version."""
    return [s for s in TABLES.split(";\n") if s.strip()]


MADE_WITH = ("model", "fingerprint", "grid", "size", "checksum")


def meta(model: Sidecar) -> dict[str, str]:
    """What a new map remembers of the model that makes it."""
    out = {"model": model.name, "fingerprint": model.fingerprint, "revision": "0",
           "grid": json.dumps(dataclasses.asdict(model.lidar.grid)), "size": str(model.embedding.size)}
    return out | {"checksum": _meta_checksum(out)}


def _meta_checksum(values: dict[str, str]) -> str:
    return str(checksum(*(values.get(key) for key in ("model", "fingerprint", "grid", "size"))))


def sound(values: dict[str, str]) -> bool:
    """Whether `meta` says what was written."""
    return values.get("checksum") == _meta_checksum(values) and values.get("revision", "").isdigit()


def grid(text: str) -> AngularGrid:
    """The grid of the map's range images, from `meta`."""
    return AngularGrid(**json.loads(text))


def made_with(values: dict[str, str]) -> MadeWith:
    """The model that made the map, from `meta`."""
    return MadeWith(values["model"], values["fingerprint"], int(values["size"]), grid(values["grid"]))


def place(T_map_base: np.ndarray) -> tuple[int, float]:
    """(strip, y) of a pose."""
    return int(np.floor(T_map_base[0, 3] / STRIP)), float(T_map_base[1, 3])


def migrate(db: Any, version: int, model: Sidecar | None) -> None:
    """Brings a map of an earlier version to this one; the caller's transaction is around it. Raises StoreError."""
    while version < VERSION:
        STEPS[version](db, model)
        version += 1
    db.execute(f"PRAGMA user_version = {VERSION}")


def _from_1(db: Any, model: Sidecar | None) -> None:
    """Version 1 kept range images beside poses, knew no points, coarse maps, sensors, nor names of sessions."""
    fingerprint, = db.execute("SELECT value FROM meta WHERE key = 'fingerprint'").fetchone()
    if model is None or model.fingerprint != fingerprint:
        raise StoreError("it was made by an earlier version and does not say what grid its range images have: "
                         "open it once with the model that made it, with submap_mapper or `ms2cl map`")
    db.execute("DROP INDEX views_submap")
    for table in ("sessions", "submaps", "views"):
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in statements():
        if not statement.lstrip().startswith("CREATE TABLE meta"):
            db.execute(statement)
    db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", meta(model).items())
    db.execute("INSERT INTO sessions SELECT id, '', first_stamp_ns FROM old_sessions")
    _submaps_from_1(db)
    _views_from_1(db)
    for table in ("old_views", "old_submaps", "old_sessions"):
        db.execute(f"DROP TABLE {table}")


def _submaps_from_1(db: Any) -> None:
    columns = "id, session, stamp_ns, T_map_base, covariance, T_base_lidar, travelled"
    for *fields, panorama, old in db.execute(f"SELECT {columns}, panorama, checksum FROM old_submaps ORDER BY id"):
        sound = _crc(*fields[3:6], panorama) == old
        db.execute("INSERT INTO submaps VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, 2)",
                   (*fields, checksum(*fields, "") if sound else DAMAGED, *place(unpack_matrix(fields[3]))))
        db.execute("INSERT INTO scans VALUES (?, ?, ?, NULL, NULL)",
                   (fields[0], panorama, checksum(fields[0], panorama) if sound else DAMAGED))


def _views_from_1(db: Any) -> None:
    for *fields, old in db.execute("SELECT id, submap, T_submap_view, headings, descriptors, checksum "
                                   "FROM old_views ORDER BY id"):
        sound = _crc(*fields[2:]) == old
        db.execute("INSERT INTO views VALUES (?, ?, ?, ?, ?, NULL, 0, ?, NULL)",
                   (*fields, checksum(*fields, None, 0) if sound else DAMAGED))


def _crc(*blobs: bytes | None) -> int:
    value = 0
    for blob in blobs:
        value = zlib.crc32(blob or b"", value)
    return value


def _from_2(db: Any, _: Sidecar | None) -> None:
    """Version 2 knew no strips; its descriptors stay as they are. Tables that came from version 1 are new already."""
    if not db.execute("SELECT 1 FROM pragma_table_info('views') WHERE name = 'strip'").fetchone():
        db.execute("ALTER TABLE views ADD COLUMN strip BLOB")


STEPS: dict[int, Callable[[Any, Sidecar | None], None]] = {1: _from_1, 2: _from_2}
