# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The map in one SQLite file: WAL mode, one transaction a submap, one writer, any number of readers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps import schema, soundness
from ms2cl_ros.core.maps.records import (
    SubmapRecord,
    ViewRecord,
    checksum,
    pack_points,
    pack_ranges,
    unpack_matrix,
    unpack_points,
    unpack_ranges,
)
from ms2cl_ros.core.maps.soundness import SUBMAP, VIEW
from ms2cl_ros.core.maps.sqlite_file import SqliteFile
from ms2cl_ros.core.maps.store import MadeWith, Session, Store
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.types import RangeImage, Submap, View

PAGE = 128  # views read at a time


class SqliteStore(Store):
    """Submaps and their views in a file. Every `StoreError` names the file and the remedy."""

    def __init__(self, file: SqliteFile) -> None:
        self.path, self.name = file.path, str(file.path)
        self._file = file
        self._grid = schema.grid(file.meta["grid"]).panorama()
        self._size = int(file.meta["size"])
        self._session: int | None = None
        self._session_name = ""
        self._damaged: dict[str, None] = {}

    @classmethod
    def open(cls, path: str | Path, model: Sidecar | None, write: bool) -> SqliteStore:
        """Opens a map made with `model` (None: any); a writer makes the file if it is missing. Raises StoreError.

        A map of an earlier version is brought to this version first, by readers too.
        """
        return cls(SqliteFile.open(Path(path), model, write))

    def close(self) -> None:
        """Closes the file and lets another writer in."""
        self._file.close()

    # writing ---------------------------------------------------------------------------------------------------------

    def begin_session(self, name: str = "") -> None:
        """What is added from now on belongs to a new session."""
        with self._file.mutex:
            self._session, self._session_name = None, name

    def add(self, submap: Submap) -> Submap:
        """Stores a submap with its views in one transaction; on return it is on disk. Returns it with its ids.

        Raises StoreError if it could not be written (disk full, read only, ...); the map is then as before.
        """
        with self._file.mutex:
            with self._file.writing(f"; the submap of stamp {submap.stamp_ns} is not stored, what was stored before is "
                               "untouched"):
                session = self._session or self._insert_session(submap.stamp_ns)
                stored = self._insert(dataclasses.replace(submap, session=session, id=self._next("submaps")))
            self._session = session
            return stored

    def _next(self, table: str) -> int:
        """An id that was never used before, so that it can be part of the checksum."""
        last, = self._file.db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
        ever = self._file.db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        return max(last, ever[0] if ever else 0) + 1

    def _insert_session(self, stamp_ns: int) -> int:
        return self._file.db.execute("INSERT INTO sessions (name, first_stamp_ns) VALUES (?, ?)",
                                (self._session_name, stamp_ns)).lastrowid or 0

    def _insert(self, submap: Submap) -> Submap:
        row = dataclasses.astuple(SubmapRecord.of(submap))
        panorama, points = pack_ranges(submap.panorama), pack_points(submap.points)
        self._file.db.execute(f"INSERT INTO submaps ({SUBMAP}, strip, y, rendered) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                         (*row, *schema.place(submap.T_map_base), 0 if points else 2))
        self._file.db.execute("INSERT INTO scans VALUES (?, ?, ?, ?, ?)",
                         (submap.id, panorama, checksum(submap.id, panorama), points,
                          checksum(submap.id, points) if points else None))
        return dataclasses.replace(submap, views=self._insert_views(row[0], submap.T_map_base, submap.views))

    def _insert_views(self, submap_id: int, T_map_base: np.ndarray, views: Sequence[View]) -> tuple[View, ...]:
        first = self._next("views")
        stored = tuple(dataclasses.replace(v, id=first + i) for i, v in enumerate(views))
        for view in stored:
            if view.descriptors.shape != (len(view.headings), self._size) or not np.isfinite(view.descriptors).all():
                raise StoreError(f"a view with descriptors {view.descriptors.shape} for {len(view.headings)} headings "
                                 f"does not suit the map {self.name}: it takes {self._size} finite numbers a heading")
        self._file.db.executemany(f"INSERT INTO views ({VIEW}) VALUES (?,?,?,?,?,?,?,?,?)",
                             (dataclasses.astuple(ViewRecord.of(v, submap_id, T_map_base)) for v in stored))
        return stored

    def add_views(self, submap_id: int, views: Sequence[View]) -> tuple[View, ...]:
        """Stores views rendered around a submap, in one transaction, and marks it as rendered."""
        with self._file.writing():
            pose = unpack_matrix(self._record(submap_id).T_map_base)
            self._file.db.execute("UPDATE submaps SET rendered = 1 WHERE id = ?", (submap_id,))
            return self._insert_views(submap_id, pose, views)

    def update_poses(self, poses: Mapping[int, np.ndarray]) -> int:
        """Moves submaps, by id, to new `T_map_base`; their views move along. Returns how many there were."""
        known = 0
        with self._file.writing():
            for key, T in poses.items():
                T = np.asarray(T, float)
                if T.shape != (4, 4) or not np.isfinite(T).all():
                    raise StoreError(f"submap {key} cannot be moved to {T.tolist()}: no pose (4 x 4, finite)")
                row = self._file.db.execute(f"SELECT {SUBMAP} FROM submaps WHERE id = ?", (int(key),)).fetchone()
                if not row or not self._sound(SubmapRecord(*row)):
                    continue
                moved = SubmapRecord(*row).moved(T)
                self._file.db.execute("UPDATE submaps SET T_map_base = ?, checksum = ?, strip = ?, y = ? WHERE id = ?",
                                 (moved.T_map_base, moved.checksum, *schema.place(T), key))
                known += 1
            if known:
                self._revise()
        return known

    def remove(self, submap_ids: Sequence[int]) -> int:
        """Removes submaps with their views; returns how many there were."""
        with self._file.writing():
            gone = sum(self._file.db.execute("DELETE FROM submaps WHERE id = ?", (int(key),)).rowcount
                       for key in submap_ids)
            if gone:
                self._revise()
        return gone

    def _revise(self) -> None:
        self._file.db.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")

    def save(self, path: Path) -> None:
        """Writes a consistent copy of the map to a file while others go on reading and writing."""
        self._file.copy_to(path)

    # reading ---------------------------------------------------------------------------------------------------------

    def count(self) -> int:
        """How many submaps the map holds."""
        return self._file.read("SELECT count(*) FROM submaps")[0][0]

    def view_count(self) -> int:
        """How many views the map holds."""
        return self._file.read("SELECT count(*) FROM views")[0][0]

    def megabytes(self) -> float:
        """What the map takes on disk, in 10^6 bytes, without room that is free inside the file."""
        pages, = self._file.read("PRAGMA page_count")[0]
        free, = self._file.read("PRAGMA freelist_count")[0]
        size, = self._file.read("PRAGMA page_size")[0]
        return (pages - free) * size / 1e6

    def sessions(self) -> list[Session]:
        """Every session, oldest first."""
        return [Session(*row) for row in self._file.read(
            "SELECT id, name, first_stamp_ns, (SELECT count(*) FROM submaps s WHERE s.session = sessions.id) "
            "FROM sessions ORDER BY id")]

    def made_with(self) -> MadeWith:
        """The model that made the map."""
        return schema.made_with(self._file.meta)

    def members(self, session: int) -> list[int]:
        """Ids of the submaps of a session, oldest first."""
        rows = self._file.read("SELECT id FROM submaps WHERE session = ? ORDER BY id", int(session))
        return [key for key, in rows]

    def last_view_id(self) -> int:
        """The newest view's id, 0 in an empty map."""
        return self._file.read("SELECT coalesce(max(id), 0) FROM views")[0][0]

    def revision(self) -> int:
        """A number that changes when submaps are moved, removed or embedded anew, not when new ones are added."""
        [[revision]] = self._file.read("SELECT coalesce(max(value), '') FROM meta WHERE key = 'revision'")
        if not revision.isdigit():
            raise StoreError(f"the revision of the map {self.name} is damaged ({revision!r}): restore a copy")
        return int(revision)

    def poses(self) -> list[tuple[int, int, np.ndarray]]:
        """(id, stamp_ns, T_map_base) of every submap that is not damaged, oldest first."""
        records = (SubmapRecord(*row) for row in self._file.read(f"SELECT {SUBMAP} FROM submaps ORDER BY id"))
        return [(r.id, r.stamp_ns, unpack_matrix(r.T_map_base)) for r in records if self._sound(r)]

    def _sound(self, record: SubmapRecord | ViewRecord) -> bool:
        if record.sound():
            return True
        self._damaged[soundness.line(record)] = None
        return False

    def damage(self) -> list[str]:
        """What reading has found damaged so far and left out, one line a record."""
        return list(self._damaged)

    def _record(self, submap_id: int) -> SubmapRecord:
        rows = self._file.read(f"SELECT {SUBMAP} FROM submaps WHERE id = ?", int(submap_id))
        if not rows:
            raise StoreError(f"the map {self.name} has no submap {submap_id}")
        record = SubmapRecord(*rows[0])
        if not self._sound(record):
            raise StoreError(f"{soundness.line(record)} in the map {self.name}: {soundness.REMEDY}")
        return record

    def _scan(self, submap_id: int, column: str) -> bytes | None:
        rows = self._file.read(f"SELECT {column}, {column}_checksum FROM scans WHERE submap = ?", int(submap_id))
        if not rows:
            raise StoreError(f"the map {self.name} has no submap {submap_id}")
        blob, crc = rows[0]
        if (crc is None) != (blob is None) or (blob is not None and checksum(int(submap_id), blob) != crc):
            raise StoreError(f"{column} of submap {submap_id} in the map {self.name} is damaged: {soundness.REMEDY}")
        return blob

    def submap(self, submap_id: int, views: bool = True) -> Submap:
        """One submap whole, or without its views. Raises StoreError if there is none, or if it is damaged."""
        record = self._record(submap_id)
        pose = unpack_matrix(record.T_map_base)
        rows = self._file.read(f"SELECT {VIEW} FROM views WHERE submap = ? ORDER BY id", record.id) if views else []
        seen = tuple(r.view(pose, self._size) for r in (ViewRecord(*row) for row in rows) if self._sound(r))
        return record.submap(self.panorama(submap_id), unpack_points(self._scan(submap_id, "points")), seen)

    def panorama(self, submap_id: int) -> RangeImage:
        """The stored range image of a submap, the whole turn. Raises StoreError if there is none."""
        return unpack_ranges(self._scan(submap_id, "panorama") or b"", self._grid)

    def near(self, xy: np.ndarray, radius: float) -> list[int]:
        """Ids of the submaps within `radius` metres of a (2,) place on the map, nearest first."""
        x, y = float(xy[0]), float(xy[1])
        first, last = int(np.floor((x - radius) / schema.STRIP)), int(np.floor((x + radius) / schema.STRIP))
        strips = "BETWEEN ? AND ?" if last - first > 500 else f"IN ({','.join(map(str, range(first, last + 1)))}) "
        values = (first, last) if last - first > 500 else ()
        rows = self._file.read(f"SELECT {SUBMAP} FROM submaps WHERE strip {strips} AND y BETWEEN ? AND ?",
                               *values, y - radius, y + radius)
        records = [r for r in (SubmapRecord(*row) for row in rows) if self._sound(r)]
        away = [float(np.hypot(*(unpack_matrix(r.T_map_base)[:2, 3] - (x, y)))) for r in records]
        return [r.id for d, r in sorted(zip(away, records), key=lambda pair: (pair[0], pair[1].id)) if d <= radius]

    def unrendered(self) -> list[int]:
        """Ids of submaps that keep points and around which no views have been rendered yet, oldest first."""
        return [key for key, in self._file.read("SELECT id FROM submaps WHERE rendered = 0 ORDER BY id")]

    def views_after(self, last_view_id: int, limit: int | None = None) -> Iterator[tuple[int, np.ndarray, View]]:
        """(submap id, T_base_lidar, view) of every sound view stored after `last_view_id`, in the order of ids."""
        owner: SubmapRecord | None = None
        while limit is None or limit > 0:
            page = PAGE if limit is None else min(PAGE, limit)
            rows = self._file.read(f"SELECT {VIEW} FROM views WHERE id > ? ORDER BY id LIMIT ?", last_view_id, page)
            for record in (ViewRecord(*row) for row in rows):
                last_view_id = record.id
                if owner is None or owner.id != record.submap:
                    owner = self._owner(record)
                if owner is not None and self._sound(record):
                    limit = None if limit is None else limit - 1
                    pose = unpack_matrix(owner.T_map_base)
                    yield owner.id, unpack_matrix(owner.T_base_lidar), record.view(pose, self._size)
            if len(rows) < page:
                return

    def _owner(self, view: ViewRecord) -> SubmapRecord | None:
        rows = self._file.read(f"SELECT {SUBMAP} FROM submaps WHERE id = ?", view.submap)
        if rows and self._sound(record := SubmapRecord(*rows[0])):
            return record
        return None

    # soundness -------------------------------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """What is wrong with the map, one line a fault; empty if every checksum fits."""
        return soundness.check(self._file)

    def drop_damaged(self) -> list[str]:
        """Removes what `check` finds damaged; one line a record that is gone."""
        return soundness.drop_damaged(self._file)
