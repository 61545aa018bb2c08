# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`map -> odom` on /tf (REP-105): where the odometry's frame lies in the map, by the newest promised match."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import TransformStamped

from ms2cl_ros.core.decision import LOST, PATIENCE
from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.frames import SECOND
from ms2cl_ros.core.geometry import inverse
from ms2cl_ros.core.types import Match
from ms2cl_ros.ros import conversions, qos, results
from ms2cl_ros.ros.backends.backend import Backend, Offer, Wiring, messages

# dated ahead, as AMCL does, so that look-ups between two of them find one
AHEAD_NS, PERIOD = 300_000_000, 0.1


class MapToOdom(Backend):
    """Holds the transform of the last promised match while the odometry goes on.

    Silent while LOST, and once images have stayed away for as long as a state lives without them.
    """

    name = "publish_tf"

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        self._types = messages("tf2_msgs", "msg", self.name, "install ros-$ROS_DISTRO-tf2-msgs")
        self._publisher = wiring.node.create_publisher(self._types.TFMessage, "/tf", qos.TF)
        self._waiting: Match | None = None
        self._T_map_odom: np.ndarray | None = None
        self._frame, self._next, self._stamp, self._image = "", float("-inf"), 0, 0
        self._told = 0

    def take(self, offer: Offer) -> None:
        """Notes a promised match; once lost, nothing is published any more."""
        self._image = offer.stamp_ns
        if offer.state == LOST:
            self.forget()
        else:
            self._waiting = self.promised(offer) or self._waiting

    def tick(self) -> None:
        """Joins the match with the odometry of its stamp once that has come, and publishes."""
        motion, now = self.wiring.motion, self.wiring.clock()
        newest = motion.newest_ns
        if self._waiting is not None and newest is not None and newest >= self._waiting.stamp_ns:
            self._join(self._waiting)
            self._waiting = None
        if self._T_map_odom is None or newest is None or now < self._next:
            return
        if motion.frame_id != self._frame or newest < self._stamp:
            self.forget()  # another odometry, or one that has begun anew: its frame lies elsewhere
            return
        if newest - self._image > PATIENCE * SECOND:
            self.forget()
            self.wiring.health.warn(self.name, f"no image for {PATIENCE:.0f} s: {self.wiring.frames.map} -> "
                                               f"{self._frame} is not published any more")
            return
        self._next, self._stamp = now + PERIOD, newest
        self._publisher.publish(self._types.TFMessage(transforms=[self._message(newest + AHEAD_NS)]))
        self._told += 1

    def forget(self) -> None:
        """Nothing is published until the next match."""
        self._waiting = self._T_map_odom = None
        self._stamp = 0

    def values(self) -> dict[str, str]:
        """Whether it is being published."""
        state = "published" if self._T_map_odom is not None else \
            "no odometry" if self.wiring.motion.newest_ns is None else "no match"
        return {f"{self.name}: state": state, f"{self.name}: sent": str(self._told)}

    def _join(self, match: Match) -> None:
        try:
            self._T_map_odom = match.T_map_base @ inverse(self.wiring.motion.at(match.stamp_ns))
        except TransformError as e:
            self.wiring.health.warn(self.name, str(e))
            return
        self._frame = self.wiring.motion.frame_id

    def _message(self, stamp: int) -> TransformStamped:
        assert self._T_map_odom is not None
        return TransformStamped(header=conversions.header(stamp, self.wiring.frames.map), child_frame_id=self._frame,
                                transform=results.transform(self._T_map_odom))
