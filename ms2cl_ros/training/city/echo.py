# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What comes back of a LiDAR's shots: reflectivity, drop-outs, range noise, and what fog and rain return instead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ms2cl_ros.training.city.beams import LidarSpec
from ms2cl_ros.training.city.scene import Hits, Scene, Surface
from ms2cl_ros.training.city.soup import CAR, GROUND, LEAF, SIGN
from ms2cl_ros.training.city.weather import Air

# Received power below which nothing is reported: reflectivity x cosine / range^2. A road comes back up to about 70 m.
THRESHOLD = 1.2e-6
GLASS_LOST = 0.6
# Share of its light that fog throws straight back within a pulse's length of some 0.75 m: the lidar ratio of 1/20 sr
# times pi; it rivals a wall at 25 m where one sees 100 m far (Hahner et al., ICCV 2021, model it so).
FOG_RETURN = 0.12
# The beams and the receiver overlap from here on; nearer fog is not heard, and most of what is heard is near.
FOG_NEAREST, FOG_SPREAD = 2.0, 1.5
# What comes back of haze is drawn out, no pulse: below this power no receiver takes it for one (visibility over 300 m).
FOG_HEARD = 3e-4
# Drops: share of shots that one returns, per mm/h, and how far away they are on average.
DROPS, DROP_METRES = 3e-4, 4.0
# Wet ground throws the beam onward instead of back.
WET_LOST = 0.75


@dataclass(frozen=True)
class Echoes:
    """`shot`: (k,) which shots came back; `distance`: (k,) metres, with noise; `intensity`: (k,) 0 to 1."""

    shot: np.ndarray
    distance: np.ndarray
    intensity: np.ndarray


def listen(
    scene: Scene, spec: LidarSpec, hits: Hits, rays: np.ndarray, air: Air, rng: np.random.Generator
) -> Echoes:
    """What the receiver reports of shots (n, 3) `rays`, map frame, that met `hits`: the strongest return of each."""
    distance = hits.distance.astype(np.float64)
    met = np.flatnonzero((distance > spec.min_range) & (distance < spec.max_range))
    power, reflected = np.zeros(len(rays)), np.zeros(len(rays))
    surface = scene.surface(hits.triangle[met])
    reflected[met] = _reflected(scene, hits, met, surface, rays[met], air)
    fading = np.exp(rng.normal(0, 0.4, len(met)))
    power[met] = reflected[met] / distance[met] ** 2 * np.exp(-2 * air.extinction * distance[met]) * fading
    power[met[_absorbed(spec, hits.glass[met], surface, reflected[met], rng)]] = 0.0
    if air.extinction > 0 or air.rain > 0:
        _clutter(spec, air, hits.distance, distance, power, reflected, rng)
    heard = np.flatnonzero(power >= THRESHOLD)
    heard = heard[rng.random(len(heard)) >= spec.lost]
    noisy = distance[heard] + rng.normal(0, spec.range_noise, len(heard))
    intensity = np.round(np.clip(reflected[heard] + rng.normal(0, 0.03, len(heard)), 0, 0.99), 2)
    return Echoes(heard, noisy, intensity)


def _reflected(
    scene: Scene, hits: Hits, met: np.ndarray, surface: Surface, rays: np.ndarray, air: Air
) -> np.ndarray:
    """(n,) share of the beam that each surface sends back: its brightness times the cosine of incidence."""
    cosine = np.abs(np.einsum("ni,ni->n", surface.normal, rays))
    leaf, sign = surface.material == LEAF, surface.material == SIGN
    bright = (scene.textures.colour(surface.texture, hits.uv[met], 1) * surface.tint).mean(1)
    reflectivity = np.clip(0.08 + 0.8 * bright, 0.05, 0.9)
    reflectivity = np.where(surface.material == GROUND, reflectivity * (1 - WET_LOST * air.wet), reflectivity)
    # a sign is made to send the light back where it came from; a leaf stands any way
    return np.where(leaf, 0.45 * 0.7, np.where(sign, 1.0, reflectivity * cosine))


def _absorbed(
    spec: LidarSpec, glass: np.ndarray, surface: Surface, reflected: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(n,) bool: most of what falls on panes and some of what falls on dark, smooth bodywork is mirrored away."""
    lost = glass & (rng.random(len(glass)) < GLASS_LOST)
    return lost | ((surface.material == CAR) & (rng.random(len(glass)) < 0.45 * np.exp(-reflected / 0.08)))


def _clutter(
    spec: LidarSpec, air: Air, free: np.ndarray, distance: np.ndarray, power: np.ndarray, reflected: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Puts in what fog or a drop returns, wherever that is nearer than the street and stronger than its return."""
    n = len(distance)
    near = FOG_NEAREST + rng.exponential(FOG_SPREAD, n)
    share = FOG_RETURN * air.extinction * np.exp(rng.normal(0, 0.4, n))
    drop = rng.random(n) < DROPS * air.rain
    near[drop] = spec.min_range + rng.exponential(DROP_METRES, int(drop.sum()))
    share[drop] = 0.2
    strength = share / near**2 * np.exp(-2 * air.extinction * near)
    heard = (strength > power) & (drop | (strength > FOG_HEARD))
    k = np.flatnonzero(heard & (near < free) & (near > spec.min_range))
    distance[k], power[k], reflected[k] = near[k], strength[k], share[k]
