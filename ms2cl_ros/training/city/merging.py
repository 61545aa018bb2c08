# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a driven line to distinct roads: who comes by again, in either direction, drives on the road that is there."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from ms2cl_ros.training.city.network import Network, Road
from ms2cl_ros.training.city.routes import Route, line

REACH = 8.0
ALIGNED = np.cos(np.deg2rad(35))
SHORT_RIDE, SHORT_GAP, SHORT_ROAD = 14.0, 18.0, 12.0
WIDEST = 1.8
# Points of a line, 0.25 m apart, that are too near to its own end to be where it leads to.
OWN = 160
# Metres outside all carriageways from which on a driven line gets a road of its own.
OFF_ROAD = 0.3
# Metres between a driven line and the kerb: half a car and a hand's breadth.
ROOM = 1.05
# (half width, lanes each way, district) of a road by where it is driven first
Widths = Callable[[float], tuple[float, int, str]]


def distinct_roads(driven: Route, widths: Widths) -> Network:
    """The roads under a driven line, `widths(s)` wide; the line keeps to the right-hand lane where it is first driven.

    A road on which the line comes by in both directions lies between them, and is widened, by at most WIDEST, to hold
    all passes.
    """
    riding = revisited(driven)
    roads: list[Road] = []
    joined: set[tuple[int, int]] = set()
    turning: list[tuple[float, float, float]] = []
    for a, b in _runs(~riding, driven.closed and not riding.any()):
        s = driven.s[a:b]
        half, lanes, district = widths(float(s.mean()))
        lane = half * (lanes - 0.5) / lanes
        whole = driven.closed and b - a >= len(driven.s) - 1
        b, place = (b, None) if whole else _turning_place(driven, a, b)
        if place:
            turning.append(place)
        shift, half = _middle(driven, a, b, lane, half)
        x, y, _ = driven.at(driven.s[a:b], lane + shift)
        xy = np.stack([x, y], 1)
        if whole:
            roads.append(Road(line(xy, True), half, district, lanes))
            continue
        xy = _smooth(line(xy).xy)
        if _closes(xy):
            ring = line(np.concatenate([xy, xy[:1]])).xy[:-1]
            ring = gaussian_filter1d(ring, 16, axis=0, mode="wrap")
            roads.append(Road(line(np.concatenate([ring, ring[:1]]), True), half, district, lanes))
            continue
        for way in (1, -1):
            xy = line(xy).xy[::way]
            rest = xy[OWN:]
            own = [Road(line(rest), half)] if len(rest) > OWN else []
            xy, target = _connected(xy, roads + own)
            xy = xy[::way]
            if target is not None:
                joined.add((target, len(roads)))
        if np.linalg.norm(np.diff(xy, axis=0), axis=1).sum() > SHORT_ROAD:
            roads.append(Road(line(xy), half, district, lanes))
        else:
            joined = {pair for pair in joined if len(roads) not in pair}
    return _bridged(_split_at_crossings(roads, joined, np.array(turning).reshape(-1, 3)), driven)


def _closes(xy: np.ndarray) -> bool:
    """Whether a line comes back to its own beginning and goes on there."""
    gap = xy[0] - xy[-1]
    first, last = xy[min(8, len(xy) - 1)] - xy[0], xy[-1] - xy[max(0, len(xy) - 9)]
    aligned = first @ last > 0.6 * np.linalg.norm(first) * np.linalg.norm(last)
    return bool(len(xy) > 3 * OWN and np.linalg.norm(gap) < 14 and aligned and gap @ last > -5 * np.linalg.norm(last))


def revisited(driven: Route) -> np.ndarray:
    """(n,) bool: here the line has been before, within REACH metres and along the same axis."""
    step = 4
    xy, h, s = driven.xy[::step], driven.heading[::step], driven.s[::step]
    mask = np.zeros(len(xy), bool)
    for i, near in enumerate(cKDTree(xy).query_ball_point(xy, REACH)):
        j = np.array(near)
        gap = s[i] - s[j]
        back = gap > 0
        gap = np.minimum(gap, driven.length - gap) if driven.closed else gap
        along = np.cos(h[i] - h[j])
        mask[i] = (back & (((along > ALIGNED) & (gap > 30)) | ((along < -ALIGNED) & (gap > 6)))).any()
    for value, shortest in ((True, SHORT_RIDE), (False, SHORT_GAP)):
        for a, b in _runs(mask == value, False):
            if s[min(b, len(s) - 1)] - s[a] < shortest and a > 0 and b < len(s):
                mask[a:b] = not value
    return np.repeat(mask, step)[: len(driven.s)]


