# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What comes back of a LiDAR's shots: reflectivity, drop-outs, range noise, and what fog and rain return instead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ms2cl_ros.training.city.beams import LidarSpec
from ms2cl_ros.training.city.light import noise
from ms2cl_ros.training.city.scene import Hits, Scene, Surface
from ms2cl_ros.training.city.soup import CAR, GROUND, LEAF, SIGN
from ms2cl_ros.training.city.weather import Air

# Received power below which nothing is reported: reflectivity x cosine / range^2. A road comes back up to about 70 m.
THRESHOLD = 1.2e-6
# What surfaces send back differs from place to place over about a metre, and little from shot to shot, as deviations of
# the logarithm: what is lost is lost in patches.
PATCHY, PATCH_METRES, SPECKLE = 0.35, 1.2, 0.12
# Reflectivity of what looks black; dull things are brighter to infrared light than to the eye.
LEAST_BACK = 0.08
# Smooth paint mirrors most of the beam away, and its dirt sends back only a share of LEAST_BACK. Where reflectivity x
# cosine falls below PAINT, give or take what curvature makes of it (deviation of the logarithm), nothing is reported.
DIRT, PAINT, PAINT_SPREAD = 0.4, 0.045, 0.6
# A pane is lost as a whole or not, more often aslant; the others show a curtain or, in a vehicle, the seats behind.
PANE_METRES, PANE_LOST, PANE_LOST_ASLANT = 1.1, 0.15, 0.7
BEHIND_PANE, BEHIND_WINDSCREEN = 0.12, 0.7
# Leaves split the beam: some clumps of so many metres send back too little at any one distance; what comes back comes
# from so far inside on average.
LEAF_LOST, CLUMP_METRES, INTO_LEAVES = 0.1, 0.15, 0.2
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
    scene: Scene, spec: LidarSpec, hits: Hits, origins: np.ndarray, rays: np.ndarray, air: Air,
    rng: np.random.Generator,
) -> Echoes:
    """What the receiver reports of shots from (n, 3) `origins` along `rays`, map frame, metres, that met `hits`: the
    strongest return of each."""
    distance = hits.distance.astype(np.float64)
    met = np.flatnonzero((distance > spec.min_range) & (distance < spec.max_range))
    power, reflected = np.zeros(len(rays)), np.zeros(len(rays))
    surface, glass, toward = scene.surface(hits.triangle[met]), hits.glass[met], rays[met]
    points = origins[met] + toward * hits.distance[met, None]
    cosine = np.abs(np.einsum("ni,ni->n", surface.normal, toward))
    back = _reflected(scene, hits, met, surface, cosine, air)
    fading = np.exp(PATCHY * _patches(points) + rng.normal(0, SPECKLE, len(met)))
    reflected[met] = back
    power[met] = back / distance[met] ** 2 * np.exp(-2 * air.extinction * distance[met]) * fading
    power[met[_swallowed(surface, glass, points, cosine, back, rng)]] = 0.0
    distance[met] += _behind(surface, glass, rng)
    if air.extinction > 0 or air.rain > 0:
        _clutter(spec, air, hits.distance, distance, power, reflected, rng)
    heard = np.flatnonzero(power >= THRESHOLD)
    heard = heard[rng.random(len(heard)) >= spec.lost]
    noisy = distance[heard] + rng.normal(0, spec.range_noise, len(heard))
    intensity = np.round(np.clip(reflected[heard] + rng.normal(0, 0.03, len(heard)), 0, 0.99), 2)
    return Echoes(heard, noisy, intensity)


def _reflected(
    scene: Scene, hits: Hits, met: np.ndarray, surface: Surface, cosine: np.ndarray, air: Air
) -> np.ndarray:
    """(n,) share of the beam that each surface sends back: its brightness times the cosine of incidence."""
    leaf, sign = surface.material == LEAF, surface.material == SIGN
    bright = (scene.textures.colour(surface.texture, hits.uv[met], 1) * surface.tint).mean(1)
    reflectivity = np.clip(LEAST_BACK + 0.8 * bright, 0.05, 0.9)
    reflectivity = np.where(surface.material == GROUND, reflectivity * (1 - WET_LOST * air.wet), reflectivity)
    # a sign is made to send the light back where it came from; a leaf stands any way
    return np.where(leaf, 0.45 * 0.7, np.where(sign, 1.0, reflectivity * cosine))


def _patches(points: np.ndarray, metres: float = PATCH_METRES) -> np.ndarray:
    """(n,) smooth noise of unit deviation at (n, 3) points, whichever way their surface faces."""
    x, y, z = points.T
    return noise(x + 0.7 * z, y - 0.7 * z, metres)


def _pane(points: np.ndarray) -> np.ndarray:
    """(n,) a number from 0 to 1 for the pane in which each point lies, the same throughout the pane."""
    cells = np.floor(points / PANE_METRES).astype(np.int64)
    mixed = cells @ np.array([73856093, 19349663, 83492791])
    return ((mixed ^ mixed >> 13) * 2654435761 % 2**32) / 2**32


def _swallowed(
    surface: Surface, glass: np.ndarray, points: np.ndarray, cosine: np.ndarray, back: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """(n,) bool: shots at panes, at paint that is too dark or too much aslant, and into leaves that are lost."""
    lost = np.zeros(len(glass), bool)
    k = np.flatnonzero(glass)
    lost[k] = _pane(points[k]) < PANE_LOST_ASLANT + (PANE_LOST - PANE_LOST_ASLANT) * cosine[k]
    k = np.flatnonzero((surface.material == CAR) & ~glass)
    spread = PAINT_SPREAD * (0.7 * _patches(points[k]) + 0.7 * rng.standard_normal(len(k)))
    lost[k] = (back[k] - (1 - DIRT) * LEAST_BACK * cosine[k]) * np.exp(spread) < PAINT
    k = np.flatnonzero(surface.material == LEAF)
    lost[k] = _patches(points[k], CLUMP_METRES) > norm.isf(LEAF_LOST)
    return lost


def _behind(surface: Surface, glass: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) metres: how far behind a pane or inside a crown lies what sends the beam back."""
    pane = np.where(surface.material == CAR, BEHIND_WINDSCREEN, BEHIND_PANE) * (0.8 + 0.4 * rng.random(len(glass)))
    leaves = np.where(surface.material == LEAF, rng.exponential(INTO_LEAVES, len(glass)), 0.0)
    return np.where(glass, pane, leaves)


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
