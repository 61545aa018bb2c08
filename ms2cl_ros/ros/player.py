# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Plays a rosbag2 into ROS 2 without `ros2 bag`: the recorded bytes are published as they are, never decoded."""

from __future__ import annotations

import importlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from ms2cl_ros.core.errors import ConfigError, DataError, Ms2clError
from ms2cl_ros.tools.bags import BagReader, Record, Topic, open_bag

CLOCK, STATIC = "/clock", "/tf_static"
NOT_DATA = (CLOCK, "/tf", STATIC, "/rosout", "/parameter_events")
ACKNOWLEDGED_WITHIN = 10.0  # seconds that a subscriber has for taking what is left at the end
MATCHED_PAUSE = 0.5  # seconds for subscribers that we see to see us too; best effort loses what is sent before
PAUSE = 0.1  # seconds between two passes of a loop, so that a bag of one message does not become a flood

OnProgress = Callable[[float, float], None]


def play(path: Path | str, *, rate: float = 1.0, loop: bool = False, start: float = 0.0,
         topics: Sequence[str] | None = None, clock: bool = True, remap: Mapping[str, str] | None = None,
         wait_for: int = 0, wait_timeout: float = 10.0, on_progress: OnProgress | None = None,
         clock_rate: float = 100.0, stop: threading.Event | None = None) -> dict[str, int]:
    """Publishes a bag at `rate` times its own pace and returns how many messages went out on each topic.

    `start`: seconds into the bag; what is latched before it is published all the same. `loop`: again and again; the
    clock jumps back each time, the stamps inside the messages stay. `topics`: only these. `remap`: bag's name ->
    published name. `clock`: publish `/clock`, `clock_rate` times a second. `wait_for`: subscriptions, over all data
    topics, to wait for before starting. `on_progress(seconds played, seconds in all)` is called after each message.
    `stop`: ends it early, as Ctrl-C and SIGTERM do where none is given.
    Types without an installed Python class are left out with one warning, but are an error if named in `topics`.
    Raises DataError for a bag that cannot be played, ConfigError for an option out of range, and Ms2clError if
    the subscribers do not turn up within `wait_timeout` seconds.
    """
    _check(rate=rate, start=start, wait_for=wait_for, wait_timeout=wait_timeout, clock_rate=clock_rate)
    with open_bag(path) as bag, _stopped_by_signals(stop) as stopped, _node() as node:
        player = _Player(bag, node, topics, remap or {}, clock_rate if clock else 0.0, stopped)
        begin_ns = bag.start_ns + round(start * 1e9)
        if begin_ns > bag.end_ns:
            raise DataError(f"cannot start {start:g} s into {bag.path}: it lasts "
                            f"{(bag.end_ns - bag.start_ns) / 1e9:.1f} s")
        player.wait_for_subscriptions(wait_for, wait_timeout)
        player.run(begin_ns, rate, on_progress)
        while loop and not stopped.wait(PAUSE):
            player.run(begin_ns, rate, on_progress)
        player.finish()
        return player.counts


