# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The protocols of place recognition by their letters: which frames ask, which may answer, which answers are right.

    A    every frame asks every frame of its pass, its own scan among them; of two passes: the one asks the other
    A-   as A, without the frame's own scan
    B1   frames up to a split are the map, those 200 after it and later ask (BEVPlace)
    C    as A, on KITTI-360 without training on it
    D1   loop closure: each frame asks those more than 50 frames back, once; precision and recall (LCDNet, protocol 1)
    E    revisits: only scans taken more than some seconds or metres of road before or after; told apart by direction

A right answer is nearer than the radius (strictly; D1, as published, at most 4 m). B1 and D1 measure in space, the
others in the plane of two axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.tools.routes import Route

LETTERS = ("A", "A-", "B1", "C", "D1", "E")
# Two released evaluation scripts leave out a horizontal axis: their choices are here so that figures can be checked.
AXES = {"xz": (0, 2), "yz": (1, 2), "xy": (0, 1)}
RADII = {"A": (5.0, 10.0, 20.0), "A-": (10.0,), "B1": (5.0,), "C": (5.0, 10.0, 20.0), "D1": (4.0,),
         "E": (5.0, 10.0, 20.0)}
IN_SPACE = ("B1", "D1")
B1_SPLITS = {"00": 3000, "02": 3400, "05": 1000, "06": 600, "08": 1000}
B1_GAP, D1_FIRST, D1_GAP = 200, 100, 50
E_SECONDS = 30.0
SAME, OPPOSITE = np.deg2rad(45.0), np.deg2rad(135.0)
BLOCK = 1 << 22
NOT_TIED = 1e-9


@dataclass(frozen=True)
class Protocol:
    """`letter`: one of LETTERS. `axes`: one of AXES. `split`: B1's first frame that is not map. Of E: `seconds` or
    `metres` (of road) within which scans are left out, 0 for none; `online`: later scans are, too. `one_pass`: the
    frames that ask and those that answer are the same."""

    letter: str
    axes: str = "xz"
    split: int = 0
    seconds: float = E_SECONDS
    metres: float = 0.0
    online: bool = False
    one_pass: bool = True

    def __post_init__(self) -> None:
        if self.letter not in LETTERS or self.axes not in AXES:
            raise ConfigError(f"protocol {self.letter!r} on axes {self.axes!r}: there are {', '.join(LETTERS)} on "
                              f"{', '.join(AXES)}")
        if self.letter in ("A-", "B1", "D1") and not self.one_pass:
            raise ConfigError(f"protocol {self.letter} is made for one pass that has both sensors; of two passes, ask "
                              "A or E")
        if self.letter == "B1" and self.split <= 0:
            raise ConfigError("B1 wants the frame at which the map ends; it is known for KITTI's "
                              f"{', '.join(B1_SPLITS)} alone: give --split")

    @property
    def radii(self) -> tuple[float, ...]:
        """Metres."""
        return RADII[self.letter]

    @property
    def rule(self) -> str:
        """What may answer and how it is measured, in words."""
        distance = "in space" if self.letter in IN_SPACE else f"axes {self.axes}"
        if self.letter == "E":
            near = [f"{self.seconds:g} s"] * (self.seconds > 0) + [f"{self.metres:g} m of road"] * (self.metres > 0)
            left = f"scans within {' or '.join(near)} left out" if near else "no scan left out"
            return left + (", later ones too" if self.online else "") + f", {distance}"
        said = {"A": "own scan in", "A-": "own scan left out", "C": "own scan in",
                "B1": f"map: frames before {self.split}, queries from {self.split + B1_GAP} on",
                "D1": f"scans of the last {D1_GAP} frames left out"}[self.letter]
        return ("another pass's scans" if not self.one_pass else said) + f", {distance}"


def askers(protocol: Protocol, asked: Route) -> np.ndarray:
    """Rows of the pass that ask."""
    first = {"B1": protocol.split + B1_GAP, "D1": D1_FIRST}.get(protocol.letter, 0)
    return np.flatnonzero(asked.index >= first)


def answerable(protocol: Protocol, asked: Route, rows: np.ndarray, mapped: Route) -> np.ndarray:
    """(q, M) bool: the scans that the frames in `rows` may be answered with."""
    index = asked.index[rows][:, None]
    if protocol.letter == "A-":
        return mapped.index[None] != index
    if protocol.letter == "B1":
        return np.repeat(mapped.index[None] < protocol.split, len(rows), 0)
    if protocol.letter == "D1":
        return mapped.index[None] < index - D1_GAP
    out = np.ones((len(rows), len(mapped)), bool)
    if protocol.letter == "E":
        if protocol.seconds > 0:
            later = mapped.seconds[None] - asked.seconds[rows][:, None]
            out &= np.abs(later) > protocol.seconds + NOT_TIED
            out &= (later < 0) | (not protocol.online)
        if protocol.metres > 0:
            ahead = mapped.travelled[None] - asked.travelled[rows][:, None]
            out &= np.abs(ahead) > protocol.metres
            out &= (ahead < 0) | (not protocol.online)
    return out


def distances(protocol: Protocol, asked: Route, rows: np.ndarray, mapped: Route) -> np.ndarray:
    """(q, M) metres between frames in `rows` and scans."""
    chosen = (0, 1, 2) if protocol.letter in IN_SPACE else AXES[protocol.axes]
    squared = np.zeros((len(rows), len(mapped)))
    for axis in chosen:
        squared += (asked.position[rows, axis][:, None] - mapped.position[:, axis][None]) ** 2
    return np.sqrt(squared)


def within(protocol: Protocol, metres: np.ndarray, radius: float) -> np.ndarray:
    """Which distances make a right answer."""
    return metres <= radius if protocol.letter == "D1" else metres < radius


def blocks(rows: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """Rows in parts of which each takes about as much room, against `width` scans."""
    step = max(1, BLOCK // max(1, width))
    for first in range(0, len(rows), step):
        yield rows[first:first + step]


def directions(asked: Route, rows: np.ndarray, mapped: Route, right: np.ndarray) -> np.ndarray:
    """(q,) str: from where the right answers, (q, M) bool, come by: `same` way (within 45 degrees), `opposite` (from
    135), `both` of these, or `side`; `none` without any."""
    turn = np.abs((mapped.heading[None] - asked.heading[rows][:, None] + np.pi) % (2 * np.pi) - np.pi)
    same, opposite = (right & (turn <= SAME)).any(1), (right & (turn >= OPPOSITE)).any(1)
    kinds = np.where(same & opposite, "both", np.where(same, "same", np.where(opposite, "opposite", "side")))
    return np.where(right.any(1), kinds, "none")
