# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Milliseconds to put one scan and one picture on the angular grid, and the ratio to a plain projection.

    python benchmarks/projection.py [--points 120000] [--repeats 51] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from ms2cl_ros.core.projection import CameraView, lidar_tensor, render_ranges
from ms2cl_ros.core.sidecar import CameraInput, LidarInput
from ms2cl_ros.core.types import AngularGrid, CameraModel

GRID = AngularGrid(rows=48, columns=160, elevation_top_deg=5.2, elevation_step_deg=0.4, azimuth_step_deg=0.45)
OPTICAL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def plain(points: np.ndarray, grid: AngularGrid, min_range: float, max_range: float) -> np.ndarray:
    """The usual way: all points by falling range, each overwriting its cell."""
    ranges = np.linalg.norm(points, axis=1)
    keep = (ranges >= min_range) & (ranges <= max_range)
    points, ranges = points[keep], ranges[keep]
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    elevation = np.degrees(np.arcsin(points[:, 2] / ranges))
    column = np.floor((grid.azimuth_left_deg - azimuth) / grid.azimuth_step_deg).astype(int)
    row = np.floor((grid.elevation_top_deg - elevation) / grid.elevation_step_deg).astype(int)
    inside = (row >= 0) & (row < grid.rows) & (column >= 0) & (column < grid.columns)
    row, column, ranges = row[inside], column[inside], ranges[inside]
    order = np.argsort(-ranges)
    image = np.zeros((grid.rows, grid.columns), np.float32)
    image[row[order], column[order]] = ranges[order]
    return image


def scan(count: int) -> np.ndarray:
    """(count, 3) float32: 64 rings from +2 to -24.8 degrees over uneven ground, walls and clutter."""
    random = np.random.default_rng(1)
    elevation = np.radians(np.repeat(np.linspace(2.0, -24.8, 64), -(-count // 64)))[:count]
    azimuth = np.tile(np.linspace(np.pi, -np.pi, -(-count // 64), endpoint=False), 64)[:count]
    ground = 1.73 / np.maximum(np.sin(-elevation), 1e-3)
    walls = 12.0 + 10.0 * np.sin(5 * azimuth) + random.gamma(2.0, 3.0, count)
    distance = np.minimum(np.minimum(ground, walls), 110.0) + random.normal(0, 0.02, count)
    level = distance * np.cos(elevation)
    xyz = [level * np.cos(azimuth), level * np.sin(azimuth), distance * np.sin(elevation)]
    return np.stack(xyz, axis=1).astype(np.float32)


def milliseconds(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median of each call, taken in turns so that a busy machine slows all alike."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            spent[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(times[1:]) for name, times in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=120_000)
    parser.add_argument("--repeats", type=int, default=51)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    args = parser.parse_args()
    points, panorama = scan(args.points), GRID.panorama()
    windows = np.zeros((24, GRID.rows, GRID.columns), np.float32) + 20.0
    lidar = LidarInput("", "", GRID, (48, 160), ("log_range", "valid"), (3.0, 0.0), (1.0, 1.0), 1.5, 80.0)
    camera = CameraModel(1242, 375, np.array([[721.5, 0, 609.6], [0, 721.5, 172.9], [0, 0, 1]]))
    spec = CameraInput("", "", "angular_grid", GRID, (48, 160), ("red", "green", "blue"), (0.5,) * 3, (0.2,) * 3)
    view, picture = CameraView(camera, OPTICAL, spec), np.zeros((375, 1242, 3), np.uint8)
    out = milliseconds({"render_ranges": lambda: render_ranges(points, panorama, 1.5, 120.0),
                        "plain": lambda: plain(points, panorama, 1.5, 120.0),
                        "lidar_tensor_24": lambda: lidar_tensor(windows, lidar),
                        "camera_view": lambda: view(picture)}, args.repeats)
    out["ratio"] = out["plain"] / out["render_ranges"]
    if args.json:
        print(json.dumps({"points": args.points, "repeats": args.repeats, **{k: round(v, 3) for k, v in out.items()}}))
        return
    print(f"{args.points} points onto {panorama.rows} x {panorama.columns} cells, median of {args.repeats}:")
    print(f"  render_ranges {out['render_ranges']:8.2f} ms\n  plain argsort {out['plain']:8.2f} ms   "
          f"ratio {out['ratio']:.1f}")
    print(f"24 windows to a LiDAR tensor {out['lidar_tensor_24']:.2f} ms; a {camera.width} x {camera.height} picture "
          f"to {GRID.rows} x {GRID.columns} cells {out['camera_view']:.2f} ms")


if __name__ == "__main__":
    main()
