# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training pairs and whole sweeps a second in the synthetic city, with one process and with several.

    python benchmarks/city.py [--seconds 10] [--processes 2] [--weather fair] [--seed 1] [--json]

A pair: a picture cast onto 64 x 160 camera cells (0.40 x 0.45 degrees, 4 rays a cell, one shadow ray each in the sun)
and a sweep of the HDL-64E's beams between +2 and -16 degrees over 78 degrees, rendered onto the range image's grid.
A whole sweep: 64 beams x 1024 columns. Building the city and its scene is timed apart. Milliseconds of a core are
processor time, which other programs on the machine disturb less than the rates.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from multiprocessing import get_context
from typing import Any

import numpy as np

from ms2cl_ros.core.geometry import apply, lidar_view
from ms2cl_ros.core.projection import render_ranges
from ms2cl_ros.core.types import AngularGrid

CAMERA_GRID = AngularGrid(rows=64, columns=160, elevation_top_deg=11.6, elevation_step_deg=0.40, azimuth_step_deg=0.45)
LIDAR_GRID = AngularGrid(rows=45, columns=173, elevation_top_deg=2.0, elevation_step_deg=0.40, azimuth_step_deg=0.45)
COLUMNS = 1024
LENGTH = 400.0


def work(barrier: Any, results: Any, seed: int, weather: str, seconds: float) -> None:
    """One process: builds its city, waits for the others, casts pairs and then sweeps for `seconds` each."""
    import cv2

    from ms2cl_ros.training.city.camera import CellCamera, camera_spec
    from ms2cl_ros.training.city.city import build_city
    from ms2cl_ros.training.city.drive import MAP_PASS, drive_poses
    from ms2cl_ros.training.city.lidar import facing, lidar_spec, sweep
    from ms2cl_ros.training.city.light import daylight
    from ms2cl_ros.training.city.recipe import Day, Recipe

    cv2.setNumThreads(1)
    began = time.perf_counter()
    city = build_city(Recipe(seed=seed, length=LENGTH))
    poses = drive_poses(city, MAP_PASS, 5.0)[1]
    day = Day(weather=weather)
    scene = city.scene(day, tuple(poses[0, :2, 3]))
    built = time.perf_counter() - began
    rng = np.random.default_rng(seed)
    light, view = daylight(rng, weather), CellCamera(camera_spec(0.5), CAMERA_GRID)
    whole = lidar_spec(64, 360.0 / COLUMNS)
    forward, T_view_lidar = facing(whole, LIDAR_GRID), lidar_view(whole.T_base_lidar())

    def pair(T: np.ndarray) -> None:
        here = city.scene(day, tuple(T[:2, 3]))
        view(here, light, T, rng)
        points = sweep(here, forward, T, rng, air=light.air)[:, :3]
        render_ranges(apply(T_view_lidar, points), LIDAR_GRID, 1.5, 120.0)

    for T in poses:
        pair(T)
    out: dict[str, float] = {"build_s": built, "triangles": len(scene.soup), "beams": len(forward.elevations_deg)}
    calls = {"pairs": pair, "sweeps": lambda T: sweep(city.scene(day, tuple(T[:2, 3])), whole, T, rng)}
    for name, call in calls.items():
        barrier.wait()
        start, used, done = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - start < seconds:
            call(poses[done % len(poses)])
            done += 1
        out[name] = done / (time.perf_counter() - start)
        out[f"{name}_ms"] = 1e3 * (time.process_time() - used) / done
    results.put(out)


def rates(processes: int, seed: int, weather: str, seconds: float) -> dict[str, float]:
    """What `processes` do together: sums of their pairs and sweeps a second, medians of the rest."""
    context = get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    crew = [context.Process(target=work, args=(barrier, results, seed + k, weather, seconds)) for k in range(processes)]
    for process in crew:
        process.start()
    found = [results.get(timeout=20 * seconds + 300) for _ in crew]
    for process in crew:
        process.join()
    combine = {"pairs": sum, "sweeps": sum}
    return {k: combine.get(k, statistics.median)([f[k] for f in found]) for k in found[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of measuring, each")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--weather", default="fair")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    args = parser.parse_args()
    one, all_ = (rates(n, args.seed, args.weather, args.seconds) for n in (1, args.processes))
    if args.json:
        rounded = {name: {k: round(v, 3) for k, v in r.items()} for name, r in (("one", one), ("all", all_))}
        print(json.dumps({"processes": args.processes, "weather": args.weather, "seed": args.seed, **rounded}))
        return
    print(f"{one['triangles']:.0f} triangles, built in {one['build_s']:.1f} s; {one['beams']:.0f} beams; "
          f"{args.weather}; seed {args.seed}")
    for n, r in ((1, one), (args.processes, all_)):
        print(f"{n} processes: {r['pairs']:6.1f} pairs/s ({r['pairs_ms']:.0f} ms of a core each), "
              f"{r['sweeps']:6.1f} whole sweeps/s ({r['sweeps_ms']:.0f} ms of a core each)")
    print(f"{args.processes} against 1: pairs {all_['pairs'] / one['pairs']:.2f}, "
          f"sweeps {all_['sweeps'] / one['sweeps']:.2f}")


if __name__ == "__main__":
    main()
