# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Is every record of a shared map what was written? Every checksum is computed anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ms2cl_ros.core.maps.records import SubmapRecord, ViewRecord, checksum
from ms2cl_ros.core.maps.server import Database
from ms2cl_ros.core.maps.server_rows import SUBMAP, Rows

PAGE = 64


@dataclass
class Faults:
    """What is damaged, by what it costs: whole submaps, single views, kept points. `lines` says it in words."""

    submaps: list[int] = field(default_factory=list)
    views: list[int] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def line(record: SubmapRecord | ViewRecord) -> str:
    """How a damaged record is named."""
    if isinstance(record, SubmapRecord):
        return f"submap {record.id} is damaged (checksum)"
    return f"view {record.id} of submap {record.submap} is damaged (checksum)"


def faults(db: Database, rows: Rows) -> Faults:
    """Every fault of the map, within a transaction."""
    found = Faults()
    for row in _pages(db, SUBMAP, "submaps", "id"):
        record = SubmapRecord(*row)
        if not record.sound():
            found.submaps.append(record.id)
            found.lines.append(line(record))
    for key, panorama, crc, points, points_crc in _pages(
            db, "submap, panorama, panorama_checksum, points, points_checksum", "scans", "submap"):
        if checksum(key, panorama) != crc:
            found.submaps.append(key)
            found.lines.append(f"panorama of submap {key} is damaged (checksum)")
        if (points is None) != (points_crc is None) or (points is not None and checksum(key, points) != points_crc):
            found.points.append(key)
            found.lines.append(f"points of submap {key} is damaged (checksum)")
    for view in _views(db, rows):
        if not view.sound():
            found.views.append(view.id)
            found.lines.append(line(view))
    for key, in db.execute("SELECT id FROM submaps WHERE id NOT IN (SELECT submap FROM scans) ORDER BY id").fetchall():
        found.submaps.append(key)
        found.lines.append(f"submap {key} has lost its range image")
    return found


def drop(db: Database, rows: Rows) -> list[str]:
    """Removes damaged views, damaged points, and submaps whose record or range image is damaged; says what went."""
    found = faults(db, rows)
    owners = db.execute("DELETE FROM views WHERE id = ANY(%s) RETURNING submap", (found.views,)).fetchall()
    db.execute("UPDATE scans SET points = NULL, points_checksum = NULL WHERE submap = ANY(%s)", (found.points,))
    db.execute("UPDATE submaps SET rendered = 2 WHERE id = ANY(%s) AND rendered = 0", (found.points,))
    for key in {key for key, in owners}:
        rows.touch(db, key)
    rows.remove(db, found.submaps)
    if found.lines:
        rows.revise(db)
    return found.lines


def _pages(db: Database, columns: str, table: str, key: str) -> Iterator[tuple]:
    last = -2**63
    while True:
        page = db.execute(f"SELECT {columns} FROM {table} WHERE {key} > %s ORDER BY {key} LIMIT %s", (last, PAGE),
                          binary=True).fetchall()
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1][0]


def _views(db: Database, rows: Rows) -> Iterator[ViewRecord]:
    last = -2**63
    while True:
        page = list(rows.views(db, "id > %s ORDER BY id LIMIT %s", last, PAGE))
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1].id