def _runs(mask: np.ndarray, closed: bool) -> list[tuple[int, int]]:
    """(first, end) of each run of True; all as one where `closed`."""
    if closed:
        return [(0, len(mask))]
    edge = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return list(zip(edge[::2].tolist(), edge[1::2].tolist(), strict=True))


def _turning_place(driven: Route, a: int, b: int) -> tuple[int, tuple[float, float, float] | None]:
    """Where a piece ends in a turn round, its end before that turn, and x, y, radius of the place."""
    h = driven.heading[a:b]
    turned = np.abs(h - h[-1])
    late = np.flatnonzero(np.abs(turned - np.pi) < np.deg2rad(25))
    if b >= len(driven.s) or not len(late) or len(h) - late[-1] > 320:
        return b, None
    cut = a + int(late[-1])
    loop = driven.xy[cut:b]
    middle = (loop.min(0) + loop.max(0)) / 2
    return cut, (float(middle[0]), float(middle[1]), float(np.linalg.norm(loop - middle, axis=1).max()) + 2.2)


def _middle(driven: Route, a: int, b: int, lane: float, half: float) -> tuple[np.ndarray, float]:
    """(n,) how far the road's middle lies left of where one lane's width suggests, and the half width it takes."""
    piece = line(driven.xy[a:b]) if b - a > 3 else driven
    others = np.r_[0:a, b : len(driven.s)]
    shift = np.zeros(b - a)
    s, d = piece.nearest(driven.xy[others])
    i = np.searchsorted(piece.s, s).clip(0, b - a - 1)
    along = np.cos(driven.heading[others] - driven.heading[a:b][i])
    rides = (np.abs(d) < 10) & (np.abs(along) > ALIGNED) & (piece.distance(driven.xy[others]) < 10)
    rides &= (s > 4) & (s < piece.length - 4)
    if not rides.any():
        return shift, half
    i, d = i[rides], d[rides]
    if (along[rides] < 0).any():
        back = along[rides] < 0
        total, count = np.bincount(i[back], d[back], b - a), np.bincount(i[back], minlength=b - a)
        weight = gaussian_filter1d(count.astype(float), 80) + 1e-3 / (b - a)
        gap = gaussian_filter1d(total - 2 * lane * count, 80) / weight
        shift = np.clip(gap / 2, -1.5, 3.0) * np.clip(weight / 0.02, 0, 1)
    beside = np.abs(d - lane - shift[i])
    return shift, float(np.clip(np.percentile(beside, 97) + ROOM + 0.2, half, half + WIDEST))


def _smooth(xy: np.ndarray, metres: float = 2.5) -> np.ndarray:
    """The line without wriggles, its ends where they were."""
    return _held(gaussian_filter1d(xy, metres / 0.25, axis=0, mode="nearest"), xy)


