# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Back ends that take and refuse as the real ones do, and the wiring with which an adapter is tried on them."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, Quaternion
from nav_msgs.msg import Path
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Float64MultiArray
from synthetic_messages import header

from ms2cl_ros.core import config
from ms2cl_ros.core.geometry import rotation_z, transform
from ms2cl_ros.core.loop_closure import LoopClosure
from ms2cl_ros.core.maps.store import Session
from ms2cl_ros.core.types import Candidate, Match, StampedPose
from ms2cl_ros.ros.backends.backend import Offer, Wiring
from ms2cl_ros.ros.backends.registry import Backends
from ms2cl_ros.ros.health import Health
from ms2cl_ros.ros.odometry import Motion

SECOND = 1_000_000_000
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def seconds(stamp):
    return stamp.sec + stamp.nanosec * 1e-9


def placed(x, y=0.0, z=0.0, degrees=0.0):
    return transform([x, y, z]) @ rotation_z(np.radians(degrees))


def match(t, x, y=0.0, z=0.3, degrees=0.0, state="MATCHED", covariance=None):
    """A match at t seconds; its covariance has entries below zero, as real ones have."""
    if covariance is None:
        covariance = np.diag([0.5, 0.5, 100.0, 9.87, 9.87, 0.01])
        covariance[0, 1] = covariance[1, 0] = -0.3
    T = placed(x, y, z, degrees)
    return Match(int(t * SECOND), T, covariance, (Candidate(7, 9, 0.0, 0.1, 0.9, T),), state=state)


def closure(t, submap_t, submap_id=7, session=2, T_submap_base=None):
    T = placed(1.0, 0.5, 0.0, 10.0) if T_submap_base is None else T_submap_base
    return LoopClosure(int(t * SECOND), submap_id, int(submap_t * SECOND), session, placed(20.0), T, np.eye(6) * 0.1)


LIVE = Session(2, "", 0, 100)


class Told:
    """Adapters on a node of their own, told by hand."""

    def __init__(self, ros, names, store=None, **settings):
        defaults = {"retry": 0.1, "attempts": 4}
        chosen = {f"backends.{k}": v for k, v in {**defaults, **settings, "names": list(names) or [""]}.items()}
        self.config = config.from_mapping(chosen)
        self.ros, self.node = ros, ros.node("place_matcher")
        self.motion, self.warned = Motion(1.0), []
        self.health = Health("told", (), self.warned.append)
        self.backends = Backends(Wiring(self.node, self.config.frames, self.config.backends, self.motion, self.health,
                                        lambda: store))
        self.backend = self.backends.running[0]

    def tell(self, match_, closure_=None, live=LIVE):
        self.backends.offer(Offer(match_.stamp_ns, match_.state, match_, closure_, live))

    def sees_nothing(self, t, state):
        self.backends.offer(Offer(int(t * SECOND), state))

    def drive(self, t, x, degrees=0.0, frame="odom"):
        """The odometry says so; its frame lies 100 m aside of the map's."""
        self.motion.add(StampedPose(int(t * SECOND), placed(x, 100.0, 0.0, degrees)), frame)

    def says(self, key):
        return self.backends.values()[f"{self.backend.name}: {key}"]


class Amcl:
    """nav2's AMCL: the checks of its `initialPoseReceived`, then its pose with the next scan."""

    def __init__(self, ros, frame="map", pose="amcl_pose", moved=0.0, namespace=""):
        self.node, self.frame, self.moved = ros.node("amcl", namespace=namespace), frame, moved
        self.refused, self.taken = [], []
        self.publisher = self.node.create_publisher(PoseWithCovarianceStamped, pose, LATCHED)
        self.node.create_subscription(PoseWithCovarianceStamped, "initialpose", self.hear, 10)

    def hear(self, message):
        reason = self.why_not(message)
        if reason:
            self.refused.append(reason)
            return
        self.taken.append(message)
        self.scan(seconds(message.header.stamp) + 0.2, message.pose.pose.position.x + self.moved,
                  turned=message.pose.pose.orientation)

    def why_not(self, message):
        if not message.header.frame_id or message.header.stamp.sec < 0:
            return "malformed header"
        q = message.pose.pose.orientation
        if abs(1.0 - np.linalg.norm([q.x, q.y, q.z, q.w])) > 1e-4:
            return "malformed quaternion"
        if any(not 0.0 <= v <= 1e9 for v in message.pose.covariance):
            return "malformed covariance"
        return "" if message.header.frame_id == self.frame else "not in the global frame"

    def scan(self, t, x, y=0.0, turned=None):
        """Its own pose, as of a scan."""
        message = PoseWithCovarianceStamped(header=header(t, self.frame))
        message.pose.pose.position.x, message.pose.pose.position.y = x, y
        message.pose.pose.orientation = turned or Quaternion(w=1.0)
        self.publisher.publish(message)


class SlamToolbox(Amcl):
    """slam_toolbox in localisation mode: takes whatever comes as its place of now, and says so unlatched."""

    def __init__(self, ros, pose="pose", now=0.0):
        super().__init__(ros, pose="unused")
        self.now = now
        self.publisher = self.node.create_publisher(PoseWithCovarianceStamped, pose, 10)

    def hear(self, message):
        self.taken.append(message)
        self.scan(self.now, message.pose.pose.position.x, message.pose.pose.position.y, message.pose.pose.orientation)


class LioSam:
    """LIO-SAM's `detectLoopClosureExternal`, without the ICP that follows: pairs become keyframe indices."""

    def __init__(self, ros, keyframes):
        self.node, self.keyframes = ros.node("lio_sam"), list(keyframes)
        self.loops, self.dropped = [], []
        self.path = self.node.create_publisher(Path, "lio_sam/mapping/path", 1)
        self.node.create_subscription(Float64MultiArray, "lio_loop/loop_closure_detection", self.hear, 10)

    def hear(self, message):
        if len(message.data) != 2:
            self.dropped.append("not two")
            return
        now, before = message.data
        if abs(now - before) < 30.0:
            self.dropped.append("not 30 s apart")
            return
        current = next((i for i, t in enumerate(self.keyframes) if t >= now), len(self.keyframes) - 1)
        previous = max((i for i, t in enumerate(self.keyframes) if t <= before), default=0)
        self.loops.append((current, previous))

    def show(self):
        """Its path of keyframes."""
        self.path.publish(Path(poses=[PoseStamped(header=header(t, "map")) for t in self.keyframes]))


class RtabmapGraph:
    """rtabmap's side of add_link: a node each second at x = t, and an answer that says nothing either way."""

    def __init__(self, ros, until, refuses=False):
        from rtabmap_msgs.msg import MapData, Node
        from rtabmap_msgs.srv import AddLink
        self.node, self.refuses, self.links = ros.node("rtabmap"), refuses, []
        self.types = MapData, Node
        self.publisher = self.node.create_publisher(MapData, "mapData", 1)
        self.node.create_service(AddLink, "add_link", self.add)
        self.until = until

    def add(self, request, response):
        self.links.append(request.link)
        return response

    def show(self):
        """Its graph: ids are not stamps, and links appear only if they were taken."""
        MapData, Node = self.types
        message = MapData()
        for i in range(self.until):
            node = Node(id=100 + i, stamp=float(i))
            node.pose.position.x, node.pose.orientation.w = float(i), 1.0
            message.nodes.append(node)
        message.graph.links = [] if self.refuses else list(self.links)
        self.publisher.publish(message)
