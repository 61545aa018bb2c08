# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera in the street: sun with cast shadows, sky with clouds, haze, exposure, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ms2cl_ros.core.types import CameraModel
from ms2cl_ros.training.city.scene import Hits, Scene, rotate
from ms2cl_ros.training.city.soup import CAR, LEAF

WIDTH, HEIGHT, FOCAL, CENTRE = 1242, 375, 721.5, (609.6, 172.9)
OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class CameraSpec:
    """A pinhole without distortion. `position`: metres in the base frame; it looks along `heading` (radians, left
    positive)."""

    model: CameraModel
    position: tuple[float, float, float] = (0.27, 0.06, 1.65)
    heading: float = 0.0
    samples: int = 1

    def T_base_camera(self) -> np.ndarray:
        """4 x 4 pose of the optical frame (z forward, x right, y down) in the base."""
        c, s = np.cos(self.heading), np.sin(self.heading)
        T = np.eye(4)
        T[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ OPTICAL
        T[:3, 3] = self.position
        return T


def camera_spec(scale: float = 0.5) -> CameraSpec:
    """KITTI's left colour camera, rectified, at `scale` of its 1242 x 375 pixels."""
    cx, cy = ((c + 0.5) * scale - 0.5 for c in CENTRE)
    K = np.array([[FOCAL * scale, 0, cx], [0, FOCAL * scale, cy], [0, 0, 1.0]])
    return CameraSpec(CameraModel(round(WIDTH * scale), round(HEIGHT * scale), K))


@dataclass(frozen=True)
class Light:
    """A day's light. `sun`: unit vector towards it; colours are linear; `exposure`: median aimed at in the
    lower half of the picture."""

    sun: np.ndarray
    sun_colour: np.ndarray
    ambient: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    clouds: float
    haze: float
    exposure: float
    balance: np.ndarray
    gamma: float
    contrast: float
    clouds_at: np.ndarray


def daylight(rng: np.random.Generator) -> Light:
    """A day of its own: mostly sun with blue or white sky, one in six overcast."""
    azimuth, elevation, overcast = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(22, 58)), rng.random() < 1 / 6
    sun = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    warm = np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.78, 0.96)])
    blue = np.array([0.14, 0.32, 0.75]) * rng.uniform(0.6, 1.4), np.array([0.65, 0.83, 1.0]) * rng.uniform(0.8, 1.8)
    white = np.full(3, rng.uniform(1.0, 2.5)), np.full(3, rng.uniform(1.4, 3.0))
    zenith, horizon = white if overcast or rng.random() < 0.25 else blue
    return Light(
        sun,
        0.0 * warm if overcast else rng.uniform(2.0, 3.6) * warm,
        (1.3 if overcast else rng.uniform(0.35, 0.65))
        * np.array([rng.uniform(0.75, 0.95), rng.uniform(0.85, 1.0), 1.0]),
        zenith,
        horizon,
        rng.choice([0.2, 0.6, 1.0]),
        rng.choice([0.0003, 0.0008, 0.002]),
        rng.uniform(0.1, 0.19),
        rng.uniform(0.95, 1.05, 3),
        rng.uniform(2.0, 2.3),
        rng.uniform(0.1, 0.7),
        rng.uniform(0, 500, 2),
    )


