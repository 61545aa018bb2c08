# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What can still be read of a damaged SQLite map goes into a new one, row by row, if its checksum vouches for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.records import SubmapRecord, ViewRecord, checksum
from ms2cl_ros.core.maps.soundness import SUBMAP, VIEW
from ms2cl_ros.core.maps.sqlite_file import SqliteFile

SUBMAP_PLACE = f"{SUBMAP}, strip, y, rendered"
SCAN = "submap, panorama, panorama_checksum, points, points_checksum"


@dataclass(frozen=True)
class Recovered:
    """How many submaps and views came through, and how many ids gave nothing: lost, or removed before."""

    submaps: int
    views: int
    missing_submaps: int
    missing_views: int


def recover(damaged: Path, target: Path) -> Recovered:
    """Copies every sound submap with its sound views from `damaged` into a new map; ids stay as they are.

    Raises StoreError if `target` exists, or if not even the map's header and its table of facts can be read.
    """
    if target.exists():
        raise StoreError(f"{target} exists: a recovered map is written to a new file")
    source = SqliteFile.open(damaged, None, write=False)
    try:
        into = SqliteFile.open(target, None, write=True, meta=source.meta)
        try:
            return _copy(source, into)
        finally:
            into.close()
    finally:
        source.close()


def _copy(source: SqliteFile, into: SqliteFile) -> Recovered:
    last = {table: _last(source, table) for table in ("sessions", "submaps", "views")}
    counts = {"submaps": 0, "views": 0}
    with into.writing():
        for row in _rows(source, "id, name, first_stamp_ns", "sessions", "id", last["sessions"]):
            into.db.execute("INSERT INTO sessions VALUES (?, ?, ?)", row)
        for row in _rows(source, SUBMAP_PLACE, "submaps", "id", last["submaps"]):
            counts["submaps"] += SubmapRecord(*row[:-3]).sound() and _put_submap(source, into, row)
        for row in _rows(source, VIEW, "views", "id", last["views"]):
            if ViewRecord(*row).sound() and into.db.execute("SELECT 1 FROM submaps WHERE id = ?", row[1:2]).fetchone():
                into.db.execute(f"INSERT INTO views ({VIEW}) VALUES (?,?,?,?,?,?,?,?,?)", row)
                counts["views"] += 1
    return Recovered(counts["submaps"], counts["views"], last["submaps"] - counts["submaps"],
                     last["views"] - counts["views"])


def _put_submap(source: SqliteFile, into: SqliteFile, row: tuple) -> bool:
    """A submap whose range image is lost stays behind: it could never be embedded anew."""
    scan = next(_rows(source, SCAN, "scans", "submap", row[0], first=row[0]), None)
    if scan is None or checksum(scan[0], scan[1]) != scan[2]:
        return False
    points = scan[3:] if scan[3] is not None and checksum(scan[0], scan[3]) == scan[4] else (None, None)
    rendered = row[-1] if points[0] is not None else 2
    if not into.db.execute("SELECT 1 FROM sessions WHERE id = ?", row[1:2]).fetchone():
        into.db.execute("INSERT INTO sessions VALUES (?, ?, ?)", (row[1], "", row[2]))
    into.db.execute(f"INSERT INTO submaps ({SUBMAP_PLACE}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", (*row[:-1], rendered))
    into.db.execute(f"INSERT INTO scans ({SCAN}) VALUES (?,?,?,?,?)", (*scan[:3], *points))
    return True


def _last(file: SqliteFile, table: str) -> int:
    """The greatest id that a table can hold, by the first of two ways that can still be read."""
    for sql in (f"SELECT max(id) FROM {table}", f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'"):
        try:
            found = [value for value, in file.read(sql) if isinstance(value, int)]
        except StoreError:
            continue
        if found:
            # a damaged id may be huge; rows take more than 64 bytes each
            return min(found[0], file.path.stat().st_size // 64)
    return 0


def _rows(file: SqliteFile, columns: str, table: str, key: str, last: int, first: int = 1) -> Iterator[tuple]:
    """Rows one by one by their key, over whatever cannot be read."""
    for number in range(first, last + 1):
        try:
            yield from file.read(f"SELECT {columns} FROM {table} WHERE {key} = ?", number)
        except StoreError:
            continue
