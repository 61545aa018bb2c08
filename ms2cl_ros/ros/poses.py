# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the base was at a cloud's stamp: from an Odometry topic, a PoseStamped topic, or TF."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node

from ms2cl_ros.core.accumulation import Motion
from ms2cl_ros.core.config import FramesConfig
from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.frames import PoseBuffer, TransformBuffer, plain
from ms2cl_ros.core.messages import stamp_ns, to_pose
from ms2cl_ros.core.types import StampedPose
from ms2cl_ros.ros import qos
from ms2cl_ros.ros.health import Health, Stream

HORIZON = 30.0
# Before or after its stamp, a sweep lasts no longer.
SWEEP_NS = 150_000_000
TOPICS = {"odometry": Odometry, "pose": PoseStamped}


class PoseTopic:
    """Poses of the base by topic; `changed(jumped_to)` is called after each, with its stamp if the clock went back."""

    def __init__(self, node: Node, frames: FramesConfig, health: Health, stream: Stream,
                 changed: Callable[[int | None], None]) -> None:
        self._frames, self._health, self._stream, self._changed = frames, health, stream, changed
        self.buffer = PoseBuffer(frames.pose_gap, HORIZON)
        node.create_subscription(TOPICS[frames.pose_source], frames.pose_source, self.take, qos.POSES,
                                 qos_overriding_options=qos.overridable())

    def take(self, message: Any) -> None:
        """Takes in an Odometry or a PoseStamped of the right frames."""
        stamp = stamp_ns(message.header.stamp)
        self._health.note(self._stream, stamp)
        try:
            self._check_frames(message)
            jumped = self.buffer.add(to_pose(message))
        except TransformError as e:
            self._health.drop("bad pose", str(e))
            return
        self._changed(stamp if jumped else None)

    def _check_frames(self, message: Any) -> None:
        """A pose of another body or in another frame must not pass as the base's in the map."""
        frame, child = plain(message.header.frame_id), plain(getattr(message, "child_frame_id", ""))
        if frame != plain(self._frames.map):
            raise TransformError(f"poses on {self._stream.topic} are in frame '{frame}', the map is in "
                                 f"'{self._frames.map}': set frames.map to '{frame}', or use frames.pose_source: tf")
        if child and child != plain(self._frames.base):
            raise TransformError(f"poses on {self._stream.topic} are of '{child}', the base is '{self._frames.base}': "
                                 f"set frames.base to '{child}', or use frames.pose_source: tf")

    def at(self, stamp: int) -> StampedPose:
        """The base's pose at a stamp; raises TransformError."""
        return self.buffer.at(stamp)

    def motion(self, stamp: int) -> Motion:
        """The base's poses during a sweep at a stamp, to be asked in another thread."""
        return self.buffer.window(stamp - SWEEP_NS, stamp + SWEEP_NS).at

    def reach(self, stamp: int) -> bool:
        """Whether poses up to a stamp have come."""
        return self.is_final(stamp)

    def is_final(self, stamp: int) -> bool:
        """Whether waiting longer brings no better poses for this stamp."""
        return self.buffer.newest_ns is not None and stamp <= self.buffer.newest_ns

    def forget_after(self, stamp: int) -> None:
        """Clears the poses if they are of a time that a clock set back to `stamp` has not reached."""
        if self.buffer.newest_ns is not None and self.buffer.newest_ns > stamp + 1_000_000_000:
            self.buffer.clear()


class PoseTransforms:
    """Poses of the base from TF; never extrapolated, and of unknown covariance."""

    def __init__(self, frames: FramesConfig, transforms: TransformBuffer) -> None:
        self._frames, self._transforms = frames, transforms

    def at(self, stamp: int) -> StampedPose:
        """The base's pose at a stamp; raises TransformError."""
        return StampedPose(stamp, self._transforms.lookup(self._frames.map, self._frames.base, stamp, gap=0.0))

    def motion(self, stamp: int) -> Motion:
        """The base's poses during a sweep at a stamp, to be asked in another thread."""
        return self.at

    def reach(self, stamp: int) -> bool:
        """Whether poses up to a stamp have come."""
        try:
            self.at(stamp)
        except TransformError:
            return False
        return True

    def is_final(self, stamp: int) -> bool:
        """Several publishers make up a transform, so only time tells."""
        return False

    def forget_after(self, stamp: int) -> None:
        """Clears the moving frames."""
        self._transforms.clear()
