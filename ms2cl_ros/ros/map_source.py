# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The map that the matcher works in: opened when it is there, opened anew when its file is another."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.loop_closure import LiveSession
from ms2cl_ros.core.maps.database import is_url, open_map
from ms2cl_ros.core.maps.soundness import REMEDY
from ms2cl_ros.core.maps.store import Session, Store
from ms2cl_ros.core.matcher import Matcher
from ms2cl_ros.core.types import Match
from ms2cl_ros.ros.diagnostics import shared_map
from ms2cl_ros.ros.health import Health

# the robot is taken to be amid its last so many matches: one that is wrong must not send for another part of the map
BELIEF = 9


@dataclass(frozen=True)
class OpenMap:
    """A map with what searches in it. `inode`: of its file, 0 for one on a server."""

    store: Store
    matcher: Matcher
    live: LiveSession
    inode: int


class MapSource:
    """Holds `opened`, which is None while there is no map. Raises StoreError if there is one that does not suit."""

    def __init__(self, node: Node, config: Config, encoder: Encoder, health: Health) -> None:
        self._config, self._encoder, self._health, self._log = config, encoder, health, node.get_logger()
        self.opened: OpenMap | None = None
        self._places: deque[np.ndarray] = deque(maxlen=BELIEF)
        try:
            self._open()
        except StoreError:
            # a mapper that starts beside us may just be making the file
            time.sleep(0.5)
            self._open()
        node.create_timer(0.25, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def store(self) -> Store | None:
        """The map's store, if it is open."""
        return self.opened.store if self.opened is not None else None

    @property
    def name(self) -> str:
        """The map as messages call it, never with a password."""
        return self.opened.store.name if self.opened is not None else str(self._path or "the shared map")

    @property
    def _path(self) -> Path | None:
        """The map's file; None for a map on a server."""
        database = self._config.store.database
        return None if is_url(database) else Path(database).expanduser()

    def _open(self) -> None:
        path = self._path
        if path is not None and (not path.is_file() or not path.stat().st_size):
            self._health.fault("")
            self._health.wait(f"waiting for a map at {path}: submap_mapper or `ms2cl map` makes it")
            return
        settings = self._config.store
        store = open_map(settings.database, self._encoder.sidecar, write=False, cache=settings.cache)
        try:
            matcher = Matcher(self._config, self._encoder, store)
            self.opened = OpenMap(store, matcher, LiveSession(store), path.stat().st_ino if path is not None else 0)
        except BaseException:
            store.close()
            raise
        self._health.wait("")
        self._health.fault("")
        self._log.info(f"matching in {store.name} ({store.count()} submaps) with {self._encoder.sidecar.name}")

    def _look(self) -> None:
        """Now and then: opens a map that has appeared, and opens anew one whose file was replaced."""
        path = self._path
        try:
            if (path is not None and self.opened is not None and path.is_file()
                    and path.stat().st_ino != self.opened.inode):
                self._health.warn("map replaced", f"{path} is another file now; it is opened anew")
                self.opened = None
            if self.opened is None:
                self._open()
        except (StoreError, OSError) as e:
            self._health.fault(str(e))

    def tune(self, config: Config) -> None:
        """Live settings have changed: the next image is matched by them."""
        self._config = config
        if self.opened is not None:
            self.opened.matcher.tune(config)

    def values(self) -> dict[str, str]:
        """For diagnostics."""
        if self.opened is None:
            return {"submaps": "no map", "map": self.name}
        store = self.opened.store
        try:
            submaps = str(store.count())
        except StoreError:
            submaps = "unknown"
        return {"submaps": submaps, "map": self.name, **shared_map(store, self._health)}

    def look_around(self, match: Match) -> None:
        """Tells the map where the robot is, which needs a part of a shared map only."""
        self._places.append(match.T_map_base[:2, 3])
        if self.opened is not None and len(self._places) == BELIEF:
            self.opened.store.look_around(np.median(self._places, axis=0))

    def live_session(self, stamp_ns: int) -> Session | None:
        """The session that is being mapped now, if an image of this stamp belongs to it."""
        try:
            return self.opened.live.at(stamp_ns) if self.opened is not None else None
        except StoreError as e:
            self._health.warn("map not readable", str(e))
            return None

    def mention_damage(self) -> None:
        """Warns of records that had to be left out."""
        damage = self.opened.store.damage() if self.opened is not None else []
        if damage:
            self._health.warn("damaged map", f"{len(damage)} records of {self.name} are left out ({damage[0]}): "
                                             f"{REMEDY}")

    def no_match(self) -> None:
        """Counts an image without a match: a map without a submap is another matter than one without this place."""
        if self.opened is not None and self.opened.store.count():
            self._health.skip("no candidate reached retrieval.min_score")
        else:
            self._health.drop("empty map", f"{self.name} has no submap yet")

    def close(self) -> None:
        """Lets go of the map."""
        if self.opened is not None:
            self.opened.store.close()
