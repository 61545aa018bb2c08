# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Range images from where nobody drove: rendered from the points of several sightings, on a lattice along the road."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ms2cl_ros.core.accumulation import Sighting
from ms2cl_ros.core.config import ViewsConfig
from ms2cl_ros.core.geometry import apply, distance, interpolate, inverse, transform, wrap, yaw
from ms2cl_ros.core.projection import close_gaps, render_ranges
from ms2cl_ros.core.types import AngularGrid, RangeImage, View

# Of the ranges that the sightings have in a cell, nearest first: how far down the list the view's is, and how many of
# the sightings must have one at all. One sweep sees several rays a cell and keeps the nearest; the least of all sweeps
# is nearer than that, and has every stray point in it.
# Only the nearest sightings are looked at: more of them cost time and, measured, blur the view.
QUANTILE, SHARE, MOST = 0.1, 0.2, 8
# For scans of a few beams, of which hardly two fill the same cell: all of them, and the middle one.
SPARSE_QUANTILE, SPARSE_SHARE, SPARSE_MOST = 0.5, 0.0, 64
# Rows in which sweeps return less than this share of their fullest row, up to the top and the bottom, are out of sight.
ROW_SHARE = 0.1
# Gaps up to this much wider than a voxel are closed.
GAP_VOXELS = 1.0
# A place is taken where so many points lie within these metres of the sensor, in the plane and up and down.
TAKEN_POINTS, TAKEN_RADIUS, TAKEN_HEIGHT = 10, 0.75, 0.75
# A view is empty if it has less than this share of the returns of the sightings' own panoramas.
EMPTY_SHARE = 0.5
LIKE_HEADING = math.radians(10.0)

Station = tuple[float, np.ndarray]
"""Metres travelled and `T_map_base`."""


def render_view(sightings: Sequence[Sighting], T_map_view: np.ndarray, grid: AngularGrid, voxel: float,
                min_range: float, max_range: float, sparse: bool = False) -> RangeImage:
    """The whole turn as seen from `T_map_view` (sensor's place, base's axes), 0 where nothing is known to be.

    Each sighting's points that stand still are looked at for themselves, gaps as wide as a `voxel` closed, so that
    nothing shines through; of what they show in a cell, a near one is taken on which several agree. `sparse`: the
    sightings are scans of a few beams, each of which fills only some of the cells and rows.
    """
    quantile, share, most = (SPARSE_QUANTILE, SPARSE_SHARE, SPARSE_MOST) if sparse else (QUANTILE, SHARE, MOST)
    panorama = grid.panorama()
    looks, seen = [], np.zeros(grid.rows)
    for s in sorted(sightings, key=lambda s: distance(s.T_map_view, T_map_view))[:most]:
        points = apply(inverse(T_map_view) @ s.T_map_base, s.still())
        looks.append(close_gaps(render_ranges(points, panorama, min_range, max_range), voxel * GAP_VOXELS).ranges)
        seen += (s.panorama.ranges > 0).sum(1)
    if not looks:
        return RangeImage(np.zeros((grid.rows, panorama.columns), np.float32), panorama)
    ranges = agreed(np.stack(looks), quantile, share)
    if not sparse:
        ranges[out_of_sight(seen)] = 0.0
    return RangeImage(ranges, panorama)


def agreed(looks: np.ndarray, quantile: float = QUANTILE, share: float = SHARE) -> np.ndarray:
    """(rows, columns) float32 of (n, rows, columns) ranges of the same cells, 0 = no return."""
    ordered = np.where(looks > 0, looks, np.float32(np.inf)).transpose(1, 2, 0).copy()
    ordered.sort(-1)
    count = np.isfinite(ordered).sum(-1)
    chosen = np.floor(quantile * np.maximum(count - 1, 0)).astype(np.intp)
    ranges = np.take_along_axis(ordered, chosen[..., None], -1)[..., 0]
    ranges[count < max(1, math.ceil(share * len(looks)))] = 0.0
    return ranges


