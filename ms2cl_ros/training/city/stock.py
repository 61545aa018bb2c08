# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one city has on its shelves: a drawn selection of a catalogue, its textures in the city's book.

A book is bound once and cars are parked after that, so all that a city may use is put on the shelves beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ms2cl_ros.training.city.catalogue import Catalogue
from ms2cl_ros.training.city.soup import Soup
from ms2cl_ros.training.city.textures import TextureBook

SHARE = 0.6
PORTIONS: Mapping[str, int] = {
    "car": 10, "van": 4, "lorry": 4, "bus": 2, "tram": 1, "container": 3, "house": 6, "block": 2, "shop": 2, "hall": 3,
    "church": 1, "shed": 2, "fence": 3, "wall": 2, "barrier": 1, "tree": 6, "lamp": 2, "sign": 1, "bus_stop": 1,
    "bin": 3, "bollard": 2, "bench": 2, "person": 5, "facade": 14, "facade_office": 6, "facade_hall": 3,
    "facade_shop": 2, "roof": 3, "grass": 2, "asphalt": 2, "earth": 2, "snow": 1, "masonry": 2, "leaf": 5,
    "leaf_autumn": 3, "needle": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Photograph:
    """A texture that shows `width` x `height` metres; `storeys`: 0 for what is no front."""

    texture: int
    width: float
    height: float
    storeys: float


@dataclass(frozen=True)
class Stock:
    """Meshes and photographs by class; an empty one has none of anything."""

    meshes: Mapping[str, list[Soup]] = field(default_factory=dict)
    photographs: Mapping[str, list[Photograph]] = field(default_factory=dict)

    def pick(
        self,
        rng: np.random.Generator,
        cls: str,
        max_length: float = np.inf,
        max_width: float = np.inf,
        max_height: float = np.inf,
        min_length: float = 0.0,
    ) -> Soup | None:
        """One mesh of the class that fits (metres along x, y, z), or None; one draw from `rng` whatever is there."""
        chance = rng.random()
        fitting = [s for s in self.meshes.get(cls, []) if _fits(s, (max_length, max_width, max_height), min_length)]
        return fitting[int(chance * len(fitting))] if fitting else None

    def photograph(
        self, rng: np.random.Generator, cls: str, height: float | None = None, slack: float = 0.3
    ) -> Photograph | None:
        """One photograph of the class, of about `height` metres (within the share `slack`), or None."""
        chance = rng.random()
        fitting = [
            p for p in self.photographs.get(cls, []) if height is None or abs(p.height - height) <= slack * height
        ]
        return fitting[int(chance * len(fitting))] if fitting else None

    def textures(self, cls: str) -> list[int]:
        """The texture numbers of all photographs of a class."""
        return [p.texture for p in self.photographs.get(cls, [])]


def stocked(
    rng: np.random.Generator, catalogue: Catalogue, book: TextureBook, portions: Mapping[str, int] = PORTIONS
) -> Stock:
    """Draws up to `portions[class]` entries of each class and enters their textures in `book`.

    Raises DataError for files that were catalogued and have become unreadable.
    """
    meshes: dict[str, list[Soup]] = {}
    photographs: dict[str, list[Photograph]] = {}
    for cls, portion in portions.items():
        entries = catalogue.of(cls)
        for k in rng.permutation(len(entries))[:portion]:
            entry = entries[int(k)]
            if entry.box is None:
                meshes.setdefault(cls, []).append(entry.soup(book))
            else:
                photograph = Photograph(entry.texture(book), entry.size[0], entry.size[2], entry.storeys)
                photographs.setdefault(cls, []).append(photograph)
    return Stock(meshes, photographs)


def mixed(
    rng: np.random.Generator,
    stock: Stock,
    cls: str,
    procedural: Callable[[], Soup],
    share: float = SHARE,
    max_length: float = np.inf,
    max_width: float = np.inf,
    max_height: float = np.inf,
) -> Soup:
    """With the chance `share` a mesh of the class from the stock, if one fits; else what `procedural` makes."""
    wanted = rng.random() < share
    found = stock.pick(rng, cls, max_length, max_width, max_height) if wanted else None
    return procedural() if found is None else found


def _fits(soup: Soup, high: tuple[float, float, float], min_length: float) -> bool:
    points = soup.corners.reshape(-1, 3)
    size = points.max(0) - [points[:, 0].min(), points[:, 1].min(), 0.0]
    return bool((size <= np.array(high)).all() and size[0] >= min_length)
