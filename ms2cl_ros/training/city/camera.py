# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera in the city: its mounting, whole pictures, and pictures cast straight onto the cells of an angular grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from ms2cl_ros.core.geometry import camera_view
from ms2cl_ros.core.projection import CameraView
from ms2cl_ros.core.projection import directions as grid_directions
from ms2cl_ros.core.sidecar import CameraInput
from ms2cl_ros.core.types import AngularGrid, CameraModel
from ms2cl_ros.training.city import lens
from ms2cl_ros.training.city.film import compress, develop
from ms2cl_ros.training.city.light import Light
from ms2cl_ros.training.city.scene import Scene, rotate
from ms2cl_ros.training.city.shading import radiance

WIDTH, HEIGHT, FOCAL, CENTRE = 1242, 375, 721.5, (609.6, 172.9)
OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
# Rays that ask how much of the sun is free, within half a degree of its middle.
SUN_SPREAD = 0.006
# Standard deviations of a mounting at wildness 1: metres, radians.
SHAKE_METRES, SHAKE_RADIANS = (0.15, 0.1, 0.12), (0.02, 0.025, 0.03)


@dataclass(frozen=True)
class CameraSpec:
    """A camera on its mount. `model`: intrinsics and distortion. `position`: metres in the base frame; it looks along
    `heading` (left positive), then nods by `pitch` (down positive) and leans by `roll`, radians. `samples`: rays a
    pixel."""

    model: CameraModel
    position: tuple[float, float, float] = (0.27, 0.06, 1.65)
    heading: float = 0.0
    samples: int = 1
    pitch: float = 0.0
    roll: float = 0.0

    def T_base_camera(self) -> np.ndarray:
        """4 x 4 pose of the optical frame (z forward, x right, y down) in the base."""
        T = np.eye(4)
        T[:3, :3] = Rotation.from_euler("ZYX", [self.heading, self.pitch, self.roll]).as_matrix() @ OPTICAL
        T[:3, 3] = self.position
        return T


def camera_spec(scale: float = 0.5, distortion: tuple[float, ...] = (), model: str = "plumb_bob") -> CameraSpec:
    """KITTI's left colour camera, rectified, at `scale` of its 1242 x 375 pixels; with `distortion` of a `model` known
    to `core.cameras`, the same sensor behind another lens."""
    cx, cy = ((c + 0.5) * scale - 0.5 for c in CENTRE)
    K = np.array([[FOCAL * scale, 0, cx], [0, FOCAL * scale, cy], [0, 0, 1.0]])
    return CameraSpec(CameraModel(round(WIDTH * scale), round(HEIGHT * scale), K, distortion, model))


def shaken(spec: CameraSpec, rng: np.random.Generator, wildness: float) -> CameraSpec:
    """The camera on another mount: moved and turned at random, the more the wilder (0 leaves it where it is)."""
    move, turn = rng.normal(0, SHAKE_METRES) * wildness, rng.normal(0, SHAKE_RADIANS) * wildness
    position = tuple((np.array(spec.position) + move).tolist())
    return replace(spec, position=position, heading=spec.heading + turn[2], pitch=spec.pitch + turn[1],
                   roll=spec.roll + turn[0])


