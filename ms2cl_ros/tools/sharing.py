# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A map in a file becomes part of one that a fleet shares."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.database import is_url
from ms2cl_ros.core.maps.fleet import open_fleet

Progress = Callable[[int, int], None]
LOOK = 0.5  # seconds between looks at how far it is


@dataclass(frozen=True)
class Shared:
    """`name`: the shared map without a password; `submaps`: how many of it came from here; `total`: how many it has."""

    name: str
    submaps: int
    total: int


def share(map_: Path, url: str, config: Config, timeout: float, progress: Progress | None = None) -> Shared:
    """Sends all of a map to a server, where a map of the same model is made if there is none.

    The file becomes a cache of the shared map from then on, and remembers what was sent: done again, nothing is there
    twice. Raises StoreError if it is no map, of another model or of another shared map, and after `timeout` seconds.
    """
    if not is_url(url):
        raise StoreError(f"{url} is no shared map: expected postgresql://USER@HOST/NAME (to join two files: `ms2cl "
                         "database merge`)")
    if not map_.expanduser().is_file():
        raise StoreError(f"no map at {map_}")
    end = time.monotonic() + timeout
    with closing(open_fleet(url, Encoder.load(config.encoder).sidecar, True, map_.expanduser())) as store:
        while not store.settle(min(LOOK, max(end - time.monotonic(), 0.0))):
            status = store.status()
            if status["state"] == "refused" or time.monotonic() > end:
                raise StoreError(f"{status['waiting']} submaps of {map_} are not in {store.name} yet "
                                 f"({status['reason'] or status['state']}): run it again, what is there is not sent "
                                 "twice")
            if progress:
                progress(len(store.own()) - int(status["waiting"]), len(store.own()))
        return Shared(store.name, len(store.own()), store.count())
