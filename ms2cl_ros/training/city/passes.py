# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Passes along a city's route: which way, in which lane, on what day, and where they come by a place again."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.spatial import cKDTree

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.training.city.city import City
from ms2cl_ros.training.city.recipe import Day

VISITS = ("all", "first", "again")
# A place is visited again within so many metres of where one was more than so many metres of road ago.
AGAIN_WITHIN, AGAIN_AFTER = 6.0, 60.0


@dataclass(frozen=True)
class DrivePass:
    """Once along the route.

    `lateral_offset`: metres to the left of the lane's middle, as the driver sees it. `oncoming_lane`: drive on the
    wrong side. `reverse`: the other way round. `start`: metres along the route. `day`: whose cars, weather and season;
    `light`: draws the sun and the exposure within them. `visits`: all frames, only those of first visits to a place, or
    only those that come by it again.
    """

    lidar: bool = True
    camera: bool = True
    lateral_offset: float = 0.0
    oncoming_lane: bool = False
    reverse: bool = False
    start: float = 0.0
    day: Day = field(default_factory=Day)
    light: int = 0
    visits: str = "all"

    def check(self) -> None:
        """Raises ConfigError for what makes no pass."""
        if not (self.lidar or self.camera):
            raise ConfigError("a pass without LiDAR and camera was asked for; it wants at least one of them")
        if self.visits not in VISITS:
            raise ConfigError(f"visits {self.visits!r} was asked for; there are {', '.join(VISITS)}")
        self.day.check()


MAP_PASS = DrivePass(camera=False)
QUERY_PASS = DrivePass(lidar=False, lateral_offset=0.35, start=1.1, day=Day(1), light=1)


@dataclass(frozen=True)
class Visits:
    """Of n frames. `again`: (n,) bool, one was here before; `opposite`: (n,) bool, and then always the other way."""

    again: np.ndarray
    opposite: np.ndarray


def visits(poses: np.ndarray, travelled: np.ndarray) -> Visits:
    """Where a drive of poses (n, 4, 4), after (n,) metres, comes by a place again, and whether the same way round."""
    tree, ahead = cKDTree(poses[:, :2, 3]), poses[:, :2, 0]
    again, opposite = np.zeros(len(poses), bool), np.zeros(len(poses), bool)
    for i, near in enumerate(tree.query_ball_point(poses[:, :2, 3], AGAIN_WITHIN)):
        before = [j for j in near if travelled[j] < travelled[i] - AGAIN_AFTER]
        if before:
            again[i] = True
            opposite[i] = not (ahead[before] @ ahead[i] > 0).any()
    return Visits(again, opposite)


def drive_poses(city: City, drive: DrivePass, step_m: float) -> tuple[np.ndarray, np.ndarray]:
    """(n,) metres driven and (n, 4, 4) `T_map_base` of a pass, weaving in its lane, rocking on its springs."""
    rng = np.random.default_rng([city.seed, 5, drive.day.number, drive.light, int(drive.reverse)])
    length = city.route.length - (0.0 if city.route.closed else drive.start)
    travelled = np.arange(0.0, length, step_m)
    way, phase, wave = (-1.0 if drive.reverse else 1.0), rng.uniform(0, 2 * np.pi, 4), rng.uniform(14, 45, 4)

    def swing(k: int, amplitude: float) -> np.ndarray:
        return amplitude * np.sin(2 * np.pi * travelled / wave[k] + phase[k])

    begin = drive.start if city.route.closed or not drive.reverse else length
    s, left = begin + way * travelled, drive.lateral_offset + swing(0, 0.08)
    other_lane = drive.oncoming_lane != drive.reverse
    x, y, heading = city.route.at(s, way * left + (city.oncoming(s) if other_lane else 0.0))
    drift = np.gradient(left, travelled) if len(travelled) > 1 else 0.0
    heading = heading + (np.pi if drive.reverse else 0.0) + drift
    poses = np.tile(np.eye(4), (len(travelled), 1, 1))
    for k, T in enumerate(poses):
        T[:3, :3] = _on_ground(city, x[k], y[k], heading[k]) @ cv2.Rodrigues(np.array([0, swing(1, 0.003)[k], 0]))[0]
        T[:3, :3] = T[:3, :3] @ cv2.Rodrigues(np.array([swing(2, 0.003)[k], 0, 0]))[0]
        T[:3, 3] = x[k], y[k], city.terrain.height(x[k], y[k])
    if drive.visits == "all":
        return travelled, poses
    again = visits(poses, travelled).again
    keep = again if drive.visits == "again" else ~again
    return travelled[keep], poses[keep]


def _on_ground(city: City, x: float, y: float, heading: float) -> np.ndarray:
    """(3, 3) axes of a base that stands on the slope."""
    gx, gy = city.terrain.gradient(x, y)
    up = np.array([-gx, -gy, 1.0]) / np.sqrt(1 + gx * gx + gy * gy)
    forward = np.array([np.cos(heading), np.sin(heading), gx * np.cos(heading) + gy * np.sin(heading)])
    forward /= np.linalg.norm(forward)
    return np.stack([forward, np.cross(up, forward), up], 1)
