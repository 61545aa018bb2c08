# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A street of boxes whose every range is known: what sweeps, submaps and rendered views are held against."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.core.geometry import rotation_z, transform
from ms2cl_ros.core.projection import directions
from ms2cl_ros.core.types import AngularGrid, PointCloud

HEIGHT = 1.7
T_BASE_LIDAR = transform([0.3, 0.0, HEIGHT])
# low and high corner, metres: two rows of houses with gaps between them, a parked van, a post
HOUSES = [[[-30.0, 8.0, 0.0], [6.0, 14.0, 9.0]], [[9.0, 9.5, 0.0], [40.0, 15.0, 7.0]],
          [[-30.0, -13.0, 0.0], [-2.0, -7.0, 8.0]], [[2.0, -14.0, 0.0], [40.0, -8.0, 6.0]]]
VAN, POST = [[11.0, 3.5, 0.0], [15.0, 5.5, 2.2]], [[5.0, -5.2, 0.0], [5.4, -4.8, 5.0]]
STREET = np.array([*HOUSES, VAN, POST])


def pose(x: float, y: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """`T_map_base` on the ground."""
    return transform([x, y, 0.0]) @ rotation_z(turn)


def cast(origin: np.ndarray, rays: np.ndarray, boxes: np.ndarray = STREET) -> np.ndarray:
    """(n,) metres along (n, 3) unit rays from one (3,) origin to the ground z = 0 or a box, inf for neither."""
    with np.errstate(divide="ignore", invalid="ignore"):
        nearest = np.where(rays[:, 2] < 0, -origin[2] / rays[:, 2], np.inf)
        for low, high in boxes:
            a, b = (low - origin) / rays, (high - origin) / rays
            enter, leave = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
            nearest = np.where((enter < leave) & (enter > 0), np.minimum(nearest, enter), nearest)
    return nearest


def sweep(T_map_base: np.ndarray, boxes: np.ndarray = STREET, elevations: np.ndarray | None = None,
          step_deg: float = 0.5, stamp_ns: int = 0) -> PointCloud:
    """What a LiDAR at `T_BASE_LIDAR` returns within 60 m, beam by beam."""
    elevations = np.radians(np.linspace(5.0, -25.0, 64) if elevations is None else elevations)
    azimuth = np.pi - np.arange(0, 2 * np.pi, np.radians(step_deg)) - 0.001
    level = np.cos(elevations)[:, None]
    rays = np.stack([level * np.cos(azimuth), level * np.sin(azimuth),
                     np.broadcast_to(np.sin(elevations)[:, None], (len(elevations), len(azimuth)))], -1).reshape(-1, 3)
    T = T_map_base @ T_BASE_LIDAR
    far = cast(T[:3, 3], rays @ T[:3, :3].T, boxes)
    near = far < 60.0
    return PointCloud((rays[near] * far[near, None]).astype(np.float32), stamp_ns, "lidar")


def truth(T_map_base: np.ndarray, grid: AngularGrid, boxes: np.ndarray = STREET) -> np.ndarray:
    """(rows, columns) metres to what stands in the middle of each cell of the whole turn, inf for nothing."""
    rays = directions(grid.panorama())
    T = T_map_base @ T_BASE_LIDAR
    return cast(T[:3, 3], rays.reshape(-1, 3) @ T[:3, :3].T, boxes).reshape(rays.shape[:2])
