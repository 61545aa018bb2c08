# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Districts: what is built where, how wide and how high, in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]


@dataclass(frozen=True)
class District:
    """Metres throughout. `kinds`: weights of what lines the road (see `frontage`); `high`: to the eaves, of houses in
    rows; `low`: of detached ones; `setback`, `gap`: before and between detached houses; `open_row`: share of houses in
    a row followed by a gap; `kerbed`: False for grass shoulders; `verge`, `parking`, `markings`, `masts`: shares;
    `lamps`, `trees`: distances along the pavement, 0 for none; `side_streets`: metres between two, of either side;
    `built`, `wooded`: shares of the background that houses and trees take; `paving`: whether front yards are paved."""

    half_width: Range
    kinds: Mapping[str, float]
    high: Range = (6.0, 14.0)
    low: Range = (3.0, 8.0)
    setback: Range = (1.5, 9.0)
    gap: Range = (2.0, 8.0)
    open_row: float = 0.3
    walk: Range = (1.3, 2.2)
    verge: float = 0.2
    parking: float = 0.6
    lanes: int = 1
    kerbed: bool = True
    markings: float = 0.6
    lamps: float = 24.0
    trees: float = 0.0
    side_streets: float = 120.0
    built: float = 0.4
    wooded: float = 0.75
    paving: bool = False
    masts: float = 0.0


DISTRICTS: Mapping[str, District] = {
    "residential": District(
        (2.8, 3.5), {"villas": 0.5, "terrace": 0.2, "avenue": 0.16, "park": 0.06, "car_park": 0.03, "square": 0.05},
        high=(5.0, 10.0), markings=0.3, masts=0.2,
    ),
    "old_town": District(
        (2.5, 3.1), {"terrace": 0.86, "square": 0.09, "park": 0.05}, high=(8.0, 18.0), open_row=0.07,
        walk=(1.5, 2.1), verge=0.0, parking=0.35, markings=0.05, lamps=18.0, side_streets=75.0, built=0.75, wooded=0.3,
        paving=True,
    ),
    "arterial": District(
        (6.2, 7.2), {"avenue": 0.36, "terrace": 0.26, "works": 0.14, "car_park": 0.1, "park": 0.08, "square": 0.06},
        high=(9.0, 22.0), open_row=0.4, walk=(2.4, 4.0), verge=0.7, parking=0.15, lanes=2, markings=1.0, lamps=30.0,
        trees=11.0, side_streets=150.0, paving=True,
    ),
    "park": District(
        (2.8, 3.4), {"park": 0.52, "wood": 0.24, "villas": 0.12, "avenue": 0.12}, setback=(5.0, 12.0), gap=(6.0, 16.0),
        verge=0.5, parking=0.25, markings=0.3, lamps=32.0, trees=13.0, side_streets=190.0, built=0.08, wooded=0.95,
    ),
    "industrial": District(
        (3.6, 4.2), {"works": 0.7, "car_park": 0.16, "field": 0.09, "terrace": 0.05}, high=(4.0, 9.0), open_row=0.6,
        walk=(1.2, 1.8), verge=0.3, parking=0.3, markings=0.8, lamps=34.0, side_streets=170.0, built=0.3, wooded=0.35,
        masts=0.3,
    ),
    "country": District(
        (2.7, 3.2), {"field": 0.56, "wood": 0.27, "villas": 0.17}, low=(3.0, 6.5), setback=(6.0, 16.0),
        gap=(8.0, 25.0), walk=(0.9, 1.6), verge=0.0, parking=0.0, kerbed=False, markings=0.9, lamps=0.0,
        side_streets=240.0, built=0.04, wooded=0.4, masts=0.45,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Districts:
    """Which district lies where along a driven line: `names[i]` up to `ends[i]` metres."""

    names: tuple[str, ...]
    ends: np.ndarray

    def at(self, s: float) -> str:
        """The district's name at `s` metres."""
        return self.names[min(int(np.searchsorted(self.ends, s)), len(self.names) - 1)]


def lay_districts(rng: np.random.Generator, name: str, length: float) -> Districts:
    """One district throughout, or, for "mixed", another every 110 to 260 m, no two alike in a row."""
    if name != "mixed":
        return Districts((name,), np.array([length]))
    names: list[str] = []
    ends = [0.0]
    while ends[-1] < length:
        others = [k for k in DISTRICTS if k not in names[-1:]]
        names.append(str(rng.choice(others)))
        ends.append(ends[-1] + rng.uniform(110, 260))
    return Districts(tuple(names), np.array(ends[1:]))
