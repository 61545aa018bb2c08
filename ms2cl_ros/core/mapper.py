# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A LiDAR drive becomes a map."""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.accumulation import Motion, Sighting, merge, straighten, thin, without_carrier
from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import SensorError
from ms2cl_ros.core.geometry import apply, distance, lidar_view, rotation_angle
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.projection import coarse, render_ranges
from ms2cl_ros.core.strips import first_columns, looks
from ms2cl_ros.core.surroundings import Surroundings
from ms2cl_ros.core.types import PointCloud, RangeImage, StampedPose, Submap, View
from ms2cl_ros.core.views import render_view

# Scans are merged no nearer to each other than this share of `submaps.accumulate`, unless the robot turns.
SCANS_APART, TURNED = 0.1, np.deg2rad(5.0)
# Gaps that are closed in a merged range image if the points are not thinned, metres.
DEFAULT_GAP = 0.1


@dataclass(frozen=True)
class _Scan:
    """A scan taken in. `travelled`: metres driven in this session up to it."""

    cloud: PointCloud
    pose: StampedPose
    travelled: float
    sighting: Sighting


class Mapper:
    """Turns scans with poses into stored submaps, and those into views. One thread at a time.

    With `submaps.accumulate`, a submap is stored once that many metres have been driven beyond it, or by `flush`.
    """

    def __init__(self, config: Config, encoder: Encoder, store: Store) -> None:
        self._config, self._encoder, self._store = config, encoder, store
        self._grid = encoder.sidecar.lidar.grid
        self._surroundings = Surroundings(config, self._grid, store, self._embed)
        self._session: int | None = None
        self._forget()

    def _forget(self) -> None:
        self._last: np.ndarray | None = None
        self._travelled = 0.0
        self._scans: deque[_Scan] = deque()
        self._keyframes: deque[_Scan] = deque()

    def wants(self, T_map_base: np.ndarray) -> bool:
        """Whether a scan from here would be used; asked before any decoding."""
        gate = self._config.submaps
        if self._opens(T_map_base):
            return True
        if not gate.accumulate:
            return False
        last = self._scans[-1].pose.T_map_base
        return (distance(last, T_map_base) >= gate.accumulate * SCANS_APART
                or rotation_angle(last, T_map_base) >= min(TURNED, np.deg2rad(gate.angle_deg)))

    def _opens(self, T_map_base: np.ndarray) -> bool:
        """Whether the base has moved or turned far enough for a new submap."""
        gate = self._config.submaps
        return (self._last is None or distance(self._last, T_map_base) >= gate.distance
                or rotation_angle(self._last, T_map_base) >= np.deg2rad(gate.angle_deg))

    def add_scan(self, cloud: PointCloud, pose: StampedPose, T_base_lidar: np.ndarray,
                 motion: Motion | None = None) -> Submap | None:
        """The submap that this scan completed, stored, or None: the gate is closed, or the submap waits for more scans.

        `motion`: the base's pose at any stamp, with which a cloud that carries times is corrected for the motion
        during the sweep; None takes it as it is. Raises SensorError for a scan without returns in range,
        TransformError if the motion is not known, StoreError if the submap cannot be written.
        """
        if not self.wants(pose.T_map_base):
            return None
        if motion is not None and cloud.times is not None:
            cloud = dataclasses.replace(cloud, xyz=straighten(cloud, T_base_lidar, motion), times=None)
        scan = self._scan(cloud, pose, T_base_lidar)
        if not self._config.submaps.accumulate:
            return self._keep(scan, scan.sighting.panorama, scan.sighting.points)
        self._take(scan)
        first = self._keyframes[0] if self._keyframes else None
        done = first is not None and scan.travelled - first.travelled >= self._config.submaps.accumulate
        return self._complete() if done else None

    def flush(self) -> list[Submap]:
        """Completes and stores the submaps that still wait for scans, from what there is."""
        stored = []
        while self._keyframes:
            stored.append(self._complete())
        return stored

    def begin_session(self, name: str = "") -> list[Submap]:
        """Flushes; what comes next belongs to a new session of that name. Returns what `flush` does."""
        stored = self.flush()
        self._store.begin_session(name)
        self._session = None
        self._forget()
        return stored

    def render_ripe(self, limit: int | None = 1, final: bool = False) -> int:
        """Renders and stores the views around at most `limit` submaps that lie `views.reach` behind, oldest first.

        `final`: also around the newest ones, as nothing more will come. Returns around how many; what a stopped run
        left over comes first. Raises StoreError if the map cannot be read or written.
        """
        done = 0
        if not self._config.views.spacing:
            return done
        self._surroundings.refresh()
        for submap_id in self._store.unrendered()[:limit]:
            if not final and not self._is_behind(self._surroundings.place(submap_id).submap):
                break
            self._store.add_views(submap_id, self._surroundings.render(submap_id))
            done += 1
        return done

    def view_at(self, T_map_base: np.ndarray, T_base_lidar: np.ndarray) -> View | None:
        """The view that the map's points give of a pose, embedded but not stored; None where too little is known."""
        return self._surroundings.view_at(T_map_base, T_base_lidar)

    def _is_behind(self, submap: Submap) -> bool:
        return (submap.session != self._session
                or self._travelled - submap.travelled >= self._config.views.reach + self._config.views.spacing)

    def _scan(self, cloud: PointCloud, pose: StampedPose, T_base_lidar: np.ndarray) -> _Scan:
        limits, keep = self._config.sensors, self._config.submaps
        points = apply(lidar_view(T_base_lidar), cloud.xyz)
        panorama = render_ranges(points, self._grid.panorama(), limits.min_range, limits.max_range)
        if not panorama.ranges.any():
            raise SensorError(f"the scan of stamp {cloud.stamp_ns} has no return on the model's grid between "
                              f"{limits.min_range} and {limits.max_range} m ({len(cloud.xyz)} points); it is left out")
        squared = (points * points).sum(1)
        points = points[(squared >= limits.min_range**2) & (squared <= limits.max_range**2)]
        points = without_carrier(points + T_base_lidar[:3, 3].astype(points.dtype), keep.carrier)
        before = self._scans[-1].pose.T_map_base if self._scans else self._last
        step = 0.0 if before is None else distance(before, pose.T_map_base)
        sighting = Sighting(pose.T_map_base, T_base_lidar, thin(points, keep.voxel), panorama)
        return _Scan(cloud, pose, self._travelled + step, sighting)

    def _keep(self, scan: _Scan, panorama: RangeImage, points: np.ndarray) -> Submap:
        """Embeds and stores the submap around a scan."""
        T, c = scan.pose.T_map_base, self._config.submaps
        submap = self._store.add(Submap(
            scan.pose.stamp_ns, T, scan.sighting.T_base_lidar, panorama, (self._embed(panorama, T),),
            scan.pose.covariance, points if c.voxel else None, travelled=scan.travelled,
            sensor=f"{scan.cloud.frame_id or 'lidar'}, {len(scan.cloud.xyz)} points a sweep"))
        self._session = submap.session
        if not c.accumulate:
            self._last, self._travelled = T, scan.travelled
        return submap

    def _take(self, scan: _Scan) -> None:
        """Adds a scan to those that are merged, as a keyframe where the gate opens; forgets those left behind."""
        reach = self._config.submaps.accumulate
        for other in self._scans:
            other.sighting.hear(scan.sighting)
            scan.sighting.hear(other.sighting)
        self._scans.append(scan)
        self._travelled = scan.travelled
        if self._opens(scan.pose.T_map_base):
            self._keyframes.append(scan)
            self._last = scan.pose.T_map_base
        oldest = self._keyframes[0].travelled if self._keyframes else scan.travelled
        while self._scans[0].travelled < oldest - reach:
            self._scans.popleft()

    def _complete(self) -> Submap:
        """Merges the scans around the oldest keyframe, looks at them from its centre and stores the submap."""
        scan, limits, keep = self._keyframes[0], self._config.sensors, self._config.submaps
        near = [s.sighting for s in self._scans if abs(s.travelled - scan.travelled) <= keep.accumulate]
        points = merge(near, scan.pose.T_map_base, keep.voxel)
        panorama = render_view(near, scan.sighting.T_map_view, self._grid, keep.voxel or DEFAULT_GAP, limits.min_range,
                               limits.max_range, sparse=True)
        submap = self._keep(scan, panorama, points)
        self._keyframes.popleft()
        return submap

    def _embed(self, panorama: RangeImage, T_map_base: np.ndarray) -> View:
        return embedded(self._encoder, panorama, T_map_base, self._config.submaps.headings)


def embedded(encoder: Encoder, panorama: RangeImage, T_map_base: np.ndarray, headings: int) -> View:
    """The view that a range image of the whole turn is to a model, in so many headings.

    It keeps the strip of a model that goes round the turn, if all headings lie on its columns.
    """
    model, around = encoder.sidecar, headings_around(headings)
    bins = None if model.range_map is None else coarse(panorama, model.range_map, model.lidar.grid.columns)
    columns = model.embedding.columns
    first = first_columns(around, encoder.headings, columns) if model.lidar.around else None
    if first is None:
        return View(T_map_base, around, encoder.embed_turns([panorama], around)[0], bins)
    strip = encoder.strip(panorama)
    return View(T_map_base, around, looks(strip, first, columns), bins, strip=strip)


def headings_around(n: int) -> np.ndarray:
    """(n,) float64 radians, evenly around the turn, beginning straight ahead."""
    return np.arange(n) * (2 * np.pi / n)