def picture(
    scene: Scene, spec: CameraSpec, light: Light, T_map_base: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(H, W, 3) uint8 RGB; black where the lens shows nothing."""
    T, shape = T_map_base @ spec.T_base_camera(), (spec.model.height, spec.model.width, 3)
    linear = np.zeros((shape[0] * shape[1], 3), np.float32)
    for sample in range(spec.samples):
        offset = ((sample + 0.5) / spec.samples - 0.5, sample * 0.618 % 1 - 0.5) if spec.samples > 1 else (0.0, 0.0)
        rays = lens.pixel_rays(spec.model, offset)
        linear += _through_lens(scene, light, T, rays, 1.0 / spec.model.K[0, 0]) / spec.samples
    return compress(develop(linear.reshape(shape), light.film, rng), light.film)


def _through_lens(scene: Scene, light: Light, T_map_camera: np.ndarray, rays: np.ndarray, pixel: float) -> np.ndarray:
    """(n, 3) linear light that arrives along (n, 3) rays of the optical frame; nothing for NaN."""
    out = np.zeros((len(rays), 3), np.float32)
    known = np.flatnonzero(np.isfinite(rays[:, 0]))
    rays = rays if len(known) == len(rays) else rays[known]
    toward = rotate(T_map_camera, rays).astype(np.float32)
    origins = np.broadcast_to(T_map_camera[:3, 3].astype(np.float32), rays.shape)
    seen = radiance(scene, light, origins, toward, pixel) * lens.vignette(rays, light.film.vignette)[:, None]
    sun = T_map_camera[:3, :3].T @ light.sun
    if light.film.flare and light.sun_colour.max() > 0 and sun[2] > -0.2:
        free = _sun_seen(scene, light, T_map_camera[:3, 3])
        if free:
            seen += lens.flare(rays, sun, light.sun_colour * free * light.film.flare)
    out[known] = seen
    return out


def _sun_seen(scene: Scene, light: Light, origin: np.ndarray) -> float:
    """Share of the sun and its nearest surroundings that nothing hides."""
    a = np.arange(24) * 2.4
    across = np.cross(light.sun, [0, 0, 1.0])
    across /= np.linalg.norm(across)
    spread = SUN_SPREAD * np.sqrt(np.arange(24) / 24)[:, None]
    toward = light.sun + spread * (np.cos(a)[:, None] * across + np.sin(a)[:, None] * np.cross(across, light.sun))
    return 1.0 - float(scene.blocked(np.broadcast_to(origin, toward.shape), toward).mean())


class CellCamera:
    """Casts a camera's picture straight onto an angular grid: what training eats, without the pixels between.

    `samples` x `samples` rays a cell, through the same light and film as `picture`; noise and blur are those of the
    camera's pixels, JPEG is left out, as a cell averages over its blocks. `valid`: (rows, columns) bool, as
    `core.projection.CameraView` has it. Raises SensorError if the camera sees no cell of the grid.
    """

    def __init__(self, spec: CameraSpec, grid: AngularGrid, samples: int = 2) -> None:
        self.spec, self.grid = spec, grid
        T_view_camera, self._heading = camera_view(spec.T_base_camera())
        size = (grid.rows, grid.columns)
        colours = CameraInput("", "", "angular_grid", grid, size, ("red", "green", "blue"), (0.0,) * 3, (1.0,) * 3)
        self.valid = CameraView(spec.model, T_view_camera, colours).valid
        rays = grid_directions(grid, (samples, samples))
        self._fine = rays.shape[:2]
        seen = self.valid.repeat(samples, 0).repeat(samples, 1).reshape(-1)
        self._seen = np.flatnonzero(seen)
        self._rays = rotate(T_view_camera.T, rays.reshape(-1, 3)[self._seen]).astype(np.float32)
        self._pixel = float(np.deg2rad(grid.azimuth_step_deg)) / samples

    def __call__(self, scene: Scene, light: Light, T_map_base: np.ndarray, rng: np.random.Generator,
                 T_base_camera: np.ndarray | None = None) -> np.ndarray:
        """(rows, columns, 3) uint8 RGB, 0 where not valid. `T_base_camera`: where the camera really sits, if elsewhere
        than its calibration says."""
        T = T_map_base @ (self.spec.T_base_camera() if T_base_camera is None else T_base_camera)
        linear = np.zeros((self._fine[0] * self._fine[1], 3), np.float32)
        linear[self._seen] = _through_lens(scene, light, T, self._rays, self._pixel)
        fine = develop(linear.reshape(*self._fine, 3), light.film, rng, self._pixel * self.spec.model.K[0, 0])
        cells = cv2.resize(fine, (self.grid.columns, self.grid.rows), interpolation=cv2.INTER_AREA)
        cells[~self.valid] = 0
        return cells