def _held(smooth: np.ndarray, xy: np.ndarray) -> np.ndarray:
    n = min(40, len(xy) // 2)
    weight = np.ones((len(xy), 1))
    weight[:n, 0], weight[len(xy) - n :, 0] = np.linspace(0, 1, n), np.linspace(1, 0, n)
    return weight * smooth + (1 - weight) * xy


def _connected(xy: np.ndarray, roads: list[Road]) -> tuple[np.ndarray, int | None]:
    """A line (spaced evenly) whose beginning is led to the middle of the road that it leaves, and the index of that
    road if it goes on from its end."""
    if not roads:
        return xy, None
    distance = np.array([r.line.distance(xy[:1])[0] for r in roads])
    target = int(np.argmin(distance))
    if distance[target] > 14:
        return xy, None
    road = roads[target].line
    if not road.closed:
        for end, inner in ((0, 20), (-1, -20)):
            tip, away = road.xy[end], road.xy[end] - road.xy[np.clip(inner, -len(road.xy), len(road.xy) - 1)]
            onward = xy[min(60, len(xy) - 1)] - tip
            if np.linalg.norm(tip - xy[0]) < 14 and onward @ away > 0.8 * np.linalg.norm(onward) * np.linalg.norm(away):
                rest = xy[np.linalg.norm(xy - tip, axis=1) > 12]
                return _smooth(line(np.concatenate([tip[None], rest])).xy), target
    away = road.distance(xy[:200])
    clear = np.flatnonzero(away > 8.0)
    if not len(clear):
        return xy[-2:], None
    k = int(clear[0])
    turn = np.abs(np.gradient(np.unwrap(np.arctan2(*np.gradient(xy, axis=0).T[::-1])))) / 0.25
    settled = np.flatnonzero(turn[k : k + 60] < 1 / 30)
    k += int(settled[0]) if len(settled) else 0
    t = xy[min(k + 8, len(xy) - 1)] - xy[k]
    back = xy[k] - np.arange(0.25, 32, 0.25)[:, None] * t / np.linalg.norm(t)
    hit = np.flatnonzero(road.distance(back) < 0.3)
    if len(hit):
        return np.concatenate([back[hit[0] :: -1], xy[k:]]), None
    foot = road.xy[road.tree.query(xy[k])[1]]
    return _smooth(line(np.concatenate([foot[None], xy[k:]])).xy), None


def _split_at_crossings(roads: list[Road], joined: set[tuple[int, int]], turning: np.ndarray) -> Network:
    """Roads that cross themselves are cut in pieces, so that no piece does."""
    out: list[Road] = []
    first: dict[int, tuple[int, int]] = {}
    links: set[tuple[int, int]] = set()
    for index, road in enumerate(roads):
        cuts = _cuts(road)
        pieces = [road]
        if len(cuts):
            ends = np.append(cuts, cuts[0] + road.line.length) if road.line.closed else [0, *cuts, road.line.length]
            pieces = []
            for a, b in itertools.pairwise(ends):
                x, y, _ = road.line.at(np.arange(a, b + 0.05, 0.25))
                pieces.append(Road(line(np.stack([x, y], 1)), road.half_width, road.district, road.lanes))
        n = len(out)
        first[index] = (n, n + len(pieces) - 1)
        links |= {(k, k + 1) for k in range(n, n + len(pieces) - 1)}
        if len(pieces) > 1 and road.line.closed:
            links.add((n, n + len(pieces) - 1))
        out += pieces
    for i, j in joined:
        ends = [(p, q) for p in first[i] for q in first[j]]
        tips = [min(np.linalg.norm(a - b) for a in out[p].line.xy[[0, -1]] for b in out[q].line.xy[[0, -1]])
                for p, q in ends]
        p, q = ends[int(np.argmin(tips))]
        links.add((min(p, q), max(p, q)))
    return Network(tuple(out), frozenset(links), turning)


def _bridged(network: Network, driven: Route) -> Network:
    """With a short road wherever the line still leaves all others, as between two ends that do not quite meet."""
    roads, links = list(network.roads), set(network.joined)
    for a, b in _runs(network.outside(driven.xy) > OFF_ROAD, False):
        a, b = max(0, a - 40), min(len(driven.xy), b + 40)
        link = line(driven.xy[a:b])
        width = float(np.median([r.half_width for r in roads]))
        for i, road in enumerate(network.roads):
            if min(road.line.distance(link.xy[[0, -1]])) < road.half_width:
                links.add((i, len(roads)))
        roads.append(Road(link, width, roads[-1].district))
    return Network(tuple(roads), frozenset(links), network.turning)


def _cuts(road: Road) -> np.ndarray:
    """Metres along a road at which to cut it, some way before and after each crossing with itself."""
    r, step = road.line, 4
    xy, s = r.xy[::step], r.s[::step]
    hits = []
    for i, near in enumerate(cKDTree(xy).query_ball_point(xy, 2 * road.half_width)):
        gap = np.abs(s[i] - s[near])
        gap = np.minimum(gap, r.length - gap) if r.closed else gap
        if (gap > 35).any():
            hits.append(s[i])
    cuts: list[float] = []
    for h in hits:
        if not cuts or h - cuts[-1] > 20:
            cuts += [h - 20, h + 20]
        cuts[-1] = h + 20
    kept = np.array(cuts)
    return kept if r.closed else kept[(kept > 15) & (kept < r.length - 15)]


def kept_on_road(driven: np.ndarray, network: Network) -> np.ndarray:
    """(n, 2) driven line, 0.25 m apart, moved as little as it takes to stay ROOM within the carriageways."""
    xy = driven.copy()
    for _ in range(12):
        f = network.outside(xy)
        push = f + ROOM
        out = push > 0
        if not out.any():
            break
        e = 0.1
        slope = np.stack([network.outside(xy + step) - f for step in np.eye(2) * e], 1) / e
        steep = np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 0.3)
        move = np.where(out[:, None], -slope / steep * (push[:, None] + 0.1), 0.0)
        xy += gaussian_filter1d(move, 10, axis=0, mode="nearest") * 1.2
    return xy
