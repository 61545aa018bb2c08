# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The drivers of a robot whose world is `conftest.wall`, and ears for both nodes."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from synthetic_messages import CAMERA_EXTRINSICS, LIDAR_EXTRINSICS, cloud, odometry


def settings(tiny_model, tmp_path, **more):
    return {"encoder.model": str(tiny_model), "store.database": str(tmp_path / "map.db"),
            "frames.extrinsics_source": "parameters", "frames.lidar_extrinsics": LIDAR_EXTRINSICS,
            "frames.camera_extrinsics": CAMERA_EXTRINSICS, "frames.pose_wait": 0.3, "submaps.headings": 45,
            "views.spacing": 0.0, **{k.replace("__", "."): v for k, v in more.items()}}


class Robot:
    """A plain node that plays the drivers and hears both nodes."""

    def __init__(self, ros, namespace=""):
        self.ros, self.node = ros, ros.node("robot", namespace=namespace)
        qos = QoSProfile(depth=50)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.pub = {name: self.node.create_publisher(kind, name, qos) for name, kind in (
            ("points", PointCloud2), ("odometry", Odometry), ("image", Image), ("image/compressed", CompressedImage),
            ("camera_info", CameraInfo))}
        self.matches, self.candidates, self.status, self.path = [], [], {}, None
        self.node.create_subscription(PoseWithCovarianceStamped, "place_matcher/match_pose", self.matches.append, qos)
        self.node.create_subscription(PoseArray, "place_matcher/candidates", self.candidates.append, qos)
        self.node.create_subscription(Path, "submap_mapper/submaps", lambda m: setattr(self, "path", m), latched)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self.hear, qos)

    def hear(self, message):
        for status in message.status:
            self.status[status.name] = (status.level[0], status.message, {v.key: v.value for v in status.values})

    def connected(self, *topics):
        assert self.ros.spin_until(lambda: all(self.pub[t].get_subscription_count() for t in topics))

    def drive(self, t, place, scan=None):
        """A cloud at t with poses of the same place around it."""
        for dt in (-0.05, 0.05):
            self.pub["odometry"].publish(odometry(t + dt, place))
        self.pub["points"].publish(scan if scan is not None else cloud(t, place))
