# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Houses and halls. Local frame: front at y = 0 facing -y, centred on x = 0, ground at z = 0."""

from __future__ import annotations

import numpy as np

from ms2cl_ros.training.city import fronts
from ms2cl_ros.training.city.painters import PLASTER, STOREY, Facade, facade
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import (
    Soup,
    Tint,
    box,
    cylinder,
    loft,
    merge,
    panel,
    quads,
    rectangle,
    slab,
    triangles,
)

ROOFS = ("along", "across", "hip", "mansard", "flat")
EAVES = 0.45


def house(
    rng: np.random.Generator, skins: Skins, width: float, depth: float, height: float, roof: str, shop: bool = False
) -> Soup:
    """A house with a painted front, relief on it and a roof; `height` metres to the eaves."""
    colour = PLASTER[rng.integers(len(PLASTER))] * rng.uniform(0.85, 1.05, 3)
    front = fronts.front(rng, skins, width, height, colour, shop)
    f = skins.book.add(front.image)
    colour = fronts.tone(front.image) if skins.stock.photographs else colour
    side = skins.book.add(facade(rng, depth, height, colour * 0.97).image)
    parts = [_body(width, depth, height, f, side), _roof(rng, skins, width, depth, height, roof, side)]
    parts += _relief(rng, skins, front, f, side, width, height)
    if roof == "along" and rng.random() < 0.45:
        parts += [_dormer(skins, x, depth, height, f) for x in front.columns[:: int(rng.integers(2, 4))] - width / 2]
    if rng.random() < 0.6 and roof != "flat":
        x, y = rng.uniform(-0.3, 0.3) * width, depth * rng.uniform(0.35, 0.65)
        parts.append(
            box(x - 0.35, x + 0.35, y - 0.35, y + 0.35, height, height + min(width, depth) * 0.5, skins.stone[0])
        )
    return merge(parts)


def hall(rng: np.random.Generator, skins: Skins, width: float, depth: float, height: float) -> Soup:
    """A workshop or supermarket: ribbed sheet, a flat or low roof, a porch, plant on top."""
    skin = int(rng.choice(skins.hall))
    tint = rng.uniform(0.7, 1.2) * rng.uniform(0.9, 1.1, 3)
    walls = loft(
        rectangle(-width / 2, width / 2, 0, depth, 0), rectangle(-width / 2, width / 2, 0, depth, height), skin, tint
    )
    walls = Soup(
        walls.corners, walls.uv * np.array([0.25, 3.0 / height], np.float32), walls.texture, walls.tint, walls.material
    )
    parts = [walls, _roof(rng, skins, width, depth, height, "flat" if rng.random() < 0.6 else "along", skin)]
    x = rng.uniform(-0.3, 0.3) * width
    parts.append(slab(x - 2.5, x + 2.5, -rng.uniform(1.0, 2.5), 0, 2.9, 3.3, skins.white, rng.uniform(0.2, 0.8, 3)))
    for _ in range(int(rng.integers(0, 4))):
        x, y = rng.uniform(-0.4, 0.4) * width, rng.uniform(0.2, 0.8) * depth
        parts.append(
            box(x - 1, x + 1, y - 1, y + 1, height, height + rng.uniform(0.8, 2.0), skins.white, (0.4, 0.4, 0.42))
        )
    return merge(parts)


def _body(width: float, depth: float, height: float, front: int, side: int) -> Soup:
    """Four walls, each with its whole picture."""
    ring, top = rectangle(-width / 2, width / 2, 0, depth, 0), rectangle(-width / 2, width / 2, 0, depth, height)
    after = [1, 2, 3, 0]
    uv = np.array([[0, 0], [1, 0], [1, 0.9995], [0, 0.9995]])
    return quads(np.stack([ring, ring[after], top[after], top], 1), uv, np.array([front, side, side, side]))


