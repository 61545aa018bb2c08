# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Both nodes for as long as you like, and whether their memory, threads or open files grow.

    ms2cl convert kitti-raw 2011_09_26/2011_09_26_drive_0009_sync -o drive_0009
    python benchmarks/endurance.py drive_0009 --minutes 60 --rate 4 --csv endurance.csv

Plays a bag with scans, poses and images to the nodes that `localize.launch.py` starts, again and again, until
`--minutes` of it have been played at `--rate` times its own pace. The clock jumps back at each beginning, and every ten
passes the player's topics go and come. The map is bounded (`--submaps`), as one without a bound is supposed to grow.
The CSV has a row a second and process; the first third is warming up, and the last third is held against the second:
mean memory, median number of threads and files. Exit code 1 if something grew.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ms2cl_ros.core.config import Config, from_mapping  # noqa: E402 - found by the line above

# What the memory may differ by from one third to the next, which allocators do by themselves.
SHARE, MEGABYTES = 0.03, 5.0
PASSES = 10


@dataclass(frozen=True)
class Sample:
    """One process at one moment. `replayed`: seconds of bag so far; `rss_mb`: resident memory, megabytes."""

    seconds: float
    replayed: float
    process: str
    rss_mb: float
    threads: int
    files: int


def sample(seconds: float, replayed: float, name: str, pid: int) -> Sample:
    """What Linux says of a process now."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return Sample(round(seconds, 1), round(replayed, 1), name, round(int(status["VmRSS"].split()[0]) / 1024.0, 1),
                  int(status["Threads"]), len(os.listdir(f"/proc/{pid}/fd")))


class Watch:
    """Takes a sample of every process once a second, into a CSV. `check` raises if one of them has ended."""

    def __init__(self, processes: dict[str, int], path: Path, check: Callable[[], None] = lambda: None) -> None:
        self._processes, self._begin, self._next, self._check = processes, time.monotonic(), 0.0, check
        self._file = open(path, "w", newline="", buffering=1)  # noqa: SIM115 - as long as the benchmark
        self._rows = csv.writer(self._file)
        self._rows.writerow([f.name for f in fields(Sample)])
        self.samples: dict[str, list[Sample]] = defaultdict(list)

    def look(self, replayed: float) -> None:
        """To be called often."""
        seconds = time.monotonic() - self._begin
        if seconds < self._next:
            return
        self._next = seconds + 1.0
        self._check()
        for name, pid in self._processes.items():
            taken = sample(seconds, replayed, name, pid)
            self.samples[name].append(taken)
            self._rows.writerow(astuple(taken))


def grown(samples: list[Sample]) -> list[str]:
    """What is more in the last third than in the second, in words; empty if nothing is."""
    third = len(samples) // 3
    if third < 5:
        return ["too short to say anything: play longer"]
    middle, last = samples[third:2 * third], samples[2 * third:]
    before, after = (sum(s.rss_mb for s in part) / len(part) for part in (middle, last))
    out = []
    if after - before > max(SHARE * before, MEGABYTES):
        out.append(f"memory from {before:.1f} to {after:.1f} MB")
    for what in ("threads", "files"):
        usual, now = (statistics.median(getattr(s, what) for s in part) for part in (middle, last))
        if now > usual:
            out.append(f"{what} from {usual:g} to {now:g}")
    return out


def slope(samples: list[Sample]) -> float:
    """Growth of memory by a line through all samples, megabytes an hour of the clock on the wall."""
    if len(samples) < 2:
        return float("nan")
    return 3600.0 * statistics.linear_regression([s.seconds for s in samples], [s.rss_mb for s in samples]).slope


def summary(samples: list[Sample]) -> str:
    """The run of one process in a line."""
    third = len(samples) // 3
    parts = [samples[:third], samples[third:2 * third], samples[2 * third:]]
    rss = " / ".join(f"{sum(s.rss_mb for s in p) / max(len(p), 1):.1f}" for p in parts)
    last = samples[-1]
    return (f"memory by thirds {rss} MB, {slope(samples[third:]):+.1f} MB an hour after the first; "
            f"threads {last.threads} at the end, {max(s.threads for s in samples)} at most; "
            f"files {last.files} and {max(s.files for s in samples)}")


def settings(args: argparse.Namespace, folder: Path) -> Config:
    """A bounded map; what the bag's own transforms say."""
    values: dict[str, object] = {"store.database": str(folder / "map.db"), "store.max_submaps": args.submaps}
    if args.model:
        values["encoder.model"] = args.model
    return from_mapping(values)


