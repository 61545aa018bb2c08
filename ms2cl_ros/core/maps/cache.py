# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A robot's copy of a part of a shared map: an SQLite map that notes, by triggers, what the server does not know yet.

A note is written in the transaction of what it notes, so whatever was acknowledged is sent some day, and it is deleted
only when the server has it, so nothing is lost in between; the `uid` given here keeps it from being stored twice.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps import schema
from ms2cl_ros.core.maps.filelock import FileLock
from ms2cl_ros.core.maps.parcels import ADDED, MOVED, REMOVED, VIEWS, Drive, Parcel, difference, submap_with, view_with
from ms2cl_ros.core.maps.records import ViewRecord, checksum, unpack_matrix
from ms2cl_ros.core.maps.soundness import SUBMAP, VIEW
from ms2cl_ros.core.maps.sqlite import SqliteStore
from ms2cl_ros.core.maps.sqlite_file import SqliteFile
from ms2cl_ros.core.sidecar import Sidecar

TABLES = """
CREATE TABLE fleet_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE fleet_sessions (session INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, robot TEXT);
CREATE TABLE fleet_submaps (
    submap INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    own INTEGER NOT NULL,           -- 1: made here
    changed INTEGER NOT NULL        -- the server's number for the state that is here; 0: the server does not know it
);
CREATE TABLE fleet_outbox (uid TEXT PRIMARY KEY, happened INTEGER NOT NULL, number INTEGER NOT NULL)
"""
NOTE = """UPDATE fleet_meta SET value = value + 1 WHERE key = 'number';
    INSERT INTO fleet_outbox SELECT uid, {happened}, (SELECT value FROM fleet_meta WHERE key = 'number')
        FROM fleet_submaps WHERE submap = {submap}
        ON CONFLICT (uid) DO UPDATE SET happened = happened | {happened}, number = excluded.number;"""
RANDOM = "lower(hex(randomblob(16)))"
BEFORE = {"fleet_added": f"INSERT INTO fleet_submaps VALUES (NEW.id, {RANDOM}, 1, 0);"}
TRIGGERS = {"fleet_added": ("AFTER INSERT ON submaps", "NEW.id", ADDED),
            "fleet_moved": ("AFTER UPDATE OF T_map_base ON submaps", "NEW.id", MOVED),
            "fleet_rendered": ("AFTER UPDATE OF rendered ON submaps", "NEW.id", VIEWS),
            "fleet_seen": ("AFTER INSERT ON views", "NEW.submap", VIEWS),
            "fleet_unseen": ("AFTER DELETE ON views", "OLD.submap", VIEWS),
            "fleet_removed": ("AFTER DELETE ON submaps", "OLD.id", REMOVED)}


