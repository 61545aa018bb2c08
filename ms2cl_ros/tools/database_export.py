# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A map's submaps for other programs: GeoJSON for GIS, CSV for spreadsheets, TUM for SLAM tools."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import quaternion, yaw
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.tools.database import Route, routes

# WGS 84: half the greater axis in metres, first eccentricity squared.
SEMI_MAJOR, ECCENTRICITY2 = 6378137.0, 6.69437999014e-3
NOTE = "coordinates are metres of the map's frame, not degrees: give --origin LAT,LON to place it on the Earth"
Origin = tuple[float, float]


def export(database: str | Path, output: Path, origin: Origin | None = None) -> int:
    """Writes the submaps to `output`, in the form that its name ends in; returns how many.

    `origin`: latitude and longitude (degrees, WGS 84) of the map's origin, its x axis pointing east and its y axis
    north; for GeoJSON only. Raises StoreError for an unknown form, or a map or file that cannot be opened.
    """
    write = FORMS.get(output.suffix.lower())
    if write is None:
        raise StoreError(f"cannot export to {output}: its name must end in one of {', '.join(FORMS)}")
    if origin is not None and output.suffix.lower() != ".geojson":
        raise StoreError(f"--origin is for .geojson; {output.suffix} is written in metres of the map's frame")
    with open_map(database, None, write=False) as store:
        drives = routes(store)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(write(drives, origin))
        except OSError as e:
            raise StoreError(f"cannot write {output}: {e.strerror or e}") from e
    return sum(len(r.keys) for r in drives)


def parse_origin(text: str) -> Origin:
    """`LAT,LON` in degrees; raises StoreError."""
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError as e:
        raise StoreError(f"--origin wants LAT,LON in degrees, as 49.0112,8.4208, got '{text}'") from e
    if not (-90 < latitude < 90 and -180 <= longitude <= 180):
        raise StoreError(f"--origin {text}: latitude lies between -90 and 90, longitude between -180 and 180 degrees")
    return latitude, longitude


def geodetic(xyz: np.ndarray, origin: Origin) -> np.ndarray:
    """(N, 3) longitude, latitude (degrees) and height above the origin's ellipsoid (metres) of (N, 3) east, north, up.

    Through Earth-centred coordinates, exact to a millimetre; the origin has height 0.
    """
    phi, lam = np.radians(origin)
    sin, cos = math.sin(phi), math.cos(phi)
    normal = SEMI_MAJOR / math.sqrt(1 - ECCENTRICITY2 * sin**2)
    # columns: east, north, up at the origin in Earth-centred coordinates
    R = np.array([[-math.sin(lam), -sin * math.cos(lam), cos * math.cos(lam)],
                  [math.cos(lam), -sin * math.sin(lam), cos * math.sin(lam)],
                  [0.0, cos, sin]])
    x, y, z = (np.asarray(xyz, float) @ R.T + (normal * cos * math.cos(lam), normal * cos * math.sin(lam),
                                               normal * (1 - ECCENTRICITY2) * sin)).T
    level = np.hypot(x, y)
    latitude, height = np.full(len(x), phi), np.zeros(len(x))
    for _ in range(6):  # each round is good for three digits
        curve = SEMI_MAJOR / np.sqrt(1 - ECCENTRICITY2 * np.sin(latitude)**2)
        height = level * np.cos(latitude) + z * np.sin(latitude) - curve * (1 - ECCENTRICITY2 * np.sin(latitude)**2)
        latitude = np.arctan2(z, level * (1 - ECCENTRICITY2 * curve / (curve + height)))
    return np.column_stack([np.degrees(np.arctan2(y, x)), np.degrees(latitude), height])


def _geojson(drives: list[Route], origin: Origin | None) -> str:
    features: list[dict[str, Any]] = []
    for route in drives:
        xyz = route.poses[:, :3, 3]
        places = (np.round(xyz, 3) if origin is None else np.round(geodetic(xyz, origin), 9)).tolist()
        shared = {"session": route.id, "name": route.name}
        if len(places) > 1:
            features.append(_feature("LineString", places, {**shared, "metres": round(route.metres(), 2)}))
        for key, stamp, T, place in zip(route.keys, route.stamps, route.poses, places):
            features.append(_feature("Point", place, {**shared, "submap": key, "stamp": stamp / 1e9,
                                                      "yaw_deg": round(math.degrees(yaw(T)), 3)}))
    note = {"note": NOTE} if origin is None else {"origin": {"latitude": origin[0], "longitude": origin[1]}}
    return json.dumps({"type": "FeatureCollection", **note, "features": features}) + "\n"


def _feature(kind: str, coordinates: Any, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def _rows(drives: list[Route]) -> Iterator[tuple[Route, int, int, np.ndarray]]:
    for route in drives:
        for key, stamp, T in zip(route.keys, route.stamps, route.poses):
            yield route, key, stamp, T


def _csv(drives: list[Route], _: Origin | None) -> str:
    from io import StringIO
    out = StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["submap", "session", "name", "stamp_ns", "x", "y", "z", "qx", "qy", "qz", "qw", "yaw_deg"])
    for route, key, stamp, T in _rows(drives):
        numbers = [*(f"{v:.4f}" for v in T[:3, 3]), *(f"{v:.7f}" for v in quaternion(T))]
        rows.writerow([key, route.id, route.name, stamp, *numbers, f"{math.degrees(yaw(T)):.3f}"])
    return out.getvalue()


def _tum(drives: list[Route], _: Origin | None) -> str:
    """`stamp x y z qx qy qz qw`, by stamp."""
    lines = ["# stamp x y z qx qy qz qw"]
    for _, _, stamp, T in sorted(_rows(drives), key=lambda row: row[2]):
        numbers = (*(f"{v:.4f}" for v in T[:3, 3]), *(f"{v:.7f}" for v in quaternion(T)))
        lines.append(" ".join((f"{stamp // 10**9}.{stamp % 10**9:09d}", *numbers)))
    return "\n".join(lines) + "\n"


FORMS: dict[str, Callable[[list[Route], Origin | None], str]] = {".geojson": _geojson, ".csv": _csv, ".tum": _tum}