class _Player:
    """Publishers for the topics of an open bag, and the clock."""

    def __init__(self, bag: BagReader, node: Node, topics: Sequence[str] | None, remap: Mapping[str, str],
                 clock_rate: float, stop: threading.Event) -> None:
        self._bag, self._node, self._stop = bag, node, stop
        chosen = self._choose(topics, drop_clock=clock_rate > 0)
        names = {bag.topic(old).name: new for old, new in remap.items()}
        published = [names.get(t.name, t.name) for t in chosen]
        if twice := {name for name in published if published.count(name) > 1}:
            raise ConfigError(f"remapping puts several topics of the bag on {', '.join(sorted(twice))}")
        self._names = dict(zip((t.name for t in chosen), published, strict=True))
        self._publishers = {t.name: self._publisher(t) for t in chosen}
        self._latched = [t.name for t in chosen if _qos(t).durability == DurabilityPolicy.TRANSIENT_LOCAL]
        self.counts = dict.fromkeys(published, 0)
        self._tick = 1.0 / clock_rate if clock_rate else math.inf
        self._clock = node.create_publisher(Clock, CLOCK, 10) if clock_rate else None

    def _choose(self, topics: Sequence[str] | None, drop_clock: bool) -> list[Topic]:
        """The topics to play, all of a type that is installed."""
        bag = self._bag
        if bag.is_ros1:
            raise DataError(f"{bag.path} is a ROS 1 bag, whose bytes ROS 2 cannot read: convert it first, "
                            f"rosbags-convert --src {bag.path} --dst {bag.path.with_suffix('')}")
        wanted = [bag.topic(name) for name in topics] if topics else [t for t in bag.topics.values() if t.count]
        foreign = [t for t in wanted if _message_class(t.msgtype) is None]
        listing = ", ".join(f"{t.name} ({t.msgtype})" for t in foreign)
        if foreign and topics:
            raise DataError(f"cannot publish {listing}: their Python message classes are not installed or sourced")
        if foreign:
            self._log.warning(f"left out, for want of their Python message classes: {listing}; install or source "
                              "their packages to play them")
        chosen = [t for t in wanted if t not in foreign and not (drop_clock and t.name == CLOCK)]
        if not chosen:
            raise DataError(f"{bag.path} holds nothing to play")
        return chosen

    @property
    def _log(self) -> Any:
        return self._node.get_logger()

    def _publisher(self, topic: Topic) -> Publisher:
        name = self._names[topic.name]
        try:
            return self._node.create_publisher(_message_class(topic.msgtype), name, _qos(topic))
        except Exception as e:
            # rclpy's classes for a bad name differ between distributions
            raise ConfigError(f"cannot publish {topic.name} ({topic.msgtype}) as '{name}': {e}") from e

    def wait_for_subscriptions(self, wanted: int, timeout: float) -> None:
        """Until `wanted` subscriptions are matched, over all data topics; Ms2clError after `timeout` seconds."""
        end = time.monotonic() + timeout
        data = [p for name, p in self._publishers.items() if name not in NOT_DATA] or list(self._publishers.values())
        while (found := sum(p.get_subscription_count() for p in data)) < wanted and not self._stop.wait(0.05):
            if time.monotonic() > end:
                names = ", ".join(sorted(p.topic_name for p in data))
                raise Ms2clError(f"{found} of {wanted} subscriptions to {names} after {timeout:g} s: are the nodes "
                                 "running, in the same ROS_DOMAIN_ID, with QoS that fits?")
        if wanted:
            self._stop.wait(MATCHED_PAUSE)

    def run(self, begin_ns: int, rate: float, on_progress: OnProgress | None) -> None:
        """Once through the bag from `begin_ns`; returns early when stopped."""
        first_ns, last_ns = self._bag.start_ns, self._bag.end_ns
        pace = _Pace(begin_ns, last_ns, rate)
        self._publish_clock(pace)
        for record in self._bag.records(self._latched, stop_ns=begin_ns):
            self._publish(record)
        for record in self._bag.records(self._publishers, start_ns=begin_ns):
            if not self._wait(pace, record.stamp_ns):
                return
            self._publish(record)
            if on_progress:
                on_progress((record.stamp_ns - first_ns) / 1e9, (last_ns - first_ns) / 1e9)

    def _publish(self, record: Record) -> None:
        # bytes and nothing else: publish() raises TypeError for the memoryview that a bag may give
        self._publishers[record.topic].publish(bytes(record.raw))
        self.counts[self._names[record.topic]] += 1

    def _wait(self, pace: _Pace, stamp_ns: int) -> bool:
        """Ticks the clock until the stamp's turn has come; False if stopped meanwhile."""
        while not self._stop.is_set():
            now, due = time.monotonic(), pace.due(stamp_ns)
            if now >= pace.next_tick:
                self._publish_clock(pace)
            elif now >= due:
                return True
            else:
                self._stop.wait(min(due, pace.next_tick) - now)
        return False

    def _publish_clock(self, pace: _Pace) -> None:
        now = time.monotonic()
        # from now on, not from the last tick: ticks that were missed are not made up for
        pace.next_tick = now + self._tick
        if self._clock is not None:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(pace.bag_ns(now), 1_000_000_000)
            self._clock.publish(message)

    def finish(self) -> None:
        """Waits until reliable subscribers have everything, and says what went out."""
        end = time.monotonic() + ACKNOWLEDGED_WITHIN
        # in short steps, because a signal is only noticed between two calls
        left = list(self._publishers.values())
        while left and not self._stop.is_set() and time.monotonic() < end:
            if left[0].wait_for_all_acked(Duration(seconds=0.1)):
                left.pop(0)
        if left and not self._stop.is_set():
            names = ", ".join(p.topic_name for p in left)
            self._log.warning(f"after {ACKNOWLEDGED_WITHIN:g} s subscribers have not taken everything of {names}")
        self._log.info("published " + ", ".join(f"{n} on {topic}" for topic, n in self.counts.items()))


