# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What all adapters have in common: what they are told, when they ask again, and how they report."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node

from ms2cl_ros.core.config import BackendsConfig, FramesConfig
from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.loop_closure import LoopClosure
from ms2cl_ros.core.maps.store import Session, Store
from ms2cl_ros.core.types import Match
from ms2cl_ros.ros.health import Health
from ms2cl_ros.ros.odometry import Motion

LONGEST_WAIT = 30.0
# what the decision must say before a back end is told anything
PROMISED = ("MATCHED",)


@dataclass(frozen=True)
class Policy:
    """How one back end wants to be told, from reading what it does with each field.

    `stamp`: `image` if it adds the motion since the stamp by itself, `now` if the pose has to be carried forward.
    `planar`: it reads x, y and yaw only, and z must be 0. `covariance`: `full`, `diagonal` or `unread`.
    """

    stamp: str = "image"
    planar: bool = False
    covariance: str = "full"
    states: tuple[str, ...] = PROMISED


@dataclass(frozen=True)
class Offer:
    """What became of one image: the state after it, and the match, if there is one.

    `closure`: None too if the image itself closes no loop. `live`: the session that is being mapped now, if the image
    was taken during it.
    """

    stamp_ns: int
    state: str
    match: Match | None = None
    closure: LoopClosure | None = None
    live: Session | None = None


@dataclass(frozen=True)
class Wiring:
    """What an adapter works with. `store`: the map that is open now, if any; `clock`: monotonic seconds."""

    node: Node
    frames: FramesConfig
    settings: BackendsConfig
    motion: Motion
    health: Health
    store: Callable[[], Store | None]
    clock: Callable[[], float] = time.monotonic

    def named(self, name: str) -> str:
        """A back end's topic or service, in the namespace where it has them."""
        return f"{self.settings.namespace.rstrip('/')}/{name}" if self.settings.namespace else name


class Backoff:
    """When to try again: after `first` seconds, then twice as long each time, `attempts` times in all."""

    def __init__(self, first: float, attempts: int) -> None:
        self._first, self._attempts = first, attempts
        self.begin()

    def begin(self) -> None:
        """Starts over, due at once."""
        self.count, self._due = 0, float("-inf")

    def due(self, now: float) -> bool:
        """Whether it is time for another attempt."""
        return now >= self._due and not self.exhausted

    @property
    def exhausted(self) -> bool:
        """Whether all attempts were made."""
        return self.count >= self._attempts

    def failed(self, now: float) -> bool:
        """Whether all attempts were made and the last one had its time."""
        return self.exhausted and now >= self._due

    def note(self, now: float) -> None:
        """An attempt is made now."""
        self._due = now + min(self._first * 2.0 ** self.count, LONGEST_WAIT)
        self.count += 1


class Backend(ABC):
    """One back end. All calls come from the node's executor, one at a time."""

    name: str
    policy = Policy()

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring

    @abstractmethod
    def take(self, offer: Offer) -> None:
        """What became of an image, of whatever state."""

    def tick(self) -> None:  # noqa: B027 - not all have to wait for anything
        """Called several times a second of real time."""

    def forget(self) -> None:  # noqa: B027 - likewise
        """The user has asked for a new search: nothing told before counts."""

    @abstractmethod
    def values(self) -> dict[str, str]:
        """For diagnostics: what was told, what came of it."""

    def promised(self, offer: Offer) -> Match | None:
        """The match, if it is good enough for this back end."""
        return offer.match if offer.state in self.policy.states else None


def messages(package: str, module: str, backend: str, remedy: str) -> Any:
    """An optional message module, `rtabmap_msgs.msg`; raises ConfigError where it is not installed."""
    import importlib
    try:
        return importlib.import_module(f"{package}.{module}")
    except ImportError as e:
        raise ConfigError(f"backends.names has '{backend}', which needs {package}, and that is not installed: "
                          f"{remedy}, or take '{backend}' out of backends.names") from e
