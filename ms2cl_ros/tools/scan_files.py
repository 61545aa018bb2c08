# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One scan in one file, as data sets and SLAM programs leave them: .bin (KITTI), .pcd, .ply, .npy, .npz."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ms2cl_ros.core.errors import DataError

Columns = dict[str, np.ndarray]
PLY_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
             "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4",
             "uint32": "u4", "float32": "f4", "float64": "f8"}
PLY_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
# A header longer than this is none.
LONGEST_HEADER = 65536


def read_scan(path: Path) -> Columns:
    """Every field of the points by name, (N,) each, `x`, `y`, `z` (metres) among them, the sensor's frame.

    Raises DataError if the file is damaged, cut short, of another kind, or holds no points.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no scan that can be read: expected one of {', '.join(READERS)}")
    try:
        columns = reader(path)
    except OSError as e:
        raise DataError(f"cannot read {path}: {e.strerror or e}") from e
    missing = [axis for axis in "xyz" if axis not in columns]
    if missing:
        raise DataError(f"{path} has no {', '.join(missing)}; its fields are {', '.join(columns) or 'none'}")
    if not len(columns["x"]):
        raise DataError(f"{path} holds no points")
    return columns


def _bin(path: Path) -> Columns:
    data = path.read_bytes()
    if len(data) % 16:
        raise DataError(f"{path} has {len(data)} bytes, expected a multiple of 16 (x y z intensity, float32, as KITTI "
                        "writes them): it is damaged or has other columns; convert it to .npy or .pcd")
    return _named(path, np.frombuffer(data, "<f4").reshape(-1, 4))


def _named(path: Path, rows: np.ndarray) -> Columns:
    """(N, 3 or more): x y z, then the intensity if there is a fourth."""
    if rows.ndim != 2 or rows.shape[1] < 3 or rows.dtype.kind not in "fiu":
        raise DataError(f"{path} holds an array of {rows.dtype} and shape {rows.shape}, expected numbers, (N, 3) or "
                        "more: x y z intensity")
    return dict(zip(("x", "y", "z", "intensity"), rows.T))


def _npy(path: Path) -> Columns:
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as e:
        raise DataError(f"{path} is no numpy array: {e}") from e
    return {n: rows[n].ravel() for n in rows.dtype.names} if rows.dtype.names else _named(path, rows)


def _npz(path: Path) -> Columns:
    from zipfile import BadZipFile
    try:
        with np.load(path, allow_pickle=False) as arrays:
            columns = {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, BadZipFile) as e:
        raise DataError(f"{path} holds no numpy arrays: {e}") from e
    rows = columns.get("xyz", columns.get("points", next(iter(columns.values())) if len(columns) == 1 else None))
    if rows is None:
        return columns
    flat = {name: a for name, a in columns.items() if a.ndim == 1 and len(a) == len(rows)}
    return {**_named(path, rows), **flat}


def _pcd(path: Path) -> Columns:
    try:
        from pypcd4 import PointCloud
    except ImportError as e:
        raise DataError(f"{path}: .pcd files are read with pypcd4: run `pip install pypcd4`") from e
    try:
        cloud = PointCloud.from_path(path)
        return {name: cloud.pc_data[name] for name in cloud.fields}
    except OSError:
        raise
    except Exception as e:  # pypcd4's errors share no base class
        raise DataError(f"{path} is no PCD file, or is cut short: {e}") from e


def _ply(path: Path) -> Columns:
    data = path.read_bytes()
    order, elements, body = _ply_header(path, data)
    for name, count, fields in elements:
        if name == "vertex":
            return _ply_vertices(path, data[body:], order, count, fields)
        if any(kind is None for _, kind in fields) or not order:
            raise DataError(f"{path} has '{name}' before its points; save it with the points alone")
        body += count * np.dtype([(n, order + str(kind)) for n, kind in fields]).itemsize
    raise DataError(f"{path} has no points (element vertex)")


def _ply_header(path: Path, data: bytes) -> tuple[str, list[tuple[str, int, list[tuple[str, str | None]]]], int]:
    """Byte order ('' for text), (name, count, fields) of each element, and where the numbers begin."""
    mark = data.find(b"end_header", 0, LONGEST_HEADER)
    end = data.find(b"\n", mark) + 1
    if not data.startswith(b"ply") or mark < 0 or not end:
        raise DataError(f"{path} is no PLY file: it does not begin with a PLY header")
    order, elements = None, []
    for words in (line.split() for line in data[:mark].decode("ascii", "replace").splitlines()):
        if words[:1] == ["format"]:
            order = PLY_ORDERS.get(words[1])
        elif words[:1] == ["element"]:
            elements.append((words[1], int(words[2]), []))
        elif words[:1] == ["property"]:
            elements[-1][2].append((words[-1], PLY_TYPES.get(words[1])))
    if order is None:
        raise DataError(f"{path}: a PLY format other than {', '.join(PLY_ORDERS)}")
    return order, elements, end


def _ply_vertices(path: Path, body: bytes, order: str, count: int, fields: list[tuple[str, str | None]]) -> Columns:
    if any(kind is None for _, kind in fields):
        raise DataError(f"{path}: its points carry lists or unknown types; save them with plain numbers")
    if not order:
        rows = np.array(body.split()[:count * len(fields)], np.float64)
        if rows.size < count * len(fields):
            raise DataError(f"{path} is cut short: {rows.size} numbers for {count} points of {len(fields)}")
        return dict(zip((n for n, _ in fields), rows.reshape(count, len(fields)).T))
    layout = np.dtype([(n, order + str(kind)) for n, kind in fields])
    if len(body) < count * layout.itemsize:
        raise DataError(f"{path} is cut short: {len(body)} bytes for {count} points of {layout.itemsize}")
    points = np.frombuffer(body, layout, count)
    return {n: points[n].astype(layout[n].newbyteorder("=")) for n, _ in fields}


READERS: dict[str, Callable[[Path], Columns]] = {".bin": _bin, ".pcd": _pcd, ".ply": _ply, ".npy": _npy, ".npz": _npz}
