# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A map that a fleet shares: worked on in a local SQLite cache, sent to and fetched from a server in the background.

The nodes read and write the cache at once, whether the server answers or not; what `add` returned is on the local
disk. What the server does not know yet waits in the cache, over restarts too, until it answers again.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.cache import Cache, cut_loose
from ms2cl_ros.core.maps.exchanger import Exchanger, Wish, reach
from ms2cl_ros.core.maps.sqlite import SqliteStore
from ms2cl_ros.core.maps.sqlite_file import SqliteFile
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.types import Submap


class FleetStore(SqliteStore):
    """The cache as the nodes see it: a map in a file, kept in step with the shared one."""

    shared = True

    def __init__(self, file: SqliteFile, exchanger: Exchanger, name: str) -> None:
        super().__init__(file)
        self.name, self._exchanger = name, exchanger

    def close(self) -> None:
        """Sends what waits, for at most 5 s and only if the server answers; the rest is sent next time."""
        self._exchanger.stop(5.0)
        self._exchanger.cache.close()
        super().close()

    def add(self, submap: Submap) -> Submap:
        """Stores a submap in the cache; on return it is on the local disk. It is sent to the server soon."""
        stored = super().add(submap)
        self.look_around(stored.T_map_base[:2, 3])
        self._exchanger.wake()
        return stored

    def drop_damaged(self) -> list[str]:
        """Removes what is damaged in the cache; what the server has is fetched again, nothing is removed there."""
        lost = self._exchanger.cache.forget_damaged()
        return lost + super().drop_damaged()

    def save(self, path: Path) -> None:
        """Writes what is in the cache to a file, as a map of its own, while others go on reading and writing."""
        super().save(path)
        cut_loose(path)

    def look_around(self, xy: np.ndarray) -> None:
        """The robot is at a (2,) place of the map now: what is known around it is fetched."""
        self._exchanger.look_around(float(xy[0]), float(xy[1]))

    def settle(self, timeout: float) -> bool:
        """Waits until the server has all and all is fetched; returns whether that was so within `timeout` seconds."""
        return self._exchanger.settle(timeout)

    def own(self) -> list[int]:
        """Ids of the submaps that were made here, oldest first; all others come from other robots."""
        return [key for key, in self._file.read("SELECT submap FROM fleet_submaps WHERE own AND submap IN "
                                                "(SELECT id FROM submaps) ORDER BY submap")]

    def unrendered(self) -> list[int]:
        """Ids of own submaps that keep points and around which no views have been rendered yet, oldest first.

        Those of other robots are rendered by them.
        """
        own = set(self.own())
        return [key for key in super().unrendered() if key in own]

    def status(self) -> dict[str, str | int | float]:
        """How it stands with the server, for diagnostics.

        `state`: starting, sending, receiving, in step, away (it does not answer; tried again) or refused (`reason` says
        why). `waiting`: submaps with changes that have not been sent. `failures`: tries in vain since the last success.
        `silent`: seconds since the server has last answered, -1 if never.
        """
        done = self._exchanger.progress
        silent = -1.0 if done.last_contact is None else time.time() - done.last_contact
        waiting, = self._file.read("SELECT count(*) FROM fleet_outbox")[0]
        own, = self._file.read("SELECT count(*) FROM fleet_submaps WHERE own AND submap IN (SELECT id FROM submaps)")[0]
        return {"server": self.name, "state": done.state, "reason": done.reason, "waiting": waiting, "sent": done.sent,
                "received": done.received, "failures": done.failures, "silent": silent, "own": own,
                "others": self.count() - own}


def open_fleet(url: str, model: Sidecar | None, write: bool, cache: Path) -> FleetStore:
    """Opens the local cache of a shared map and keeps the two in step.

    The URL may say what the robot needs: `?radius=300` (metres around it), `&sessions=1,4` (of the shared map), and
    `&robot=NAME` (who writes; the host's name by default). A reader only fetches. The server may be away; a wrong
    address, password or model raises StoreError if it answers.
    """
    address, wish = _wish(url)
    # asked first, so that no cache is made for a map of another model; whatever was opened is closed on failure
    with ExitStack() as undo:
        server = reach(address, model, write, wish)
        if server is not None:
            undo.callback(server.close)
        ours = SqliteFile.open(cache, model, write=True) if write else None
        if ours is not None:
            undo.callback(ours.close)
        other_side = Cache.at(cache, model)
        undo.callback(other_side.close)
        file = ours or SqliteFile.open(cache, model, write=False)
        exchanger = Exchanger(other_side, address, model, write, wish)
        exchanger.start(server)
        undo.pop_all()
    return FleetStore(file, exchanger, exchanger.name)


def _wish(url: str) -> tuple[str, Wish]:
    """(the URL for the server, what is wanted of it)."""
    address, _, query = url.partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    try:
        wish: dict[str, Any] = {}
        if "radius" in given:
            wish["radius"] = float(given.pop("radius"))
            if not wish["radius"] > 0:
                raise ValueError
        if "sessions" in given:
            wish["sessions"] = tuple(int(s) for s in given.pop("sessions").split(","))
    except ValueError:
        raise StoreError("the URL of the map asks for a part of it that is none: expected radius=METRES above 0 and "
                         "sessions=NUMBER,NUMBER") from None
    if "robot" in given:
        wish["robot"] = given.pop("robot")
    return address + ("?" + urlencode(given) if given else ""), Wish(**wish)
