# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The adapters by name, and the one that the node talks to: it hands each match to all that are on."""

from __future__ import annotations

import importlib
import threading
from collections import deque

from rclpy.clock import Clock, ClockType

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.ros.backends.backend import Backend, Offer, Wiring

PACKAGE = "ms2cl_ros.ros.backends"
ADAPTERS = {
    "initialpose_amcl": ("initial_pose", "Amcl"),
    "initialpose_slam_toolbox": ("initial_pose", "SlamToolbox"),
    "initialpose_rtabmap": ("initial_pose", "Rtabmap"),
    "lio_loop": ("lio_loop", "LioLoop"),
    "rtabmap_link": ("rtabmap_link", "RtabmapLink"),
    "rtabmap_landmark": ("rtabmap_landmark", "RtabmapLandmark"),
    "hdl_query": ("hdl_query", "HdlQuery"),
    "autoware": ("autoware", "Autoware"),
}
TF = ("map_to_odom", "MapToOdom")
PERIOD, WAITING_ROOM = 0.05, 100


class Backends:
    """All adapters that the settings name. Raises ConfigError for an unknown name or messages not installed.

    `offer` may be called from any thread; the adapters work in the node's executor, unless `resting`.
    """

    def __init__(self, wiring: Wiring) -> None:
        self.running = [make(wiring) for make in chosen(wiring.settings.names, wiring.settings.publish_tf)]
        self._offers: deque[Offer] = deque(maxlen=WAITING_ROOM)
        self._lock = threading.Lock()
        self.resting = False
        if self.running:
            wiring.node.create_timer(PERIOD, self.tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def offer(self, offer: Offer) -> None:
        """Queues a match for all adapters."""
        if self.running:
            with self._lock:
                self._offers.append(offer)

    def tick(self) -> None:
        """Hands on what waits, and gives each adapter its turn."""
        with self._lock:
            offers = list(self._offers)
            self._offers.clear()
        for backend in () if self.resting else self.running:
            for offer in offers:
                backend.take(offer)
            backend.tick()

    def forget(self) -> None:
        """The user has asked for a new search."""
        with self._lock:
            self._offers.clear()
        for backend in self.running:
            backend.forget()

    def values(self) -> dict[str, str]:
        """What each has done, for diagnostics."""
        return {key: value for backend in self.running for key, value in backend.values().items()}


def chosen(names: list[str], publish_tf: bool) -> list[type[Backend]]:
    """The adapters' classes by name, empty names left out; raises ConfigError for one that there is not."""
    wanted = [n.strip() for n in names if n.strip()]
    unknown = [n for n in wanted if n not in ADAPTERS]
    if unknown:
        raise ConfigError(f"backends.names has '{', '.join(unknown)}'; there are: {', '.join(ADAPTERS)}")
    if len(set(wanted)) < len(wanted):
        raise ConfigError(f"backends.names has one twice: {', '.join(wanted)}")
    places = [ADAPTERS[n] for n in wanted] + ([TF] if publish_tf else [])
    return [getattr(importlib.import_module(f"{PACKAGE}.{module}"), kind) for module, kind in places]
