# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The map on disk: one SQLite file in WAL mode, one transaction a submap, one writer, any number of readers."""

from __future__ import annotations

import dataclasses
import fcntl
import io
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import inverse
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap, View

APPLICATION_ID = 0x4D53324C  # "MS2L"
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (id INTEGER PRIMARY KEY AUTOINCREMENT, first_stamp_ns INTEGER NOT NULL);
CREATE TABLE submaps (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session INTEGER NOT NULL REFERENCES sessions (id),
    stamp_ns INTEGER NOT NULL,
    T_map_base BLOB NOT NULL,       -- 16 float64, row by row
    covariance BLOB,                -- 36 float64, or NULL where unknown
    T_base_lidar BLOB NOT NULL,
    travelled REAL NOT NULL,        -- metres since the session began
    panorama BLOB NOT NULL,         -- zlib of uint16 centimetres on the LiDAR grid's whole turn, 0 = no return
    checksum INTEGER NOT NULL       -- crc32 of the blobs
);
CREATE TABLE views (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    submap INTEGER NOT NULL REFERENCES submaps (id) ON DELETE CASCADE,
    T_submap_view BLOB NOT NULL,    -- base pose of the view in the submap's base frame, 16 float64
    headings BLOB NOT NULL,         -- n float64, radians
    descriptors BLOB NOT NULL,      -- n x D float32
    checksum INTEGER NOT NULL
);
CREATE INDEX views_submap ON views (submap);
"""


def _crc(*blobs: bytes | None) -> int:
    value = 0
    for blob in blobs:
        value = zlib.crc32(blob or b"", value)
    return value


def _f64(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f8").tobytes()


def _matrix(blob: bytes) -> np.ndarray:
    return np.frombuffer(blob, "<f8").reshape(4, 4).copy()


def pack(image: RangeImage) -> bytes:
    """A range image as compressed centimetres; 655.35 m is the farthest that can be kept."""
    centimetres = np.clip(np.rint(image.ranges * 100.0), 0, 65535).astype("<u2")
    return zlib.compress(centimetres.tobytes(), 1)


def unpack(blob: bytes, grid: AngularGrid) -> RangeImage:
    """Inverse of `pack`, within 5 mm."""
    centimetres = np.frombuffer(zlib.decompress(blob), "<u2").reshape(grid.rows, grid.columns)
    return RangeImage(centimetres.astype(np.float32) / 100.0, grid)


class Store:
    """Submaps and their views. Every `StoreError` names the file and the remedy."""

    def __init__(self, path: Path, connection: sqlite3.Connection, model: Sidecar, lock: io.TextIOBase | None) -> None:
        self.path, self._db, self._lock, self._model = path, connection, lock, model
        self._mutex = threading.RLock()
        self._session: int | None = None

    @classmethod
    def open(cls, path: str | Path, model: Sidecar, write: bool) -> Store:
        """Opens a map made with `model`; a writer makes the file if it is missing. Raises StoreError."""
        path = Path(path).expanduser()
        if not write and not path.is_file():
            raise StoreError(f"no map at {path}: make one with submap_mapper or `ms2cl map BAG -o {path}`")
        lock = _writer_lock(path) if write else None
        try:
            db = sqlite3.connect(f"{path.resolve().as_uri()}?mode={'rwc' if write else 'ro'}", uri=True, timeout=10.0,
                                 isolation_level=None, check_same_thread=False)
            store = cls(path, db, model, lock)
            store._prepare(write)
            return store
        except sqlite3.Error as e:
            if lock is not None:
                lock.close()
            raise StoreError(f"cannot open the map {path}: {e}") from e
        except StoreError:
            if lock is not None:
                lock.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and lets another writer in."""
        with self._mutex:
            self._db.close()
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def _prepare(self, write: bool) -> None:
        if write:
            empty = not self._db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._db.execute(f"PRAGMA {pragma}")
            if empty:
                self._create()
        self._verify()

    def _create(self) -> None:
        meta = {"model": self._model.name, "fingerprint": self._model.fingerprint, "revision": "0"}
        with self._transaction():
            self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            for statement in SCHEMA.split(";\n"):
                self._db.execute(statement)
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())

    def _verify(self) -> None:
        application, = self._db.execute("PRAGMA application_id").fetchone()
        version, = self._db.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise StoreError(f"{self.path} is an SQLite file, but no map of ms2cl_ros")
        if version != SCHEMA_VERSION:
            raise StoreError(f"{self.path} has schema {version}, this version reads {SCHEMA_VERSION}: "
                             "install the version of ms2cl_ros that wrote it, or map again")
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if meta["fingerprint"] != self._model.fingerprint:
            raise StoreError(f"{self.path} was made with model '{meta['model']}' ({meta['fingerprint'][:12]}), not "
                             f"'{self._model.name}' ({self._model.fingerprint[:12]}): choose that one, or map again")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._mutex:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # a full disk has rolled back already
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _read(self, sql: str, *values: Any) -> list[tuple]:
        try:
            with self._mutex:
                return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as e:
            raise StoreError(f"cannot read the map {self.path}: {e}") from e

    def add(self, submap: Submap) -> Submap:
        """Stores a submap with its views in one transaction; on return it is on disk. Returns it with its ids.

        Raises StoreError if it could not be written (disk full, read only, ...); the map is then as before.
        """
        try:
            with self._transaction():
                stored = self._insert(dataclasses.replace(submap, session=self._session or self._begin(submap)))
            self._session = stored.session
            return stored
        except sqlite3.Error as e:
            raise StoreError(f"cannot write to the map {self.path}: {e}; the submap of stamp {submap.stamp_ns} "
                             "is not stored, what was stored before is untouched") from e

    def _begin(self, submap: Submap) -> int:
        """A new session's number; each writer is one session."""
        sql = "INSERT INTO sessions (first_stamp_ns) VALUES (?)"
        return self._db.execute(sql, (submap.stamp_ns,)).lastrowid or 0

    def _insert(self, submap: Submap) -> Submap:
        covariance = None if submap.covariance is None else _f64(submap.covariance)
        blobs = (_f64(submap.T_map_base), covariance, _f64(submap.T_base_lidar))
        panorama = pack(submap.panorama)
        row = self._db.execute(
            "INSERT INTO submaps (session, stamp_ns, T_map_base, covariance, T_base_lidar, travelled, panorama, "
            "checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (submap.session, submap.stamp_ns, *blobs, submap.travelled, panorama, _crc(*blobs, panorama))).lastrowid
        views = []
        for view in submap.views:
            relative = _f64(inverse(submap.T_map_base) @ view.T_map_base)
            headings, descriptors = _f64(view.headings), np.ascontiguousarray(view.descriptors, "<f4").tobytes()
            key = self._db.execute(
                "INSERT INTO views (submap, T_submap_view, headings, descriptors, checksum) VALUES (?, ?, ?, ?, ?)",
                (row, relative, headings, descriptors, _crc(relative, headings, descriptors))).lastrowid
            views.append(dataclasses.replace(view, id=key))
        return dataclasses.replace(submap, id=row, views=tuple(views))

    def count(self) -> int:
        """How many submaps the map holds."""
        return self._read("SELECT count(*) FROM submaps")[0][0]

    def last_view_id(self) -> int:
        """The newest view's id, 0 in an empty map."""
        return self._read("SELECT coalesce(max(id), 0) FROM views")[0][0]

    def revision(self) -> int:
        """A number that changes when stored submaps are moved or removed, not when new ones are added."""
        return int(self._read("SELECT value FROM meta WHERE key = 'revision'")[0][0])

    def poses(self) -> list[tuple[int, int, np.ndarray]]:
        """(id, stamp_ns, T_map_base) of every submap, oldest first."""
        rows = self._read("SELECT id, stamp_ns, T_map_base FROM submaps ORDER BY id")
        return [(key, stamp, _matrix(pose)) for key, stamp, pose in rows]

    def views_after(self, last_view_id: int) -> Iterator[tuple[int, np.ndarray, View]]:
        """(submap id, T_base_lidar, view) of every view stored after `last_view_id`, oldest first.

        Raises StoreError if a view's checksum does not fit: it is never searched in silence.
        """
        rows = self._read(
            "SELECT v.id, s.id, s.T_map_base, s.T_base_lidar, v.T_submap_view, v.headings, v.descriptors, v.checksum "
            "FROM views v JOIN submaps s ON s.id = v.submap WHERE v.id > ? ORDER BY v.id", last_view_id)
        for key, submap, pose, lidar, relative, headings, descriptors, checksum in rows:
            if _crc(relative, headings, descriptors) != checksum:
                raise StoreError(f"view {key} of the map {self.path} is damaged (checksum): restore a copy")
            angles = np.frombuffer(headings, "<f8")
            vectors = np.frombuffer(descriptors, "<f4").reshape(len(angles), -1)
            yield submap, _matrix(lidar), View(_matrix(pose) @ _matrix(relative), angles, vectors, key)

    def panorama(self, submap_id: int) -> RangeImage:
        """The stored range image of a submap, the whole turn; raises StoreError if there is no such submap."""
        rows = self._read("SELECT panorama FROM submaps WHERE id = ?", submap_id)
        if not rows:
            raise StoreError(f"the map {self.path} has no submap {submap_id}")
        return unpack(rows[0][0], self._model.lidar.grid.panorama())


def _writer_lock(path: Path) -> io.TextIOBase:
    """Holds `<map>.lock` for as long as the returned file is open, so that a second writer is refused."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path.with_name(path.name + ".lock"), "w")  # noqa: SIM115 - held open on purpose
    except OSError as e:
        raise StoreError(f"cannot write next to the map {path}: {e.strerror}") from e
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        lock.close()
        raise StoreError(f"another process is writing the map {path}: stop it, or choose another database") from e
    return lock
