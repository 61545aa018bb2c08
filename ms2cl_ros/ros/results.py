# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the matcher says beside the pose: scores, loop closures, pictures. Poses are in `conversions`."""

from __future__ import annotations

from array import array

import numpy as np
from geometry_msgs.msg import PoseWithCovariance, Quaternion, Transform, TransformStamped, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, PointCloud2, PointField

from ms2cl_ros.core.geometry import quaternion
from ms2cl_ros.core.loop_closure import LoopClosure, submap_frame
from ms2cl_ros.core.types import Match
from ms2cl_ros.ros.conversions import header, pose

# A row of ~/candidate_scores; every field a float32, so that viewers can colour by each.
SCORES = ("x", "y", "z", "score", "range_score", "evidence", "heading", "submap")


def candidate_scores(match: Match, map_frame: str) -> PointCloud2:
    """The candidates' places with their scores: point i belongs to pose i of `conversions.candidate_poses`.

    `score`: cosine similarity; `range_score`: nats, NaN where ranges were not compared; `evidence`: nats; `heading`:
    radians in the submap's base; `submap`: its id (exact up to 16,777,216).
    """
    rows = np.array([[*c.T_map_base[:3, 3], c.score, np.nan if c.range_score is None else c.range_score, c.evidence,
                      c.heading, c.submap_id] for c in match.candidates], np.float32).reshape(-1, len(SCORES))
    fields = [PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate(SCORES)]
    step = 4 * len(SCORES)
    return PointCloud2(header=header(match.stamp_ns, map_frame), height=1, width=len(rows), fields=fields,
                       point_step=step, row_step=step * len(rows), is_bigendian=False, is_dense=False,
                       data=array("B", rows.astype("<f4").tobytes()))


def loop_closure(closure: LoopClosure, base_frame: str) -> Odometry:
    """The base at the image's stamp in the submap's frame; the twist is not known and says so by its covariance."""
    message = Odometry(header=header(closure.stamp_ns, submap_frame(closure.submap_id)), child_frame_id=base_frame)
    message.pose = PoseWithCovariance(pose=pose(closure.T_submap_base),
                                      covariance=[float(v) for v in np.ravel(closure.covariance)])
    message.twist.covariance[0] = -1.0  # as in sensor_msgs: there is none
    return message


def submap_place(closure: LoopClosure, map_frame: str) -> TransformStamped:
    """When and where the submap of a closure was made: what its frame's name stands for."""
    return TransformStamped(header=header(closure.submap_stamp_ns, map_frame),
                            child_frame_id=submap_frame(closure.submap_id),
                            transform=transform(closure.T_map_submap))


def transform(T: np.ndarray) -> Transform:
    """A 4 x 4 transform as a message."""
    x, y, z = (float(v) for v in T[:3, 3])
    qx, qy, qz, qw = (float(v) for v in quaternion(T))
    return Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def picture(rgb: np.ndarray, stamp_ns: int, frame_id: str) -> Image:
    """(H, W, 3) uint8 as rgb8."""
    rows, columns = rgb.shape[:2]
    return Image(header=header(stamp_ns, frame_id), height=rows, width=columns, encoding="rgb8", step=3 * columns,
                 data=array("B", np.ascontiguousarray(rgb).tobytes()))
