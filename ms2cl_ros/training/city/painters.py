# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Painters: pictures of walls, windows, ground and leaves, drawn from a random generator. RGB(A), uint8.

Facades are painted at TEXELS_PER_METRE; the others say what they cover.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from ms2cl_ros.training.city.textures import GLASS, HOLE, SOLID

TEXELS_PER_METRE = 16
STOREY = 3.0
PLASTER = np.array(
    [
        [236, 230, 214],
        [222, 205, 168],
        [214, 186, 126],
        [232, 214, 196],
        [190, 188, 182],
        [205, 160, 128],
        [168, 96, 74],
        [150, 82, 62],
        [196, 206, 204],
        [182, 196, 172],
        [240, 238, 232],
        [120, 116, 112],
    ],
    float,
)


@dataclass(frozen=True)
class Facade:
    """A painted front. `columns`: (n,) centres of its window axes, metres from the left; `window`: width, metres."""

    image: np.ndarray
    columns: np.ndarray
    window: float
    storeys: int


def finish(image: np.ndarray, rng: np.random.Generator, grain: float = 5.0, blotch: float = 0.06) -> np.ndarray:
    """Float picture (h, w, 3) to uint8 with soft blotches and grain."""
    h, w = image.shape[:2]
    soft = cv2.resize(rng.normal(1, blotch, (9, 9)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    return np.clip(image * soft[..., None] + rng.normal(0, grain, (h, w, 1)), 0, 255).astype(np.uint8)


def plaster(rng: np.random.Generator, height: int, width: int, colour: np.ndarray) -> np.ndarray:
    """(h, w, 3) float wall of one colour; brick courses where the colour is a brick's."""
    wall = np.empty((height, width, 3), np.float32)
    wall[:] = colour
    if colour[0] - colour[2] > 75 and rng.random() < 0.7:
        wall *= (
            rng.uniform(0.86, 1.12, ((height + 3) // 4, (width + 6) // 7))
            .repeat(4, 0)
            .repeat(7, 1)[:height, :width, None]
        )
        wall[::4] *= 0.86
    return wall


def facade(rng: np.random.Generator, width: float, height: float, colour: np.ndarray, shop: bool = False) -> Facade:
    """The front of a house, `width` x `height` metres, with windows on a grid, a door, perhaps a shop."""
    px = TEXELS_PER_METRE
    h, w = max(8, int(height * px)), max(8, int(width * px))
    wall = plaster(rng, h, w, colour)
    alpha = np.full((h, w), SOLID, np.uint8)
    storeys = max(1, round(height / STOREY))
    window, tall = rng.uniform(0.9, 1.7), rng.uniform(1.2, 1.75)
    n = max(1, int(width / (window + rng.uniform(0.8, 2.0))))
    columns = (np.arange(n) + 0.5) * width / n
    style = {
        "frame": rng.uniform(150, 250),
        "shutter": rng.uniform(0.35, 0.8) if rng.random() < 0.35 else 0.0,
        "sill": rng.random() < 0.6,
    }
    if rng.random() < 0.5:
        wall[-int(rng.uniform(0.4, 0.9) * px) :] *= 0.6
    if rng.random() < 0.4:
        wall[: int(0.35 * px)] *= rng.uniform(0.6, 1.25)
    door = int(rng.integers(n))
    for storey in range(storeys):
        base = h - int((storey * height / storeys + 0.95) * px)
        for i, x in enumerate(columns):
            size = (window * px, tall * px)
            if storey == 0 and i == door:
                _opening(wall, alpha, (x * px, h), (1.1 * px, 2.2 * px), rng, {**style, "shutter": 0.0}, door=True)
            elif not (storey == 0 and shop) and rng.random() > 0.04:
                _opening(wall, alpha, (x * px, base), size, rng, style)
    if shop:
        _shop(wall, alpha, rng, int(min(2.9, height) * px))
    return Facade(np.dstack([finish(wall, rng), alpha]), columns, window, storeys)


def _opening(
    wall: np.ndarray,
    alpha: np.ndarray,
    foot: tuple[float, float],
    size: tuple[float, float],
    rng: np.random.Generator,
    style: dict,
    door: bool = False,
) -> None:
    """Paints one window or door whose lower edge is centred on `foot` (texels)."""
    x0, x1 = int(max(0, foot[0] - size[0] / 2)), int(foot[0] + size[0] / 2)
    y0, y1 = int(max(0, foot[1] - size[1])), int(foot[1])
    if style["shutter"]:
        half = int(size[0] / 2)
        wall[y0:y1, max(0, x0 - half) : x1 + half] *= style["shutter"]
    wall[y0:y1, x0:x1] = style["frame"]
    if door:
        wall[y0 + 2 : y1, x0 + 2 : x1 - 2] = rng.uniform(25, 130, 3)
        return
    dark = rng.uniform(18, 95)
    wall[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] = np.array([0.9, 1.0, 1.12]) * dark
    if rng.random() < 0.35:
        wall[y0 + 2 : y0 + int((y1 - y0) * rng.uniform(0.2, 0.9)), x0 + 2 : x1 - 2] = rng.uniform(120, 220)
    else:
        alpha[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] = GLASS
    middle = (x0 + x1) // 2
    wall[y0:y1, middle : middle + 2] = style["frame"]
    alpha[y0:y1, middle : middle + 2] = SOLID
    if style["sill"]:
        wall[y1 : y1 + 3, max(0, x0 - 3) : x1 + 3] *= 0.65


def _shop(wall: np.ndarray, alpha: np.ndarray, rng: np.random.Generator, top: int) -> None:
    """Shop windows along the ground floor below a coloured board."""
    h, w = alpha.shape
    wall[h - top :] = wall[h - top :] * 0.3 + 25
    wall[h - top : h - top + int(0.55 * TEXELS_PER_METRE)] = rng.uniform(30, 230, 3)
    edges = np.linspace(4, w - 4, max(2, w // 55) + 1).astype(int)
    for a, b in itertools.pairwise(edges):
        wall[h - top + 12 : h - 7, a + 2 : b - 2] = np.array([0.9, 1.0, 1.1]) * rng.uniform(25, 90)
        alpha[h - top + 12 : h - 7, a + 2 : b - 2] = GLASS


def corrugated(rng: np.random.Generator) -> np.ndarray:
    """The wall of a hall, 12 x 6 m: ribbed sheet, a band, gates."""
    wall = np.empty((96, 192, 3), np.float32)
    wall[:] = rng.uniform(70, 225) * rng.uniform(0.85, 1.1, 3)
    wall[:, :: int(rng.integers(4, 9))] *= 0.8
    if rng.random() < 0.6:
        wall[: int(rng.integers(10, 30))] = rng.uniform(30, 220, 3)
    for x in range(12, 170, int(rng.integers(50, 90))):
        wall[50:, x : x + 34] *= rng.uniform(0.45, 1.2)
    if rng.random() < 0.5:
        wall[22:36, 8:184] = 60
    return finish(wall, rng)


def courses(
    rng: np.random.Generator, size: int, colour: np.ndarray, spread: float = 0.2, aspect: float = 2.0
) -> np.ndarray:
    """96 x 96 texels of bricks, stones or tiles in courses of `size` texels; tileable."""
    n = 96
    image = np.empty((n, n, 3), np.float32)
    image[:] = colour
    for y in range(0, n, size):
        x = np.arange(n) + (y // size % 2) * int(size * aspect / 2)
        shade = rng.uniform(1 - spread, 1 + spread, n)[(x // int(size * aspect)) % max(1, n // int(size * aspect))]
        image[y : y + size] *= shade[None, :, None]
        image[y : y + size, (x % int(size * aspect)) == 0] *= 0.8
    image[::size] *= 0.75
    return finish(image, rng, 4, 0.0)


def asphalt(
    rng: np.random.Generator, width: float, length: float, lines: bool, extra: str = "", lanes: int = 1
) -> np.ndarray:
    """A piece of road, `length` along the rows' direction x and `width` across, 20 texels a metre; with `lines` those
    between `lanes` each way and along the edges; `extra`: 'patch', 'manhole', 'crossing' or nothing."""
    px = 20
    h, w = int(width * px), int(length * px)
    road = np.full((h, w, 3), 92.0, np.float32) * rng.uniform(0.92, 1.08)
    road += cv2.resize(rng.normal(0, 7, (6, 14)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)[..., None]
    for lane in (np.arange(2 * lanes) + 0.5) / (2 * lanes):
        road[int((lane - 0.06 / lanes) * h) : int((lane + 0.06 / lanes) * h)] *= 0.93
    if extra == "patch":
        a, b = sorted(rng.integers(0, w, 2))
        c, d = sorted(rng.integers(0, h, 2))
        road[c:d, a:b] *= rng.uniform(0.7, 0.9)
    if extra == "manhole":
        cv2.circle(road, (int(rng.integers(20, w - 20)), int(h * rng.uniform(0.2, 0.8))), 7, (52, 50, 48), -1)
    if extra == "crossing":
        for y in range(10, h - 10, 20):
            road[y : y + 10, w // 2 - 35 : w // 2 + 35] = 205
    if lines:
        road[h // 2 - 1 : h // 2 + 2, : w if lanes > 1 else w // 2] = 210
        for k in range(1, 2 * lanes):
            if k != lanes:
                road[k * h // (2 * lanes) - 1 : k * h // (2 * lanes) + 2, : w // 2] = 205
        road[6:9] = road[-9:-6] = 190
    return finish(road, rng, 6, 0.02)


def wild(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The (h, w, 4) picture with colours that nobody has seen on it; its holes and panes stay where they are."""
    h, w = image.shape[:2]
    rgb: np.ndarray = image[..., :3].astype(np.float32)
    kind = rng.integers(4)
    if kind == 0:
        rgb = rgb[..., rng.permutation(3)] * rng.uniform(0.4, 1.6, 3)
    elif kind == 1:
        rgb = rgb.mean(2, keepdims=True) / 255 * rng.uniform(30, 330, 3)
    elif kind == 2:
        blobs = rng.uniform(0, 255, (int(rng.integers(2, 9)), int(rng.integers(2, 9)), 3)).astype(np.float32)
        rgb = cv2.resize(blobs, (w, h), interpolation=int(rng.choice([cv2.INTER_NEAREST, cv2.INTER_CUBIC]))).reshape(
            h, w, 3
        )
    else:
        rgb = np.broadcast_to(rng.uniform(10, 245, 3), (h, w, 3)) + rng.normal(0, rng.uniform(0, 30), (h, w, 1))
    return np.dstack([np.clip(rgb, 0, 255).astype(np.uint8), image[..., 3]])


def planks(rng: np.random.Generator) -> np.ndarray:
    """2.5 m of wooden fence, one plank high, with gaps between the planks."""
    board, gap = int(rng.integers(5, 12)), int(rng.integers(1, 4))
    fence = np.zeros((48, 120, 4), np.uint8)
    colour = rng.uniform(0.5, 1.2) * np.array([112, 88, 64])
    for x in range(0, 120, board):
        fence[:, x : x + board - gap, :3] = np.clip(colour * rng.uniform(0.8, 1.2), 0, 255)
        fence[:, x : x + board - gap, 3] = SOLID
    for y in (7, 36):
        fence[y : y + 5] = [*np.clip(colour * 0.8, 0, 255), SOLID]
    return fence


def bars(rng: np.random.Generator, pitch: int = 6) -> np.ndarray:
    """2.5 m of railing: thin uprights, a rail above and below, else holes."""
    rail = np.full((48, 120, 4), HOLE, np.uint8)
    colour = [*np.full(3, int(rng.uniform(30, 190))), SOLID]
    rail[:, ::pitch] = rail[:, 1::pitch] = colour
    rail[:3] = rail[-5:-2] = colour
    return rail


def car_windows() -> np.ndarray:
    """The glass band of a car's side: dark panes between white pillars, which take the car's tint."""
    band = np.full((24, 96, 4), 255, np.uint8)
    for a, b in ((3, 44), (48, 92)):
        band[3:20, a:b] = [40, 46, 52, GLASS]
    return band


def windscreen() -> np.ndarray:
    """Glass with a frame."""
    pane = np.full((24, 48, 4), 255, np.uint8)
    pane[2:22, 3:45] = [36, 42, 48, GLASS]
    return pane


def sign(rng: np.random.Generator) -> np.ndarray:
    """A traffic sign's face, cut out round, as a triangle or square."""
    face = np.zeros((32, 32, 4), np.uint8)
    rim, fill = [((190, 30, 30), (235, 235, 235)), ((30, 60, 160), (30, 60, 160)), ((235, 235, 235), (230, 190, 30))][
        int(rng.integers(3))
    ]
    shape = int(rng.integers(3))
    outline = [
        np.array([[16 + 15 * np.cos(a), 16 + 15 * np.sin(a)] for a in np.linspace(0, 2 * np.pi, 24)]),
        np.array([[1, 30], [31, 30], [16, 2]]),
        np.array([[1, 1], [31, 1], [31, 31], [1, 31]]),
    ][shape]
    centre = outline.mean(0)
    cv2.fillPoly(face, [outline.astype(np.int32)], (*rim, SOLID))
    cv2.fillPoly(face, [(centre + 0.68 * (outline - centre)).astype(np.int32)], (*fill, SOLID))
    if rng.random() < 0.6:
        cv2.line(face, (10, 20), (22, 12), (20, 20, 20, SOLID), 3)
    return face


def poster(rng: np.random.Generator) -> np.ndarray:
    """What sticks on hoardings and columns: blocks of loud colours."""
    sheet = np.full((48, 96, 3), 220, np.float32)
    for x in range(0, 96, 24):
        sheet[3:45, x + 2 : x + 22] = rng.uniform(20, 240, 3)
        sheet[int(rng.integers(6, 22)) : int(rng.integers(24, 42)), x + 5 : x + 19] = rng.uniform(20, 240, 3)
    return finish(sheet, rng)
