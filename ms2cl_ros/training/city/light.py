# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A day's light: sun, sky and clouds by weather, season and how wild they may be."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.training.city.film import Film, draw_film
from ms2cl_ros.training.city.recipe import WEATHERS
from ms2cl_ros.training.city.weather import Air, air

# Degrees that the sun stands above the horizon while people drive, in Europe.
ELEVATIONS = {"spring": (20.0, 50.0), "summer": (22.0, 58.0), "autumn": (14.0, 38.0), "winter": (8.0, 20.0)}
LOW_SUN = (3.0, 11.0)
# Metres of fog above the road: the sky shines through it, a far house does not.
FOG_DEPTH = 45.0


@dataclass(frozen=True)
class Light:
    """A day's light. `sun`: unit vector towards it; colours are linear; `airlight`: what haze shines of itself;
    `clouds`: 0 to 1; `film`: how the camera develops its pictures on that day."""

    sun: np.ndarray
    sun_colour: np.ndarray
    ambient: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    airlight: np.ndarray
    clouds: float
    clouds_at: np.ndarray
    air: Air
    film: Film


def daylight(
    rng: np.random.Generator, weather: str | None = None, season: str = "summer", wildness: float = 0.0
) -> Light:
    """A day's light of its own. `weather`: one of `recipe.WEATHERS`; None: mostly fair, one day in six overcast.

    `wildness`: 0 as in life, 1 any sun, sky, tone and noise. Raises ConfigError for an unknown weather or season.
    """
    if weather is None:
        weather = "overcast" if rng.random() < 1 / 6 else "fair"
    if weather not in WEATHERS or season not in ELEVATIONS:
        raise ConfigError(f"weather {weather!r} and season {season!r} were given; there are {', '.join(WEATHERS)} "
                          f"and {', '.join(ELEVATIONS)}")
    shines = weather in ("fair", "low_sun")
    sun = _sun(rng, LOW_SUN if weather == "low_sun" else ELEVATIONS[season])
    zenith, horizon = _sky(rng, weather)
    ambient = _ambient(rng, weather)
    strength = 0.0
    if shines:
        strength = rng.uniform(1.4, 2.4) if weather == "low_sun" else rng.uniform(2.0, 3.6)
    sun_colour = strength * _sun_colour(rng, sun[2])
    day_air = air(rng, weather)
    airlight = ambient * 0.95 if weather in ("fog", "rain") else np.minimum(horizon, 1.2) * 0.6
    clouds = float(rng.choice([0.2, 0.6, 1.0])) if shines else rng.uniform(0.1, 0.5)
    wild = _Wild(rng, wildness)
    return Light(sun, wild.colour(sun_colour), wild.colour(ambient), wild.colour(zenith), wild.colour(horizon),
                 wild.colour(airlight), clouds, rng.uniform(0, 500, 2), day_air, draw_film(rng, weather, wildness))


class _Wild:
    """Draws colours farther and farther from those of life."""

    def __init__(self, rng: np.random.Generator, wildness: float) -> None:
        self._rng, self._wildness = rng, wildness

    def colour(self, colour: np.ndarray) -> np.ndarray:
        """(3,) the colour, in brightness and tone up to some factor away."""
        w = self._wildness
        return colour * np.exp(self._rng.normal(0, 0.35 * w) + self._rng.normal(0, 0.22 * w, 3))


def _sun(rng: np.random.Generator, elevations: tuple[float, float]) -> np.ndarray:
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(*elevations))
    return np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])


def _sun_colour(rng: np.random.Generator, height: float) -> np.ndarray:
    """Warmer the lower it stands: `height` is the sine of its elevation."""
    low = float(np.clip(1 - height / 0.35, 0, 1))
    warm = np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.78, 0.96)])
    return warm * (1 - low * np.array([0.0, 0.28, 0.55]))


def _sky(rng: np.random.Generator, weather: str) -> tuple[np.ndarray, np.ndarray]:
    """Zenith and horizon, (3,) each."""
    if weather == "low_sun":
        return np.array([0.2, 0.34, 0.62]) * rng.uniform(0.6, 1.2), np.array([1.25, 0.95, 0.68]) * rng.uniform(0.8, 1.4)
    if weather == "rain":
        grey = rng.uniform(0.6, 1.1)
        return np.array([0.9, 0.96, 1.04]) * grey * 0.8, np.array([0.95, 1.0, 1.03]) * grey * 1.15
    if weather == "fair" and rng.random() >= 0.25:
        return np.array([0.14, 0.32, 0.75]) * rng.uniform(0.6, 1.4), np.array([0.65, 0.83, 1.0]) * rng.uniform(0.8, 1.8)
    return np.full(3, rng.uniform(1.0, 2.5)), np.full(3, rng.uniform(1.4, 3.0))


def _ambient(rng: np.random.Generator, weather: str) -> np.ndarray:
    tone = np.array([rng.uniform(0.75, 0.95), rng.uniform(0.85, 1.0), 1.0])
    strength = {"fair": rng.uniform(0.35, 0.65), "low_sun": rng.uniform(0.22, 0.4), "rain": 0.7}.get(weather, 1.3)
    return strength * (tone * 0.3 + 0.68 if weather in ("fog", "rain") else tone)


def sky(light: Light, rays: np.ndarray) -> np.ndarray:
    """(n, 3) float32: a gradient, clouds on a ceiling, a bright surrounding of the sun, all behind the fog."""
    up = np.clip(rays[:, 2:], 0, 1)
    high = np.clip(up / 0.4, 0, 1) ** 0.6
    colour = light.horizon * (1 - high) + light.zenith * high
    ceiling = rays[:, :2] / np.maximum(rays[:, 2:], 0.04) * 60 + light.clouds_at
    cloud = sum(w * noise(ceiling[:, 0], ceiling[:, 1], size) for w, size in ((0.6, 90.0), (0.3, 35.0), (0.15, 12.0)))
    cover = np.clip(light.clouds * (cloud + 0.25), 0, 1)[:, None] * np.clip(up / 0.1, 0, 1)
    colour = colour * (1 - 0.8 * cover) + 0.8 * cover * light.horizon.max() * (1.3 if light.sun_colour.max() else 0.8)
    if light.sun_colour.max() > 0:
        near = np.clip(rays @ light.sun.astype(rays.dtype), 0, 1)[:, None]
        colour = colour + light.sun_colour * (near**60 + 2.0 * near**1500 + 20.0 * (near > 0.99995))
    fog = np.exp(-light.air.extinction * FOG_DEPTH / np.maximum(up, 0.02))
    return (colour * fog + light.airlight * (1 - fog)).astype(np.float32)


def _grain() -> np.ndarray:
    """(256, 256) tileable smooth noise of unit deviation."""
    white = np.tile(np.random.default_rng(5).normal(size=(256, 256)), (3, 3))
    smooth = cv2.GaussianBlur(white, (0, 0), 3)[256:512, 256:512]
    return (smooth / smooth.std()).astype(np.float32)


_GRAIN = _grain()


def noise(x: np.ndarray, y: np.ndarray, metres: float) -> np.ndarray:
    """Smooth noise of unit deviation with blobs of about `metres`."""
    return _GRAIN[(y * (8 / metres)).astype(np.int32) & 255, (x * (8 / metres)).astype(np.int32) & 255]