def _roof(
    rng: np.random.Generator, skins: Skins, width: float, depth: float, height: float, kind: str, gable: int
) -> Soup:
    """A roof over the body; `gable` is the texture of the wall triangles below a saddle."""
    tiles, tint = int(rng.choice(skins.roof)), rng.uniform(0.6, 1.2) * np.ones(3)
    a, b = width / 2 + EAVES, depth / 2 + EAVES
    rise = min(width, depth, 13.0) * rng.uniform(0.32, 0.52)
    if kind in ("along", "across"):
        return _saddle(width, depth, height, rise, kind == "across", (tiles, tint, gable))
    eaves = rectangle(-a, a, -EAVES, depth + EAVES, height)
    if kind == "hip":
        inset = 0.55 * min(a, b)
        return loft(
            eaves,
            rectangle(-a + inset, a - inset, -EAVES + 0.98 * b, depth + EAVES - 0.98 * b, height + rise),
            tiles,
            tint,
            lid=tiles,
            lid_tint=tint,
        )
    if kind == "mansard":
        return loft(
            eaves,
            rectangle(-a + 1.1, a - 1.1, 0.7, depth - 0.7, height + 2.4),
            tiles,
            tint,
            lid=skins.white,
            lid_tint=(0.2, 0.2, 0.2),
        )
    rim = rng.uniform(0.1, 0.9)
    parts = [
        box(
            -width / 2 - 0.12,
            width / 2 + 0.12,
            -0.12,
            depth + 0.12,
            height - 0.3,
            height + rim,
            skins.white,
            rng.uniform(0.25, 0.7) * np.ones(3),
        )
    ]
    if rng.random() < 0.4:
        x = rng.uniform(-0.25, 0.25) * width
        parts.append(box(x - 1.6, x + 1.6, depth * 0.4, depth * 0.7, height, height + 2.6, gable, metres=8.0))
    return merge(parts)


def _saddle(
    width: float, depth: float, height: float, rise: float, across: bool, skins: tuple[int, np.ndarray, int]
) -> Soup:
    """Two slopes and two gables; the ridge runs along the street, or across it."""
    tiles, tint, gable = skins
    a, b = (depth / 2, width / 2) if across else (width / 2, depth / 2)
    o, drop = EAVES, rise * EAVES / b
    slopes = [
        [[-a - o, s * (b + o), -drop], [a + o, s * (b + o), -drop], [a + o, 0, rise], [-a - o, 0, rise]]
        for s in (-1, 1)
    ]
    ends = np.array([[[s * a, -b, 0], [s * a, b, 0], [s * a, 0, rise]] for s in (-1, 1)])
    uv = np.array([[0, 0], [2 * a / 3, 0], [2 * a / 3, b / 2.5], [0, b / 2.5]])
    soup = merge([quads(np.array(slopes), uv, tiles, tint), triangles(ends, np.full((2, 3, 2), 0.004), gable)])
    turned = soup.corners[..., [1, 0, 2]] * np.array([-1, 1, 1], np.float32) if across else soup.corners
    return Soup(turned + np.array([0, depth / 2, height], np.float32), soup.uv, soup.texture, soup.tint, soup.material)


