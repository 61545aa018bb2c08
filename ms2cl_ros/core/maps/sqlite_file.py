# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one file behind an SQLite map: opened, checked for being ours, written in transactions, copied whole.

The only file that imports sqlite3. Whatever SQLite says leaves it as a StoreError that names the file and the remedy.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps import schema
from ms2cl_ros.core.maps.filelock import BusyError, FileLock, replace_file
from ms2cl_ros.core.sidecar import Sidecar

FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError)  # the last: SQLite quotes what it cannot read
PATIENCE = 20.0  # seconds that a reader waits for another process to bring an old map up to date
LOOSE = 0.1  # share of a file that may be free room before a copy is written without it, which takes longer
PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "journal_size_limit = 67108864")


class SqliteFile:
    """A connection, with the lock that makes it the only writer. Any thread may use it, one at a time."""

    def __init__(self, path: Path, model: Sidecar | None, lock: FileLock | None) -> None:
        self.path, self.mutex = path, threading.RLock()
        self.meta: dict[str, str] = {}
        self._model, self._lock, self._immutable = model, lock, False
        self._db: sqlite3.Connection | None = None

    @classmethod
    def open(cls, path: Path, model: Sidecar | None, write: bool, meta: dict[str, str] | None = None) -> SqliteFile:
        """Opens a map made with `model` (None: any); a writer makes the file if it is missing. Raises StoreError.

        A map of an earlier version is brought to this version first, by readers too. `meta`: what a new file is to say
        of the model that made it, where that is not at hand.
        """
        path = path.expanduser().resolve()
        if path.is_dir():
            raise StoreError(f"{path} is a folder: name the map's file in it, as {path / 'map.db'}")
        if not write and not path.is_file():
            raise StoreError(f"no map at {path}: make one with submap_mapper or `ms2cl map BAG -o {path}`")
        file = cls(path, model, FileLock.take(path) if write else None)
        file.meta = meta or {}
        file._begin()
        return file

    def _begin(self) -> None:
        """Connects and makes or checks what is there; lets go of everything if that fails."""
        try:
            with self.guard("open"):
                self._connect()
                self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file and lets another writer in."""
        with self.mutex:
            if self._db is not None:
                self._db.close()
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    @property
    def db(self) -> sqlite3.Connection:
        """The connection."""
        assert self._db is not None
        return self._db

    def _connect(self, immutable: bool = False) -> None:
        uri = self._uri(immutable, "rwc" if self._lock is not None else "ro")
        self._db = sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None, check_same_thread=False)
        self._db.text_factory = lambda raw: raw.decode("utf-8", "replace")  # damaged text fails its checksum instead
        self._immutable = immutable
        try:
            self.db.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError:
            # in a folder that cannot be written, WAL mode cannot make its files; with no writer it needs none
            if self._lock is not None or immutable or self._wal().exists() or os.access(self.path.parent, os.W_OK):
                raise
            self.db.close()
            self._connect(immutable=True)

    def _uri(self, immutable: bool, mode: str = "ro") -> str:
        return f"{self.path.as_uri()}?mode={mode}" + ("&immutable=1" if immutable else "")

    def _wal(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def _prepare(self) -> None:
        application, = self.db.execute("PRAGMA application_id").fetchone()
        version, = self.db.execute("PRAGMA user_version").fetchone()
        if not application and not self.db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            self._create()
        elif application != schema.APPLICATION_ID:
            raise StoreError(f"{self.path} is an SQLite file, but no map of ms2cl_ros: choose another file")
        elif version not in (*schema.STEPS, schema.VERSION):
            raise StoreError(f"{self.path} has schema {version}, this version reads {schema.VERSION}: "
                             "install the version of ms2cl_ros that wrote it, or map again")
        else:
            self._suits()
            self._migrate(version)
        self.meta = dict(self.db.execute("SELECT key, value FROM meta"))
        if not schema.sound(self.meta):
            raise StoreError(f"what the map {self.path} says of its model is damaged (checksum): restore a copy")
        self._inode = os.stat(self.path).st_ino
        if self._lock is not None:
            self._set_pragmas()

    def _set_pragmas(self) -> None:
        for pragma in PRAGMAS:
            self.db.execute(f"PRAGMA {pragma}")

    def _create(self) -> None:
        if self._lock is None:
            raise StoreError(f"{self.path} is empty: submap_mapper or `ms2cl map BAG -o {self.path}` fills it")
        if self._model is None and not self.meta:
            raise StoreError(f"{self.path} is new, and a new map needs a model: make it with `ms2cl map`")
        self._set_pragmas()
        meta = schema.meta(self._model) if self._model is not None else self.meta
        with self._transaction():
            self.db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            self.db.execute(f"PRAGMA user_version = {schema.VERSION}")
            for statement in schema.statements():
                self.db.execute(statement)
            self.db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())

    def _suits(self) -> None:
        meta = dict(self.db.execute("SELECT key, value FROM meta"))
        made, model = meta.get("fingerprint", ""), self._model
        if model is not None and made != model.fingerprint:
            raise StoreError(f"{self.path} was made with model '{meta.get('model')}' ({made[:12]}), not "
                             f"'{model.name}' ({model.fingerprint[:12]}): choose that one, compute the map anew with "
                             "`ms2cl database reembed`, or map again")

    def _migrate(self, version: int) -> None:
        if version == schema.VERSION:
            return
        try:
            if self._lock is None:
                self._await_migration()
                return
            self._set_pragmas()
            with self._transaction():
                schema.migrate(self.db, version, self._model)
        except StoreError as e:
            raise StoreError(f"{self.path} has schema {version} of an earlier version and could not be brought to "
                             f"{schema.VERSION}: {e}") from e

    def _await_migration(self) -> None:
        """A reader does it as a writer, unless a writer is at it already, as when a mapper starts at the same time."""
        until = time.monotonic() + PATIENCE
        while self.db.execute("PRAGMA user_version").fetchone()[0] != schema.VERSION:
            try:
                SqliteFile.open(self.path, self._model, write=True).close()
            except BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    @contextmanager
    def guard(self, doing: str, after: str = "") -> Iterator[None]:
        """Holds the mutex; whatever SQLite says becomes a StoreError with the remedy."""
        try:
            with self.mutex:
                yield
        except sqlite3.ProgrammingError as e:
            raise StoreError(f"cannot {doing} the map {self.path}: {e}") from e
        except FAILURES as e:
            raise StoreError(f"cannot {doing} the map {self.path}: {e}{after}{_remedy(e)}") from e

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:  # a full disk has rolled back already
                self.db.execute("ROLLBACK")
            raise

    @contextmanager
    def writing(self, after: str = "; the map is as it was before") -> Iterator[None]:
        if self._lock is None:
            raise StoreError(f"the map {self.path} is open for reading only")
        with self.guard("write to", after):
            if not self.path.exists() or os.stat(self.path).st_ino != self._inode:
                raise StoreError(f"the map {self.path} was deleted or replaced while it was open: start again")
            with self._transaction():
                yield
            if not self._wal().exists():
                # somebody deleted the WAL under us: what it holds is moved into the file, which others still see
                self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def read(self, sql: str, *values: Any) -> list[tuple]:
        with self.guard("read"):
            if self._immutable and self._wal().exists():
                self.db.close()
                self._connect()
            return self.db.execute(sql, values).fetchall()

    def copy_to(self, target: Path) -> None:
        """Writes a consistent copy to `target`, whole or not at all, while this and others read and write on."""
        target = target.expanduser().resolve()
        if target.is_dir() or (target.exists() and self.path.exists() and target.samefile(self.path)):
            raise StoreError(f"cannot save the map {self.path} to {target}: name another file")
        lock = FileLock.take(target)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.saving")
        try:
            self._replaceable(target)
            with self._saving(target):
                self._backup(temporary)
                for leftover in ("-wal", "-shm"):  # of the map that was there; they would be taken for the copy's
                    target.with_name(target.name + leftover).unlink(missing_ok=True)
                replace_file(temporary, target)
        finally:
            for leftover in ("", "-journal", "-wal", "-shm"):
                temporary.with_name(temporary.name + leftover).unlink(missing_ok=True)
            lock.release()

    def _replaceable(self, target: Path) -> None:
        if target.exists() and target.stat().st_size:
            try:
                SqliteFile.open(target, None, write=False).close()
            except StoreError as e:
                raise StoreError(f"{target} is there and is no sound map, so it is not overwritten: {e}") from e

    @contextmanager
    def _saving(self, target: Path) -> Iterator[None]:
        try:
            yield
        except FAILURES as e:
            raise StoreError(f"cannot save the map {self.path} to {target}: {e}{_remedy(e)}") from e

    def _backup(self, temporary: Path) -> None:
        """In one step on a connection of its own: a snapshot, which holds no writer up."""
        with closing(sqlite3.connect(self._uri(self._immutable), uri=True, timeout=10.0)) as source, \
                closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
            pages, free = (source.execute(f"PRAGMA {n}").fetchone()[0] for n in ("page_count", "freelist_count"))
            if free > LOOSE * pages:
                source.execute("VACUUM INTO ?", (str(temporary),))
            else:
                source.backup(copy)
            # a file without a WAL beside it can be carried away, and read where nothing can be written
            copy.execute("PRAGMA journal_mode = DELETE")


def _remedy(error: Exception) -> str:
    text = str(error).lower()
    if "malformed" in text or "not a database" in text or "codec" in text:
        return ("; the file is damaged, or is no map: `ms2cl database check` says where, a copy made with "
                "~/save or `ms2cl database recover` brings it back")
    if "full" in text or "disk i/o" in text:
        return "; free some space, the next one is tried again"
    if "readonly" in text or "read-only" in text or "unable to open" in text:
        return "; check the permissions of the file and of its folder"
    if "locked" in text:
        return "; another program holds it"
    return ""
