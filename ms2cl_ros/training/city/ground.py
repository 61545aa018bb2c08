# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What lies flat: carriageways and their junctions, kerbs, pavements, front yards and the land around.

Where two surfaces overlap, as at junctions, one lies a few millimetres or a centimetre below the other.
"""

from __future__ import annotations

import itertools

import numpy as np

from ms2cl_ros.training.city.cutting import cut
from ms2cl_ros.training.city.districts import DISTRICTS
from ms2cl_ros.training.city.network import Network
from ms2cl_ros.training.city.painters import asphalt
from ms2cl_ros.training.city.pieces import Piece
from ms2cl_ros.training.city.plan import FRONT, KERB, LEFT, Plan, Stretch
from ms2cl_ros.training.city.routes import Route
from ms2cl_ros.training.city.skins import Skins
from ms2cl_ros.training.city.soup import GROUND, Soup, merge, quads

TILE = 8.0
STEP = 2.0
AROUND = 150.0
_PATCH = 16.0
_SUNK = 0.012
_EXTRAS = ("", "", "patch", "patch", "manhole", "crossing")


def ribbon(
    line: Route,
    s: tuple[float, float],
    d: tuple[float, float],
    z: tuple[float, float],
    texture: int,
    metres: float = 3.0,
    tint: float = 1.0,
    step: float = STEP,
) -> Soup:
    """A band along a line between two `s` and two `d`, at heights `z` of its two edges."""
    n, rows = max(1, round((s[1] - s[0]) / step)), max(1, round(abs(d[1] - d[0]) / 2.0))
    along = np.linspace(*s, n + 1)
    bands = []
    for r in range(rows):
        near, far = (
            np.stack([*line.at(along, d[0] + k * (d[1] - d[0]))[:2], np.full(n + 1, z[0] + k * (z[1] - z[0]))], 1)
            for k in (r / rows, (r + 1) / rows)
        )
        across = (abs(d[1] - d[0]) + abs(z[1] - z[0])) * np.array([r / rows, r / rows, (r + 1) / rows, (r + 1) / rows])
        ends = np.stack([along[:-1], along[1:], along[1:], along[:-1]], 1)
        uv = np.stack([ends, np.broadcast_to(across, ends.shape)], 2) / metres
        corners = np.stack([near[:-1], near[1:], far[1:], far[:-1]], 1)
        bands.append(quads(corners, uv, texture, np.full(3, tint), GROUND))
    return merge(bands)


class Ground:
    """Lays the ground of a plan; `pieces` grows."""

    def __init__(self, rng: np.random.Generator, plan: Plan, skins: Skins) -> None:
        self.rng, self.plan, self.skins, self.network = rng, plan, skins, plan.network
        self.pieces: list[Piece] = []
        self._surfaces: dict[tuple[int, int, bool], list[int]] = {}
        self.levels = _levels(self.network)

    def lay(self) -> None:
        """All of it."""
        for i in range(len(self.network.roads)):
            self._carriageway(i)
        self._corners()
        for stretch in self.plan.stretches:
            self._pavement(stretch)
        self.pieces += land(self.rng, self.plan, self.skins)

    # -- roads
    def _carriageway(self, i: int) -> None:
        """Tile by tile: dashes and edge lines, patches, manholes, zebra crossings; nothing painted in junctions."""
        rng, road = self.rng, self.network.roads[i]
        n = max(1, round(road.line.length / TILE))
        ends = np.linspace(0, road.line.length, n + 1)
        pick = rng.choice(5, n, p=[0.3, 0.3, 0.14, 0.12, 0.14])
        marked = bool(rng.random() < DISTRICTS[road.district].markings)
        bare = [not all(self.plan.open_at(i, side, s, 0.6) for s in (a, b) for side in (1, -1))
                for a, b in itertools.pairwise(ends)]
        for k in range(1, n):
            # people cross where streets meet, and here and there between
            at_mouth = bare[k - 1] != bare[k] and not bare[k]
            if not bare[k] and rng.random() < (0.35 if at_mouth else 0.012) and road.district != "country":
                pick[k] = 5
        for a, b, k, plain in zip(ends[:-1], ends[1:], pick, bare, strict=True):
            texture = self._surface(road.half_width, 0 if plain else road.lanes, marked and not plain)[k]
            self.pieces.append(Piece(self._tile(i, a, b, texture)))

    def _surface(self, half: float, lanes: int, marked: bool) -> list[int]:
        """Texture numbers of the kinds of tile; roads of about one width share them."""
        key = round(half * 2), lanes, marked
        if key not in self._surfaces:
            self._surfaces[key] = [
                self.skins.book.add(asphalt(self.rng, 2 * half, TILE, marked, extra, max(lanes, 1)))
                for extra in _EXTRAS
            ]
        return self._surfaces[key]

    def _tile(self, i: int, a: float, b: float, texture: int) -> Soup:
        road, z = self.network.roads[i], -_SUNK * self.levels[i]
        tile = ribbon(road.line, (a, b), (-road.half_width, road.half_width), (z, z), texture, 1.0)
        u = (tile.uv[..., :1] - a) / (b - a)
        uv = np.concatenate([u.clip(0, 0.9995), (tile.uv[..., 1:] / (2 * road.half_width)).clip(0, 0.9995)], 2)
        return Soup(tile.corners, uv.astype(np.float32), tile.texture, tile.tint, tile.material)

    def _corners(self) -> None:
        """The rounded corners of junctions and turning places: asphalt, and the kerb round it."""
        cells = set()
        for _, _, points in self.network.meetings():
            cells |= {tuple(c) for c in np.unique((points // _PATCH).astype(int), axis=0)}
        for x, y, radius in self.network.turning:
            low, high = (np.array([x, y]) - radius) // _PATCH, (np.array([x, y]) + radius) // _PATCH
            cells |= {(int(p), int(q)) for p in np.arange(low[0], high[0] + 1) for q in np.arange(low[1], high[1] + 1)}
        cells = {(p + i, q + j) for p, q in cells for i in (-1, 0, 1) for j in (-1, 0, 1)}
        half = float(np.median([r.half_width for r in self.network.roads]))
        surface = self._surface(half, 0, False)[0]
        for cell in sorted(cells):
            self._corner(np.array(cell) * _PATCH, surface)

    def _corner(self, low: np.ndarray, surface: int) -> None:
        side = np.arange(0, _PATCH + 0.01, 0.5)
        x, y = np.meshgrid(low[0] + side, low[1] + side)
        grid = np.stack([x, y, np.full_like(x, -5 * _SUNK)], -1)
        corners = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], 2).reshape(-1, 4, 3)
        middle = corners.mean(1)[:, :2]
        roads = np.array([r.outside(middle) for r in self.network.roads]).min(0)
        f = self.network.outside(middle)
        some = (f < 0.6) & (roads > -0.8)
        if not some.any():
            return
        corners = corners[some]
        patch = quads(corners, corners[..., :2] / TILE, surface, material=GROUND)
        patch, rim = cut(patch, lambda p: -self.network.outside(p), -0.02)
        if len(patch):
            self.pieces.append(Piece(patch))
        # roads bring their own kerbs wherever their rim is not rounded off
        middle = rim.mean(1)[:, :2]
        rounded = np.array([r.outside(middle) for r in self.network.roads]).min(0) > 0.04 if len(rim) else []
        if np.any(rounded):
            self.pieces.append(Piece(self._kerb(rim[rounded])))

    def _kerb(self, edges: np.ndarray) -> Soup:
        """A kerb stone's face and top along (n, 2, 3) edges that have the carriageway on their left."""
        a, b = edges[:, 0].copy(), edges[:, 1].copy()
        a[:, 2] = b[:, 2] = -6 * _SUNK
        up = np.array([0, 0, KERB + 6 * _SUNK])
        way = (b - a)[:, :2] / np.maximum(np.linalg.norm((b - a)[:, :2], axis=1, keepdims=True), 1e-6)
        out = np.c_[way[:, 1], -way[:, 0], np.zeros(len(a))] * 0.17
        unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        return merge([
            quads(np.stack([a, b, b + up, a + up], 1), unit, self.skins.white, np.full(3, 0.35), GROUND),
            quads(np.stack([a + up, b + up, b + up + out, a + up + out], 1), unit, self.skins.white,
                  np.full(3, 0.38), GROUND),
        ])

    # -- beside them
    def _pavement(self, x: Stretch) -> None:
        """Parking bays, kerb, verge, pavement and the front yards' ground of one stretch."""
        rng, skins, road = self.rng, self.skins, self.network.roads[x.road]
        paving, lawn = int(rng.choice(skins.paving)), int(rng.choice(skins.grass))
        tint, kerb, district = rng.uniform(0.75, 1.15), x.kerb, DISTRICTS[x.district]
        top = KERB - 0.004 * self.levels[x.road] - (0.002 if x.side == LEFT else 0.0)
        near = any(not self.plan.open_at(x.road, x.side, s, 26) for s in np.arange(x.s0, x.s1, 4.0))
        parts = []

        def band(d0: float, d1: float, z0: float, z1: float, texture: int, metres: float, shade: float) -> None:
            parts.append(ribbon(road.line, (x.s0, x.s1), (x.side * d0, x.side * d1), (z0, z1), texture, metres, shade,
                                1.0 if near else STEP))

        if not district.kerbed:
            band(kerb, kerb + 0.5, -0.02, top, lawn, 6.0, 0.8)
            band(kerb + 0.5, x.edge, top, top, lawn, 6.0, 0.95)
        else:
            low = -6 * _SUNK if near else -0.02
            band(kerb, kerb, low, KERB, skins.white, 1.0, 0.35)
            band(kerb, kerb + 0.15, KERB, KERB, skins.white, 1.0, 0.38)
            if x.parking:
                band(road.half_width, kerb, -0.002, 0, paving, 2.0, 0.55)
            if x.verge:
                band(kerb + 0.15, kerb + x.verge, top, top, lawn, 6.0, 1.0)
            band(kerb + max(0.15, x.verge), x.edge, top, top, paving, 2.4, tint)
        yard, size = (paving, 3.0) if district.paving or x.kind in ("terrace", "works", "square") else (lawn, 6.0)
        if x.kind in ("field", "wood", "park"):
            yard, size = lawn, 6.0
        band(x.edge, x.edge + FRONT, top - 0.018, top - 0.018, yard, size, tint * 0.95)
        # not only at junctions: bands also fold inside tight bends, and where one road goes on in another
        soup, _ = cut(merge(parts), self.network.outside, -0.02)
        if len(soup):
            self.pieces.append(Piece(soup))


