# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The latency budget of one query, stage by stage, against a map of N submaps: medians and shares from one run.

    python benchmarks/latency.py [--submaps 1000] [--repeats 50] [--json]
    python benchmarks/latency.py --beside 60

The map holds random descriptors; the picture is noise of KITTI's size. Neither changes the time that a query takes.
`--beside`: for so many seconds, 10 images a second are matched while a mapper in a process of its own takes 10 scans of
115,200 points a second into the same map, a metre apart, and renders views. Told is the time from when an image was due
to its answer, belief and decision included; ROS transport comes on top.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.images import decode_compressed, decode_image
from ms2cl_ros.core.mapper import Mapper, headings_around
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.types import CameraImage, CameraModel, PointCloud, RangeImage, StampedPose, Submap, View

WIDTH, HEIGHT = 1242, 375
PERIOD, SPEED = 0.1, 10.0
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


def street_scan(rng: np.random.Generator) -> np.ndarray:
    """(115200, 3) float32 metres: 64 x 1800 beams between two house fronts 9 m to either side, with gaps."""
    azimuth, elevation = np.meshgrid(np.linspace(-np.pi, np.pi, 1800, False), np.radians(np.linspace(-24.0, 2.0, 64)))
    walls = np.minimum(9.0 / np.maximum(np.abs(np.sin(azimuth)), 1e-3), 60.0) * rng.uniform(0.7, 1.0, 1800)[None]
    ground = 1.73 / np.maximum(np.sin(-elevation), 1e-3)
    reach = np.minimum(walls / np.cos(elevation), ground)
    rays = np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], -1)
    return (reach[..., None] * rays).reshape(-1, 3).astype(np.float32)


def mapping(path: Path, ready: Any, done: Any, told: Any) -> None:
    """The mapper's process: scans at 10 Hz until `done`; tells how many of them it was given and took."""
    config = Config()
    encoder, rng = Encoder.load(config.encoder), np.random.default_rng(2)
    scans = [street_scan(rng) for _ in range(8)]
    T_base_lidar = transform(config.frames.lidar_extrinsics[:3])
    with open_map(path, encoder.sidecar, True) as store:
        mapper, given, stored, begun = Mapper(config, encoder, store), 0, 0, time.monotonic()
        while not done.is_set():
            due = begun + given * PERIOD
            if time.monotonic() < due:
                # as the node does: views are rendered while no scan waits
                if not mapper.render_ripe():
                    time.sleep(max(0.0, due - time.monotonic()))
                continue
            pose = StampedPose(given, transform([0.1 * SPEED * given, 50.0, 0.0]))
            cloud = PointCloud(scans[given % len(scans)], given, "lidar")
            stored += mapper.add_scan(cloud, pose, T_base_lidar) is not None
            given += 1
            ready.set()
        told.put((given, stored, time.monotonic() - begun, store.view_count()))


def driven(stamp_ns: int) -> StampedPose:
    """Exact odometry along a straight street."""
    return StampedPose(stamp_ns, transform([SPEED * stamp_ns / 1e9, 0.0, 0.0]))


def beside(args: argparse.Namespace, matcher: Matcher, path: Path, image: np.ndarray, mount: np.ndarray) -> None:
    """Prints the time from when an image was due to its answer while the map grows."""
    spawn = get_context("spawn")
    ready, done, told = spawn.Event(), spawn.Event(), spawn.Queue()
    worker = spawn.Process(target=mapping, args=(path, ready, done, told), daemon=True)
    worker.start()
    if not ready.wait(120.0):
        raise SystemExit("the mapper's process did not begin: see its message above")
    delays, missed, begun, tick = [], 0, time.monotonic(), 0
    while time.monotonic() - begun < args.beside:
        due = begun + tick * PERIOD
        time.sleep(max(0.0, due - time.monotonic()))
        stamp = round(tick * PERIOD * 1e9)
        matcher.locate(CameraImage(image, stamp, "camera"), CAMERA, mount, driven)
        delays.append(time.monotonic() - due)
        following = max(tick + 1, int((time.monotonic() - begun) / PERIOD))
        missed, tick = missed + following - tick - 1, following
    done.set()
    given, stored, seconds, views = told.get(timeout=60.0)
    worker.join(60.0)
    p50, p95 = (float(np.percentile(delays, q) * 1e3) for q in (50, 95))
    print(f"{len(delays)} images at 10 Hz, {missed} passed over because the one before was not done: p50 {p50:.1f} ms, "
          f"p95 {p95:.1f} ms; beside it {given} scans in {seconds:.0f} s ({given / seconds:.1f} a second), {stored} "
          f"submaps, {views} views in the map at the end")


def main() -> None:
    """Prints one line a stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submaps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--beside", type=float, default=0.0, metavar="SECONDS", help="with a mapper running beside it")
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
        if args.beside:
            store.close()
            path = Path(folder) / "map.db"
            with open_map(path, encoder.sidecar, False) as read:
                matcher = Matcher(config, encoder, read)
                matcher.locate(CameraImage(rgb, 0, "camera"), CAMERA, mount)
                beside(args, matcher, path, rgb, mount)
            return
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
