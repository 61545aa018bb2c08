# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Listens to both nodes and keeps what they say, with the time it arrived; the demo and the tests read it."""

from __future__ import annotations

import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Path as PathMessage
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from ms2cl_ros.core.messages import stamp_ns


class Recorder(Node):
    """`matches` and `candidates` by image stamp (message, arrival in monotonic seconds), the newest `submaps` path,
    and the newest `diagnostics` of each status name. Not every image has a match."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("recorder", **node_arguments)
        self.matches: dict[int, tuple[PoseWithCovarianceStamped, float]] = {}
        self.candidates: dict[int, tuple[PoseArray, float]] = {}
        self.submaps: PathMessage | None = None
        self.diagnostics: dict[str, dict[str, str]] = {}
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(PoseWithCovarianceStamped, "place_matcher/match_pose", self._match, 100)
        self.create_subscription(PoseArray, "place_matcher/candidates", self._candidates, 100)
        self.create_subscription(PathMessage, "submap_mapper/submaps", self._submaps, latched)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 100)

    def _match(self, message: PoseWithCovarianceStamped) -> None:
        self.matches[stamp_ns(message.header.stamp)] = (message, time.monotonic())

    def _candidates(self, message: PoseArray) -> None:
        self.candidates[stamp_ns(message.header.stamp)] = (message, time.monotonic())

    def _submaps(self, message: PathMessage) -> None:
        self.submaps = message

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics[status.name] = {"message": status.message, **{v.key: v.value for v in status.values}}


class Spinner:
    """Spins a node in a thread of its own for the length of a `with` block."""

    def __init__(self, node: Node) -> None:
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def __enter__(self) -> Spinner:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._thread.join(5.0)
