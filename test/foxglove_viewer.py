# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What Foxglove does with a WebSocket and a layout, as far as it can be told without its window.

It speaks `foxglove.sdk.v1`: the server advertises channels with their definitions, the viewer subscribes, messages come
as binary frames (1, subscription, time, payload). They are decoded by the definitions that were served, nothing else.
"""

from __future__ import annotations

import json
import re
import struct
import time
from collections import defaultdict
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from websockets.sync.client import connect

# What each panel takes, by Foxglove's documentation of its panels.
SCENE = {"visualization_msgs/msg/MarkerArray", "visualization_msgs/msg/Marker", "geometry_msgs/msg/PoseStamped",
         "geometry_msgs/msg/PoseArray", "geometry_msgs/msg/PoseWithCovarianceStamped", "nav_msgs/msg/Path",
         "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/LaserScan", "nav_msgs/msg/OccupancyGrid"}
PICTURE = {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"}
DIAGNOSTICS = {"diagnostic_msgs/msg/DiagnosticArray"}


class Viewer:
    """A connection; a context manager. `messages`: decoded, by topic and nanoseconds; `told`: all, one after another.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.channels: dict[str, dict[str, Any]] = {}
        self.messages: dict[str, dict[int, Any]] = defaultdict(dict)
        self.told: dict[str, list[Any]] = defaultdict(list)
        self.sessions: list[str] = []
        self._subscribed: dict[int, tuple[str, Any]] = {}

    def __enter__(self) -> Viewer:
        # pictures are larger than the client's own limit of a megabyte
        self._connecting = connect(f"ws://127.0.0.1:{self._port}", subprotocols=["foxglove.sdk.v1"], max_size=2**26)
        self._socket = self._connecting.__enter__()
        assert self._socket.subprotocol == "foxglove.sdk.v1"
        return self

    def __exit__(self, *exception: Any) -> None:
        self._connecting.__exit__(*exception)

    def hear(self, enough: Any, timeout: float = 60.0) -> bool:
        """Takes in what comes until `enough()`; False if it does not come to that."""
        end = time.monotonic() + timeout
        while not enough():
            try:
                self._take(self._socket.recv(timeout=max(end - time.monotonic(), 0.0)))
            except TimeoutError:
                return bool(enough())
        return True

    def subscribe(self, *topics: str) -> None:
        """To channels that were advertised."""
        wanted = []
        for topic in topics:
            channel = self.channels[topic]
            assert (channel["encoding"], channel["schemaEncoding"]) == ("cdr", "ros2msg")
            types = get_typestore(Stores.EMPTY)
            types.register(get_types_from_msg(channel["schema"], channel["schemaName"]))
            number = 100 + len(self._subscribed)
            self._subscribed[number] = topic, types
            wanted.append({"id": number, "channelId": channel["id"]})
        self._socket.send(json.dumps({"op": "subscribe", "subscriptions": wanted}))

    def _take(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            said = json.loads(frame)
            if said["op"] == "advertise":
                self.channels |= {channel["topic"]: channel for channel in said["channels"]}
            elif said["op"] == "serverInfo":
                self.sessions.append(said["sessionId"])
            return
        kind, number, stamp = struct.unpack_from("<BIQ", frame)
        assert kind == 1
        topic, types = self._subscribed[number]
        message = types.deserialize_cdr(frame[13:], self.channels[topic]["schemaName"])
        self.messages[topic][stamp] = message
        self.told[topic].append(message)


def panels(layout: dict[str, Any]) -> list[str]:
    """The panels of a layout as they stand in its tree."""
    def leaves(part: Any) -> list[str]:
        return [part] if isinstance(part, str) else [*leaves(part["first"]), *leaves(part["second"])]
    return leaves(layout["layout"])


def needs(layout: dict[str, Any]) -> list[tuple[str, str, set[str]]]:
    """(panel, topic, types of which it has to be one; any if empty) of all that the panels read."""
    out: list[tuple[str, str, set[str]]] = []
    for panel in panels(layout):
        settings, kind = layout["configById"][panel], panel.split("!")[0]
        if kind == "3D":
            out += [(panel, topic, SCENE) for topic in settings["topics"]]
        elif kind == "Image":
            out.append((panel, settings["imageMode"]["imageTopic"], PICTURE))
        elif kind == "Indicator":
            out.append((panel, settings["path"].split(".")[0], set()))
        elif kind == "DiagnosticStatusPanel":
            out.append((panel, settings["topicToRender"], DIAGNOSTICS))
        else:
            raise AssertionError(f"{panel}: what it reads is not known here")
    return out


def resolved(path: str, message: Any) -> Any:
    """What a message path such as `/topic.field.other` stands for; AttributeError if there is no such field."""
    assert re.fullmatch(r"(/\w+)+(\.\w+)+", path), path
    for name in path.split(".")[1:]:
        message = getattr(message, name)
    return message
