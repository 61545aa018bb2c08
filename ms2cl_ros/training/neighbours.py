# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recording read once from front to back, each frame with the scans taken around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.accumulation import Sighting, thin, without_carrier
from ms2cl_ros.core.config import SensorsConfig, SubmapsConfig
from ms2cl_ros.core.geometry import apply, distance, lidar_view
from ms2cl_ros.core.projection import render_ranges
from ms2cl_ros.core.types import AngularGrid
from ms2cl_ros.training.sources.contract import Recorded

LIMITS, SUBMAPS = SensorsConfig(), SubmapsConfig()
# A scan taken nearer than this to the one before adds nothing to a view, however long the robot waits there.
SCANS_APART = 0.2


@dataclass(frozen=True)
class Placed:
    """A frame, `along` metres down its recording, and its scan as the mapper keeps one."""

    frame: Recorded
    along: float
    sighting: Sighting


def placed(frames: Iterable[Recorded], grid: AngularGrid, speed: float) -> Iterator[Placed]:
    """Frames along their recording: metres travelled by their poses; without poses, `speed` (m/s) times the time since
    the first one, which is a guess: for a place to be told from its neighbours only what is surely elsewhere counts."""
    along, last, first = 0.0, None, None
    for frame in frames:
        first = frame.stamp_ns if first is None else first
        if frame.T_map_base is None:
            along = (frame.stamp_ns - first) * 1e-9 * speed
        else:
            along += 0.0 if last is None else distance(last, frame.T_map_base)
            last = frame.T_map_base
        yield Placed(frame, along, _sighting(frame, grid))


def _sighting(frame: Recorded, grid: AngularGrid) -> Sighting:
    points = apply(lidar_view(frame.T_base_lidar), frame.points)
    panorama = render_ranges(points, grid.panorama(), LIMITS.min_range, LIMITS.max_range)
    squared = (points * points).sum(1)
    points = points[(squared >= LIMITS.min_range**2) & (squared <= LIMITS.max_range**2)]
    points = without_carrier(points + frame.T_base_lidar[:3, 3].astype(points.dtype), SUBMAPS.carrier)
    T = np.eye(4) if frame.T_map_base is None else frame.T_map_base
    return Sighting(T, frame.T_base_lidar, thin(points, SUBMAPS.voxel), panorama)


def neighbourhoods(frames: Iterable[Placed], reach: float) -> Iterator[tuple[Placed, list[Sighting]]]:
    """Each frame with the sightings up to `reach` metres before and behind it, its own among them, once all of them
    have been heard; frames without a pose have only their own."""
    waiting: deque[Placed] = deque()
    around: deque[Placed] = deque()
    for new in frames:
        if new.frame.T_map_base is None:
            yield new, [new.sighting]
            continue
        while waiting and new.along - waiting[0].along > reach:
            yield _released(waiting, around, reach)
        waiting.append(new)
        if not around or new.along - around[-1].along >= SCANS_APART:
            for other in around:
                if new.along - other.along <= reach:
                    other.sighting.hear(new.sighting)
                    new.sighting.hear(other.sighting)
            around.append(new)
    while waiting:
        yield _released(waiting, around, reach)


def _released(waiting: deque[Placed], around: deque[Placed], reach: float) -> tuple[Placed, list[Sighting]]:
    first = waiting.popleft()
    while around and first.along - around[0].along > reach:
        around.popleft()
    near = [p.sighting for p in around if abs(p.along - first.along) <= reach]
    return first, near if any(s is first.sighting for s in near) else [first.sighting, *near]