def out_of_sight(returns: np.ndarray) -> np.ndarray:
    """(rows,) bool: above or below what the sensor sees, from its returns by row."""
    inside = np.flatnonzero(returns >= ROW_SHARE * returns.max(initial=0.0))
    out = np.ones(len(returns), bool)
    if len(inside):
        out[inside[0]:inside[-1] + 1] = False
    return out


def free(sightings: Iterable[Sighting], T_map_view: np.ndarray) -> bool:
    """Whether a sensor could stand at `T_map_view`: nothing stands there, and more sweeps look through it than do not.

    A ray that did not come back has met nothing there either: level rays along an open road seldom do.
    """
    origin = np.zeros((1, 3), np.float32)
    passed = blocked = points = 0
    for s in sightings:
        near = apply(inverse(T_map_view) @ s.T_map_base, s.still())
        points += int(((np.abs(near[:, 2]) < TAKEN_HEIGHT)
                       & (near[:, 0]**2 + near[:, 1]**2 < TAKEN_RADIUS**2)).sum())
        away, returned, nearest = (float(v[0]) for v in s.look_at(origin, T_map_view))
        passed += away < TAKEN_RADIUS or returned == 0.0 or nearest > away
        blocked += 0.0 < returned < away - TAKEN_RADIUS
    return points < TAKEN_POINTS and passed > blocked


def shows_enough(view: RangeImage, sightings: Sequence[Sighting]) -> bool:
    """Whether a view has about as many returns as the sightings it was made from."""
    usual = np.mean([(s.panorama.ranges > 0).mean() for s in sightings])
    return bool((view.ranges > 0).mean() >= EMPTY_SHARE * usual)


def lattice(before: Station | None, here: Station, after: Station | None, config: ViewsConfig) -> list[np.ndarray]:
    """`T_map_base` of the views that belong to the submap `here`: halfway to the submaps before and after it.

    Stations lie at multiples of `config.spacing` of the metres travelled, so that neighbouring submaps share one
    lattice; at each, lines of views `config.lateral_step` apart to the left and right, the nearest first.
    """
    poses = []
    low = here[0] if before is None else max((before[0] + here[0]) / 2, here[0] - config.reach / 2)
    high = here[0] if after is None else min((here[0] + after[0]) / 2, here[0] + config.reach / 2)
    for k in range(math.ceil(low / config.spacing), math.floor(high / config.spacing) + 1):
        s = k * config.spacing
        if s == low and before is not None:
            continue
        line = _between(here, before if s < here[0] else after, s)
        for offset in offsets(config.lateral_reach, config.lateral_step):
            poses.append(line @ transform([0.0, offset, 0.0]))
    return poses


def offsets(reach: float, step: float) -> list[float]:
    """Metres to the left: 0, then to both sides every `step` up to `reach`."""
    lines = [k * step for k in range(1, math.floor(reach / step + 1e-6) + 1)]
    return [0.0, *(side * y for y in lines for side in (1.0, -1.0))]


def _between(here: Station, other: Station | None, s: float) -> np.ndarray:
    if other is None or other[0] == here[0]:
        return here[1]
    return interpolate(here[1], other[1], min(1.0, (s - here[0]) / (other[0] - here[0])))


def covered(T_map_base: np.ndarray, views: Iterable[View], config: ViewsConfig) -> bool:
    """Whether one of `views` lies within half a step of a pose and was looked at along its heading, or nearly so."""
    T_base_map = inverse(T_map_base)
    for view in views:
        x, y = (T_base_map @ view.T_map_base)[:2, 3]
        if abs(x) < config.spacing / 2 and abs(y) < config.lateral_step / 2:
            turn = yaw(view.T_map_base) - yaw(T_map_base)
            if min(abs(wrap(turn + h)) for h in view.headings) < max(LIKE_HEADING, math.pi / len(view.headings)):
                return True
    return False
