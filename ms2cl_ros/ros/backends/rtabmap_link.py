# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Loop closures for rtabmap by its service `add_link`, between the two nodes of its graph that are nearest in time."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.geometry import interpolate, inverse, transform
from ms2cl_ros.core.loop_closure import LoopClosure, seen_from_base
from ms2cl_ros.ros import qos, results
from ms2cl_ros.ros.backends.backend import Backend, Offer, Wiring, messages

# rtabmap::Link::kUserClosure
USER_CLOSURE = 4
# rtabmap makes a node a second by default; farther from a node in time than this is none of its, seconds
NEAR, PERIOD = 1.0, 1.0
# a link that does not appear in the graph after so many seconds was not taken
CONFIRMATION, WAITING_ROOM = 10.0, 20


@dataclass
class Asked:
    """A link that was asked for. `until`: monotonic seconds by which it should be in the graph."""

    link: Any
    until: float


class RtabmapLink(Backend):
    """Adds user closures. Ids are those of rtabmap's nodes, whose stamps come with `mapData`.

    Between a node's stamp and the image's or the submap's the base has moved by odometry. The service answers nothing;
    whether a link was taken is seen in the graph.
    """

    name = "rtabmap_link"

    def __init__(self, wiring: Wiring) -> None:
        super().__init__(wiring)
        remedy = "install ros-$ROS_DISTRO-rtabmap-msgs"
        self._types = messages("rtabmap_msgs", "msg", self.name, remedy)
        self._services = messages("rtabmap_msgs", "srv", self.name, remedy)
        node = wiring.node
        self._client = node.create_client(self._services.AddLink, wiring.named("add_link"))
        node.create_subscription(self._types.MapData, wiring.named("mapData"), self._heard, qos.RESULTS)
        self._stamps: list[int] = []
        self._nodes: list[tuple[int, np.ndarray]] = []
        self._waiting: deque[LoopClosure] = deque(maxlen=WAITING_ROOM)
        self._asked: list[Asked] = []
        self._next = float("-inf")
        self.taken = self.refused = 0
        self._why = ""

    def take(self, offer: Offer) -> None:
        """Keeps promised closures within the drive that is being mapped until rtabmap has a node for the image."""
        now = self.wiring.clock()
        closure = offer.closure
        if closure is None or self.promised(offer) is None or now < self._next:
            return
        if offer.live is None or offer.live.id != closure.session:
            self._why = "the submap is not of the drive that is being mapped"
            return
        self._next = now + PERIOD
        self._waiting.append(closure)

    def tick(self) -> None:
        """Asks for the links whose nodes are known by now; counts those that never appeared."""
        now = self.wiring.clock()
        late = [a for a in self._asked if now > a.until]
        if late:
            self._asked = [a for a in self._asked if now <= a.until]
            self.refused += len(late)
            self.wiring.health.warn(self.name, f"{len(late)} links did not appear in the graph within "
                                               f"{CONFIRMATION:.0f} s: rtabmap has refused them (see its log)")
        while self._waiting and self._stamps and self._stamps[-1] >= self._waiting[0].stamp_ns:
            closure = self._waiting.popleft()
            if self._client.service_is_ready():
                self._ask(closure, now)
            else:
                self._why = f"nobody serves {self._client.srv_name}"
                self.wiring.health.warn(self.name, self._why)

    def forget(self) -> None:
        """What waits is left out."""
        self._waiting.clear()

    def values(self) -> dict[str, str]:
        """How many links were seen in the graph, and how many not."""
        return {f"{self.name}: links taken": str(self.taken), f"{self.name}: links refused": str(self.refused),
                f"{self.name}: links asked for": str(len(self._asked)), f"{self.name}: not sent": self._why or "-"}

    def _ask(self, closure: LoopClosure, now: float) -> None:
        try:
            link = self._link(closure)
        except TransformError as e:
            self._why = str(e)
            return
        self._why = ""
        self._client.call_async(self._services.AddLink.Request(link=link))
        self._asked.append(Asked(link, now + CONFIRMATION))

    def _link(self, closure: LoopClosure) -> Any:
        """From the new node to the old one; raises TransformError where the odometry does not reach."""
        new, T_image_new = self._node(closure.stamp_ns)
        old, T_submap_old = self._node(closure.submap_stamp_ns)
        if new == old:
            raise TransformError("image and submap belong to one node of its graph")
        T_base_submap, covariance = seen_from_base(closure)
        T_new_submap = inverse(T_image_new) @ T_base_submap
        return self._types.Link(from_id=new, to_id=old, type=USER_CLOSURE,
                                transform=results.transform(T_new_submap @ T_submap_old),
                                information=[float(v) for v in np.linalg.inv(covariance).ravel()])

    def _node(self, stamp: int) -> tuple[int, np.ndarray]:
        """The node nearest in time and `T_base(stamp)_base(node)`; raises TransformError if there is none near."""
        i = bisect_left(self._stamps, stamp)
        near = min(range(max(0, i - 1), min(i + 1, len(self._stamps))), key=lambda k: abs(self._stamps[k] - stamp))
        if abs(self._stamps[near] - stamp) > NEAR * 1e9:
            raise TransformError("its graph has no node within a second of the image or the submap")
        key, T_odom_node = self._nodes[near]
        return key, inverse(self._odometry(stamp)) @ T_odom_node

    def _odometry(self, stamp: int) -> np.ndarray:
        """rtabmap's own odometry at a stamp, between the nodes around it; at the ends that of ours."""
        i = bisect_left(self._stamps, stamp)
        if i < len(self._stamps) and self._stamps[i] == stamp:
            return self._nodes[i][1]
        if 0 < i < len(self._stamps):
            before, after = self._stamps[i - 1], self._stamps[i]
            return interpolate(self._nodes[i - 1][1], self._nodes[i][1], (stamp - before) / (after - before))
        raise TransformError("its graph does not reach to the image or the submap")

    def _heard(self, message: Any) -> None:
        for node in message.nodes:
            stamp = round(node.stamp * 1e9)
            i = bisect_left(self._stamps, stamp)
            if i < len(self._stamps) and self._stamps[i] == stamp:
                continue
            self._stamps.insert(i, stamp)
            self._nodes.insert(i, (int(node.id), _matrix(node.pose)))
        pairs = {frozenset((k.from_id, k.to_id)) for k in message.graph.links if k.type == USER_CLOSURE}
        seen = [a for a in self._asked if frozenset((a.link.from_id, a.link.to_id)) in pairs]
        self.taken += len(seen)
        self._asked = [a for a in self._asked if a not in seen]


def _matrix(pose: Any) -> np.ndarray:
    p, q = pose.position, pose.orientation
    return transform([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])
