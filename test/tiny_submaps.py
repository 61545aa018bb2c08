# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Submaps small enough to store hundreds of them in a test, and a map as the first version of the schema kept it."""

import sqlite3
import zlib
from pathlib import Path

import numpy as np

from ms2cl_ros.core.geometry import inverse, rotation_z, transform
from ms2cl_ros.core.maps.records import pack_ranges
from ms2cl_ros.core.sidecar import CameraInput, Embedding, LidarInput, Sidecar
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap, View

GRID = AngularGrid(4, 10, 2.0, 4.0, 9.0)
MODEL = Sidecar("tiny", CameraInput("c", "0", "whole_image", None, (2, 2), ("red",), (0.0,), (1.0,)),
                LidarInput("l", "0", GRID, (4, 10), ("valid",), (0.0,), (1.0,), 1.0, 90.0),
                Embedding(3, 1, "cosine", 10.0), {})

SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE sessions (id INTEGER PRIMARY KEY AUTOINCREMENT, first_stamp_ns INTEGER NOT NULL);
CREATE TABLE submaps (id INTEGER PRIMARY KEY AUTOINCREMENT, session INTEGER NOT NULL REFERENCES sessions (id),
    stamp_ns INTEGER NOT NULL, T_map_base BLOB NOT NULL, covariance BLOB, T_base_lidar BLOB NOT NULL,
    travelled REAL NOT NULL, panorama BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE views (id INTEGER PRIMARY KEY AUTOINCREMENT,
    submap INTEGER NOT NULL REFERENCES submaps (id) ON DELETE CASCADE, T_submap_view BLOB NOT NULL,
    headings BLOB NOT NULL, descriptors BLOB NOT NULL, checksum INTEGER NOT NULL);
CREATE INDEX views_submap ON views (submap);
"""


def unit(rng: np.random.Generator, n: int, size: int = 3) -> np.ndarray:
    """(n, size) float32 of unit length."""
    vectors = rng.normal(size=(n, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def submap(x: float, headings: int = 2, descriptors: np.ndarray | None = None, points: int = 0) -> Submap:
    """At (x, 2), the same for the same x."""
    rng = np.random.default_rng(int(x * 100) + 10**6)
    T = transform([x, 2.0, 0.5]) @ rotation_z(0.3)
    vectors = unit(rng, headings) if descriptors is None else np.float32(descriptors)
    image = RangeImage(rng.uniform(0, 90, (4, 40)).astype(np.float32), GRID.panorama())
    view = View(T @ transform([0.0, 1.5, 0.0]), np.arange(headings) * 0.5, vectors)
    return Submap(int(x * 1e9), T, transform([0.0, 0.0, 1.7]), image, (view,), np.eye(6) * 0.1,
                  rng.uniform(-50, 50, (points, 3)).astype(np.float32) if points else None, travelled=x, sensor="tiny")


def rendered(x: float, aside: float) -> View:
    """A view rendered aside of `submap(x)`."""
    rng = np.random.default_rng(int(x * 100))
    return View(submap(x).T_map_base @ transform([0.0, aside, 0.0]), np.arange(2) * 0.5, unit(rng, 2),
                rng.integers(0, 255, (2, 6), np.uint8), rendered=True)


def crc(*blobs: bytes) -> int:
    """As version 0.1 computed it."""
    value = 0
    for blob in blobs:
        value = zlib.crc32(blob, value)
    return value


def write_schema_1(path: Path, places: list[float]) -> None:
    """A map as version 0.1 wrote it."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(f"PRAGMA application_id = {0x4D53324C}; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;"
                     + SCHEMA_1)
    db.executemany("INSERT INTO meta VALUES (?, ?)",
                   [("model", MODEL.name), ("fingerprint", MODEL.fingerprint), ("revision", "0")])
    db.execute("INSERT INTO sessions VALUES (1, 5)")
    for key, x in enumerate(places, 1):
        s, panorama = submap(x), pack_ranges(submap(x).panorama)
        blobs = [np.asarray(a, "<f8").tobytes() for a in (s.T_map_base, s.covariance, s.T_base_lidar)]
        db.execute("INSERT INTO submaps VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?)",
                   (key, s.stamp_ns, *blobs, s.travelled, panorama, crc(*blobs, panorama)))
        v = s.views[0]
        parts = [np.asarray(inverse(s.T_map_base) @ v.T_map_base, "<f8").tobytes(),
                 np.asarray(v.headings, "<f8").tobytes(), v.descriptors.tobytes()]
        db.execute("INSERT INTO views VALUES (?, ?, ?, ?, ?, ?)", (key, key, *parts, crc(*parts)))
    db.close()
