# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The dataclasses handed from stage to stage.

Transforms are named `T_target_source`: `p_target = T_target_source @ p_source`, 4 x 4 float64.
Frames follow REP-103: the base and every *view* frame have x forward, y left, z up; a camera's optical
frame has z forward. Time is `stamp_ns`, an int in nanoseconds taken from the message header.
A view frame sits at a sensor's origin with the axes of the base, turned about z to the view's heading.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class PointCloud:
    """One sweep. `xyz`: (N, 3) float32, metres, sensor frame, finite.

    `intensity`: (N,) float32 or None. `times`: (N,) float64 seconds relative to `stamp_ns`, or None.
    """

    xyz: np.ndarray
    stamp_ns: int
    frame_id: str
    intensity: np.ndarray | None = None
    times: np.ndarray | None = None


@dataclass(frozen=True)
class CameraImage:
    """One picture. `rgb`: (H, W, 3) uint8, red first."""

    rgb: np.ndarray
    stamp_ns: int
    frame_id: str


@dataclass(frozen=True)
class CameraModel:
    """Intrinsics as in sensor_msgs/CameraInfo.

    `K`: (3, 3) float64. `distortion`: coefficients in OpenCV's order.
    `model`: `plumb_bob`, `rational_polynomial` or `equidistant` (OpenCV's fisheye).
    """

    width: int
    height: int
    K: np.ndarray
    distortion: tuple[float, ...] = ()
    model: str = "plumb_bob"
    frame_id: str = ""

    def key(self) -> tuple:
        """Hashable identity, for caching what is computed from the intrinsics."""
        return (self.width, self.height, tuple(np.ravel(self.K)), self.distortion, self.model)


@dataclass(frozen=True)
class AngularGrid:
    """Cells of equal azimuth and elevation in a view frame.

    Row 0 is the top (elevation falls with the row), column 0 the left edge (azimuth falls with the
    column; azimuth is positive to the left, REP-103). The grid is centred on azimuth 0.
    """

    rows: int
    columns: int
    elevation_top_deg: float
    elevation_step_deg: float
    azimuth_step_deg: float

    @property
    def azimuth_left_deg(self) -> float:
        """Azimuth of the left edge of column 0."""
        return self.columns * self.azimuth_step_deg / 2

    @property
    def turn_columns(self) -> int:
        """How many columns of this width make a whole turn."""
        return round(360.0 / self.azimuth_step_deg)

    def panorama(self) -> AngularGrid:
        """The same cells around the whole turn; column 0 begins at azimuth +180 degrees."""
        return AngularGrid(self.rows, self.turn_columns, self.elevation_top_deg,
                           self.elevation_step_deg, self.azimuth_step_deg)


@dataclass(frozen=True)
class RangeImage:
    """Nearest return per cell. `ranges`: (rows, columns) float32, metres from the view's origin, 0 = no return."""

    ranges: np.ndarray
    grid: AngularGrid


@dataclass(frozen=True)
class StampedPose:
    """`T_map_base` at a stamp. `covariance`: (6, 6) float64 in ROS order (x y z roll pitch yaw), or None if unknown."""

    stamp_ns: int
    T_map_base: np.ndarray
    covariance: np.ndarray | None = None


@dataclass(frozen=True)
class View:
    """One embedded look at a submap, from where the base may come by.

    `T_map_base`: the base pose the view stands for; a match on heading 0 answers with it.
    `headings`: (n,) float64, radians, azimuth in the base frame at which each descriptor looks.
    `descriptors`: (n, D) float32, unit length.
    `coarse`: (rows, columns) uint8 or None, the whole turn as range bins (`projection.coarse`), for re-ranking.
    `rendered`: seen from the points of several scans, where no scan was taken.
    `strip`: (numbers, width) float32 as `strips.rounded` leaves it, the turn out of which the descriptors are cut
    (`strips.looks`) and in whose place it is stored; None where there is no such thing.
    """

    T_map_base: np.ndarray
    headings: np.ndarray
    descriptors: np.ndarray
    coarse: np.ndarray | None = None
    rendered: bool = False
    id: int | None = None
    strip: np.ndarray | None = None


@dataclass(frozen=True)
class Submap:
    """A piece of the map: where it is, what it looks like all around, and its embedded views.

    `panorama`: the range image around the LiDAR's origin with the base's axes, the whole turn.
    `points`: (N, 3) float32, metres, base frame of the submap, thinned by voxels; None where none are kept.
    `T_base_lidar`: where the sensor sat. `travelled`: metres driven in this session up to here.
    `sensor`: what took the scans, in words.
    """

    stamp_ns: int
    T_map_base: np.ndarray
    T_base_lidar: np.ndarray
    panorama: RangeImage
    views: tuple[View, ...]
    covariance: np.ndarray | None = None
    points: np.ndarray | None = None
    session: int = 1
    travelled: float = 0.0
    sensor: str = ""
    id: int | None = None


@dataclass(frozen=True)
class Candidate:
    """One answer of the search: the base pose at which the query's camera would see this view.

    `heading`: radians in the view's base; `heading_step`: radians between the headings embedded there.
    `range_score`: log-likelihood ratio (nats) of its ranges under the camera's range map, or None where not compared.
    `evidence`: calibrated log-likelihood ratio (nats) of "the base is here" against "it is elsewhere".
    """

    submap_id: int
    view_id: int
    heading: float
    heading_step: float
    score: float
    T_map_base: np.ndarray
    range_score: float | None = None
    evidence: float = 0.0


@dataclass(frozen=True)
class Match:
    """Where the base was when the image was taken, with the candidates behind it, best first.

    `covariance`: (6, 6) float64, ROS order, map frame. `seconds`: time spent by stage.
    `state`: LOST, TRACKING or MATCHED; only a match in state MATCHED is promised. `probability`: that it is right.
    """

    stamp_ns: int
    T_map_base: np.ndarray
    covariance: np.ndarray
    candidates: tuple[Candidate, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    state: str = "MATCHED"
    probability: float = 1.0
