# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Robots and their server are killed: nothing that was acknowledged is lost, nothing is there twice."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny_submaps import MODEL

from ms2cl_ros.core.maps.database import open_map

pytestmark = pytest.mark.usefixtures("hurry")
ROBOT = Path(__file__).resolve().parent / "fleet_robot.py"


def places(store):
    return sorted(T[0, 3] for _, _, T in store.poses())


def start(url, cache, first, count, pause=0.0):
    return subprocess.Popen([sys.executable, str(ROBOT), url, str(cache), str(first), str(count), str(pause)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env={**os.environ, "PYTHONPATH": str(ROBOT.parent.parent)})


def acknowledged(robot):
    """Reads a robot's words up to the end: the places of the submaps that were acknowledged."""
    return [float(line) for line in robot.stdout if line[0].isdigit()]


def test_robots_and_server_are_killed_in_the_middle_and_nothing_acknowledged_is_lost_or_twice(server, url, tmp_path):
    rng, known = np.random.default_rng(4), Counter()
    for turn in range(2):
        caches = [tmp_path / "a.db", "-"]
        robots = [start(url, cache, 10_000 * (i + 1) + 1000 * turn, 500) for i, cache in enumerate(caches)]
        for robot in robots:
            assert robot.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0.05, 0.4))
        server.kill(everything=bool(turn % 2))
        time.sleep(rng.uniform(0.0, 0.2))
        server.start()
        time.sleep(rng.uniform(0.05, 0.4))
        for robot in robots:
            robot.send_signal(signal.SIGKILL)
        for robot in robots:
            known.update(acknowledged(robot))
            robot.wait()
    with open_map(url, MODEL, True, tmp_path / "a.db") as store:  # what waits in a cache is sent by whoever opens it
        assert store.settle(30)
        assert store.check() == []
    with open_map(url, MODEL, write=False) as shared:
        there = Counter(places(shared))
        assert shared.check() == []
    assert not set(known) - set(there)
    assert max(there.values()) == 1
    assert len(known) > 20
