# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A robot in a process of its own: maps along a line into a shared map, says what was acknowledged, until it is killed.

    python test/fleet_robot.py URL CACHE FIRST COUNT PAUSE_S

Each submap stands at x = FIRST, FIRST + 1, ...; one line `x` on stdout once it is acknowledged. With CACHE `-` it
writes to the server directly, and tries again what was not acknowledged. At the end it prints `done` when the server
has all, and waits for stdin to close.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

from tiny_submaps import MODEL, submap  # noqa: E402 - found by the line above

from ms2cl_ros.core.maps.database import open_map  # noqa: E402
from ms2cl_ros.core.maps.server import AwayError  # noqa: E402

Answer = TypeVar("Answer")


def again(call: Callable[[], Answer]) -> Answer:
    """Calls until there is a server that answers."""
    while True:
        try:
            return call()
        except AwayError:
            time.sleep(0.05)


def main() -> None:
    """Maps."""
    url, cache, first, count, pause = sys.argv[1:]
    with again(lambda: open_map(url, MODEL, write=True, cache=None if cache == "-" else cache)) as store:
        print("ready", flush=True)
        for i in range(int(count)):
            x = float(first) + i
            again(partial(store.add, submap(x, points=20)))
            print(x, flush=True)
            time.sleep(float(pause))
        while cache != "-" and not store.settle(1.0):
            pass
        print("done", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
