# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LiDARs by name: where and when their beams go."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.types import AngularGrid

# Two prisms against each other, turns a minute, as measured on a Livox Mid: Brazeal et al., Sensors 21 (2021) 4722.
PRISMS_RPM = (7294.0, -4664.0)
# An HDL-64E as it is, not as its data sheet has it. Straight lines through the points of each beam of that on KITTI's
# car (height over distance from the axis; the same in two drives) give these elevations, and that the beams of either
# block come from one point, to 0.6 mm. The maker's calibration files put them 26 mm left and right.
HDL_ELEVATIONS = (
    1.94, 1.57, 1.30, 0.87, 0.58, 0.18, -0.09, -0.45, -0.80, -1.20, -1.49, -1.83, -2.21, -2.55, -2.87, -3.24,
    -3.54, -3.94, -4.22, -4.59, -4.91, -5.25, -5.61, -5.96, -6.33, -6.68, -7.00, -7.29, -7.68, -8.06, -8.31, -8.71,
    -9.03, -9.57, -10.06, -10.47, -10.96, -11.60, -12.12, -12.56, -13.04, -13.49, -14.05, -14.60, -15.19, -15.66,
    -16.18, -16.55, -17.19, -17.73, -18.32, -18.80, -19.32, -19.74, -20.22, -20.79, -21.32, -21.93, -22.44, -22.86,
    -23.32, -23.97, -24.51, -25.00,
)  # fmt: skip
HDL_ORIGINS = tuple((forward, side, up) for forward, up in ((-0.060, 0.2065), (-0.032, 0.1304))
                    for side in (0.026, -0.026) * 16)
# Nothing stands nearer than this before a vehicle, metres: what `facing` takes for granted.
CLEARANCE = 2.5


@dataclass(frozen=True)
class LidarSpec:
    """A sensor. `elevations_deg`: one per beam, top first; `position`: metres in the base frame, axes as the base's.

    `origins`: where each beam starts as it looks forward, metres (forward, left, up) off the origin of the points, with
    which it turns; none: all start there. `staggered`: each beam samples the turn at angles of its own.

    `pattern`: "columns" (all beams at once, turning clockwise), "lines" (a mirror that writes line by line from the
    top) or "rosette" (two prisms; `points` a sweep, no beams). `sector_deg`: how wide it looks, centred on x.
    `lost`: share of returns missing without a reason; `range_noise`: metres, standard deviation.
    """

    elevations_deg: tuple[float, ...]
    azimuth_step_deg: float = 0.1728
    range_noise: float = 0.02
    lost: float = 0.02
    min_range: float = 1.2
    max_range: float = 120.0
    position: tuple[float, float, float] = (0.0, 0.0, 1.73)
    sector_deg: float = 360.0
    pattern: str = "columns"
    points: int = 0
    rate_hz: float = 10.0
    origins: tuple[tuple[float, float, float], ...] = ()
    staggered: bool = False

    def T_base_lidar(self) -> np.ndarray:
        """4 x 4, metres."""
        T = np.eye(4)
        T[:3, 3] = self.position
        return T


def _even(top: float, bottom: float, beams: int) -> tuple[float, ...]:
    return tuple(np.linspace(top, bottom, beams).tolist())


# The makers' data sheets, at 10 turns a second, but for the HDL-64E: the one on KITTI's car reports nothing beyond
# 80 m, and loses so much of the road before it without a reason.
SPECS = {
    "hdl-64e": LidarSpec(HDL_ELEVATIONS, lost=0.001, max_range=80.0, origins=HDL_ORIGINS, staggered=True),
    "hdl-32e": LidarSpec(_even(10.67, -30.67, 32), 0.16, 0.02, max_range=100.0),
    "vlp-16": LidarSpec(_even(15.0, -15.0, 16), 0.2, 0.03, max_range=100.0),
    "rs-m1": LidarSpec(_even(12.4, -12.4, 125), 0.2, 0.03, max_range=150.0, sector_deg=120.0, pattern="lines"),
    "mid-70": LidarSpec((), 0.0, max_range=130.0, sector_deg=70.4, pattern="rosette", points=10_000),
}
_BY_BEAMS = {64: "hdl-64e", 32: "hdl-32e", 16: "vlp-16"}


def lidar_spec(beams: int | str = 64, azimuth_step_deg: float | None = None) -> LidarSpec:
    """A LiDAR by name (a key of `SPECS`) or number of beams: HDL-64E (64), HDL-32E (32) or VLP-16 (16).

    Raises ConfigError for others.
    """
    name = _BY_BEAMS.get(beams, "") if isinstance(beams, int) else beams.lower()
    if name not in SPECS:
        given = f"of {beams} beams" if isinstance(beams, int) else f"{beams!r}"
        raise ConfigError(f"no LiDAR {given} is known; there are {', '.join(map(str, _BY_BEAMS))} beams, "
                          f"and {', '.join(SPECS)}")
    if azimuth_step_deg is None or SPECS[name].pattern == "rosette":
        return SPECS[name]
    return replace(SPECS[name], azimuth_step_deg=azimuth_step_deg)


