# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Submaps and views as rows of a shared map; everything here happens within somebody's transaction."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.parcels import Drive, Parcel, submap_with, view_with
from ms2cl_ros.core.maps.records import (
    SubmapRecord,
    ViewRecord,
    checksum,
    unpack_matrix,
    unpack_points,
    unpack_ranges,
)
from ms2cl_ros.core.maps.server import Database
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap

REMEDY = "`ms2cl database check` lists what is damaged, `ms2cl database prune --damaged` removes it"
SUBMAP = "id, session, stamp_ns, t_map_base, covariance, t_base_lidar, travelled, sensor, checksum"
VIEW = "id, submap, t_submap_view, headings, descriptors, coarse, rendered, strip, checksum"


@dataclasses.dataclass(frozen=True)
class Rows:
    """Writes and reads rows of the map `name` with descriptors of `size` numbers and panoramas on `grid`."""

    name: str
    grid: AngularGrid
    size: int

    # writing ---------------------------------------------------------------------------------------------------------

    def session(self, db: Database, drive: Drive) -> int:
        """The id of a session, made if it is new."""
        db.execute("INSERT INTO sessions (uid, robot, name, first_stamp_ns) VALUES (%s, %s, %s, %s) "
                   "ON CONFLICT (uid) DO NOTHING", (drive.uid, drive.robot, drive.name, drive.first_stamp_ns))
        return _one(db, "SELECT id FROM sessions WHERE uid = %s", drive.uid)

    def insert(self, db: Database, parcel: Parcel) -> tuple[int, int, list[int], int]:
        """Writes a submap with its views; returns its id, its session's, its views' and the number of the change."""
        session, key = self.session(db, parcel.drive), _one(db, "SELECT nextval('submap_ids')")
        record = submap_with(parcel.record, key, session)
        changed = _one(
            db, f"INSERT INTO submaps ({SUBMAP}, uid, place, rendered, changed) VALUES ({'%s, ' * 10}point(%s, %s), "
            "%s, nextval('changes')) RETURNING changed",
            *dataclasses.astuple(record), parcel.uid, *_place(unpack_matrix(record.T_map_base)), parcel.rendered)
        panorama, points = parcel.panorama, parcel.points
        db.execute("INSERT INTO scans VALUES (%s, %s, %s, %s, %s)",
                   (key, panorama, checksum(key, panorama), points, checksum(key, points) if points else None))
        return key, session, self.insert_views(db, key, parcel.views), changed

    def insert_views(self, db: Database, submap_id: int, views: Sequence[ViewRecord]) -> list[int]:
        """Writes views of a submap; returns their ids."""
        for view in views:
            self._fits(view)
        ids = db.execute("SELECT nextval('view_ids') FROM generate_series(1, %s)", (len(views),)).fetchall()
        if views:
            _copy(db, [view_with(v, key, submap_id) for v, (key,) in zip(views, ids)])
        return [key for key, in ids]

    def _fits(self, view: ViewRecord) -> None:
        if not view.fits(self.size):
            held = "descriptors" if view.strip is None else "a strip"
            raise StoreError(f"a view with {held} of {len(view.strip or view.descriptors)} bytes for "
                             f"{len(view.headings) // 8} headings does not suit the map {self.name}: it takes "
                             f"{self.size} finite numbers a heading")

    def touch(self, db: Database, submap_id: int, rendered: bool = False) -> None:
        """Numbers a change of a submap."""
        db.execute(f"UPDATE submaps SET changed = nextval('changes'){', rendered = 1' if rendered else ''} "
                   "WHERE id = %s", (submap_id,))

    def move(self, db: Database, poses: Mapping[int, np.ndarray]) -> int:
        """Moves submaps by id; returns how many there were."""
        for key, T in poses.items():
            if np.shape(T) != (4, 4) or not np.isfinite(T).all():
                raise StoreError(f"submap {key} cannot be moved to {np.asarray(T).tolist()}: no pose (4 x 4, finite)")
        ids = [int(k) for k in poses]
        rows = db.execute(f"SELECT {SUBMAP} FROM submaps WHERE id = ANY(%s) ORDER BY id", (ids,)).fetchall()
        for row in rows:
            moved = self._whole_record(row).moved(poses[row[0]])
            db.execute("UPDATE submaps SET t_map_base = %s, checksum = %s, place = point(%s, %s), "
                       "changed = nextval('changes') WHERE id = %s",
                       (moved.T_map_base, moved.checksum, *_place(poses[row[0]]), row[0]))
        if rows:
            self.revise(db)
        return len(rows)

    def remove(self, db: Database, submap_ids: Sequence[int]) -> int:
        """Removes submaps with their views, and remembers that they were; returns how many there were."""
        gone = db.execute("DELETE FROM submaps WHERE id = ANY(%s) RETURNING uid", ([int(k) for k in submap_ids],))
        uids = [uid for uid, in gone.fetchall()]
        self.bury(db, uids)
        return len(uids)

    def bury(self, db: Database, uids: Sequence[UUID]) -> None:
        """Remembers that submaps were removed."""
        db.execute("INSERT INTO removed SELECT uid, nextval('changes') FROM unnest(%s::uuid[]) uid "
                   "ON CONFLICT DO NOTHING", (list(uids),))
        if uids:
            self.revise(db)

    def revise(self, db: Database) -> None:
        """Whoever searches the map has to read it anew."""
        db.execute("UPDATE meta SET value = (value::bigint + 1)::text WHERE key = 'revision'")

    # reading ---------------------------------------------------------------------------------------------------------

    def record(self, db: Database, submap_id: int) -> SubmapRecord:
        """A submap's row; raises StoreError if there is none or if it is damaged."""
        row = db.execute(f"SELECT {SUBMAP} FROM submaps WHERE id = %s", (int(submap_id),)).fetchone()
        if row is None:
            raise StoreError(f"the map {self.name} has no submap {submap_id}")
        return self._whole_record(row)

    def _whole_record(self, row: tuple) -> SubmapRecord:
        record = SubmapRecord(*row)
        if not record.sound():
            raise StoreError(f"submap {record.id} is damaged (checksum) in the map {self.name}: {REMEDY}")
        return record

    def submap(self, db: Database, submap_id: int, views: bool = True) -> Submap:
        """One submap, with those of its views that are not damaged."""
        record = self.record(db, submap_id)
        pose, points = unpack_matrix(record.T_map_base), unpack_points(self._scan(db, submap_id, "points"))
        seen = self.views(db, "submap = %s ORDER BY id", submap_id) if views else ()
        return record.submap(self.panorama(db, submap_id), points,
                             tuple(v.view(pose, self.size) for v in seen if v.sound()))

    def panorama(self, db: Database, submap_id: int) -> RangeImage:
        """The range image of a submap, the whole turn."""
        return unpack_ranges(self._scan(db, submap_id, "panorama") or b"", self.grid)

    def _scan(self, db: Database, submap_id: int, column: str) -> bytes | None:
        row = db.execute(f"SELECT {column}, {column}_checksum FROM scans WHERE submap = %s", (int(submap_id),),
                         binary=True).fetchone()
        if row is None:
            raise StoreError(f"the map {self.name} has no submap {submap_id}")
        blob, crc = row
        if (blob is None) != (crc is None) or (blob is not None and checksum(int(submap_id), blob) != crc):
            raise StoreError(f"{column} of submap {submap_id} in the map {self.name} is damaged: {REMEDY}")
        return blob

    def views(self, db: Database, where: str, *values: Any) -> Iterator[ViewRecord]:
        """Views as they are written down, damaged ones too."""
        for row in db.execute(f"SELECT {VIEW} FROM views WHERE {where}", values, binary=True).fetchall():
            yield ViewRecord(*row)


def _one(db: Database, query: str, *values: Any) -> Any:
    return (db.execute(query, values).fetchone() or (None,))[0]


def _place(T: np.ndarray) -> tuple[float, float]:
    return float(T[0, 3]), float(T[1, 3])


def _copy(db: Database, views: Sequence[ViewRecord]) -> None:
    """COPY is what takes many rows in one go."""
    with db.cursor() as cursor, cursor.copy(f"COPY views ({VIEW}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["int8", "int8", "bytea", "bytea", "bytea", "bytea", "int2", "bytea", "int8"])
        for view in views:
            copy.write_row(dataclasses.astuple(view))