class Played:
    """Seconds of bag played so far; sets `stop` after PASSES passes, or when `goal` seconds are done."""

    def __init__(self, watch: Watch, goal: float) -> None:
        self._watch, self.goal = watch, goal
        self.before = self.now = 0.0
        self.stop, self._passes = threading.Event(), 0

    @property
    def total(self) -> float:
        """In all."""
        return self.before + self.now

    def again(self) -> threading.Event:
        """For another player."""
        self.before, self.now, self._passes, self.stop = self.total, 0.0, 0, threading.Event()
        return self.stop

    def note(self, done: float, _: float) -> None:
        """For `player.play`."""
        if done < self.now:
            self.before, self._passes = self.total, self._passes + 1
        self.now = done
        self._watch.look(self.total)
        if self._passes >= PASSES or self.total >= self.goal:
            self.stop.set()


def endure(args: argparse.Namespace, folder: Path) -> dict[str, list[Sample]]:
    """Plays the bag until it has been played long enough; returns the samples of each process."""
    import yaml

    from ms2cl_ros.ros import player
    from ms2cl_ros.ros.replay import Nodes
    from ms2cl_ros.tools.bags import CAMERA_INFOS, IMAGES, POINTS, POSES, open_bag
    with open_bag(args.bag) as bag:
        topics = {name: bag.pick(kinds) for name, kinds in (("points", POINTS), ("odometry", POSES),
                                                            ("image", IMAGES), ("camera_info", CAMERA_INFOS))}
    parameters = folder / "parameters.yaml"
    parameters.write_text(yaml.safe_dump({"/**": {"ros__parameters": asdict(settings(args, folder))}}))
    given = {f"{name}_topic": topic for name, topic in topics.items()}
    with Nodes("localize", folder, params_file=str(parameters), map_frame=args.map_frame,
               one_process=str(args.one_process).lower(), extrinsics_source=args.extrinsics, **given) as nodes:
        watch = Watch(nodes.pids(), args.csv, nodes.check)
        played = Played(watch, args.minutes * 60.0)
        while played.total < played.goal:
            player.play(args.bag, rate=args.rate, loop=True, clock=False, wait_for=5, wait_timeout=60.0,
                        on_progress=played.note, stop=played.again())
    return watch.samples


def main() -> int:
    """Prints the verdict; returns the exit code."""
    from ms2cl_ros.ros.replay import private_graph
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path, help="with scans, odometry, images and camera_info")
    parser.add_argument("--minutes", type=float, default=60.0, help="of the bag, however fast it is played")
    parser.add_argument("--rate", type=float, default=4.0, help="times the bag's own pace")
    parser.add_argument("--submaps", type=int, default=200, help="bound of the map")
    parser.add_argument("--model", default="", help="in place of the shipped one")
    parser.add_argument("--map-frame", default="map", help="of the bag's poses")
    parser.add_argument("--extrinsics", default="tf", choices=("tf", "parameters"))
    parser.add_argument("--one-process", action="store_true", help="both nodes in one")
    parser.add_argument("--csv", type=Path, default=Path("endurance.csv"), help="memory, threads and files by second")
    args = parser.parse_args()
    private_graph()
    with tempfile.TemporaryDirectory() as folder:
        samples = endure(args, Path(folder))
    verdicts = {name: grown(taken) for name, taken in samples.items()}
    for name, taken in samples.items():
        print(f"{name}: {summary(taken)}: {'; '.join(verdicts[name]) or 'no growth'}")
    print(f"{max(s[-1].replayed for s in samples.values()) / 60.0:.1f} minutes of replay; curves in {args.csv}")
    return 1 if any(verdicts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
