# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The base's motion by odometry: from image to image, and from an image's stamp to now."""

from __future__ import annotations

import threading
import time

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.node import Node

from ms2cl_ros.core.config import FramesConfig
from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.frames import PoseBuffer, plain, seconds
from ms2cl_ros.core.geometry import inverse
from ms2cl_ros.core.messages import to_pose
from ms2cl_ros.core.types import StampedPose
from ms2cl_ros.ros import qos
from ms2cl_ros.ros.health import Health

HORIZON = 30.0


class Motion:
    """Poses of the base in a frame that drifts but does not jump. Safe to use from several threads.

    `gap`: poses are interpolated only between two that are at most this many seconds apart.
    """

    def __init__(self, gap: float) -> None:
        self._buffer, self._lock = PoseBuffer(gap, HORIZON), threading.Lock()
        self.frame_id = ""

    def add(self, pose: StampedPose, frame_id: str) -> bool:
        """Takes in `T_odom_base`; True if its clock jumped back. Raises TransformError for a pose not finite."""
        with self._lock:
            if frame_id != self.frame_id:
                self._buffer.clear()
                self.frame_id = frame_id
            return self._buffer.add(pose)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest pose, None before there is one."""
        with self._lock:
            return self._buffer.newest_ns

    def at(self, stamp_ns: int) -> np.ndarray:
        """`T_odom_base` at a stamp, 4 x 4; raises TransformError, never extrapolates."""
        with self._lock:
            return self._buffer.at(stamp_ns).T_map_base

    def pose(self, stamp_ns: int) -> StampedPose:
        """`T_odom_base` at a stamp with its covariance, if it came with one; raises TransformError as `at` does."""
        with self._lock:
            return self._buffer.at(stamp_ns)

    def between(self, stamp_ns: int, later_ns: int) -> np.ndarray:
        """`T_base(stamp)_base(later)`, 4 x 4; raises TransformError where one of the two is not known."""
        with self._lock:
            return inverse(self._buffer.at(stamp_ns).T_map_base) @ self._buffer.at(later_ns).T_map_base

    def carried(self, T_map_base: np.ndarray, stamp_ns: int) -> tuple[np.ndarray, int]:
        """A pose at a stamp, carried forward to the newest odometry; returns it with that stamp.

        Raises TransformError if the odometry does not cover the time in between.
        """
        newest = self.newest_ns
        if newest is None or newest < stamp_ns:
            raise TransformError("no odometry after the image, so the match cannot be carried forward to now")
        return T_map_base @ self.between(stamp_ns, newest), newest


class OdometryTopic:
    """`odometry` (nav_msgs/Odometry, of the base, in any frame that drifts) into a Motion."""

    def __init__(self, node: Node, frames: FramesConfig, health: Health, motion: Motion, wait: float) -> None:
        self._base, self._health, self.motion, self._wait = plain(frames.base), health, motion, wait
        self._given = self._missing = 0
        self._in_vain_ns: int | None = None
        node.create_subscription(Odometry, "odometry", self.take, qos.POSES,
                                 qos_overriding_options=qos.overridable())

    def take(self, message: Odometry) -> None:
        """Takes in a message; one of another body is refused."""
        child = plain(message.child_frame_id)
        try:
            if child and child != self._base:
                raise TransformError(f"the odometry is of '{child}', the base is '{self._base}': set frames.base to "
                                     f"'{child}', or remap `odometry` to the base's own")
            self.motion.add(to_pose(message), plain(message.header.frame_id))
        except TransformError as e:
            self._health.warn("bad odometry", str(e))

    def awaited(self, stamp_ns: int) -> StampedPose | None:
        """The base at a stamp, for which it waits; None where it does not come. Not for the executor's thread.

        Once it has waited in vain it does not wait again before odometry has come up to that stamp: a silent topic
        costs one wait.
        """
        end = time.monotonic() + self._wait
        while self._worth_waiting(stamp_ns):
            if time.monotonic() > end:
                self._late(stamp_ns)
                break
            time.sleep(0.005)
        try:
            pose = self.motion.pose(stamp_ns)
        except TransformError:
            self._missing += 1
            return None
        self._given += 1
        return pose

    def values(self) -> dict[str, str]:
        """How many images were joined by odometry, for the diagnostics."""
        return {"images with odometry": str(self._given), "images without odometry": str(self._missing)}

    def _worth_waiting(self, stamp_ns: int) -> bool:
        newest, in_vain = self.motion.newest_ns, self._in_vain_ns
        if newest is not None and newest >= stamp_ns:
            return False
        silent = in_vain is not None and (newest is None or newest < in_vain) and in_vain <= stamp_ns
        return not silent

    def _late(self, stamp_ns: int) -> None:
        self._in_vain_ns, newest = stamp_ns, self.motion.newest_ns
        if newest is not None:
            self._health.warn("odometry late", f"{self._wait:g} s after the image of {seconds(stamp_ns)} was matched "
                                               f"the newest odometry is of {seconds(newest)}; raise "
                                               "trust.odometry_wait if it always comes so late")
