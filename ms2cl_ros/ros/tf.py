# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""/tf and /tf_static into a TransformBuffer. The only file that needs tf2_msgs, and only when TF is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from rclpy.node import Node

from ms2cl_ros.core.errors import ConfigError, TransformError
from ms2cl_ros.core.frames import TransformBuffer
from ms2cl_ros.core.messages import to_transforms
from ms2cl_ros.ros import qos
from ms2cl_ros.ros.health import Health


class TransformListener:
    """Keeps `buffer` up to date; a clock of /tf that goes back is reported to `health`.

    Raises ConfigError where tf2_msgs is not installed, naming the parameters that do without TF.
    """

    def __init__(self, node: Node, buffer: TransformBuffer, health: Health) -> None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError as e:
            raise ConfigError("TF is asked for, but tf2_msgs is not installed: install ros-$ROS_DISTRO-tf2-msgs, or "
                              "set frames.extrinsics_source: parameters (with frames.lidar_extrinsics, "
                              "frames.camera_extrinsics) and frames.pose_source: odometry or pose") from e
        self._buffer, self._health = buffer, health
        node.create_subscription(TFMessage, "/tf", lambda m: self.take(m, static=False), qos.TF)
        node.create_subscription(TFMessage, "/tf_static", lambda m: self.take(m, static=True), qos.TF_STATIC)

    def take(self, message: Any, static: bool) -> None:
        """Takes in a TFMessage; one transform that is no transform does not spoil the others."""
        for transform in message.transforms:
            try:
                for parent, child, stamp, T in to_transforms(SimpleNamespace(transforms=[transform])):
                    if self._buffer.set(parent, child, stamp, T, static):
                        self._health.warn("clock jumped back", "on /tf; moving frames are forgotten")
            except TransformError as e:
                self._health.drop("bad transform", str(e))
