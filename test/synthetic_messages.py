# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds, pictures and poses of a world of round walls (`conftest.wall`), as rclpy messages.

The robot drives along x, place i at x = 10 i. LiDAR and camera both sit 1 m above the base; the camera looks ahead.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from conftest import FAR, wall
from geometry_msgs.msg import PoseStamped, TransformStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

LIDAR_EXTRINSICS = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
CAMERA_EXTRINSICS = [0.0, 0.0, 1.0, -0.5, 0.5, -0.5, 0.5]
WIDTH, HEIGHT, FOCAL = 320, 120, 160.0
ELEVATIONS = np.radians(np.arange(-11.5, 12.0, 1.0))


def header(t: float, frame: str) -> Header:
    nanoseconds = round(t * 1e9)
    return Header(stamp=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9), frame_id=frame)


def scan_points(place: float, turned: float = 0.0) -> np.ndarray:
    """(N, 3) float32 in the LiDAR frame of a base turned by `turned` radians."""
    azimuth = np.radians(np.arange(0.0, 360.0, 0.5))
    level = wall(place, azimuth + turned)
    up = np.tan(ELEVATIONS)[:, None] * level
    x, y = np.cos(azimuth) * level, np.sin(azimuth) * level
    return np.stack(np.broadcast_arrays(x, y, up), axis=-1).reshape(-1, 3).astype(np.float32)


def cloud(t: float, place: float, frame: str = "lidar") -> PointCloud2:
    return packed(t, {axis: scan_points(place)[:, i] for i, axis in enumerate("xyz")}, frame)


def packed(t: float, columns: dict[str, np.ndarray], frame: str = "lidar", padding: int = 0) -> PointCloud2:
    """A cloud of float32 columns in the order given, with `padding` bytes behind each point."""
    names, n = list(columns), len(next(iter(columns.values())))
    step = 4 * len(names) + padding
    data = np.zeros((n, step), np.uint8)
    data[:, :4 * len(names)] = np.stack(list(columns.values()), axis=1).astype("<f4").view(np.uint8).reshape(n, -1)
    fields = [PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, name in enumerate(names)]
    return PointCloud2(header=header(t, frame), height=1, width=n, fields=fields, point_step=step, row_step=n * step,
                       is_bigendian=False, is_dense=True, data=array("B", data.tobytes()))


def picture(place: float) -> np.ndarray:
    """(H, W, 3) uint8: grey = range / 40 m, as a camera would see that looks along x."""
    u, v = np.meshgrid(np.arange(WIDTH) - (WIDTH - 1) / 2, np.arange(HEIGHT) - (HEIGHT - 1) / 2)
    azimuth, level = np.arctan2(-u, FOCAL), np.hypot(u, FOCAL)
    distance = wall(place, azimuth) * np.hypot(1.0, v / level)
    return np.repeat(np.clip(distance / FAR * 255.0, 0, 255).round().astype(np.uint8)[..., None], 3, axis=-1)


def image(t: float, place: float, frame: str = "camera") -> Image:
    return Image(header=header(t, frame), height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH,
                 data=array("B", picture(place).tobytes()))


def compressed(t: float, place: float, frame: str = "camera") -> CompressedImage:
    import cv2
    ok, data = cv2.imencode(".png", picture(place))
    assert ok
    return CompressedImage(header=header(t, frame), format="png", data=array("B", data.tobytes()))


def camera_info(t: float, frame: str = "camera") -> CameraInfo:
    k = [FOCAL, 0.0, (WIDTH - 1) / 2, 0.0, FOCAL, (HEIGHT - 1) / 2, 0.0, 0.0, 1.0]
    return CameraInfo(header=header(t, frame), width=WIDTH, height=HEIGHT, k=k, distortion_model="plumb_bob",
                      d=[0.0] * 5)


def odometry(t: float, place: float, frame: str = "map", child: str = "base_link") -> Odometry:
    message = Odometry(header=header(t, frame), child_frame_id=child)
    message.pose.pose.position.x = 10.0 * place
    message.pose.pose.orientation.w = 1.0
    return message


def pose_stamped(t: float, place: float, frame: str = "map") -> PoseStamped:
    return PoseStamped(header=header(t, frame), pose=odometry(t, place).pose.pose)


def transform(t: float, parent: str, child: str, values: list[float]) -> TransformStamped:
    message = TransformStamped(header=header(t, parent), child_frame_id=child)
    v, q = message.transform.translation, message.transform.rotation
    v.x, v.y, v.z, q.x, q.y, q.z, q.w = values
    return message


def tree(*transforms: TransformStamped) -> Any:
    from tf2_msgs.msg import TFMessage
    return TFMessage(transforms=list(transforms))
