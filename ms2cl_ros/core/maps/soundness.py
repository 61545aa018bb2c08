# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Is every record of an SQLite map what was written? Every checksum is computed anew."""

from __future__ import annotations

from collections.abc import Iterator

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.records import SubmapRecord, ViewRecord, checksum
from ms2cl_ros.core.maps.sqlite_file import SqliteFile

SUBMAP = "id, session, stamp_ns, T_map_base, covariance, T_base_lidar, travelled, sensor, checksum"
VIEW = "id, submap, T_submap_view, headings, descriptors, coarse, rendered, strip, checksum"
REMEDY = "`ms2cl database check` lists what is damaged, `ms2cl database prune --damaged` removes it"
PAGE = 64


def line(record: SubmapRecord | ViewRecord) -> str:
    """How a damaged record is named."""
    if isinstance(record, SubmapRecord):
        return f"submap {record.id} is damaged (checksum)"
    return f"view {record.id} of submap {record.submap} is damaged (checksum)"


def _rows(file: SqliteFile, columns: str, table: str, key: str) -> Iterator[tuple]:
    last = -2**63
    while True:
        page = file.read(f"SELECT {columns} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?", last, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1][0]


def _submaps(file: SqliteFile) -> Iterator[tuple[int, str]]:
    for row in _rows(file, SUBMAP, "submaps", "id"):
        record = SubmapRecord(*row)
        if not record.sound():
            yield record.id, line(record)


def _views(file: SqliteFile) -> Iterator[tuple[int, str]]:
    for row in _rows(file, VIEW, "views", "id"):
        record = ViewRecord(*row)
        if not record.sound():
            yield record.id, line(record)


def _scans(file: SqliteFile, column: str) -> Iterator[tuple[int, str]]:
    for key, blob, crc in _rows(file, f"submap, {column}, {column}_checksum", "scans", "submap"):
        if (blob is None) != (crc is None) or (blob is not None and checksum(key, blob) != crc):
            yield key, f"{column} of submap {key} is damaged (checksum)"


def check(file: SqliteFile) -> list[str]:
    """One line a fault; empty if the file's structure, its references and every checksum are right."""
    faults: list[str] = []
    try:
        faults += [text for text, in file.read("PRAGMA integrity_check") if text != "ok"]
        for table, key, parent, _ in file.read("PRAGMA foreign_key_check"):
            faults.append(f"row {key} of {table} belongs to one of {parent} that is not there")
        for key, in file.read("SELECT id FROM submaps WHERE id NOT IN (SELECT submap FROM scans)"):
            faults.append(f"submap {key} has lost its range image")
        for damaged in (_submaps(file), _views(file), _scans(file, "panorama"), _scans(file, "points")):
            faults += [text for _, text in damaged]
    except StoreError as e:
        faults.append(str(e))
    return faults


def drop_damaged(file: SqliteFile) -> list[str]:
    """Removes damaged views; submaps whose record or range image is damaged, with their views; damaged points."""
    lost = list(_submaps(file)) + list(_scans(file, "panorama"))
    lost += [(key, f"submap {key} has lost its range image") for key, in file.read(
        "SELECT id FROM submaps WHERE id NOT IN (SELECT submap FROM scans)")]
    views, points = list(_views(file)), list(_scans(file, "points"))
    if not (lost or views or points):
        return []
    with file.writing():
        for key, _ in lost:
            file.db.execute("DELETE FROM submaps WHERE id = ?", (key,))
        for key, _ in views:
            file.db.execute("DELETE FROM views WHERE id = ?", (key,))
        for key, _ in points:
            file.db.execute("UPDATE scans SET points = NULL, points_checksum = NULL WHERE submap = ?", (key,))
            file.db.execute("UPDATE submaps SET rendered = 2 WHERE id = ? AND rendered = 0", (key,))
        for table in ("scans", "views"):
            file.db.execute(f"DELETE FROM {table} WHERE submap NOT IN (SELECT id FROM submaps)")
        file.db.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")
    return [text for _, text in lost + views + points]
