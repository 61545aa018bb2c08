# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A LiDAR drive becomes a map."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import SensorError
from ms2cl_ros.core.geometry import apply, distance, lidar_view, rotation_angle
from ms2cl_ros.core.projection import cut, render_ranges
from ms2cl_ros.core.store import Store
from ms2cl_ros.core.types import PointCloud, RangeImage, StampedPose, Submap, View


class Mapper:
    """Turns scans with poses into stored submaps. One thread at a time."""

    def __init__(self, config: Config, encoder: Encoder, store: Store) -> None:
        self._config, self._encoder, self._store = config, encoder, store
        self._grid = encoder.sidecar.lidar.grid
        self._last: np.ndarray | None = None
        self._travelled = 0.0

    def wants(self, T_map_base: np.ndarray) -> bool:
        """Whether the base has moved or turned far enough for a new submap; asked before any decoding."""
        if self._last is None:
            return True
        gate = self._config.submaps
        return (distance(self._last, T_map_base) >= gate.distance
                or rotation_angle(self._last, T_map_base) >= np.deg2rad(gate.angle_deg))

    def add_scan(self, cloud: PointCloud, pose: StampedPose, T_base_lidar: np.ndarray) -> Submap | None:
        """The stored submap, or None where the gate is closed.

        Raises SensorError for a scan without returns in range, StoreError if it cannot be written.
        """
        if not self.wants(pose.T_map_base):
            return None
        limits = self._config.sensors
        points = apply(lidar_view(T_base_lidar), cloud.xyz)
        panorama = render_ranges(points, self._grid.panorama(), limits.min_range, limits.max_range)
        if not panorama.ranges.any():
            raise SensorError(f"the scan of stamp {cloud.stamp_ns} has no return on the model's grid between "
                              f"{limits.min_range} and {limits.max_range} m ({len(cloud.xyz)} points); it is left out")
        view = self._embed(panorama, pose.T_map_base)
        step = 0.0 if self._last is None else distance(self._last, pose.T_map_base)
        submap = self._store.add(Submap(cloud.stamp_ns, pose.T_map_base, T_base_lidar, panorama, (view,),
                                        pose.covariance, travelled=self._travelled + step))
        self._last, self._travelled = pose.T_map_base, submap.travelled
        return submap

    def _embed(self, panorama: RangeImage, T_map_base: np.ndarray) -> View:
        headings = headings_around(self._config.submaps.headings)
        windows = np.stack([cut(panorama, h, self._grid.columns).ranges for h in headings])
        return View(T_map_base, headings, self._encoder.embed_views(windows))


def headings_around(n: int) -> np.ndarray:
    """(n,) float64 radians, evenly around the turn, beginning straight ahead."""
    return np.arange(n) * (2 * np.pi / n)