class _Pace:
    """Bag time against the monotonic clock, from now on."""

    def __init__(self, begin_ns: int, end_ns: int, rate: float) -> None:
        self._begin_ns, self._end_ns, self._rate, self._began = begin_ns, end_ns, rate, time.monotonic()
        self.next_tick = self._began

    def due(self, stamp_ns: int) -> float:
        """When a stamp's turn is, monotonic seconds."""
        return self._began + (stamp_ns - self._begin_ns) / 1e9 / self._rate

    def bag_ns(self, now: float) -> int:
        """The stamp whose turn is now; the end's, once past it."""
        return min(self._begin_ns + round((now - self._began) * self._rate * 1e9), self._end_ns)


def _message_class(msgtype: str) -> type | None:
    """The Python class of `package/msg/Name`, or None where it is not installed with its type support."""
    package, _, name = msgtype.replace("/msg/", "/").partition("/")
    try:
        cls = getattr(importlib.import_module(f"{package}.msg"), name)
        # loads the C library behind it, which may be missing although the Python part is there
        cls.__class__.__import_type_support__()
    except Exception:
        return None
    return cls if cls.__class__._TYPE_SUPPORT is not None else None


def _qos(topic: Topic) -> QoSProfile:
    """As its publishers offered it if they agreed, else reliable with depth 10; latched for `/tf_static`."""
    offered = {(q.reliability.name, q.durability.name) for q in topic.qos}
    reliability, durability = offered.pop() if len(offered) == 1 else ("", "")
    latched = durability == "TRANSIENT_LOCAL" or (topic.name == STATIC and durability != "VOLATILE")
    depth = max([10, *(q.depth for q in topic.qos if q.depth < 10_000)])
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth,
        reliability=ReliabilityPolicy.BEST_EFFORT if reliability == "BEST_EFFORT" else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE)


def _check(**options: float) -> None:
    for name, value in options.items():
        positive = name in ("rate", "clock_rate")
        if not math.isfinite(value) or value < 0 or (positive and value == 0):
            raise ConfigError(f"{name} is {value}; expected a number {'above 0' if positive else 'from 0 on'}")


@contextmanager
def _node() -> Iterator[Node]:
    """A node in a context of its own, without rclpy's signal handlers."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    try:
        node = Node("ms2cl_player", context=context, start_parameter_services=False)
        try:
            yield node
        finally:
            node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


@contextmanager
def _stopped_by_signals(stop: threading.Event | None) -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; the caller's own, and no handlers, if there is one.

    A flag, not KeyboardInterrupt: a second Ctrl-C, which `ros2 launch` sends, then cannot cut the clean-up short.
    """
    event = stop or threading.Event()
    if stop is not None or threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
