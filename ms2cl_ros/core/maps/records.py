# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How submaps and views are written down: blobs and checksums, the same in every database."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import inverse
from ms2cl_ros.core.strips import first_columns, looks
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap, View

POINT_STEP = 0.005  # metres between the positions that a kept point can have
DAMAGED = -1  # a checksum that no record has
_LENGTH = struct.Struct("<I")
_SHAPE = struct.Struct("<HH")
Field = bytes | str | int | float | None
ViewFields = tuple[int, int, bytes, bytes, bytes, bytes | None, int, bytes | None]


def checksum(*fields: Field) -> int:
    """CRC-32 over fields with their kinds and lengths, so that nothing can move from one field to the next."""
    parts: list[bytes] = []
    for field in fields:
        if isinstance(field, bytes):
            raw, kind = field, b"b"
        elif field is None:
            raw, kind = b"", b"n"
        elif isinstance(field, str):
            raw, kind = field.encode("utf-8", "surrogatepass"), b"s"
        elif isinstance(field, float):
            raw, kind = struct.pack("<d", field), b"f"
        else:
            raw, kind = b"%d" % field, b"i"
        parts += (kind, _LENGTH.pack(len(raw)), raw)
    return zlib.crc32(b"".join(parts))


def pack_floats(array: np.ndarray) -> bytes:
    """Any array as float64, row by row."""
    return np.ascontiguousarray(array, "<f8").tobytes()


def unpack_matrix(blob: bytes, size: int = 4) -> np.ndarray:
    """(size, size) float64 from `pack_floats`."""
    return np.frombuffer(blob, "<f8").reshape(size, size).copy()


def pack_ranges(image: RangeImage) -> bytes:
    """A range image as compressed centimetres; 655.35 m is the farthest that can be kept."""
    centimetres = np.clip(np.rint(image.ranges * 100.0), 0, 65535).astype("<u2")
    return zlib.compress(centimetres.tobytes(), 1)


def unpack_ranges(blob: bytes, grid: AngularGrid) -> RangeImage:
    """Inverse of `pack_ranges`, within 5 mm."""
    centimetres = np.frombuffer(zlib.decompress(blob), "<u2").reshape(grid.rows, grid.columns)
    return RangeImage(centimetres.astype(np.float32) / 100.0, grid)


# Shifts and masks that spread 16 bits to every third bit, and gather them again backwards.
_SPREAD = tuple((np.uint64(shift), np.uint64(mask)) for shift, mask in (
    (32, 0x1F00000000FFFF), (16, 0x1F0000FF0000FF), (8, 0x100F00F00F00F00F), (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249)))
_ALL = np.uint64(0x1FFFFF)


def pack_points(points: np.ndarray | None) -> bytes | None:
    """(N, 3) metres, in any order, on a lattice of `POINT_STEP`; coarser where the points reach beyond 163 m.

    The lattice is walked along a space-filling (Morton) curve, and only the steps along it are kept, in byte planes:
    2.8 bytes a point for KITTI's scans thinned to 0.2 m. Raises StoreError for points that are not finite.
    """
    if points is None:
        return None
    xyz = np.asarray(points, np.float64).reshape(-1, 3)
    if not np.isfinite(xyz).all():
        raise StoreError(f"{int((~np.isfinite(xyz)).any(axis=1).sum())} of a submap's {len(xyz)} points are not finite")
    step = max(POINT_STEP, float(np.abs(xyz).max(initial=0.0)) / 32767)
    lattice = (np.rint(xyz / step) + 32768).astype(np.uint64)
    curve = np.sort(sum((_spread(lattice[:, axis]) << np.uint64(axis) for axis in range(3)), np.uint64(0)))
    along = np.diff(curve, prepend=np.uint64(0)).astype("<u8").view("u1").reshape(-1, 8)[:, :6]
    return struct.pack("<d", step) + zlib.compress(np.ascontiguousarray(along.T).tobytes(), 6)