def picture(
    scene: Scene, spec: CameraSpec, light: Light, T_map_base: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    T = T_map_base @ spec.T_base_camera()
    linear = np.zeros((spec.model.height * spec.model.width, 3), np.float32)
    for sample in range(spec.samples):
        jitter = (
            np.zeros(2) if spec.samples == 1 else np.array([(sample + 0.5) / spec.samples, sample * 0.618 % 1]) - 0.5
        )
        rays = rotate(T, pixel_rays(spec, jitter)).astype(np.float32)
        linear += (
            radiance(scene, light, np.broadcast_to(T[:3, 3], rays.shape), rays, 1.0 / spec.model.K[0, 0]) / spec.samples
        )
    return develop(linear.reshape(spec.model.height, spec.model.width, 3), light, rng)


def pixel_rays(spec: CameraSpec, offset: np.ndarray | tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(H * W, 3) unit rays in the optical frame through the pixels' centres (integer u, v), moved by `offset`
    pixels."""
    K = spec.model.K
    u, v = np.meshgrid(np.arange(spec.model.width) + offset[0], np.arange(spec.model.height) + offset[1])
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1).reshape(-1, 3)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def radiance(scene: Scene, light: Light, origins: np.ndarray, rays: np.ndarray, pixel: float) -> np.ndarray:
    """(n, 3) float32 linear light along rays of the map frame; `pixel`: the angle a pixel covers, radians."""
    hits = scene.cast(origins, rays)
    out = sky(light, rays)
    met = np.flatnonzero(hits.met)
    triangle, far = hits.triangle[met], hits.distance[met]
    toward = rays[met]
    normal = _facing(scene, triangle, toward)
    albedo = _albedo(scene, hits, met, normal, toward, pixel)
    points = origins[met] + toward * far[:, None]
    sunlit = _sunlit(scene, light, triangle, points, normal, toward)
    up = 0.45 + 0.55 * np.clip(normal[:, 2], 0, 1)
    colour = albedo * (sunlit[:, None] * light.sun_colour + up[:, None] * light.ambient)
    colour += _gloss(scene, light, hits.glass[met], triangle, normal, toward)
    thin = np.exp(-light.haze * far)[:, None]
    out[met] = colour * thin + np.minimum(light.horizon, 1.2) * 0.6 * (1 - thin)
    return out


def sky(light: Light, rays: np.ndarray) -> np.ndarray:
    """(n, 3) float32: a gradient, clouds on a ceiling, a bright surrounding of the sun."""
    high = np.clip(rays[:, 2:] / 0.4, 0, 1) ** 0.6
    colour = light.horizon * (1 - high) + light.zenith * high
    ceiling = rays[:, :2] / np.maximum(rays[:, 2:], 0.04) * 60 + light.clouds_at
    cloud = sum(w * _noise(ceiling[:, 0], ceiling[:, 1], size) for w, size in ((0.6, 90.0), (0.3, 35.0), (0.15, 12.0)))
    cover = np.clip(light.clouds * (cloud + 0.25), 0, 1)[:, None] * np.clip(rays[:, 2:] / 0.1, 0, 1)
    colour = colour * (1 - 0.8 * cover) + 0.8 * cover * light.horizon.max() * 1.3
    if light.sun_colour.max() > 0:
        colour = colour + light.sun_colour * np.clip(np.einsum("ni,i->n", rays, light.sun), 0, 1)[:, None] ** 60
    return colour.astype(np.float32)


def develop(linear: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) linear light to uint8 RGB: lens blur, exposure for the lower half (the sky burns out), tone, noise."""
    image = cv2.GaussianBlur(np.minimum(linear, 8), (0, 0), 0.45)
    image = image * (light.exposure / max(float(np.median(image[len(image) // 2 :])), 1e-4)) * light.balance
    image = image + rng.normal(0, 1, image.shape) * (0.002 + 0.004 * np.sqrt(np.clip(image, 0, 1)))
    image = np.clip(image, 0, 1) ** (1 / light.gamma)
    image = image * (1 - light.contrast) + light.contrast * (3 * image**2 - 2 * image**3)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _grain() -> np.ndarray:
    """(256, 256) tileable smooth noise of unit deviation."""
    white = np.tile(np.random.default_rng(5).normal(size=(256, 256)), (3, 3))
    smooth = cv2.GaussianBlur(white, (0, 0), 3)[256:512, 256:512]
    return (smooth / smooth.std()).astype(np.float32)


_GRAIN = _grain()


def _noise(x: np.ndarray, y: np.ndarray, metres: float) -> np.ndarray:
    """Smooth noise of unit deviation with blobs of about `metres`."""
    return _GRAIN[(y * (8 / metres)).astype(np.int64) % 256, (x * (8 / metres)).astype(np.int64) % 256]


def _facing(scene: Scene, triangle: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Normals turned towards the viewer; leaves get softer ones, as a crown lights up as a whole."""
    normal = scene.normal[triangle]
    normal = normal * -np.sign((normal * rays).sum(1, keepdims=True) + 1e-9)
    leaf = scene.soup.material[triangle] == LEAF
    normal[leaf] = normal[leaf] * 0.5 + np.array([0, 0, 0.5], np.float32) - 0.35 * rays[leaf]
    return normal


def _albedo(
    scene: Scene, hits: Hits, met: np.ndarray, normal: np.ndarray, rays: np.ndarray, pixel: float
) -> np.ndarray:
    """Texture at the mip level that suits distance and slant, times tint, times dirt."""
    triangle, far = hits.triangle[met], hits.distance[met]
    cosine = np.clip(np.abs((scene.normal[triangle] * rays).sum(1)), 0.05, 1)
    footprint = far * pixel * scene.texels_per_metre[triangle] / np.sqrt(cosine)
    level = np.clip(np.log2(np.maximum(footprint, 1.0)) + 0.3, 0, scene.textures.width.shape[1] - 1).astype(np.int64)
    return scene.textures.colour(scene.soup.texture[triangle], hits.uv[met], level) * scene.soup.tint[triangle]


def _sunlit(
    scene: Scene, light: Light, triangle: np.ndarray, points: np.ndarray, normal: np.ndarray, rays: np.ndarray
) -> np.ndarray:
    """(n,) cosine towards the sun, 0 where something throws a shadow."""
    lit = np.clip(np.einsum("ni,i->n", normal, light.sun), 0, 1).astype(np.float32)
    leaf = scene.soup.material[triangle] == LEAF
    lit[leaf] = 0.35 + 0.65 * lit[leaf]
    ask = np.flatnonzero(lit > 0.01)
    if light.sun_colour.max() > 0 and len(ask):
        start = points[ask] - rays[ask] * 0.02 + normal[ask] * 0.03
        shadow = scene.cast(start, np.broadcast_to(light.sun, start.shape), 2).met
        lit[ask[shadow]] = 0
    return lit


def _gloss(
    scene: Scene, light: Light, glass: np.ndarray, triangle: np.ndarray, normal: np.ndarray, rays: np.ndarray
) -> np.ndarray:
    """(n, 3) what panes and bodywork mirror of the sky, more at a slant."""
    shiny = glass | (scene.soup.material[triangle] == CAR)
    out = np.zeros((len(triangle), 3), np.float32)
    k = np.flatnonzero(shiny)
    mirrored = rays[k] - 2 * (rays[k] * normal[k]).sum(1, keepdims=True) * normal[k]
    fresnel = 0.04 + 0.5 * (1 - np.abs((rays[k] * normal[k]).sum(1, keepdims=True))) ** 4
    bright = np.where(mirrored[:, 2:] > 0.05, np.minimum(light.horizon, 1.5), 0.15)
    out[k] = fresnel * bright * np.where(glass[k, None], 1.6, 0.8)
    return out
