# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Do two maps share a frame? Places of one are looked up in the other by descriptor, and the answers must agree.

What moves one map onto the other is taken to be a turn about z and a translation: both know which way is up. Pairs
of look-alikes are found with the index, a transform is voted for by those pairs that agree on it, and the points of
the submaps that then lie side by side refine it (point to plane, all pairs at once).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.geometry import apply, rotation_z, transform, yaw
from ms2cl_ros.core.index import Index
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.projection import directions
from ms2cl_ros.core.types import Submap
from ms2cl_ros.tools.point_alignment import Alignment, Patch, align

# Look-ups: so many submaps of B, in so many headings each, with so many answers.
ASKED, HEADINGS, ANSWERS = 200, 4, 2
# Two look-alikes agree with a transform if it brings them this near, metres, and this close in heading, radians.
NEAR, TURNED = 3.0, np.deg2rad(20.0)
# A turn is measured between places at least this far apart, metres.
BASELINE = 8.0
TRIALS = 1000
# Fewer places than this, or a smaller share of their points on the other map's surfaces, is no overlap.
FEWEST, COVERED = 4, 0.5
# So many places are laid over each other, with points this near to the sensor, metres.
PATCHES, PATCH_REACH = 20, 30.0


@dataclass(frozen=True)
class Agreement:
    """`T_a_b` (4 x 4) moves map B onto map A. `metres`, `radians`: by how much, where the two overlap.

    `places`: how many submaps of B agree, of `asked`. `residual`: metres, median distance of B's points from A's
    surfaces afterwards; `covered`: share of them that lie within half a metre of one.
    """

    T_a_b: np.ndarray
    metres: float
    radians: float
    places: int
    asked: int
    residual: float
    covered: float

    def same_frame(self, metres: float, radians: float) -> bool:
        """Whether the maps lie on each other within these tolerances as they are."""
        return self.metres <= metres and self.radians <= radians


@dataclass(frozen=True)
class _Looks:
    """Pairs of look-alikes, row by row: `a`, `b`: (n, 4) x y z and heading on the map, `key`: submap of B."""

    a: np.ndarray
    b: np.ndarray
    key: np.ndarray


def compare(a: Store, b: Store, size: int, config: Config) -> Agreement | None:
    """How map B lies on map A, both made with one model of `size` numbers; None where no overlap is found.

    Raises StoreError if a map cannot be read. Deterministic.
    """
    looks, asked = _look_up(a, b, size, config)
    if len(looks.key) < FEWEST:
        return None
    T = _vote(looks)
    if T is None:
        return None
    patches, places = _patches(a, b, T)
    if places < FEWEST:
        return None
    found: Alignment = align(patches, T)
    if found.covered < COVERED:
        return None
    T = found.T_target_source
    middle = np.median([p.place for p in patches], axis=0)
    moved = float(np.linalg.norm(apply(T, middle[None])[0] - middle))
    return Agreement(T, moved, abs(yaw(T)), places, asked, found.residual, found.covered)


def _spread(items: Sequence, count: int) -> list:
    """At most `count` of the items, evenly over their order."""
    rows = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    return [items[i] for i in rows]


def _look_up(a: Store, b: Store, size: int, config: Config) -> tuple[_Looks, int]:
    index = Index(a, size, config.index)
    index.refresh()
    rows_a, rows_b, keys = [], [], []
    asked = _spread(b.poses(), ASKED)
    for key, _, _ in asked:
        for view in (v for v in b.submap(key).views if not v.rendered):
            for i in _spread(range(len(view.headings)), HEADINGS):
                for _, entry in index.search(view.descriptors[i], ANSWERS):
                    rows_a.append(_look(entry.view.T_map_base, entry.heading))
                    rows_b.append(_look(view.T_map_base, float(view.headings[i])))
                    keys.append(key)
    return _Looks(np.array(rows_a).reshape(-1, 4), np.array(rows_b).reshape(-1, 4), np.array(keys, int)), len(asked)


def _look(T_map_base: np.ndarray, heading: float) -> np.ndarray:
    return np.array([*T_map_base[:3, 3], yaw(T_map_base) + heading])


def _planar(turn: float, x: float, y: float, z: float = 0.0) -> np.ndarray:
    return transform([x, y, z]) @ rotation_z(turn)


def _agree(T: np.ndarray, looks: _Looks) -> np.ndarray:
    """(n,) which pairs a transform brings together."""
    moved = looks.b[:, :2] @ T[:2, :2].T + T[:2, 3]
    turn = looks.b[:, 3] + yaw(T) - looks.a[:, 3]
    return (np.linalg.norm(moved - looks.a[:, :2], axis=1) < NEAR) & (np.cos(turn) > np.cos(TURNED))


