# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The latency budget of one query, stage by stage, against a map of N submaps: medians and shares from one run.

    python benchmarks/latency.py [--submaps 1000] [--repeats 50] [--json]

The map holds random descriptors; the picture is noise of KITTI's size. Neither changes the time that a query takes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.images import decode_compressed, decode_image
from ms2cl_ros.core.mapper import headings_around
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.types import CameraImage, CameraModel, RangeImage, Submap, View

WIDTH, HEIGHT = 1242, 375
CAMERA = CameraModel(WIDTH, HEIGHT, np.array([[721.5, 0, 609.6], [0, 721.5, 172.9], [0, 0, 1.0]]))


def fill(store: Store, encoder: Encoder, submaps: int, headings: int) -> None:
    """Submaps along a line, with random unit descriptors."""
    rng = np.random.default_rng(0)
    grid = encoder.sidecar.lidar.grid.panorama()
    empty = RangeImage(np.ones((grid.rows, grid.columns), np.float32), grid)
    for i in range(submaps):
        vectors = rng.normal(size=(headings, encoder.sidecar.embedding.size)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        T = transform([float(i), 0.0, 0.0])
        store.add(Submap(i, T, np.eye(4), empty, (View(T, headings_around(headings), vectors),)))


def milliseconds(call: object, repeats: int) -> float:
    """Median of `repeats` calls."""
    out = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()  # type: ignore[operator]
        out.append(time.perf_counter() - began)
    return float(np.median(out) * 1e3)


def main() -> None:
    """Prints one line a stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submaps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    config = Config()
    encoder = Encoder.load(config.encoder)
    rgb = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", cv2.GaussianBlur(rgb, (0, 0), 3))[1].tobytes()
    mount = transform(config.frames.camera_extrinsics[:3], config.frames.camera_extrinsics[3:])
    budget = {"decode raw image": milliseconds(
        lambda: decode_image(rgb.tobytes(), "rgb8", WIDTH, HEIGHT, WIDTH * 3, False), args.repeats)}
    with tempfile.TemporaryDirectory() as folder, open_map(Path(folder) / "map.db", encoder.sidecar, True) as store:
        fill(store, encoder, args.submaps, config.submaps.headings)
        matcher = Matcher(config, encoder, store)
        began = time.perf_counter()
        image = CameraImage(rgb, 0, "camera")
        matcher.locate(image, CAMERA, mount)
        first = (time.perf_counter() - began) * 1e3
        laps = [matcher.locate(image, CAMERA, mount).seconds for _ in range(args.repeats)]  # type: ignore[union-attr]
    budget |= {stage: float(np.median([lap[stage] for lap in laps]) * 1e3) for stage in laps[0]}
    total = sum(budget.values())
    if args.json:
        print(json.dumps({"milliseconds": budget, "total": total, "first_query": first, "submaps": args.submaps}))
        return
    for stage, value in budget.items():
        print(f"{stage:18s} {value:8.2f} ms  {value / total:6.1%}")
    print(f"{'total':18s} {total:8.2f} ms  against {args.submaps} submaps x {config.submaps.headings} headings")
    compressed = milliseconds(lambda: decode_compressed(jpeg, "jpeg"), args.repeats)
    print(f"{'(JPEG instead)':18s} {compressed:8.2f} ms to decode")
    print(f"{'(first query)':18s} {first:8.2f} ms: reads the map and precomputes the resampling")


if __name__ == "__main__":
    main()
