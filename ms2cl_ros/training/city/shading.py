# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The light that comes along a ray: textures under sun and sky, cast shadows, panes, wet ground and haze."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ms2cl_ros.training.city.light import Light, noise, sky
from ms2cl_ros.training.city.scene import Hits, Scene, Surface
from ms2cl_ros.training.city.soup import CAR, GROUND, LEAF

# Less sun than this on a surface is not worth asking for its shadow.
FAINT = 0.01
# Radians over which uneven water blurs what it mirrors.
MIRROR_BLUR = 0.03


def radiance(scene: Scene, light: Light, origins: np.ndarray, rays: np.ndarray, pixel: float) -> np.ndarray:
    """(n, 3) float32 linear light along rays of the map frame; `pixel`: the angle a pixel covers, radians."""
    hits = scene.cast(origins, rays)
    out = np.empty((len(rays), 3), np.float32)
    free = np.flatnonzero(~hits.met)
    out[free] = sky(light, rays[free])
    met = np.flatnonzero(hits.met)
    surface, far, toward = scene.surface(hits.triangle[met]), hits.distance[met], rays[met]
    normal = _facing(surface, toward)
    albedo = _albedo(scene, surface, hits, met, toward, pixel)
    points = origins[met] + toward * far[:, None]
    sunlit = _sunlit(scene, light, surface, points, normal, toward)
    up = 0.45 + 0.55 * np.clip(normal[:, 2:], 0, 1)
    colour = albedo * (sunlit[:, None] * _single(light.sun_colour) + up * _single(light.ambient))
    _gloss(colour, light, hits.glass[met], surface, normal, toward)
    if light.air.wet:
        _wet(colour, scene, light, surface, points, normal, toward)
    thin = np.exp(-np.float32(light.air.extinction) * far)[:, None]
    out[met] = colour * thin + _single(light.airlight) * (1 - thin)
    return out


def _single(colour: np.ndarray) -> np.ndarray:
    return np.asarray(colour, np.float32)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ni,ni->n", a, b)


def _facing(surface: Surface, rays: np.ndarray) -> np.ndarray:
    """Normals turned towards the viewer; leaves get softer ones, as a crown lights up as a whole."""
    normal = surface.normal * np.where(_dot(surface.normal, rays) > 0, np.float32(-1), np.float32(1))[:, None]
    leaf = np.flatnonzero(surface.material == LEAF)
    normal[leaf] = normal[leaf] * 0.5 + np.array([0, 0, 0.5], np.float32) - np.float32(0.35) * rays[leaf]
    return normal


def _albedo(
    scene: Scene, surface: Surface, hits: Hits, met: np.ndarray, rays: np.ndarray, pixel: float
) -> np.ndarray:
    """Texture at the mip level that suits distance and slant, times tint."""
    cosine = np.clip(np.abs(_dot(surface.normal, rays)), 0.05, 1)
    footprint = hits.distance[met] * np.float32(pixel) * surface.texels / np.sqrt(cosine)
    level = np.clip(np.log2(np.maximum(footprint, 1.0)) + 0.3, 0, scene.textures.width.shape[1] - 1).astype(np.int64)
    return scene.textures.colour(surface.texture, hits.uv[met], level) * surface.tint


def _sunlit(
    scene: Scene, light: Light, surface: Surface, points: np.ndarray, normal: np.ndarray, rays: np.ndarray
) -> np.ndarray:
    """(n,) cosine towards the sun, 0 where something throws a shadow."""
    if not light.sun_colour.max() > 0:
        return np.zeros(len(points), np.float32)
    lit = np.clip(normal @ _single(light.sun), 0, 1)
    leaf = np.flatnonzero(surface.material == LEAF)
    lit[leaf] = 0.35 + 0.65 * lit[leaf]
    ask = np.flatnonzero(lit > FAINT)
    start = points[ask] - rays[ask] * np.float32(0.02) + normal[ask] * np.float32(0.03)
    shadow = scene.blocked(start, np.broadcast_to(_single(light.sun), start.shape))
    lit[ask[shadow]] = 0
    return lit


def _mirrored(rays: np.ndarray, normal: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) mirrored rays and (n, 1) share that is mirrored (Schlick), `least` straight on."""
    along = _dot(rays, normal)[:, None]
    return rays - 2 * along * normal, least + (1 - least) * (1 - np.abs(along)) ** 5


def _gloss(
    colour: np.ndarray, light: Light, glass: np.ndarray, surface: Surface, normal: np.ndarray, rays: np.ndarray
) -> None:
    """Adds what panes and bodywork mirror of the sky, more at a slant."""
    k = np.flatnonzero(glass | (surface.material == CAR))
    mirrored, share = _mirrored(rays[k], normal[k], 0.06)
    bright = np.where(mirrored[:, 2:] > 0.05, _single(np.minimum(light.horizon, 1.5)), np.float32(0.15))
    colour[k] += share * bright * np.where(glass[k, None], np.float32(1.2), np.float32(0.6))


def _wet(
    colour: np.ndarray, scene: Scene, light: Light, surface: Surface, points: np.ndarray, normal: np.ndarray,
    rays: np.ndarray,
) -> None:
    """Wet ground is darker, and where a film of water stands it mirrors sky and street."""
    wet = np.float32(light.air.wet)
    k = np.flatnonzero((surface.material == GROUND) & (surface.normal[:, 2] > 0.8))
    x, y = points[k, 0], points[k, 1]
    puddle = np.clip(0.55 + 0.35 * noise(x, y, 9.0) + 0.25 * noise(x, y, 2.5), 0.2, 1) * wet
    ripple = np.stack([noise(x, y, 0.9), noise(y, x, 0.9), np.zeros(len(k), np.float32)], 1)
    uneven = normal[k] + ripple * np.float32(0.012)
    mirrored, share = _mirrored(rays[k], uneven / np.linalg.norm(uneven, axis=1, keepdims=True), 0.02)
    mirrored[:, 2] = np.abs(mirrored[:, 2])
    dry = replace(light, air=replace(light.air, wet=0.0))
    bright = radiance(scene, dry, points[k] + normal[k] * np.float32(0.05), mirrored.astype(np.float32), MIRROR_BLUR)
    share = share * puddle[:, None]
    colour[k] = colour[k] * (1 - np.float32(0.5) * wet) * (1 - share) + bright * share
