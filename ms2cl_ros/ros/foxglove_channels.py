# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Topics for Foxglove without a ROS graph: publishers as a node makes them, over a WebSocket or into a file.

Messages go out as ROS sends them (CDR), each topic with its type's definition, so that Foxglove shows them as it shows
those of a robot, and with the same layout. The only file that imports foxglove-sdk.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message

from ms2cl_ros.core.errors import ConfigError, DataError


class ChannelPublisher:
    """A topic. `get_subscription_count` is 0 while nobody looks, so that costly messages are not made for nobody."""

    def __init__(self, channels: Channels, channel: Any) -> None:
        self._channels, self._channel = channels, channel
        self._last: bytes | None = None

    def publish(self, message: Any) -> None:
        """Sends a message to all who look, and keeps it for who looks next."""
        self._last = serialize_message(message)
        self.again()

    def again(self) -> None:
        """Sends the last message once more, if there was one."""
        if self._last is not None:
            self._channel.log(self._last, log_time=self._channels.stamp_ns)

    def get_subscription_count(self) -> int:
        """1 if a viewer or a file takes the topic."""
        return int(self._channel.has_sinks())


class Channels:
    """Makes publishers in the place of a node called `name`. `stamp_ns`: the time at which what is said next is said.

    Raises ConfigError if foxglove-sdk is not installed.
    """

    def __init__(self, name: str) -> None:
        self._sdk = _sdk()
        from rosbags.typesys import Stores, get_typestore
        self._name, self._types = name, get_typestore(Stores.ROS2_JAZZY)
        self.context, self.stamp_ns = self._sdk.Context(), 0
        self._publishers: dict[str, ChannelPublisher] = {}
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()

    def create_publisher(self, kind: Any, topic: str, profile: Any = None, /) -> ChannelPublisher:
        """For messages of class `kind`; `~` stands for the node's name. Every topic keeps its last message."""
        topic = topic.replace("~", f"/{self._name}", 1)
        msgtype = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
        definition, _ = self._types.generate_msgdef(msgtype, ros_version=2)
        schema = self._sdk.Schema(name=msgtype, encoding="ros2msg", data=definition.encode())
        channel = self._sdk.Channel(topic, schema=schema, message_encoding="cdr", context=self.context)
        self._publishers[topic] = ChannelPublisher(self, channel)
        return self._publishers[topic]

    @contextmanager
    def served(self, host: str, port: int) -> Iterator[Any]:
        """A WebSocket server with `port` and `app_url()`; port 0 takes a free one. Raises ConfigError if taken."""
        try:
            server = self._sdk.start_server(name="ms2cl", host=host, port=port, context=self.context,
                                            server_listener=self, supported_encodings=["cdr"])
        except RuntimeError as e:
            raise ConfigError(f"cannot serve on {host}:{port}: {e}; name another --port or --host") from e
        try:
            yield server
        finally:
            server.stop()

    @contextmanager
    def written(self, path: Path) -> Iterator[None]:
        """Everything goes into a new MCAP file. Raises DataError if it is there already or cannot be made."""
        from foxglove.mcap import MCAPWriteOptions
        if path.exists():
            raise DataError(f"{path} exists already and is not overwritten: name another file, or remove it")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = self._sdk.open_mcap(path, context=self.context, writer_options=MCAPWriteOptions(profile="ros2"))
        except (OSError, RuntimeError) as e:
            raise DataError(f"cannot write {path}: {e}") from e
        with writer:
            yield

    def wait_for_viewer(self) -> None:
        """Until somebody looks at a topic."""
        self._asked.put(self._asked.get())

    def serve_until(self, when: float) -> None:
        """Until a monotonic time, and at least once: who has begun to look at a topic gets what was said there last."""
        while True:
            try:
                topic = self._asked.get(timeout=max(when - time.monotonic(), 0.0))
            except queue.Empty:
                return
            self._publishers[topic].again()

    def on_subscribe(self, client: Any, channel: Any) -> None:
        """Called by the server in a thread of its own, where nothing may be sent."""
        self._asked.put(channel.topic)

    def on_unsubscribe(self, client: Any, channel: Any) -> None:
        """Called by the server; it keeps count itself."""


def _sdk() -> Any:
    try:
        import foxglove
    except ImportError as e:
        raise ConfigError("foxglove-sdk is not installed: run `pip install foxglove-sdk`") from e
    return foxglove