class Cache(SqliteStore):
    """The side of the cache that talks to the server, beside the nodes' own connections to the same file."""

    @classmethod
    def at(cls, path: Path, model: Sidecar | None) -> Cache:
        """Opens a cache, or makes an SQLite map one; what is in it already will be sent."""
        cache = cls(_SharedFile.shared(path, model))
        with cache._file.writing():
            cache._make_tables()
        return cache

    def _make_tables(self) -> None:
        db = self._file.db
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'fleet_meta'").fetchone():
            return
        for statement in TABLES.split(";\n"):
            db.execute(statement)
        db.executemany("INSERT INTO fleet_meta VALUES (?, ?)",
                       [("receiving", "0"), ("number", "1"), ("seen", "0"), ("part", ""), ("map", "")])
        free = "WHEN (SELECT value FROM fleet_meta WHERE key = 'receiving') = '0'"
        db.execute(f"CREATE TRIGGER fleet_began AFTER INSERT ON sessions {free} BEGIN INSERT INTO fleet_sessions "
                   f"VALUES (NEW.id, {RANDOM}, NULL); END")
        for name, (event, submap, happened) in TRIGGERS.items():
            note = BEFORE.get(name, "") + NOTE.format(submap=submap, happened=happened)
            db.execute(f"CREATE TRIGGER {name} {event} {free} BEGIN {note} END")
        db.execute(f"INSERT INTO fleet_sessions SELECT id, {RANDOM}, NULL FROM sessions")
        db.execute(f"INSERT INTO fleet_submaps SELECT id, {RANDOM}, 1, 0 FROM submaps")
        # numbered as they were made, so that they are sent in that order
        db.execute(f"INSERT INTO fleet_outbox SELECT uid, {ADDED}, submap FROM fleet_submaps")
        db.execute("UPDATE fleet_meta SET value = (SELECT coalesce(max(submap), 0) + 1 FROM fleet_submaps) "
                   "WHERE key = 'number'")

    # what is known of the server -------------------------------------------------------------------------------------

    def belongs_to(self, uid: str, name: str) -> None:
        """Ties a new cache to a shared map; raises StoreError if it is tied to another."""
        found = self._get("map")
        if found and found != uid:
            raise StoreError(f"the cache {self.name} belongs to another shared map ({found[:8]}) than {name} "
                             f"({uid[:8]}): choose another cache, or delete this one ({self.waiting()} changes in it "
                             "have not been sent)")
        if not found:
            self._set("map", uid)

    def _get(self, key: str) -> str:
        return self._file.read("SELECT value FROM fleet_meta WHERE key = ?", key)[0][0]

    def _set(self, key: str, value: str) -> None:
        with self._file.writing():
            self._file.db.execute("UPDATE fleet_meta SET value = ? WHERE key = ?", (value, key))

    def seen(self) -> tuple[int, Any]:
        """(the last change up to which all that is needed is here, what was needed then)."""
        return int(self._get("seen")), json.loads(self._get("part") or "null")

    def set_seen(self, number: int, part: Any) -> None:
        """Remembers that."""
        with self._file.writing():
            for key, value in (("seen", str(number)), ("part", json.dumps(part))):
                self._file.db.execute("UPDATE fleet_meta SET value = ? WHERE key = ?", (value, key))

    # sending ---------------------------------------------------------------------------------------------------------

    def waiting(self) -> int:
        """How many submaps have changes that the server does not know."""
        return self._file.read("SELECT count(*) FROM fleet_outbox")[0][0]

    def outbox(self, limit: int) -> list[tuple[UUID, int, int]]:
        """(uid, what happened, number of the note), oldest first."""
        rows = self._file.read("SELECT uid, happened, number FROM fleet_outbox ORDER BY number LIMIT ?", limit)
        return [(UUID(uid), happened, number) for uid, happened, number in rows]

    def sent(self, done: Iterable[tuple[UUID, int, int | None]]) -> None:
        """Crosses out notes (uid, number) unless more has happened since.

        The third: the server's number for the state that is here, or None where it may hold what others have changed.
        """
        with self._file.writing():
            db = self._file.db
            for uid, number, changed in done:
                db.execute("DELETE FROM fleet_outbox WHERE uid = ? AND number = ?", (uid.hex, number))
                if changed is not None:
                    db.execute("UPDATE fleet_submaps SET changed = ? WHERE uid = ?", (changed, uid.hex))
                db.execute("DELETE FROM fleet_submaps WHERE uid = ? AND submap NOT IN (SELECT id FROM submaps) "
                           "AND uid NOT IN (SELECT uid FROM fleet_outbox)", (uid.hex,))

    def send_all_again(self) -> None:
        """For a server that has been set back to an earlier state: what it still has, it will not store twice."""
        with self._file.writing():
            self._file.db.execute(
                f"INSERT INTO fleet_outbox SELECT uid, {ADDED}, 0 FROM fleet_submaps WHERE changed > 0 "
                f"ON CONFLICT (uid) DO UPDATE SET happened = happened | {ADDED}")

    def parcel(self, uid: UUID, robot: str) -> Parcel | None:
        """A submap to be sent; None if it is not here any more. `robot`: who drove, for sessions made here."""
        with self._file.mutex:
            rows = self._file.read("SELECT submap, changed FROM fleet_submaps WHERE uid = ? "
                                   "AND submap IN (SELECT id FROM submaps)", uid.hex)
            if not rows:
                return None
            key, changed = rows[0]
            record = self._record(key)
            rendered, = self._file.read("SELECT rendered FROM submaps WHERE id = ?", key)[0]
            views = self._views(key)
            sound = tuple(v for v in views if self._sound(v))
            if changed and len(sound) < len(views):  # the server may have them whole
                raise StoreError(f"submap {key} of the cache {self.name} has damaged views, so its views are not sent")
            return Parcel(uid, self._drive(record.session, robot), record, self._scan(key, "panorama") or b"",
                          self._scan(key, "points"), rendered, sound, changed)

    def _drive(self, session: int, robot: str) -> Drive:
        uid, driver, name, stamp = self._file.read(
            "SELECT f.uid, f.robot, s.name, s.first_stamp_ns FROM fleet_sessions f JOIN sessions s ON s.id = f.session "
            "WHERE s.id = ?", session)[0]
        return Drive(UUID(uid), robot if driver is None else driver, name, stamp)

    def _views(self, key: int) -> list[ViewRecord]:
        return [ViewRecord(*row) for row in self._file.read(f"SELECT {VIEW} FROM views WHERE submap = ? ORDER BY id",
                                                            key)]

    # receiving -------------------------------------------------------------------------------------------------------

    def known(self) -> dict[UUID, int]:
        """The number of the last change that is here, by uid."""
        return {UUID(uid): changed for uid, changed in self._file.read("SELECT uid, changed FROM fleet_submaps")}

    @contextmanager
    def _receiving(self) -> Iterator[None]:
        """A transaction whose changes are not noted to be sent."""
        with self._file.writing():
            self._file.db.execute("UPDATE fleet_meta SET value = '1' WHERE key = 'receiving'")
            yield
            self._file.db.execute("UPDATE fleet_meta SET value = '0' WHERE key = 'receiving'")

    def receive(self, parcels: Iterable[Parcel]) -> None:
        """Stores submaps as the server has them; one with changes that are not sent yet is left for later."""
        with self._receiving():
            for parcel in parcels:
                found = self._file.db.execute("SELECT submap FROM fleet_submaps WHERE uid = ?",
                                              (parcel.uid.hex,)).fetchone()
                if found is None:
                    self._take(parcel)
                elif not self._file.db.execute("SELECT 1 FROM fleet_outbox WHERE uid = ?",
                                               (parcel.uid.hex,)).fetchone():
                    self._renew(found[0], parcel)

    def _take(self, parcel: Parcel) -> None:
        db, key = self._file.db, self._next("submaps")
        record = submap_with(parcel.record, key, self._session_of(parcel.drive))
        db.execute(f"INSERT INTO submaps ({SUBMAP}, strip, y, rendered) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                   (*dataclasses.astuple(record), *schema.place(unpack_matrix(record.T_map_base)), parcel.rendered))
        db.execute("INSERT INTO scans VALUES (?, ?, ?, ?, ?)",
                   (key, parcel.panorama, checksum(key, parcel.panorama), parcel.points,
                    checksum(key, parcel.points) if parcel.points else None))
        db.execute("INSERT INTO fleet_submaps VALUES (?, ?, 0, ?)", (key, parcel.uid.hex, parcel.changed))
        self._take_views(key, parcel.views)

    def _session_of(self, drive: Drive) -> int:
        db = self._file.db
        found = db.execute("SELECT session FROM fleet_sessions WHERE uid = ?", (drive.uid.hex,)).fetchone()
        if found is None:
            found = db.execute("INSERT INTO sessions (name, first_stamp_ns) VALUES (?, ?)",
                               (drive.name, drive.first_stamp_ns)).lastrowid,
            db.execute("INSERT INTO fleet_sessions VALUES (?, ?, ?)", (found[0], drive.uid.hex, drive.robot))
        return found[0]

    def _take_views(self, key: int, views: Sequence[ViewRecord]) -> None:
        first = self._next("views")
        self._file.db.executemany(f"INSERT INTO views ({VIEW}) VALUES (?,?,?,?,?,?,?,?,?)", (
            dataclasses.astuple(view_with(v, first + i, key)) for i, v in enumerate(views)))

    def _renew(self, key: int, parcel: Parcel) -> None:
        db, record = self._file.db, self._record(key)
        missing, surplus = difference(self._views(key), parcel.views)
        if record.T_map_base != parcel.record.T_map_base:
            T = unpack_matrix(parcel.record.T_map_base)
            moved = record.moved(T)
            db.execute("UPDATE submaps SET T_map_base = ?, checksum = ?, strip = ?, y = ? WHERE id = ?",
                       (moved.T_map_base, moved.checksum, *schema.place(T), key))
            self._revise()
        db.executemany("DELETE FROM views WHERE id = ?", ((k,) for k in surplus))
        if surplus:
            self._revise()
        self._take_views(key, missing)
        db.execute("UPDATE submaps SET rendered = ? WHERE id = ?", (parcel.rendered, key))
        db.execute("UPDATE fleet_submaps SET changed = ? WHERE submap = ?", (parcel.changed, key))

    def last_place(self) -> tuple[float, float] | None:
        """Where the newest submap made here stands, before the robot knows where it is."""
        rows = self._file.read("SELECT T_map_base FROM submaps WHERE id = (SELECT max(submap) FROM fleet_submaps "
                               "WHERE own)")
        if not rows:
            return None
        x, y = unpack_matrix(rows[0][0])[:2, 3]
        return float(x), float(y)

    def evict(self, centre: tuple[float, float], radius: float) -> int:
        """Forgets what other robots have mapped beyond `radius` metres; returns how many submaps went."""
        rows = self._file.read("SELECT f.uid, s.T_map_base FROM fleet_submaps f JOIN submaps s ON s.id = f.submap "
                               "WHERE NOT f.own AND f.uid NOT IN (SELECT uid FROM fleet_outbox)")
        far = [UUID(uid) for uid, T in rows if math.dist(centre, unpack_matrix(T)[:2, 3]) > radius]
        return self.forget(far) if far else 0

    def forget_damaged(self) -> list[str]:
        """Forgets damaged submaps that the server has, to be fetched anew; one line a submap."""
        lost = {}
        for uid, in self._file.read("SELECT uid FROM fleet_submaps WHERE changed > 0 AND uid NOT IN "
                                    "(SELECT uid FROM fleet_outbox)"):
            try:
                self.parcel(UUID(uid), "")
            except StoreError as e:
                lost[UUID(uid)] = f"{e}; it is fetched anew"
        if lost:
            self.forget(lost)
            self._set("part", "")
        return list(lost.values())

    def forget(self, uids: Iterable[UUID]) -> int:
        """Removes submaps from here only; returns how many there were."""
        gone = 0
        with self._receiving():
            for uid in uids:
                gone += self._file.db.execute("DELETE FROM submaps WHERE id IN (SELECT submap FROM fleet_submaps "
                                              "WHERE uid = ?)", (uid.hex,)).rowcount
                for table in ("fleet_submaps", "fleet_outbox"):
                    self._file.db.execute(f"DELETE FROM {table} WHERE uid = ?", (uid.hex,))
            if gone:
                self._revise()
        return gone


def is_cache(path: Path) -> bool:
    """Whether the map in a file is kept in step with a shared one. Raises StoreError if it is no map."""
    with closing(SqliteFile.open(path, None, write=False)) as file:
        return bool(file.read("SELECT 1 FROM sqlite_master WHERE name = 'fleet_meta'"))


def cut_loose(path: Path) -> None:
    """Makes a copy of a cache a map that knows no server."""
    file = SqliteFile.open(path, None, write=True)
    try:
        with file.writing():
            for kind in ("trigger", "table"):
                names = file.db.execute("SELECT name FROM sqlite_master WHERE type = ? AND name LIKE 'fleet%'",
                                        (kind,)).fetchall()
                for name, in names:
                    file.db.execute(f"DROP {kind} {name}")
    finally:
        file.close()


class _SharedFile(SqliteFile):
    """Writes beside the one writer: SQLite lets them take turns, and each keeps to what is its own."""

    @classmethod
    def shared(cls, path: Path, model: Sidecar | None) -> _SharedFile:
        path = path.expanduser().resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        file = cls(path, model, _NoLock())
        file._begin()
        return file


class _NoLock(FileLock):
    """Stands where the one writer has its lock."""

    def __init__(self) -> None:
        pass  # there is no file to hold

    def release(self) -> None:
        """Nothing was locked."""
