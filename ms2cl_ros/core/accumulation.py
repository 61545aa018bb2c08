# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Local clouds: sweeps straightened, thinned, rid of the carrier's body and of what has moved, and merged by pose."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from ms2cl_ros.core.errors import TransformError
from ms2cl_ros.core.geometry import apply, inverse, transform
from ms2cl_ros.core.projection import locate, nearest_around
from ms2cl_ros.core.types import PointCloud, RangeImage, StampedPose

Motion = Callable[[int], StampedPose]
"""The base's pose at a stamp; raises TransformError where none is known."""

# A sweep looks through a place if the nearest return in the cell there and about it lies this much behind it.
BEHIND_SHARE, BEHIND_METRES = 0.05, 0.3
# ... and agrees with it if its return lies no farther than this from it.
AGREES_SHARE, AGREES_METRES = 0.02, 0.2
# A point has moved if at least so many sweeps look through it, and half as many as agree with it.
WITNESSES, AGAINST = 2, 0.5


@dataclass
class Sighting:
    """A cloud, the range image that was seen from its sensor, and what other sightings say about each point.

    `points`: (N, 3) float32, metres, base frame. `panorama`: the whole turn around the LiDAR with the base's axes.
    """

    T_map_base: np.ndarray
    T_base_lidar: np.ndarray
    points: np.ndarray
    panorama: RangeImage
    number: int = field(default_factory=itertools.count().__next__)
    _nearest: np.ndarray | None = None
    _through: np.ndarray = field(init=False)
    _agree: np.ndarray = field(init=False)
    _witnesses: set[int] = field(default_factory=set)
    _kept: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._through, self._agree = np.zeros((2, len(self.points)), np.uint16)

    @property
    def T_map_view(self) -> np.ndarray:
        """Pose of the view frame in which the panorama was taken."""
        return self.T_map_base @ transform([*self.T_base_lidar[:3, 3]])

    def look_at(self, points: np.ndarray, T_map_source: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What stands where (N, 3) float32 points of a frame are: `(range, returned, nearest)`, (N,) float32 metres.

        `range`: from this sensor to the point; `returned`: what the panorama has there; `nearest`: there and in the
        cells about it. Both are 0 where nothing came back, and NaN where the sensor does not look.
        """
        if self._nearest is None:
            self._nearest = nearest_around(self.panorama)
        ranges, cell = locate(apply(inverse(self.T_map_view) @ T_map_source, points), self.panorama.grid)
        returned, nearest = (np.where(cell < 0, np.float32(np.nan), image.ravel()[cell])
                             for image in (self.panorama.ranges, self._nearest))
        return ranges, returned, nearest

    def hear(self, other: Sighting) -> None:
        """Counts once what `other` says about each of these points."""
        if other is self or other.number in self._witnesses:
            return
        self._witnesses.add(other.number)
        ranges, returned, nearest = other.look_at(self.points, self.T_map_base)
        self._through += nearest > ranges * (1 + BEHIND_SHARE) + BEHIND_METRES
        self._agree += np.abs(returned - ranges) < ranges * AGREES_SHARE + AGREES_METRES
        self._kept = None

    def still(self) -> np.ndarray:
        """(M, 3) float32, metres, base frame: the points that have not moved, as far as those heard can tell."""
        if self._kept is None:
            moved = (self._through >= WITNESSES) & (self._through >= AGAINST * self._agree)
            self._kept = self.points[~moved] if moved.any() else self.points
        return self._kept


def thin(points: np.ndarray, voxel: float) -> np.ndarray:
    """The first of the (N, 3) points in each cube of edge `voxel` metres, in their order; all of them for 0."""
    if voxel <= 0 or not len(points):
        return points
    cube = np.floor(points / np.float32(voxel)).astype(np.int64)
    cube -= cube.min(0)
    size = cube.max(0) + 1
    _, first = np.unique((cube[:, 0] * size[1] + cube[:, 1]) * size[2] + cube[:, 2], return_index=True)
    return points[np.sort(first)]


def without_carrier(points_base: np.ndarray, carrier: Sequence[float]) -> np.ndarray:
    """The (N, 3) points of the base frame that are not above or below the carrier, a box of x and y (from, to) metres.

    Every sweep has returns from the roof it stands on; merged, they would be a wall along the road.
    """
    x, y = points_base[:, 0], points_base[:, 1]
    return points_base[(x < carrier[0]) | (x > carrier[1]) | (y < carrier[2]) | (y > carrier[3])]


def straighten(cloud: PointCloud, T_base_lidar: np.ndarray, motion: Motion) -> np.ndarray:
    """(N, 3) float32, sensor frame at the cloud's stamp: each point moved to where it was seen from at its own time.

    Between the cloud's first and last point the base is taken to move steadily, as it does between the poses that
    are known there; points beyond them are carried on. Raises TransformError if fewer than two are known.
    """
    if cloud.times is None or not len(cloud.xyz):
        return cloud.xyz
    times = np.asarray(cloud.times, np.float64)
    first, last = float(times.min()), float(times.max())
    if last - first < 1e-4:
        return cloud.xyz
    T, seconds = _step(cloud.stamp_ns, sorted({first, 0.0, last}), motion)
    step = inverse(T_base_lidar) @ T @ T_base_lidar
    share = times / seconds
    turned = Rotation.from_rotvec(share[:, None] * Rotation.from_matrix(step[:3, :3]).as_rotvec()).apply(cloud.xyz)
    return (turned + share[:, None] * step[:3, 3]).astype(np.float32)


def _step(stamp_ns: int, offsets: Sequence[float], motion: Motion) -> tuple[np.ndarray, float]:
    """The base's motion between the first and the last of the times at which its pose is known, and their distance."""
    known: list[tuple[float, np.ndarray]] = []
    reason = ""
    for offset in offsets:
        try:
            known.append((offset, motion(stamp_ns + round(offset * 1e9)).T_map_base))
        except TransformError as e:
            reason = str(e)
    if len(known) < 2:
        raise TransformError(f"the cloud of stamp {stamp_ns} cannot be corrected for the motion during its "
                             f"{offsets[-1] - offsets[0]:.3f} s: {reason}")
    (start, A), (end, B) = known[0], known[-1]
    return inverse(A) @ B, end - start


def merge(sightings: Iterable[Sighting], T_map_base: np.ndarray, voxel: float) -> np.ndarray:
    """(N, 3) float32, metres, in the base frame at `T_map_base`: what stands still in all sightings, thinned again."""
    T_base_map = inverse(T_map_base)
    parts = [apply(T_base_map @ s.T_map_base, s.still()) for s in sightings]
    return thin(np.concatenate(parts), voxel)
