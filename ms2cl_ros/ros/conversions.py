# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Results as ROS messages. The other direction is `core/messages.py`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import (
    Point,
    Pose,
    PoseArray,
    PoseStamped,
    PoseWithCovariance,
    PoseWithCovarianceStamped,
    Quaternion,
)
from nav_msgs.msg import Path
from std_msgs.msg import Header

from ms2cl_ros.core.geometry import quaternion
from ms2cl_ros.core.types import Match


def header(stamp_ns: int, frame_id: str) -> Header:
    """A header of a stamp in nanoseconds."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame_id)


def pose(T: np.ndarray) -> Pose:
    """A 4 x 4 pose as a message."""
    x, y, z = (float(v) for v in T[:3, 3])
    qx, qy, qz, qw = (float(v) for v in quaternion(T))
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def match_pose(match: Match, map_frame: str) -> PoseWithCovarianceStamped:
    """The base in the map frame at the image's stamp, with its covariance."""
    covariance = [float(v) for v in np.ravel(match.covariance)]
    return PoseWithCovarianceStamped(header=header(match.stamp_ns, map_frame),
                                     pose=PoseWithCovariance(pose=pose(match.T_map_base), covariance=covariance))


def candidate_poses(match: Match, map_frame: str) -> PoseArray:
    """The base poses of all candidates, best first."""
    return PoseArray(header=header(match.stamp_ns, map_frame), poses=[pose(c.T_map_base) for c in match.candidates])


def submap_pose(stamp_ns: int, T_map_base: np.ndarray, map_frame: str) -> PoseStamped:
    """One submap as an element of the map's nav_msgs/Path."""
    return PoseStamped(header=header(stamp_ns, map_frame), pose=pose(T_map_base))


def submap_path(submaps: Iterable[tuple[int, int, np.ndarray]], map_frame: str) -> Path:
    """The map, of `(id, stamp, T_map_base)` as `Store.poses` gives them; stamped as the newest of them."""
    poses = [submap_pose(stamp, T, map_frame) for _, stamp, T in submaps]
    newest = max((p.header for p in poses), key=lambda h: (h.stamp.sec, h.stamp.nanosec), default=header(0, map_frame))
    return Path(header=newest, poses=poses)