def facing(spec: LidarSpec, grid: AngularGrid) -> LidarSpec:
    """The same sensor with only the beams, and only the sector, that can fall into `grid` around its own origin.

    What training needs of a sweep; the whole turn costs five times as much.
    """
    bottom = grid.elevation_top_deg - grid.rows * grid.elevation_step_deg
    kept = []
    for k, elevation in enumerate(spec.elevations_deg):
        # seen from the origin, what a beam from higher up meets lies higher the nearer it is
        near = elevation + np.rad2deg(np.arctan(spec.origins[k][2] / CLEARANCE)) if spec.origins else elevation
        if max(near, elevation) >= bottom and min(near, elevation) <= grid.elevation_top_deg:
            kept.append(k)
    return replace(spec, elevations_deg=tuple(spec.elevations_deg[k] for k in kept),
                   origins=tuple(spec.origins[k] for k in kept) if spec.origins else (),
                   sector_deg=min(spec.sector_deg, grid.columns * grid.azimuth_step_deg))


@dataclass(frozen=True)
class Firing:
    """Every shot of a sweep, in the order in which its points are given: `rays` (n, 3) float32 unit and `starts` (n, 3)
    or (1, 3) float32 metres, sensor frame; `moment` (n,) which of the `seconds` (m,) from the stamp it was fired at."""

    rays: np.ndarray
    starts: np.ndarray
    moment: np.ndarray
    seconds: np.ndarray


def fire(spec: LidarSpec, rng: np.random.Generator) -> Firing:
    """One sweep's shots, begun at a random point of the pattern. The stamp lies in the middle of the sweep, where a
    spinning sensor looks forward. Raises ConfigError for an unknown pattern, or origins that are not one per beam."""
    if spec.pattern == "rosette":
        return _rosette(spec, rng)
    if spec.pattern not in ("columns", "lines"):
        raise ConfigError(f"LiDAR pattern {spec.pattern!r} was given; known are columns, lines and rosette")
    if spec.origins and len(spec.origins) != len(spec.elevations_deg):
        raise ConfigError(f"a LiDAR of {len(spec.elevations_deg)} beams was given {len(spec.origins)} origins; it "
                          "wants one for each beam, or none")
    columns = max(1, round(spec.sector_deg / spec.azimuth_step_deg))
    # the turn falls on the columns at another angle each time
    left, step = np.deg2rad(spec.sector_deg / 2), np.deg2rad(spec.sector_deg) / columns
    azimuth = left - step * (np.arange(columns) + rng.random())
    elevation = np.deg2rad(spec.elevations_deg)
    turned = np.broadcast_to(azimuth, (len(elevation), columns))
    if spec.staggered:
        turned = left - step * (np.arange(columns) + rng.random((len(elevation), 1)))
    c, s = np.cos(turned), np.sin(turned)
    level, flat = np.cos(elevation)[:, None], np.zeros(columns)
    rays = np.stack([level * c, level * s, np.sin(elevation)[:, None] + flat], -1)
    shots = len(elevation) * columns
    if spec.pattern == "columns":
        # a sector takes its share of the turn; what lies behind is not waited for
        moment, seconds = np.tile(np.arange(columns), len(elevation)), -azimuth / (2 * np.pi * spec.rate_hz)
    else:
        moment, seconds = np.arange(shots), ((np.arange(shots) + 0.5) / shots - 0.5) / spec.rate_hz
    starts = np.zeros((1, 3))
    if spec.origins:
        forward, left, up = np.array(spec.origins).T[..., None]
        starts = np.stack([forward * c - left * s, forward * s + left * c, up + flat], -1).reshape(-1, 3)
    return Firing(rays.reshape(-1, 3).astype(np.float32), starts.astype(np.float32), moment, seconds)


def _rosette(spec: LidarSpec, rng: np.random.Generator) -> Firing:
    """Two prisms each bend the beam by half of what it can be off its axis."""
    seconds = ((np.arange(spec.points) + 0.5) / spec.points - 0.5) / spec.rate_hz
    first, second = (2 * np.pi * (rpm / 60.0 * seconds + rng.random()) for rpm in PRISMS_RPM)
    half = np.deg2rad(spec.sector_deg / 4)
    left, up = half * (np.cos(first) + np.cos(second)), half * (np.sin(first) + np.sin(second))
    off = np.hypot(left, up)
    scale = np.sinc(off / np.pi)
    rays = np.stack([np.cos(off), left * scale, up * scale], 1)
    return Firing(rays.astype(np.float32), np.zeros((1, 3), np.float32), np.arange(spec.points), seconds)
