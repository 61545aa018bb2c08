# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The map on a PostgreSQL server: shared by a fleet, any number of writers and readers at once.

Ids are given by the server under a lock that is held until the transaction has committed, so that they become visible
in their order and `views_after` never misses one.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps import schema, server_soundness
from ms2cl_ros.core.maps.parcels import Drive, parcel
from ms2cl_ros.core.maps.records import SubmapRecord, ViewRecord, unpack_matrix
from ms2cl_ros.core.maps.server import Database, Server, Write
from ms2cl_ros.core.maps.server_rows import SUBMAP, Rows
from ms2cl_ros.core.maps.server_tables import prepare
from ms2cl_ros.core.maps.sqlite import SqliteStore
from ms2cl_ros.core.maps.sqlite_file import SqliteFile
from ms2cl_ros.core.maps.store import MadeWith, Session, Store
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.types import RangeImage, Submap, View

Answer = TypeVar("Answer")
Kind = TypeVar("Kind", bound="PostgresStore")
PAGE = 128  # views read at a time


class PostgresStore(Store):
    """Submaps and their views on a server. Every `StoreError` names the map, without its password, and the remedy."""

    shared = True

    def __init__(self, server: Server, meta: dict[str, str], write: bool, robot: str) -> None:
        self._server, self._meta, self._writes = server, meta, write
        self.name, self.robot = server.name, robot
        self._rows = Rows(server.name, schema.grid(meta["grid"]).panorama(), int(meta["size"]))
        self._unsure: dict[int, Write] = {}
        self._damaged: dict[str, None] = {}
        self.begin_session()

    @classmethod
    def open(cls: type[Kind], url: str, model: Sidecar | None, write: bool, robot: str = "") -> Kind:
        """Opens a map made with `model` (None: any); a writer makes its tables if they are missing.

        `robot`: who writes, for people who look at the sessions. Raises AwayError if the server does not answer, else
        StoreError.
        """
        server = Server(url)
        try:
            return cls(server, prepare(server, model, write), write, robot)
        except BaseException:
            server.close()
            raise

    @property
    def uid(self) -> str:
        """What tells this map from every other, also if a server's address is given to another."""
        return self._meta["uid"]

    def close(self) -> None:
        """Ends the connection."""
        self._server.close()

    def _read(self, work: Callable[[Database], Answer]) -> Answer:
        return self._server.read(work)

    def _write(self, work: Callable[[Database], Answer], done: Write | None = None) -> Answer:
        if not self._writes:
            raise StoreError(f"the map {self.name} is open for reading only")

        def checked(db: Database) -> Answer:
            self._suits(db)
            return work(db)
        return self._server.write(checked, done)

    def _suits(self, db: Database) -> None:
        """Another model's map may have been put in the place of the one that was opened."""
        found, = db.execute("SELECT value FROM meta WHERE key = 'fingerprint'").fetchone() or ("",)
        if found != self._meta["fingerprint"]:
            raise StoreError(f"the map {self.name} has been replaced by one of another model ({found[:12]}, it was "
                             f"{self._meta['fingerprint'][:12]}) while it was open: start again with that model")

    # writing ---------------------------------------------------------------------------------------------------------

    def begin_session(self, name: str = "") -> None:
        """What is added from now on belongs to a new session."""
        self._session = uuid4()
        self._session_name = name

    def add(self, submap: Submap) -> Submap:
        """Stores a submap with its views in one transaction; on return the server has it on disk. Returns it with ids.

        Raises StoreError if it is not known to be stored. The same submap may then be added again: it will not be
        there twice, even if the server had stored it and only the answer was lost.
        """
        content = _content(submap)
        done = self._unsure.setdefault(content, Write())
        drive = Drive(self._session, self.robot, self._session_name, submap.stamp_ns)
        sent = parcel(submap, done.token, drive)
        key, session, views, _ = self._write(lambda db: self._rows.insert(db, sent), done)
        del self._unsure[content]
        stored = tuple(dataclasses.replace(v, id=k) for v, k in zip(submap.views, views))
        return dataclasses.replace(submap, id=key, session=session, views=stored)

    def add_views(self, submap_id: int, views: Sequence[View]) -> tuple[View, ...]:
        """Stores views rendered around a submap, in one transaction, and marks it as rendered."""
        def work(db: Database) -> list[int]:
            pose = unpack_matrix(self._rows.record(db, submap_id).T_map_base)
            self._rows.touch(db, submap_id, rendered=True)
            return self._rows.insert_views(db, submap_id, [ViewRecord.of(v, submap_id, pose) for v in views])
        return tuple(dataclasses.replace(v, id=k) for v, k in zip(views, self._write(work)))

    def update_poses(self, poses: Mapping[int, np.ndarray]) -> int:
        """Moves submaps, by id, to new `T_map_base`; their views move along. Returns how many there were."""
        return self._write(lambda db: self._rows.move(db, poses))

    def remove(self, submap_ids: Sequence[int]) -> int:
        """Removes submaps with their views; returns how many there were."""
        return self._write(lambda db: self._rows.remove(db, submap_ids))

    def save(self, path: Path) -> None:
        """Writes the map as of one moment to a file, as an SQLite map, while others go on reading and writing.

        Ids and sessions are numbered anew. Raises StoreError if the file cannot be written.
        """
        path = Path(path).expanduser().resolve()
        temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.filling")
        try:
            meta = {key: self._meta[key] for key in schema.MADE_WITH} | {"revision": "0"}
            with SqliteStore(SqliteFile.open(temporary, None, write=True, meta=meta)) as copy:
                with closing(self._server.another()) as server:
                    server.read(lambda db: self._pour(db, copy))
                copy.save(path)
        finally:
            for end in ("", "-wal", "-shm", ".lock"):
                temporary.with_name(temporary.name + end).unlink(missing_ok=True)

    def _pour(self, db: Database, copy: Store) -> None:
        for session, name in db.execute("SELECT id, name FROM sessions ORDER BY id").fetchall():
            copy.begin_session(name)
            for key, rendered in db.execute("SELECT id, rendered FROM submaps WHERE session = %s ORDER BY id",
                                            (session,)).fetchall():
                stored = copy.add(self._rows.submap(db, key))
                if rendered == 1:
                    copy.add_views(stored.id or 0, ())

    # reading ---------------------------------------------------------------------------------------------------------

    def _query(self, query: str, *values: object) -> list[tuple]:
        return self._read(lambda db: db.execute(query, values).fetchall())

    def count(self) -> int:
        """How many submaps the map holds."""
        return self._query("SELECT count(*) FROM submaps")[0][0]

    def view_count(self) -> int:
        """How many views the map holds."""
        return self._query("SELECT count(*) FROM views")[0][0]

    def megabytes(self) -> float:
        """What the map takes on the server's disk, its indices included, in 10^6 bytes."""
        return self._query("SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::float8 / 1e6 FROM pg_class "
                           "WHERE relkind = 'r' AND relnamespace = 'ms2cl'::regnamespace")[0][0]

    def sessions(self) -> list[Session]:
        """Every session of every robot, oldest first."""
        rows = self._query("SELECT id, name, first_stamp_ns, "
                           "(SELECT count(*) FROM submaps WHERE session = sessions.id) FROM sessions ORDER BY id")
        return [Session(*row) for row in rows]

    def made_with(self) -> MadeWith:
        """The model that made the map."""
        return schema.made_with(self._meta)

    def model(self) -> tuple[str, str]:
        """(name, fingerprint) of the model that made the views."""
        return self._meta["model"], self._meta["fingerprint"]

    def members(self, session: int) -> list[int]:
        """Ids of the submaps of a session, oldest first."""
        return [key for key, in self._query("SELECT id FROM submaps WHERE session = %s ORDER BY id", int(session))]

    def last_view_id(self) -> int:
        """The newest view's id, 0 in an empty map."""
        return self._query("SELECT coalesce(max(id), 0) FROM views")[0][0]

    def revision(self) -> int:
        """A number that changes when submaps are moved, removed or embedded anew, not when new ones are added."""
        return self._read(self._revision)

    def _revision(self, db: Database) -> int:
        self._suits(db)
        return int(db.execute("SELECT value FROM meta WHERE key = 'revision'").fetchall()[0][0])

    def poses(self) -> list[tuple[int, int, np.ndarray]]:
        """(id, stamp_ns, T_map_base) of every submap that is not damaged, oldest first."""
        records = (SubmapRecord(*row) for row in self._query(f"SELECT {SUBMAP} FROM submaps ORDER BY id"))
        return [(r.id, r.stamp_ns, unpack_matrix(r.T_map_base)) for r in records if self._sound(r)]

    def _sound(self, record: SubmapRecord | ViewRecord) -> bool:
        if record.sound():
            return True
        self._damaged[server_soundness.line(record)] = None
        return False

    def damage(self) -> list[str]:
        """What reading has found damaged so far and left out, one line a record."""
        return list(self._damaged)

    def submap(self, submap_id: int, views: bool = True) -> Submap:
        """One submap whole, or without its views. Raises StoreError if there is none, or if it is damaged."""
        return self._read(lambda db: self._rows.submap(db, submap_id, views))

    def panorama(self, submap_id: int) -> RangeImage:
        """The stored range image of a submap, the whole turn. Raises StoreError if there is none."""
        return self._read(lambda db: self._rows.panorama(db, submap_id))

    def near(self, xy: np.ndarray, radius: float) -> list[int]:
        """Ids of the submaps within `radius` metres of a (2,) place on the map, nearest first."""
        x, y = float(xy[0]), float(xy[1])
        return [key for key, in self._query(
            "SELECT id FROM submaps WHERE place <@ circle(point(%s, %s), %s) ORDER BY place <-> point(%s, %s), id",
            x, y, float(radius), x, y)]

    def unrendered(self) -> list[int]:
        """Ids of submaps that keep points and around which no views have been rendered yet, oldest first."""
        return [key for key, in self._query("SELECT id FROM submaps WHERE rendered = 0 ORDER BY id")]

    def views_after(self, last_view_id: int, limit: int | None = None) -> Iterator[tuple[int, np.ndarray, View]]:
        """(submap id, T_base_lidar, view) of every sound view stored after `last_view_id`, in the order of ids."""
        left = limit
        while left is None or left > 0:
            page = PAGE if left is None else min(PAGE, left)
            rows = self._read(partial(self._page, last=last_view_id, size=page))
            for record, owner in rows:
                last_view_id = record.id
                if self._sound(record) and self._sound(owner):
                    left = None if left is None else left - 1
                    pose = unpack_matrix(owner.T_map_base)
                    yield owner.id, unpack_matrix(owner.T_base_lidar), record.view(pose, self._rows.size)
            if len(rows) < page:
                return

    def _page(self, db: Database, last: int, size: int) -> list[tuple[ViewRecord, SubmapRecord]]:
        views = list(self._rows.views(db, "id > %s ORDER BY id LIMIT %s", last, size))
        rows = db.execute(f"SELECT {SUBMAP} FROM submaps WHERE id = ANY(%s)", ([v.submap for v in views],)).fetchall()
        owners = {row[0]: SubmapRecord(*row) for row in rows}
        return [(v, owners[v.submap]) for v in views]

    # soundness -------------------------------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """What is wrong with the map, one line a fault; empty if every checksum fits."""
        return self._read(lambda db: server_soundness.faults(db, self._rows)).lines

    def drop_damaged(self) -> list[str]:
        """Removes what `check` finds damaged; one line a record that is gone."""
        return self._write(lambda db: server_soundness.drop(db, self._rows))


def _content(submap: Submap) -> int:
    """What a submap is recognised by when it is added again after a failure."""
    poses = np.concatenate([submap.T_map_base, *(v.T_map_base for v in submap.views)])
    return zlib.crc32(poses.tobytes(), zlib.crc32(submap.panorama.ranges.tobytes(), submap.stamp_ns & 0xFFFFFFFF))
