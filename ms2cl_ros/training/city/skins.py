# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The textures that many things share, painted once per street."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ms2cl_ros.training.city import foliage, painters
from ms2cl_ros.training.city.catalogue import catalogue_of
from ms2cl_ros.training.city.stock import Stock, stocked
from ms2cl_ros.training.city.textures import TextureBook


@dataclass(frozen=True)
class Skins:
    """Texture numbers by what they cover. `book` takes the fronts that are painted house by house; `stock` holds what
    comes from folders of assets, nothing by default. `leaf`
    falls in autumn, `needle` and `clipped` (hedges) stay."""

    book: TextureBook
    leaf: list[int]
    needle: list[int]
    clipped: list[int]
    woods: list[int]
    bark: list[int]
    roof: list[int]
    stone: list[int]
    hall: list[int]
    paving: list[int]
    grass: list[int]
    planks: list[int]
    bars: list[int]
    mesh: int
    signs: list[int]
    posters: list[int]
    car_windows: int
    windscreen: int
    white: int = 0
    stock: Stock = field(default_factory=Stock)


def paint_skins(rng: np.random.Generator) -> Skins:
    """All shared textures, drawn from `rng`."""
    book = TextureBook()

    def several(n: int, painter, *arguments) -> list[int]:  # type: ignore[no-untyped-def]
        return [book.add(painter(rng, *arguments)) for _ in range(n)]

    tiles = [(150, 74, 52), (126, 62, 48), (96, 58, 50), (88, 84, 84), (64, 64, 70), (160, 92, 64)]
    stones = [(150, 92, 70), (158, 150, 138), (190, 182, 168), (128, 122, 112), (176, 160, 130)]
    slabs = [(150, 146, 140), (136, 132, 130), (164, 152, 140)]
    return Skins(
        book,
        leaf=several(8, foliage.leaves),
        needle=several(4, foliage.needles),
        clipped=several(7, foliage.leaves),
        woods=several(3, foliage.forest),
        bark=several(4, foliage.bark),
        roof=[book.add(painters.courses(rng, 6, np.array(c), 0.14)) for c in tiles],
        stone=[book.add(painters.courses(rng, int(rng.choice([6, 8, 12])), np.array(c))) for c in stones],
        hall=several(5, painters.corrugated),
        paving=[book.add(painters.courses(rng, int(rng.choice([12, 16, 24])), np.array(c), 0.08, 1.0)) for c in slabs],
        grass=several(3, foliage.grass),
        planks=several(4, painters.planks),
        bars=several(3, painters.bars),
        mesh=book.add(painters.bars(rng, 4)),
        signs=several(10, painters.sign),
        posters=several(4, painters.poster),
        car_windows=book.add(painters.car_windows()),
        windscreen=book.add(painters.windscreen()),
    )


def with_assets(skins: Skins, folders: tuple[str, ...], rng: np.random.Generator) -> Skins:
    """The skins with a stock drawn from folders of assets, whose roofs, lawns, walls and leaves take the place of some
    painted ones. Without folders nothing changes. Raises DataError for a folder without known data."""
    if not folders:
        return skins
    stock = stocked(rng, catalogue_of(folders), skins.book)
    return replace(
        skins,
        stock=stock,
        roof=_partly(rng, skins.roof, stock.textures("roof")),
        grass=_partly(rng, skins.grass, stock.textures("grass")),
        stone=_partly(rng, skins.stone, stock.textures("masonry")),
        leaf=_partly(rng, skins.leaf, stock.textures("leaf")),
        needle=_partly(rng, skins.needle, stock.textures("needle")),
    )


def _partly(rng: np.random.Generator, painted: list[int], photographed: list[int]) -> list[int]:
    """As many as were painted, about half of them photographs."""
    chosen = list(painted)
    for k, number in zip(rng.permutation(len(painted))[: (len(painted) + 1) // 2], photographed):
        chosen[int(k)] = number
    return chosen
