#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What headings cost: the time that one scan takes to become a stored submap, by the number of headings embedded.

    python benchmarks/headings.py [--scans 40]

A synthetic 64-beam sweep, the shipped model, an SQLite map in a temporary folder; the ratio is to one heading. Every
number of headings takes its turn within each round, so that a busy machine disturbs all alike.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from ms2cl_ros.core.config import Config, EncoderConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.mapper import Mapper
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.types import PointCloud, StampedPose

HEADINGS = (1, 12, 24, 48)


def sweep() -> np.ndarray:
    """(N, 3) float32: a street between two walls, seen by 64 beams."""
    azimuth, elevation = np.meshgrid(np.deg2rad(np.arange(0, 360, 0.2)), np.deg2rad(np.linspace(2, -24, 64)))
    wall = 8.0 / np.maximum(np.abs(np.sin(azimuth)), 0.08)
    ground = np.where(elevation < 0, 1.73 / np.maximum(np.tan(-elevation), 1e-3), np.inf)
    level = np.minimum(wall, ground)
    points = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), level * np.tan(elevation)], -1)
    return points.reshape(-1, 3).astype(np.float32)


def main() -> None:
    """Prints one line for each number of headings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=40)
    scans = parser.parse_args().scans
    encoder, cloud, config = Encoder.load(EncoderConfig()), sweep(), Config()
    wall: dict[int, list[float]] = {n: [] for n in HEADINGS}
    spent: dict[int, list[float]] = {n: [] for n in HEADINGS}
    with tempfile.TemporaryDirectory() as folder:
        mappers = {}
        for n in HEADINGS:
            store = open_map(Path(folder) / f"{n}.db", encoder.sidecar, write=True)
            mappers[n] = Mapper(replace(config, submaps=replace(config.submaps, headings=n)), encoder, store)
        for k in range(scans):
            pose = StampedPose(k * 10**9, transform([5.0 * k, 0.0, 0.0]))
            for n, mapper in mappers.items():
                began, began_cpu = time.perf_counter(), time.process_time()
                mapper.add_scan(PointCloud(cloud, k * 10**9, "lidar"), pose, transform([0.0, 0.0, 1.73]))
                wall[n].append(time.perf_counter() - began)
                spent[n].append(time.process_time() - began_cpu)
    one = float(np.median(spent[1]))
    for n in HEADINGS:
        cpu = float(np.median(spent[n]))
        print(f"{n:3d} headings: {1e3 * cpu:6.1f} ms of processor ({cpu / one:.1f} times one), "
              f"{1e3 * float(np.median(wall[n])):6.1f} ms wall, {len(cloud)} points")


if __name__ == "__main__":
    main()
