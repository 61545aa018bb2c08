# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Loop closures for LIO-SAM and its kin (SC-LIO-SAM, LVI-SAM, liorf): a pair of stamps, the rest is ICP's."""

from __future__ import annotations

from array import array

from nav_msgs.msg import Path
from std_msgs.msg import Float64MultiArray

from ms2cl_ros.core.messages import stamp_ns
from ms2cl_ros.ros import qos
from ms2cl_ros.ros.backends.backend import Backend, Offer, Wiring

# historyKeyframeSearchTimeDiff of its parameters: a pair nearer in time is dropped
APART_NS = 30_000_000_000
# it looks at one pair a second, and keeps the last five
PERIOD = 1.0
# how far outside of the keyframes on its path a stamp may lie
SLACK_NS = 2_000_000_000


class LioLoop(Backend):
    """Publishes [t_current, t_previous] in seconds on `lio_loop/loop_closure_detection`.

    It maps a stamp that it does not know to its first or last keyframe, so only pairs of the drive that is being
    mapped are told. If its `lio_sam/mapping/path` is heard, both stamps have to lie on that.
    """

    name = "lio_loop"

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        topic = wiring.named("lio_loop/loop_closure_detection")
        self._publisher = wiring.node.create_publisher(Float64MultiArray, topic, qos.RESULTS)
        wiring.node.create_subscription(Path, wiring.named("lio_sam/mapping/path"), self._heard, qos.RESULTS)
        self._span: tuple[int, int] | None = None
        self._next = float("-inf")
        self.sent, self.refused = 0, ""

    def take(self, offer: Offer) -> None:
        """Tells a promised match, if its two stamps are of one drive and far enough apart."""
        closure = offer.closure
        if closure is None or self.promised(offer) is None:
            return
        self.refused = self._why_not(offer)
        now = self.wiring.clock()
        if self.refused or now < self._next or not self._publisher.get_subscription_count():
            return
        self._next = now + PERIOD
        self._publisher.publish(Float64MultiArray(data=array("d", [closure.stamp_ns * 1e-9,
                                                                   closure.submap_stamp_ns * 1e-9])))
        self.sent += 1

    def values(self) -> dict[str, str]:
        """How many pairs were told, and why the last one was not."""
        waiting = "" if self._publisher.get_subscription_count() else f"nobody subscribes {self._publisher.topic_name}"
        return {f"{self.name}: pairs sent": str(self.sent), f"{self.name}: not sent": self.refused or waiting or "-"}

    def _why_not(self, offer: Offer) -> str:
        closure = offer.closure
        assert closure is not None
        if offer.live is None or closure.session != offer.live.id:
            return "the submap is not of the drive that is being mapped"
        if closure.stamp_ns - closure.submap_stamp_ns < APART_NS:
            return "the submap is not 30 s old"
        if self._span is not None:
            first, last = self._span[0] - SLACK_NS, self._span[1] + SLACK_NS
            if not (first <= closure.submap_stamp_ns <= last and first <= closure.stamp_ns <= last):
                return "its path does not reach to the image or to the submap"
        return ""

    def _heard(self, path: Path) -> None:
        if path.poses:
            self._span = stamp_ns(path.poses[0].header.stamp), stamp_ns(path.poses[-1].header.stamp)
