# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bag of five places, 10 m and a second apart, with both sensors; and the settings that find them."""

from __future__ import annotations

from pathlib import Path

import synthetic_messages as m
import yaml
from rclpy.serialization import serialize_message
from rosbags.typesys import Stores, get_typestore

from ms2cl_ros.tools.bags import BagWriter

KINDS = {"points": "sensor_msgs/msg/PointCloud2", "image": "sensor_msgs/msg/Image",
         "camera_info": "sensor_msgs/msg/CameraInfo", "odometry": "nav_msgs/msg/Odometry"}


def five_places(path: Path) -> Path:
    """Writes the bag; its stamps begin at 10 s."""
    types = get_typestore(Stores.ROS2_JAZZY)
    with BagWriter(path) as out:
        for name, kind in KINDS.items():
            out.add_topic(f"/{name}", kind)
        for place in range(5):
            t = 10.0 + place
            made = {"odometry": m.odometry(t, place), "camera_info": m.camera_info(t), "points": m.cloud(t, place),
                    "image": m.image(t, place)}
            for name, message in made.items():
                out.write(f"/{name}", int(t * 1e9), types.deserialize_cdr(serialize_message(message), KINDS[name]))
    return path


def parameter_file(path: Path, tiny_model: Path) -> Path:
    """Each image stands for itself, so that one of them is enough for a match."""
    extrinsics = {"lidar_extrinsics": m.LIDAR_EXTRINSICS, "camera_extrinsics": m.CAMERA_EXTRINSICS,
                  "extrinsics_source": "parameters"}
    values = {"encoder": {"model": str(tiny_model)}, "frames": extrinsics, "views": {"spacing": 0.0},
              "submaps": {"headings": 45}, "trust": {"motion": "none", "target_precision": 0.5}}
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    return path
