# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A LiDAR in the city: sweeps as a driver gives them, with the time of every point where the base moves meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2cl_ros.training.city import echo
from ms2cl_ros.training.city.beams import LidarSpec as LidarSpec
from ms2cl_ros.training.city.beams import facing as facing
from ms2cl_ros.training.city.beams import fire
from ms2cl_ros.training.city.beams import lidar_spec as lidar_spec
from ms2cl_ros.training.city.motion import Motion
from ms2cl_ros.training.city.scene import Scene, rotate
from ms2cl_ros.training.city.weather import CLEAR, Air


@dataclass(frozen=True)
class Sweep:
    """`points`: (N, 4) float32 x y z (metres, the sensor's frame at the moment of each shot) and intensity 0 to 1;
    `times`: (N,) float64 seconds from the stamp, which lies in the middle of the sweep."""

    points: np.ndarray
    times: np.ndarray


def sweep(
    scene: Scene,
    spec: LidarSpec,
    T_map_base: np.ndarray,
    rng: np.random.Generator,
    motion: Motion | None = None,
    air: Air = CLEAR,
) -> np.ndarray:
    """The points of `timed_sweep`: (N, 4) float32 x y z (metres, sensor frame) and intensity 0 to 1."""
    return timed_sweep(scene, spec, T_map_base, rng, motion, air).points


def timed_sweep(
    scene: Scene,
    spec: LidarSpec,
    T_map_base: np.ndarray,
    rng: np.random.Generator,
    motion: Motion | None = None,
    air: Air = CLEAR,
) -> Sweep:
    """One sweep of the sensor from `T_map_base`, beam by beam from the top (a rosette: in its order).

    With `motion`, which gives the base's pose at each moment (see `motion`; it replaces `T_map_base`), the points are
    distorted as those of a driver that does not know how it moved. `air`: the day's.
    """
    firing = fire(spec, rng)
    if motion is None:
        T = (T_map_base @ spec.T_base_lidar()).astype(np.float32)
        rays = rotate(T, firing.rays)
        origins = np.broadcast_to(rotate(T, firing.starts) + T[:3, 3], rays.shape)
    else:
        poses = (motion(firing.seconds) @ spec.T_base_lidar()).astype(np.float32)[firing.moment]
        rays = np.einsum("nij,nj->ni", poses[:, :3, :3], firing.rays)
        starts = np.broadcast_to(firing.starts, rays.shape)
        origins = np.einsum("nij,nj->ni", poses[:, :3, :3], starts) + poses[:, :3, 3]
    heard = echo.listen(scene, spec, scene.cast(origins, rays), origins, rays, air, rng)
    starts = np.broadcast_to(firing.starts, rays.shape)[heard.shot]
    points = np.c_[starts + firing.rays[heard.shot] * heard.distance[:, None], heard.intensity].astype(np.float32)
    return Sweep(points, firing.seconds[firing.moment[heard.shot]])
