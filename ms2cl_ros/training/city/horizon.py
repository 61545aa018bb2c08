# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the view ends: belts of woods round the city, and a ring round what is traced of it."""

from __future__ import annotations

import cv2
import numpy as np

from ms2cl_ros.training.city.network import Network
from ms2cl_ros.training.city.pieces import Piece
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import LEAF, Soup, quads

BELTS = (72.0, 100.0)
_CELL = 4.0


def belts(rng: np.random.Generator, network: Network, skins: Skins) -> list[Piece]:
    """Ragged dark woods along lines that keep their distance from all roads, so that no bright gap stays below the
    skyline."""
    xy = np.concatenate([r.line.xy[::8] for r in network.roads])
    low = xy.min(0) - max(BELTS) - 20
    shape = np.ceil((xy.max(0) + max(BELTS) + 20 - low) / _CELL).astype(int)
    road = np.full(shape[::-1], 255, np.uint8)
    column, row = ((xy - low) / _CELL).astype(int).T
    road[row, column] = 0
    distance = cv2.distanceTransform(road, cv2.DIST_L2, 5) * _CELL
    pieces = []
    for far in BELTS:
        rings, _ = cv2.findContours((distance < far).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        for ring in rings:
            foot = (ring[::2, 0] * _CELL + low).astype(float)
            if len(foot) > 8:
                foot = np.concatenate([foot, foot[:1]])
                for k in range(0, len(foot) - 1, 12):
                    pieces.append(Piece(_woods(rng, foot[k : k + 13], skins, (8, 13), -2.0)))
    return pieces


def ring(seed: int, x: float, y: float, radius: float, skins: Skins) -> Soup:
    """Woods round a place, beyond which nothing is traced."""
    rng = np.random.default_rng([seed, 8, int(x) % 2**31, int(y) % 2**31])
    a = np.linspace(0, 2 * np.pi, 161)
    return _woods(rng, np.stack([x + radius * np.cos(a), y + radius * np.sin(a)], 1), skins, (9, 15), -3.0)


def _woods(rng: np.random.Generator, foot: np.ndarray, skins: Skins, height: tuple[float, float], low: float) -> Soup:
    """An upright band above (n, 2) points."""
    top = rng.uniform(*height) * rng.uniform(0.7, 1.3, len(foot))
    if np.allclose(foot[0], foot[-1]):
        top[-1] = top[0]
    down, up = np.c_[foot, np.full(len(foot), low)], np.c_[foot, top]
    corners = np.stack([down[:-1], down[1:], up[1:], up[:-1]], 1)
    tint = rng.uniform(0.75, 1.25) * np.ones(3)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(foot, axis=0), axis=1))]) / 30.0
    uv = np.stack([np.c_[along[k], np.full(len(foot) - 1, v)]
                   for k, v in ((np.s_[:-1], 0.0), (np.s_[1:], 0.0), (np.s_[1:], 0.999), (np.s_[:-1], 0.999))], 1)
    return quads(corners, uv, int(rng.choice(skins.woods)), tint, LEAF)