def unpack_points(blob: bytes | None) -> np.ndarray | None:
    """(N, 3) float32 from `pack_points`, along the curve."""
    if blob is None:
        return None
    step, = struct.unpack_from("<d", blob)
    planes = np.frombuffer(zlib.decompress(blob[8:]), "u1").reshape(6, -1)
    along = np.zeros((planes.shape[1], 8), "u1")
    along[:, :6] = planes.T
    curve = np.cumsum(along.view("<u8")[:, 0], dtype=np.uint64)
    lattice = np.stack([_gather(curve >> np.uint64(axis)) for axis in range(3)], axis=1)
    return ((lattice.astype(np.float64) - 32768) * step).astype(np.float32)


def _spread(bits: np.ndarray) -> np.ndarray:
    for shift, mask in _SPREAD:
        bits = (bits | (bits << shift)) & mask
    return bits


def _gather(bits: np.ndarray) -> np.ndarray:
    shifts, masks = zip(*_SPREAD)
    bits = bits & masks[-1]
    for shift, mask in zip(reversed(shifts), (*reversed(masks[:-1]), _ALL)):
        bits = (bits | (bits >> shift)) & mask
    return bits


def pack_coarse(coarse: np.ndarray | None) -> bytes | None:
    """(rows, columns) uint8 with its shape, compressed."""
    if coarse is None:
        return None
    return _SHAPE.pack(*coarse.shape) + zlib.compress(np.ascontiguousarray(coarse, "u1").tobytes(), 6)


def unpack_coarse(blob: bytes | None) -> np.ndarray | None:
    """Inverse of `pack_coarse`."""
    if blob is None:
        return None
    return np.frombuffer(zlib.decompress(blob[4:]), "u1").reshape(_SHAPE.unpack_from(blob))


def pack_strip(strip: np.ndarray | None) -> bytes | None:
    """(numbers, width) with its shape, as float16."""
    if strip is None:
        return None
    return _SHAPE.pack(*strip.shape) + np.ascontiguousarray(strip, "<f2").tobytes()


def unpack_strip(blob: bytes) -> np.ndarray:
    """(numbers, width) float32 from `pack_strip`."""
    return np.frombuffer(blob, "<f2", offset=4).reshape(_SHAPE.unpack_from(blob)).astype(np.float32)


