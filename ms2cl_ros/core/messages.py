# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages, read by attribute so that rclpy's and rosbags' both do, as the dataclasses of `types`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ms2cl_ros.core import cameras, geometry
from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.images import decode_compressed, decode_image
from ms2cl_ros.core.pointcloud2 import decode
from ms2cl_ros.core.types import CameraImage, CameraModel, PointCloud, StampedPose

INTENSITY = ("intensity", "reflectivity", "i")
TIMES = ("t", "time", "offset_time", "time_stamp", "timestamp")
# Point times farther than this from the header's stamp are of another clock.
LONGEST_SWEEP = 10.0


def stamp_ns(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def to_point_cloud(msg: Any, min_range: float, max_range: float) -> PointCloud:
    """A PointCloud2, without its points nearer than `min_range`, farther than `max_range` (metres) or not finite.

    `times` is None also when the points carry a clock that is not the header's (10 s or more apart).
    Raises SensorError as `pointcloud2.decode` does.
    """
    columns = decode(msg.data, msg.fields, msg.width, msg.height, msg.point_step, msg.row_step, bool(msg.is_bigendian))
    return cloud_of(columns, stamp_ns(msg.header.stamp), str(msg.header.frame_id), min_range, max_range)


def cloud_of(columns: Mapping[str, np.ndarray], stamp: int, frame_id: str, min_range: float,
             max_range: float) -> PointCloud:
    """The cloud in (N,) arrays by field name, `x`, `y` and `z` among them; limits and times as in `to_point_cloud`."""
    xyz = np.stack([columns[axis] for axis in "xyz"], axis=1).astype(np.float32, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        squared = np.einsum("ij,ij->i", xyz, xyz)
        keep = (squared >= min_range ** 2) & (squared <= max_range ** 2)
    intensity = next((columns[n] for n in INTENSITY if n in columns and columns[n].ndim == 1), None)
    return PointCloud(xyz[keep], stamp, frame_id,
                      None if intensity is None else intensity[keep].astype(np.float32),
                      _times(columns, keep, stamp * 1e-9))


def _times(columns: Mapping[str, np.ndarray], keep: np.ndarray, stamp: float) -> np.ndarray | None:
    """(N,) float64, seconds after `stamp` of the points kept, or None.

    Integers are nanoseconds after the stamp (Ouster `t`, Livox `offset_time`, Autoware `time_stamp`); floats are
    seconds after it (Velodyne `time`) or since the epoch (Hesai, RoboSense `timestamp`; Livox in nanoseconds).
    """
    name = next((n for n in TIMES if n in columns and columns[n].ndim == 1), None)
    if name is None or not keep.any():
        return None
    values = columns[name][keep]
    times = values.astype(np.float64)
    middle = abs(float(np.median(times)))
    if values.dtype.kind in "iu" or middle > 1e17:
        times *= 1e-9
    elif middle > 1e14:
        times *= 1e-6
    middle = float(np.median(times))
    if abs(middle - stamp) < abs(middle):
        times = times - stamp
    return times if np.all(np.abs(times) < LONGEST_SWEEP) else None


def to_camera_image(msg: Any) -> CameraImage:
    """An Image or a CompressedImage; raises SensorError as `images` does."""
    if hasattr(msg, "format"):
        rgb = decode_compressed(msg.data, msg.format)
    else:
        rgb = decode_image(msg.data, msg.encoding, msg.width, msg.height, msg.step, bool(msg.is_bigendian))
    return CameraImage(rgb, stamp_ns(msg.header.stamp), str(msg.header.frame_id))


def to_camera_model(msg: Any, rectified: bool = False) -> CameraModel:
    """The intrinsics of the picture that goes with a CameraInfo, binning and region of interest applied.

    `rectified`: the picture is an image_rect topic, which P describes; K and D describe the raw one. As everywhere
    in ROS, the rectified camera is taken to look along the axes of the frame that the header names.
    Raises SensorError for an uncalibrated camera (K, or P if rectified, all zero) or an unknown distortion model.
    """
    K = np.array(_field(msg, "p" if rectified else "k"), np.float64).reshape(3, -1)[:, :3].copy()
    distortion = () if rectified else tuple(float(c) for c in _field(msg, "d"))
    distortion = distortion if any(distortion) else ()
    model = "plumb_bob" if rectified else _distortion_model(str(msg.distortion_model), distortion)
    binning = max(int(msg.binning_x), 1), max(int(msg.binning_y), 1)
    region = msg.roi
    # As image_geometry does: the region is cut out of the full picture first, then binned.
    K[0, 2] -= region.x_offset
    K[1, 2] -= region.y_offset
    K[0] /= binning[0]
    K[1] /= binning[1]
    camera = CameraModel((int(region.width) or int(msg.width)) // binning[0],
                         (int(region.height) or int(msg.height)) // binning[1],
                         K, distortion, model, str(msg.header.frame_id))
    cameras.check(camera)
    return camera


def _distortion_model(name: str, distortion: tuple[float, ...]) -> str:
    """Our name of the model; without coefficients, one that says nothing is a plain pinhole."""
    name = name.strip().lower()
    if name in ("", "none", "pinhole") and not distortion:
        return "plumb_bob"
    return "equidistant" if name == "fisheye" else name


def _field(msg: Any, name: str) -> Any:
    """A matrix of CameraInfo: lower case in ROS 2, upper case in bags of ROS 1."""
    value = getattr(msg, name, None)
    return getattr(msg, name.upper()) if value is None else value


def to_pose(msg: Any) -> StampedPose:
    """The pose of an Odometry, PoseStamped or PoseWithCovarianceStamped, in the frame its header names.

    A covariance that is all zero, negative on the diagonal or not finite says nothing and becomes None.
    Raises TransformError for a quaternion that is not of unit length.
    """
    holder = msg.pose
    pose = getattr(holder, "pose", holder)
    T = geometry.transform(_xyz(pose.position), _xyzw(pose.orientation))
    values = getattr(holder, "covariance", None)
    covariance = None
    if values is not None:
        covariance = np.array(values, np.float64).reshape(6, 6)
        if not (np.all(np.isfinite(covariance)) and covariance.any() and np.all(np.diag(covariance) >= 0)):
            covariance = None
    return StampedPose(stamp_ns(msg.header.stamp), T, covariance)


def to_transforms(msg: Any) -> list[tuple[str, str, int, np.ndarray]]:
    """`(parent, child, stamp_ns, T_parent_child)` of each transform of a TFMessage.

    Raises TransformError, naming the frames, for a quaternion that is not of unit length.
    """
    out = []
    for t in msg.transforms:
        # tf of ROS 1 allowed a leading slash
        parent, child = str(t.header.frame_id).lstrip("/"), str(t.child_frame_id).lstrip("/")
        try:
            T = geometry.transform(_xyz(t.transform.translation), _xyzw(t.transform.rotation))
        except TransformError as e:
            raise TransformError(f"{parent} -> {child}: {e}") from e
        out.append((parent, child, stamp_ns(t.header.stamp), T))
    return out


def _xyz(v: Any) -> tuple[float, float, float]:
    return float(v.x), float(v.y), float(v.z)


def _xyzw(q: Any) -> tuple[float, float, float, float]:
    return float(q.x), float(q.y), float(q.z), float(q.w)
