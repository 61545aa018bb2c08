# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes for the city's sensors, small enough that what they see is known."""

from __future__ import annotations

import dataclasses

import numpy as np

from ms2cl_ros.core.types import AngularGrid
from ms2cl_ros.training.city import lidar
from ms2cl_ros.training.city.film import Film
from ms2cl_ros.training.city.light import Light, daylight
from ms2cl_ros.training.city.scene import Scene
from ms2cl_ros.training.city.soup import GROUND, Soup, merge, quads
from ms2cl_ros.training.city.textures import TextureBook, Textures

UNIT = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
ORIGIN = np.eye(4)
GRID = AngularGrid(rows=64, columns=160, elevation_top_deg=11.6, elevation_step_deg=0.40, azimuth_step_deg=0.45)
QUIET = dataclasses.replace(lidar.lidar_spec(64, 0.5), range_noise=0.0, lost=0.0)
LENSES = {
    "plain": ((), "plumb_bob"),
    "barrel": ((-0.33, 0.15, 8e-4, -5e-4, -0.03), "plumb_bob"),
    "fisheye": ((-0.02, 0.006, -0.003, 5e-4), "equidistant"),
}


def textures() -> tuple[Textures, int]:
    """Plain white (0), and bars with holes between, whose number comes second: one texel in four is solid."""
    book = TextureBook()
    fence = np.zeros((32, 32, 4), np.uint8)
    fence[:, ::4] = 255
    number = book.add(fence)
    return book.bind(), number


TEXTURES, FENCE = textures()


def wall(x: float, heading: float = 0.0, half: float = 30.0, tint: float = 0.5, texture: int = 0, **more: int) -> Soup:
    """An upright square that faces the origin from `x` metres ahead, turned by `heading` about its middle."""
    c, s = np.cos(heading), np.sin(heading)
    y = np.array([half, -half, -half, half])
    corners = np.stack([x - s * y, c * y, [-half, -half, half, half]], 1)
    return quads(corners[None], UNIT, texture, (tint,) * 3, **more)


def ground(half: float = 120.0, tint: float = 0.3) -> Soup:
    corners = [[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]]
    return quads(np.array([corners], float), UNIT, 0, (tint,) * 3, GROUND)


def board(x: float, y: float, z: float = 0.0, size: float = 2.0, tint: float = 0.5) -> Soup:
    corners = [[x, y + size / 2, z], [x, y - size / 2, z], [x, y - size / 2, z + size], [x, y + size / 2, z + size]]
    return quads(np.array([corners], float), UNIT, 0, (tint,) * 3)


def chessboard(x: float = 12.0, tile: float = 1.0) -> Soup:
    """Black and white tiles, (floor(y) + floor(z)) even is white."""
    return merge([board(x, y + tile / 2, z, tile, 0.9 if (y + z) % 2 == 0 else 0.02)
                  for y in range(-14, 14) for z in range(-6, 9)])


def scene(*soups: Soup) -> Scene:
    return Scene(merge(soups), TEXTURES)


def plain_light(weather: str = "overcast", **more: object) -> Light:
    """A day without flare, blur or drops, for measuring in its pictures."""
    light = daylight(np.random.default_rng(1), weather)
    film = Film(noise=0.0, blur=0.0, flare=0.0, vignette=0.0)
    return dataclasses.replace(light, film=film, **more)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def busy_scene() -> Scene:
    fence = wall(9.0, 0.2, 3.0, 0.4, FENCE)
    return scene(ground(), wall(25.0, 0.3), board(12.0, 3.0), board(8.0, -2.0, 0.5), fence)