def _relief(
    rng: np.random.Generator, skins: Skins, front: Facade, f: int, side: int, width: float, height: float
) -> list[Soup]:
    """What stands out of a front: a bay or projection, balconies, a porch, a rain pipe."""
    parts, columns = [], front.columns - width / 2
    storey = height / front.storeys
    choice = rng.random()
    if choice < 0.3:
        x, half = rng.choice(columns), front.window / 2 + rng.uniform(0.3, 0.6)
        low = storey if front.storeys > 1 and rng.random() < 0.6 else 0.0
        parts.append(
            _projection(
                x - half, x + half, rng.uniform(0.5, 1.1), low, height * rng.uniform(0.8, 0.98), width, height, f, side
            )
        )
    elif choice < 0.5 and width > 9:
        x0 = -width / 2 + width * rng.choice([0.0, 0.33, 0.6])
        parts.append(
            _projection(
                x0,
                x0 + width * rng.uniform(0.3, 0.4),
                rng.uniform(0.4, 1.4),
                0.0,
                height + rng.uniform(0, 1.2),
                width,
                height,
                f,
                side,
            )
        )
    elif choice < 0.85 and front.storeys > 1:
        tint, rail = rng.uniform(0.25, 0.9) * np.ones(3), int(rng.choice([*skins.bars, skins.white]))
        for x in columns[int(rng.integers(2)) :: int(rng.integers(1, 4))]:
            parts += [
                _balcony(x, 0.7 + front.window / 2, k * storey + 0.1, skins, rail, tint)
                for k in range(1, front.storeys)
            ]
    if rng.random() < 0.5:
        x = rng.choice(columns)
        parts.append(
            slab(x - 0.9, x + 0.9, -rng.uniform(0.7, 1.3), 0, 2.45, 2.6, skins.white, rng.uniform(0.2, 0.7, 3))
        )
        parts.append(box(x - 0.8, x + 0.8, -0.9, 0, 0, 0.17, skins.stone[1]))
    pipe = cylinder(0.06, 0.06, height, skins.white, (0.35, 0.33, 0.3), sides=5)
    x = (width / 2 - 0.25) * rng.choice([-1, 1])
    parts.append(
        Soup(pipe.corners + np.array([x, -0.09, 0], np.float32), pipe.uv, pipe.texture, pipe.tint, pipe.material)
    )
    return parts


def _projection(
    x0: float, x1: float, out: float, z0: float, z1: float, width: float, height: float, front: int, side: int
) -> Soup:
    """A box before the front that carries the part of the picture behind it."""
    u0, u1 = x0 / width + 0.5, x1 / width + 0.5
    v0, v1 = z0 / height, min(z1 / height, 0.9995)
    uv = np.array([[u0, v0], [u1, v0], [u1, v1], [u0, v1]])
    shell = slab(x0, x1, -out, 0.0, z0, z1, side, (0.9, 0.9, 0.9))
    shell = Soup(shell.corners, shell.uv * 0.03, shell.texture, shell.tint, shell.material)
    return merge([shell, panel(x0, x1, -out - 0.01, z0, z1, front, uv=uv)])


def _balcony(x: float, half: float, z: float, skins: Skins, rail: int, tint: Tint) -> Soup:
    """A slab with a railing on three sides."""
    out = 1.15
    left = np.array([[[x - half, -out, z], [x - half, 0, z], [x - half, 0, z + 1.05], [x - half, -out, z + 1.05]]])
    uv = np.array([[0, 0], [half, 0], [half, 0.999], [0, 0.999]])
    return merge(
        [
            slab(x - half, x + half, -out, 0, z - 0.16, z, skins.white, tint),
            panel(x - half, x + half, -out, z, z + 1.05, rail, tint, uv=uv),
            quads(left, uv * [0.5, 1], rail, tint),
            quads(left + np.array([2 * half, 0, 0]), uv * [0.5, 1], rail, tint),
        ]
    )


def _dormer(skins: Skins, x: float, depth: float, height: float, front: int) -> Soup:
    """A small box in the roof's slope."""
    y0, y1 = 0.12 * depth, 0.45 * depth
    return merge(
        [
            slab(x - 0.8, x + 0.8, y0, y1, height, height + 1.7, skins.white, (0.55, 0.5, 0.45)),
            panel(x - 0.5, x + 0.5, y0 - 0.02, height + 0.55, height + 1.5, skins.windscreen),
            slab(x - 1.0, x + 1.0, y0 - 0.25, y1, height + 1.7, height + 1.85, skins.roof[3]),
        ]
    )


def heights(rng: np.random.Generator, low: float, high: float) -> float:
    """Metres to the eaves, in whole storeys and a plinth."""
    storeys = int(rng.integers(max(1, round(low / STOREY)), round(high / STOREY) + 1))
    return storeys * rng.uniform(2.75, 3.4) + rng.uniform(0.3, 0.9)
