# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""SE(3) on 4 x 4 float64 matrices, and the frames that views are taken in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from ms2cl_ros.core.errors import TransformError


def transform(translation: Sequence[float], quaternion: Sequence[float] = (0.0, 0.0, 0.0, 1.0)) -> np.ndarray:
    """4 x 4 from a translation (metres) and a quaternion x y z w; raises TransformError if its norm is not near 1."""
    norm = float(np.linalg.norm(quaternion))
    if not (np.all(np.isfinite(translation)) and abs(norm - 1.0) < 1e-2):
        raise TransformError(f"not a rigid transform: translation {list(translation)}, quaternion x y z w "
                             f"{list(quaternion)} of norm {norm:.3g}; give finite metres and a unit quaternion")
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    T[:3, 3] = translation
    return T


def quaternion(T: np.ndarray) -> np.ndarray:
    """(4,) x y z w of the rotation of a 4 x 4 transform."""
    return Rotation.from_matrix(T[:3, :3]).as_quat()


def inverse(T: np.ndarray) -> np.ndarray:
    """Inverse of a rigid 4 x 4 transform."""
    out = np.eye(4)
    out[:3, :3] = T[:3, :3].T
    out[:3, 3] = -T[:3, :3].T @ T[:3, 3]
    return out


def apply(T_target_source: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 3) points of the source frame in the target frame, in the dtype given."""
    R, t = T_target_source[:3, :3].astype(points.dtype), T_target_source[:3, 3].astype(points.dtype)
    return points @ R.T + t


def yaw(T: np.ndarray) -> float:
    """Heading of the x axis about z, radians in (-pi, pi]."""
    return float(np.arctan2(T[1, 0], T[0, 0]))


def rotation_z(angle: float) -> np.ndarray:
    """4 x 4 rotation about z by `angle` radians."""
    T = np.eye(4)
    T[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return T


def wrap(angle: float) -> float:
    """The same angle in (-pi, pi]."""
    return float(-((-angle + np.pi) % (2 * np.pi) - np.pi))


def distance(A: np.ndarray, B: np.ndarray) -> float:
    """Metres between the origins of two poses."""
    return float(np.linalg.norm(A[:3, 3] - B[:3, 3]))


def rotation_angle(A: np.ndarray, B: np.ndarray) -> float:
    """Radians between the orientations of two poses, 0 to pi."""
    cosine = (np.trace(A[:3, :3].T @ B[:3, :3]) - 1.0) / 2.0
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def interpolate(A: np.ndarray, B: np.ndarray, fraction: float) -> np.ndarray:
    """The pose at `fraction` (0..1) of the way from A to B: linear in position, slerp in orientation."""
    T = np.eye(4)
    slerp = Slerp([0.0, 1.0], Rotation.from_matrix(np.stack([A[:3, :3], B[:3, :3]])))
    T[:3, :3] = slerp(fraction).as_matrix()
    T[:3, 3] = (1.0 - fraction) * A[:3, 3] + fraction * B[:3, 3]
    return T


def lidar_view(T_base_lidar: np.ndarray) -> np.ndarray:
    """`T_view_lidar`: the sensor's points with the base's axes, still around the sensor's origin."""
    T = np.eye(4)
    T[:3, :3] = T_base_lidar[:3, :3]
    return T


def camera_view(T_base_camera: np.ndarray) -> tuple[np.ndarray, float]:
    """`(T_view_camera, heading)` of a camera from the pose of its optical frame (z forward) in the base.

    The view frame sits at the camera's centre, level with the base, its x axis below the optical axis;
    `heading` is the azimuth of the optical axis in the base frame, radians.
    Raises TransformError for a camera that looks straight up or down: it has no heading.
    """
    axis = T_base_camera[:3, 2]
    if np.hypot(axis[0], axis[1]) < 0.2:
        raise TransformError("the camera looks straight up or down in the base frame, so it has no heading; "
                             "check the extrinsics (the optical frame has z forward, x right, y down)")
    heading = float(np.arctan2(axis[1], axis[0]))
    T = np.eye(4)
    T[:3, :3] = rotation_z(-heading)[:3, :3] @ T_base_camera[:3, :3]
    return T, heading