def _vote(looks: _Looks) -> np.ndarray | None:
    """The transform that most places agree on, `same frame` first; None if they are too few."""
    best, votes = None, FEWEST - 1
    for T in [np.eye(4), *_proposals(looks)]:
        agreed = len(np.unique(looks.key[_agree(T, looks)]))
        if agreed > votes:
            best, votes = T, agreed
    for _ in range(3 if best is not None else 0):
        best = _fitted(looks, _agree(best, looks), best)
    return best


def _proposals(looks: _Looks) -> list[np.ndarray]:
    """Transforms from two pairs each that are as far apart in both maps, and from single pairs (short maps)."""
    rng = np.random.default_rng(0)
    n = len(looks.key)
    out = []
    for i in rng.permutation(n)[:100]:
        turn = looks.a[i, 3] - looks.b[i, 3]
        shift = looks.a[i, :2] - rotation_z(turn)[:2, :2] @ looks.b[i, :2]
        out.append(_planar(turn, *shift))
    i, j = rng.integers(0, n, (2, 100 * TRIALS))
    a, b = looks.a[j, :2] - looks.a[i, :2], looks.b[j, :2] - looks.b[i, :2]
    far_a, far_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    turn = np.arctan2(a[:, 1], a[:, 0]) - np.arctan2(b[:, 1], b[:, 0])
    fits = (far_b > BASELINE) & (np.abs(far_a - far_b) < NEAR)
    for k in (i, j):
        fits &= np.cos(turn - looks.a[k, 3] + looks.b[k, 3]) > np.cos(TURNED)
    for row in np.flatnonzero(fits)[:TRIALS]:
        pair = [i[row], j[row]]
        shift = (looks.a[pair, :2] - looks.b[pair, :2] @ rotation_z(turn[row])[:2, :2].T).mean(axis=0)
        out.append(_planar(turn[row], *shift))
    return out


def _fitted(looks: _Looks, rows: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Least squares over the pairs that agree; the turn from their headings where they are close together."""
    a, b = looks.a[rows], looks.b[rows]
    middle_a, middle_b = a[:, :3].mean(axis=0), b[:, :3].mean(axis=0)
    u, v = b[:, :2] - middle_b[:2], a[:, :2] - middle_a[:2]
    if np.sqrt((u**2).sum(axis=1).mean()) > BASELINE / 2:
        turn = np.arctan2((u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]).sum(), (u * v).sum())
    else:
        turn = yaw(T)
    shift = middle_a[:2] - rotation_z(turn)[:2, :2] @ middle_b[:2]
    return _planar(turn, *shift, float(np.median(a[:, 2] - b[:, 2])))


def _patches(a: Store, b: Store, T_a_b: np.ndarray) -> tuple[list[Patch], int]:
    """Submaps of B beside those of A that lie nearest to them under a transform, and how many there are in all."""
    keys_a, keys_b = a.poses(), b.poses()
    tree = cKDTree(np.array([T[:2, 3] for _, _, T in keys_a]))
    places = apply(T_a_b, np.array([T[:3, 3] for _, _, T in keys_b]))
    away, nearest = tree.query(places[:, :2])
    beside = np.flatnonzero(away < NEAR)
    patches = []
    for row in _spread(list(beside), PATCHES) if len(beside) else []:
        target, source = a.submap(keys_a[nearest[row]][0], views=False), b.submap(keys_b[row][0], views=False)
        patches.append(Patch(_points(target), _points(source), source.T_map_base[:3, 3]))
    return patches, len(beside)


def _points(submap: Submap) -> np.ndarray:
    """(N, 3) float64, map frame: the points kept, or those of the range image."""
    if submap.points is not None and len(submap.points):
        points = submap.points.astype(np.float64)
    else:
        ranges = submap.panorama.ranges
        points = (directions(submap.panorama.grid) * ranges[..., None])[ranges > 0] + submap.T_base_lidar[:3, 3]
    near = np.linalg.norm(points - submap.T_base_lidar[:3, 3], axis=1) < PATCH_REACH
    return apply(submap.T_map_base, points[near])


def moved(submap: Submap, T_a_b: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """`T_map_base` and covariance of a submap of B in the frame of A."""
    turn = np.kron(np.eye(2), T_a_b[:3, :3])
    covariance = None if submap.covariance is None else turn @ submap.covariance @ turn.T
    return T_a_b @ submap.T_map_base, covariance


def offset(agreement: Agreement) -> str:
    """For people: where B's origin would have to go, and what that means where the maps overlap."""
    T = agreement.T_a_b
    return (f"{agreement.metres:.2f} m and {np.rad2deg(agreement.radians):.2f} degrees where they overlap "
            f"(x {T[0, 3]:+.2f}, y {T[1, 3]:+.2f}, z {T[2, 3]:+.2f} m, turned {np.rad2deg(yaw(T)):+.2f} degrees; "
            f"{agreement.places} places, points {agreement.residual:.2f} m apart)")


