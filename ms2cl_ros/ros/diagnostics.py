# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A node's health on /diagnostics, once a second of real time, whatever the simulated clock does."""

from __future__ import annotations

from collections.abc import Callable

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.ros import qos
from ms2cl_ros.ros.health import Health

LEVELS = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR)


class Diagnostics:
    """Publishes one DiagnosticStatus named `<node>: <task>`; `extra` adds values of the node's own.

    `standing()` gives level and message where the work's own verdict means nothing, else None.
    """

    def __init__(self, node: Node, task: str, health: Callable[[], Health], extra: Callable[[], dict[str, str]],
                 standing: Callable[[], tuple[int, str] | None]) -> None:
        self._node, self._task, self._health, self._extra, self._standing = node, task, health, extra, standing
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        self._timer = node.create_timer(1.0, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self) -> None:
        """Publishes the state as it is now."""
        health = self._health()
        try:
            extra = self._extra()  # first, as they may give cause for a warning
        except StoreError as e:  # what cannot be told must not end the node
            extra = {"map": str(e)}
            health.warn("map not readable", str(e))
        values = {**extra, **health.values()}
        level, message = self._standing() or health.verdict(self._node.count_publishers)
        name = f"{self._node.get_fully_qualified_name().lstrip('/')}: {self._task}"
        self._publisher.publish(diagnostic_array(name, level, message, values, self._node.get_clock().now().to_msg()))


def diagnostic_array(name: str, level: int, message: str, values: dict[str, str], stamp: Time) -> DiagnosticArray:
    """One status; `level` as in `health`."""
    array = DiagnosticArray(status=[DiagnosticStatus(level=LEVELS[level], message=message, name=name, values=[
        KeyValue(key=k, value=v) for k, v in values.items()])])
    array.header.stamp = stamp
    return array


def shared_map(store: Store, health: Health) -> dict[str, str]:
    """How it stands with the server of a shared map, empty for a map in a file; a warning while it does not answer."""
    try:
        status = store.status()
    except StoreError as e:
        return {"shared map": str(e)}
    if status.get("state") in ("away", "refused"):
        health.warn("shared map", f"{status['reason']}; work goes on in the cache, in which {status['waiting']} "
                                  "submaps wait to be sent")
    return {f"shared map: {key}": f"{value:.1f}" if isinstance(value, float) else str(value)
            for key, value in status.items()}