def _levels(network: Network) -> np.ndarray:
    """(n,) for each road how many others it dips below where they meet; the first ones lie on top."""
    levels = np.zeros(len(network.roads), int)
    meeting: dict[int, set[int]] = {}
    for i, j, _ in network.meetings():
        meeting.setdefault(max(i, j), set()).add(min(i, j))
    for i in range(len(network.roads)):
        used = {int(levels[j]) for j in meeting.get(i, ())}
        levels[i] = min(set(range(5)) - used, default=4)
    return levels


def land(rng: np.random.Generator, plan: Plan, skins: Skins, cell: float = 4.0) -> list[Piece]:
    """The ground behind the front yards and out to the woods; it dips below the streets."""
    xy = np.concatenate([r.line.xy[::16] for r in plan.network.roads])
    block = 8 * cell
    near = np.unique((xy // block).astype(int), axis=0)
    reach = int(AROUND // block) + 1
    offsets = np.array([(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)
                        if np.hypot(i, j) <= reach])
    blocks = np.unique((near[:, None] + offsets[None]).reshape(-1, 2), axis=0)
    texture, tint = int(rng.choice(skins.grass)), np.full(3, rng.uniform(0.75, 1.05))
    pieces = []
    side = np.arange(9) * cell
    for i, j in blocks:
        x, y = np.meshgrid(i * block + side, j * block + side)
        behind = plan.beyond_pavements(np.stack([x.ravel(), y.ravel()], 1), 8.0).reshape(x.shape)
        grid = np.stack([x, y, np.where(behind < FRONT, KERB - 0.26, KERB - 0.07)], -1)
        corners = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], 2).reshape(-1, 4, 3)
        pieces.append(Piece(quads(corners, corners[..., :2] / 6.0, texture, tint, GROUND)))
    return pieces
