# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The shared map as a robot's cache talks to it: by `uid`, and so that anything may be sent again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.parcels import MOVED, REMOVED, VIEWS, Drive, Parcel, difference
from ms2cl_ros.core.maps.postgres import PostgresStore
from ms2cl_ros.core.maps.records import SubmapRecord, unpack_matrix
from ms2cl_ros.core.maps.server import Database
from ms2cl_ros.core.maps.server_rows import SUBMAP

News = tuple[UUID, Parcel | None, int]
"""A submap as it is now, None if it is gone, and what has happened to it, as bits of `parcels`."""
COLUMNS = ", ".join(f"m.{c}" for c in SUBMAP.split(", "))


@dataclass(frozen=True)
class Part:
    """The part of the map that a robot needs: within `radius` metres of `centre` (either None: anywhere), driven in
    one of `sessions`, ids of the shared map (none: in any)."""

    centre: tuple[float, float] | None = None
    radius: float | None = None
    sessions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Listing:
    """What has changed: (uid, id, number of the last change, whether it is in the part), and what was removed.

    `upto`: the last change of all that this moment of the map knows.
    """

    submaps: list[tuple[UUID, int, int, bool]]
    removed: list[UUID]
    upto: int


class Exchange(PostgresStore):
    """Sends and fetches whole submaps."""

    def send(self, news: Sequence[News]) -> list[int | StoreError | None]:
        """Makes the shared map have what happened to submaps, in one transaction; sent twice, it is done once.

        For each the number of the change if the submap is new there, None if it is not, or why it was left out. What
        another robot has removed stays removed.
        """
        def work(db: Database) -> list[int | StoreError | None]:
            out: list[int | StoreError | None] = []
            for item in news:
                try:
                    with db.transaction():
                        out.append(self._take(db, *item))
                except StoreError as e:
                    out.append(e)
            return out
        return self._write(work)

    def _take(self, db: Database, uid: UUID, parcel: Parcel | None, happened: int) -> int | None:
        row = db.execute("SELECT id FROM submaps WHERE uid = %s", (uid,)).fetchone()
        if parcel is None or happened & REMOVED:
            if row is None:
                self._rows.bury(db, [uid])
            else:
                self._rows.remove(db, [row[0]])
        elif row is not None:
            self._alter(db, row[0], parcel, happened)
        elif not db.execute("SELECT 1 FROM removed WHERE uid = %s", (uid,)).fetchone():
            return self._rows.insert(db, parcel)[3]
        return None

    def _alter(self, db: Database, key: int, parcel: Parcel, happened: int) -> None:
        """Only what happened is altered, so that two robots may alter different things."""
        record = self._rows.record(db, key)
        if happened & MOVED and record.T_map_base != parcel.record.T_map_base:
            self._rows.move(db, {key: unpack_matrix(parcel.record.T_map_base)})
        if happened & VIEWS:
            missing, surplus = difference(list(self._rows.views(db, "submap = %s ORDER BY id", key)), parcel.views)
            db.execute("DELETE FROM views WHERE id = ANY(%s)", (surplus,))
            self._rows.insert_views(db, key, missing)
            self._rows.touch(db, key, rendered=parcel.rendered == 1)
            if surplus:
                self._rows.revise(db)

    def listing(self, since: int, part: Part, whole: bool) -> Listing:
        """All submaps changed after `since`, and, if `whole`, every other one of the part; nearest first."""
        def work(db: Database) -> Listing:
            self._suits(db)
            upto, = db.execute("SELECT greatest((SELECT coalesce(max(changed), 0) FROM submaps), "
                               "(SELECT coalesce(max(changed), 0) FROM removed))").fetchone() or (0,)
            since_then = since if upto >= since else 0
            removed = db.execute("SELECT uid FROM removed WHERE changed > %s", (since_then,)).fetchall()
            return Listing(self._changed(db, since_then, part, whole), [uid for uid, in removed], upto)
        return self._read(work)

    def _changed(self, db: Database, since: int, part: Part, whole: bool) -> list[tuple[UUID, int, int, bool]]:
        inside, order, values = "true", "changed", {"since": since, "sessions": list(part.sessions)}
        if part.centre is not None and part.radius is not None:
            inside = "place <@ circle(point(%(x)s, %(y)s), %(radius)s)"
            values |= {"x": part.centre[0], "y": part.centre[1], "radius": part.radius}
            order = "place <-> point(%(x)s, %(y)s)"
        if part.sessions:
            inside += " AND session = ANY(%(sessions)s)"
        # what is in a new cache is nothing, so that what changed outside of the part does not matter
        where = (inside if since == 0 else f"changed > %(since)s OR ({inside})") if whole else "changed > %(since)s"
        return db.execute(f"SELECT uid, id, changed, {inside} FROM submaps WHERE {where} ORDER BY {order}",
                          values).fetchall()

    def fetch(self, ids: Sequence[int]) -> list[Parcel]:
        """Submaps with their views, in the order of `ids`; those removed meanwhile, or damaged, are left out."""
        def work(db: Database) -> list[Parcel]:
            self._suits(db)
            rows = db.execute(
                f"SELECT {COLUMNS}, m.uid, m.rendered, m.changed, c.panorama, c.points, s.uid, s.robot, s.name, "
                "s.first_stamp_ns FROM submaps m JOIN scans c ON c.submap = m.id JOIN sessions s ON s.id = m.session "
                "WHERE m.id = ANY(%s)", (list(ids),), binary=True).fetchall()
            views: dict[int, list] = {}
            for view in self._rows.views(db, "submap = ANY(%s) ORDER BY id", list(ids)):
                if self._sound(view):
                    views.setdefault(view.submap, []).append(view)
            found = {}
            for row in rows:
                record, (uid, rendered, changed, panorama, points, *drive) = SubmapRecord(*row[:9]), row[9:]
                if self._sound(record):
                    found[record.id] = Parcel(uid, Drive(*drive), record, panorama, points, rendered,
                                              tuple(views.get(record.id, ())), changed)
            return [found[key] for key in ids if key in found]
        return self._read(work)