def _cut(strip: np.ndarray, headings: np.ndarray, size: int) -> np.ndarray | None:
    """(n, size) descriptors out of a strip; None where headings or numbers do not suit it."""
    numbers, width = strip.shape
    if not strip.size or size % numbers or not np.isfinite(strip).all():
        return None
    first = first_columns(headings, width, size // numbers)
    return None if first is None else looks(strip, first, size // numbers)


@dataclass(frozen=True)
class SubmapRecord:
    """A submap as it is written down, without its views. Each blob that is read alone has its own checksum."""

    id: int
    session: int
    stamp_ns: int
    T_map_base: bytes
    covariance: bytes | None
    T_base_lidar: bytes
    travelled: float
    sensor: str
    checksum: int

    @classmethod
    def of(cls, submap: Submap) -> SubmapRecord:
        """Written down; `submap.id` must be set."""
        covariance = None if submap.covariance is None else pack_floats(submap.covariance)
        fields = (int(submap.id or 0), int(submap.session), int(submap.stamp_ns), pack_floats(submap.T_map_base),
                  covariance, pack_floats(submap.T_base_lidar), float(submap.travelled), submap.sensor)
        return cls(*fields, checksum(*fields))

    def moved(self, T_map_base: np.ndarray) -> SubmapRecord:
        """The same submap at another pose."""
        fields = (self.id, self.session, self.stamp_ns, pack_floats(T_map_base), self.covariance, self.T_base_lidar,
                  self.travelled, self.sensor)
        return SubmapRecord(*fields, checksum(*fields))

    def sound(self) -> bool:
        """Whether it is what was written."""
        return self.checksum == checksum(self.id, self.session, self.stamp_ns, self.T_map_base, self.covariance,
                                         self.T_base_lidar, self.travelled, self.sensor)

    def submap(self, panorama: RangeImage, points: np.ndarray | None, views: tuple[View, ...]) -> Submap:
        """Read back."""
        covariance = None if self.covariance is None else unpack_matrix(self.covariance, 6)
        return Submap(self.stamp_ns, unpack_matrix(self.T_map_base), unpack_matrix(self.T_base_lidar), panorama, views,
                      covariance, points, self.session, self.travelled, self.sensor, self.id)


@dataclass(frozen=True)
class ViewRecord:
    """A view as it is written down: its pose is kept in its submap's base frame, so that they move together.

    `descriptors` is empty where a `strip` is kept.
    """

    id: int
    submap: int
    T_submap_view: bytes
    headings: bytes
    descriptors: bytes
    coarse: bytes | None
    rendered: int
    strip: bytes | None
    checksum: int

    @classmethod
    def of(cls, view: View, submap: int, T_map_base: np.ndarray) -> ViewRecord:
        """Written down; `view.id` must be set. Raises StoreError if a strip would not give its descriptors back."""
        strip, descriptors = pack_strip(view.strip), b""
        if strip is None:
            descriptors = np.ascontiguousarray(view.descriptors, "<f4").tobytes()
        else:
            again = _cut(unpack_strip(strip), view.headings, view.descriptors.shape[-1])
            if again is None or not np.array_equal(again, view.descriptors):
                raise StoreError(f"a view's descriptors {view.descriptors.shape} are not those that its strip gives: "
                                 "make the strip with strips.rounded and them with strips.looks, or leave it out")
        return cls.sealed((int(view.id or 0), int(submap), pack_floats(inverse(T_map_base) @ view.T_map_base),
                           pack_floats(view.headings), descriptors, pack_coarse(view.coarse), int(view.rendered),
                           strip))

    @classmethod
    def sealed(cls, fields: ViewFields) -> ViewRecord:
        """A record of all fields but the checksum."""
        return cls(*fields, _view_checksum(fields))

    def sound(self) -> bool:
        """Whether it is what was written."""
        return self.checksum == _view_checksum((self.id, self.submap, self.T_submap_view, self.headings,
                                                self.descriptors, self.coarse, self.rendered, self.strip))

    def fits(self, size: int) -> bool:
        """Whether it has `size` finite numbers a heading, written in full or in a strip."""
        headings = np.frombuffer(self.headings, "<f8")
        if self.strip is not None:
            whole = len(self.strip) == 4 + 2 * np.prod(_SHAPE.unpack_from(self.strip.ljust(4, b"\0")))
            return bool(whole) and not self.descriptors and _cut(unpack_strip(self.strip), headings, size) is not None
        numbers = np.frombuffer(self.descriptors, "<f4")
        return len(numbers) == len(headings) * size and bool(np.isfinite(numbers).all())

    def view(self, T_map_base: np.ndarray, size: int) -> View:
        """Read back; `T_map_base`: its submap's pose as it is now; `size`: numbers of a descriptor."""
        headings, strip = np.frombuffer(self.headings, "<f8"), None
        if self.strip is None:
            descriptors = np.frombuffer(self.descriptors, "<f4").reshape(len(headings), -1)
        else:
            strip = unpack_strip(self.strip)
            cut = _cut(strip, headings, size)
            if cut is None:
                raise StoreError(f"view {self.id} keeps a strip {strip.shape} that does not suit its {len(headings)} "
                                 f"headings of {size} numbers: it was written by another program")
            descriptors = cut
        return View(T_map_base @ unpack_matrix(self.T_submap_view), headings, descriptors, unpack_coarse(self.coarse),
                    bool(self.rendered), self.id, strip)


def _view_checksum(fields: ViewFields) -> int:
    """Where there is no strip the same as in maps of before there were any."""
    return checksum(*(fields if fields[-1] is not None else fields[:-1]))
