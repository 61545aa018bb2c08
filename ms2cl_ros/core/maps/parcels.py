# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What travels between a robot's cache and a shared map: a submap as it is written down, byte by byte the same.

Ids are each database's own; across databases a submap and a session are known by their `uid`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from ms2cl_ros.core.maps.records import SubmapRecord, ViewRecord, checksum, pack_points, pack_ranges
from ms2cl_ros.core.types import Submap

ADDED, MOVED, VIEWS, REMOVED = 1, 2, 4, 8  # what has happened to a submap since it was last sent, as bits


@dataclass(frozen=True)
class Drive:
    """A session as every database knows it. `robot`: who drove."""

    uid: UUID
    robot: str
    name: str
    first_stamp_ns: int


@dataclass(frozen=True)
class Parcel:
    """A submap with its views. `rendered`: 0 not yet, 1 yes, 2 it keeps no points. `changed`: the server's number."""

    uid: UUID
    drive: Drive
    record: SubmapRecord
    panorama: bytes
    points: bytes | None
    rendered: int
    views: tuple[ViewRecord, ...]
    changed: int = 0


def parcel(submap: Submap, uid: UUID, drive: Drive) -> Parcel:
    """A submap written down, without ids."""
    points = pack_points(submap.points)
    views = tuple(ViewRecord.of(v, 0, submap.T_map_base) for v in submap.views)
    return Parcel(uid, drive, SubmapRecord.of(replace(submap, id=None)), pack_ranges(submap.panorama), points,
                  0 if points else 2, views)


def submap_with(record: SubmapRecord, key: int, session: int) -> SubmapRecord:
    """The same submap under the ids of another database."""
    fields = (key, session, record.stamp_ns, record.T_map_base, record.covariance, record.T_base_lidar,
              record.travelled, record.sensor)
    return SubmapRecord(*fields, checksum(*fields))


def view_with(record: ViewRecord, key: int, submap: int) -> ViewRecord:
    """The same view under the ids of another database."""
    return ViewRecord.sealed((key, submap, *_look(record)))


def difference(here: Sequence[ViewRecord], there: Sequence[ViewRecord]) -> tuple[list[ViewRecord], list[int]]:
    """(views of `there` that `here` lacks, ids of `here` that `there` lacks); ids are no part of the comparison."""
    left = Counter(_look(v) for v in here)
    missing = []
    for view in there:
        if left[_look(view)]:
            left[_look(view)] -= 1
        else:
            missing.append(view)
    surplus = []
    for view in reversed(here):
        if left[_look(view)]:
            left[_look(view)] -= 1
            surplus.append(view.id)
    return missing, surplus


def _look(view: ViewRecord) -> tuple[bytes, bytes, bytes, bytes | None, int, bytes | None]:
    return view.T_submap_view, view.headings, view.descriptors, view.coarse, view.rendered, view.strip
