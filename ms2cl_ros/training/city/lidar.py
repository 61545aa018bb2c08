# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A spinning LiDAR in the street: beams, range noise, and returns that are lost as on the road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.training.city.scene import Hits, Scene, directions, rotate
from ms2cl_ros.training.city.soup import CAR, LEAF, SIGN

# Received power below which nothing is reported: reflectivity x cosine / range^2. A road comes back up to about 70 m.
THRESHOLD = 1.2e-6
GLASS_LOST = 0.6


@dataclass(frozen=True)
class LidarSpec:
    """A sensor. `elevations_deg`: one per beam, top first; `position`: metres in the base frame, axes as the base's."""

    elevations_deg: tuple[float, ...]
    azimuth_step_deg: float = 0.1728
    range_noise: float = 0.02
    lost: float = 0.02
    min_range: float = 1.2
    max_range: float = 120.0
    position: tuple[float, float, float] = (0.0, 0.0, 1.73)

    def T_base_lidar(self) -> np.ndarray:
        """4 x 4, metres."""
        T = np.eye(4)
        T[:3, 3] = self.position
        return T


def _even(top: float, bottom: float, beams: int) -> tuple[float, ...]:
    return tuple(np.linspace(top, bottom, beams).tolist())


_ELEVATIONS = {
    64: _even(2.0, -8.33, 32) + _even(-8.83, -24.33, 32),
    32: _even(10.67, -30.67, 32),
    16: _even(15.0, -15.0, 16),
}


def lidar_spec(beams: int = 64, azimuth_step_deg: float = 0.1728) -> LidarSpec:
    """An HDL-64E (64), HDL-32E (32) or VLP-16 (16); raises ConfigError for other numbers of beams."""
    if beams not in _ELEVATIONS:
        raise ConfigError(f"no LiDAR of {beams} beams is known; there are {', '.join(map(str, _ELEVATIONS))}")
    return LidarSpec(_ELEVATIONS[beams], azimuth_step_deg)


def sweep(scene: Scene, spec: LidarSpec, T_map_base: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One whole turn: (N, 4) float32 x y z (metres, sensor frame) and intensity 0 to 1, beam by beam from the top."""
    columns = round(360.0 / spec.azimuth_step_deg)
    azimuth = np.pi - (np.arange(columns) + rng.random()) * 2 * np.pi / columns
    rays = directions(azimuth[None], np.deg2rad(spec.elevations_deg)[:, None]).reshape(-1, 3)
    T = T_map_base @ spec.T_base_lidar()
    hits = scene.cast(np.broadcast_to(T[:3, 3], rays.shape), rotate(T, rays))
    met = np.flatnonzero((hits.distance > spec.min_range) & (hits.distance < spec.max_range))
    reflected = _reflected(scene, hits, met, rotate(T, rays[met]))
    seen = _seen(scene, spec, hits, met, reflected, rng)
    kept, reflected = met[seen], reflected[seen]
    distance = hits.distance[kept] + rng.normal(0, spec.range_noise, len(kept))
    intensity = np.round(np.clip(reflected + rng.normal(0, 0.03, len(kept)), 0, 0.99), 2)
    return np.c_[rays[kept] * distance[:, None], intensity].astype(np.float32)


def _reflected(scene: Scene, hits: Hits, met: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """(n,) share of the beam that each surface sends back: its brightness times the cosine of incidence."""
    triangle = hits.triangle[met]
    material = scene.soup.material[triangle]
    cosine = np.abs((scene.normal[triangle] * rays).sum(1))
    cosine = np.where(material == LEAF, 0.7, cosine)
    texture = scene.soup.texture[triangle]
    bright = (scene.textures.colour(texture, hits.uv[met], 1) * scene.soup.tint[triangle]).mean(1)
    reflectivity = np.clip(0.08 + 0.8 * bright, 0.05, 0.9)
    reflectivity = np.where(material == LEAF, 0.45, np.where(material == SIGN, 1.0, reflectivity))
    return reflectivity * np.where(material == SIGN, 1.0, cosine)


def _seen(
    scene: Scene, spec: LidarSpec, hits: Hits, met: np.ndarray, reflected: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(n,) bool: weak returns, most from glass, some from dark bodywork and a few at random are lost."""
    n = len(met)
    power = reflected / hits.distance[met] ** 2 * np.exp(rng.normal(0, 0.4, n))
    lost = (power < THRESHOLD) | (rng.random(n) < spec.lost)
    lost |= hits.glass[met] & (rng.random(n) < GLASS_LOST)
    bodywork = scene.soup.material[hits.triangle[met]] == CAR
    return ~(lost | (bodywork & (rng.random(n) < 0.45 * np.exp(-reflected / 0.08))))
