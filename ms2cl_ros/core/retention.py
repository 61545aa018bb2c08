# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which submaps go when a map is full: first what is there twice, then what is missed least.

Two submaps are near-duplicates if they stand within half of `submaps.distance` of each other and look within 15
degrees the same way; the mapper's own gate never makes two of one pass so. `newest` keeps the later of them,
`distinctive` the one that is less easily taken for another place nearby. If that is not enough, `newest` lets the
oldest go, and `distinctive` those that resemble their neighbours most, where submaps stand closest. The newest submap
always stays. Views that were rendered around a duplicate are handed to the one that stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy.spatial import cKDTree

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.geometry import yaw
from ms2cl_ros.core.maps.store import Store

SAME_HEADING = math.radians(15.0)
# Metres. Storeys of a car park are farther apart; two passes of one road differ by the drift of their heights.
SAME_FLOOR = 1.5
NEIGHBOURS = 4
# Room is made for this share of the map at once, so that a full map is not looked through at every submap.
SLACK = 0.02
# `distinctive` compares this many crowded submaps for each one that goes: their descriptors have to be read.
COMPARED = 4

Pose = tuple[int, np.ndarray]
Describe = Callable[[int], np.ndarray]


def keep_within(store: Store, config: Config) -> int:
    """What a mapper does after each `add`: `make_room`, but nothing in a shared map, as it is not for one robot to
    remove what the others need."""
    return 0 if store.shared else make_room(store, config)


def make_room(store: Store, config: Config, slack: float = SLACK) -> int:
    """Removes what the limits of `config.store` call for; returns how many submaps went. Cheap while there is room.

    `slack`: share of the limit that is freed beyond it. Raises StoreError if the map cannot be written.
    """
    gone = 0
    # the limit of megabytes is met by the average size: those that went may have been smaller than that
    while (count := store.count()) > (limit := allowed(store, config) or count):
        wanted = count - max(1, limit - int(limit * slack))
        poses = [(key, T) for key, _, T in store.poses()]
        describe = descriptors_of(store)
        twins = duplicates(poses, config, describe, wanted)
        hand_over(store, twins)
        losers = [loser for loser, _ in twins]
        left = [p for p in poses if p[0] not in set(losers)]
        removed = store.remove(losers + least_missed(left, wanted - len(losers), config, describe))
        if not removed:
            break
        gone += removed
    return gone


def allowed(store: Store, config: Config) -> int | None:
    """How many submaps of the present average size the limits leave room for, at least 1; None without limits."""
    limits, settings = [], config.store
    if settings.max_submaps:
        limits.append(settings.max_submaps)
    if settings.max_megabytes:
        limits.append(int(store.count() * settings.max_megabytes / max(store.megabytes(), 1e-9)))
    return max(1, min(limits)) if limits else None


def thin(store: Store, config: Config, newer_than: int | None = None) -> int:
    """Removes near-duplicates, full or not; returns how many submaps went.

    `newer_than`: only of pairs of which one id is above it and one is not, as after a merge.
    """
    twins = duplicates([(key, T) for key, _, T in store.poses()], config, descriptors_of(store),
                       newer_than=newer_than)
    hand_over(store, twins)
    return store.remove([loser for loser, _ in twins])


def hand_over(store: Store, twins: Iterable[tuple[int, int]]) -> None:
    """Gives the views rendered around each loser to its survivor, unless that has its own still to be rendered."""
    pairs = list(twins)
    waiting = set(store.unrendered()) if pairs else set()
    for loser, survivor in pairs:
        views = [v for v in store.submap(loser).views if v.rendered]
        if views and survivor not in waiting:
            store.add_views(survivor, views)


def descriptors_of(store: Store) -> Describe:
    """(n, D) descriptors of what a submap's own scans show, by id; read when they are first asked for."""
    read: dict[int, np.ndarray] = {}

    def describe(key: int) -> np.ndarray:
        if key not in read:
            read[key] = np.concatenate([v.descriptors for v in store.submap(key).views if not v.rendered])
        return read[key]
    return describe


class _Places:
    """Where submaps stand: (id, T_map_base) from oldest to newest."""

    def __init__(self, poses: Sequence[Pose]) -> None:
        self.keys = [key for key, _ in poses]
        self.xyz = np.array([T[:3, 3] for _, T in poses]).reshape(-1, 3)
        self.turn = np.array([yaw(T) for _, T in poses])
        self._tree = cKDTree(self.xyz[:, :2])

    def twins(self, radius: float) -> list[tuple[int, int]]:
        """Rows (older, newer) of the same place and heading, closest first; none if the radius is 0."""
        if radius <= 0:
            return []
        a, b = np.sort(self._tree.query_pairs(radius, output_type="ndarray"), axis=1).reshape(-1, 2).T
        same = ((np.abs(self.xyz[a, 2] - self.xyz[b, 2]) < SAME_FLOOR)
                & (np.cos(self.turn[a] - self.turn[b]) >= math.cos(SAME_HEADING)))
        a, b = a[same], b[same]
        order = np.argsort(np.linalg.norm(self.xyz[a, :2] - self.xyz[b, :2], axis=1), kind="stable")
        return list(zip(a[order].tolist(), b[order].tolist()))

    def around(self, rows: Sequence[int]) -> tuple[np.ndarray, list[list[int]]]:
        """Metres from each row's place to its nearest neighbour, and the rows of the nearest few."""
        away, found = self._tree.query(self.xyz[rows, :2], list(range(1, min(NEIGHBOURS + 1, len(self.keys)) + 1)))
        near = [[int(j) for j in js if j != i] for i, js in zip(rows, found)]
        return away[:, min(1, away.shape[1] - 1)], near


def duplicates(poses: Sequence[Pose], config: Config, describe: Describe,
               limit: int | None = None, newer_than: int | None = None) -> list[tuple[int, int]]:
    """(id that goes, id that stays) of at most `limit` near-duplicates, of (id, T_map_base) from oldest to newest.

    `newer_than`: as in `thin`.
    """
    places = _Places(poses)
    gone: dict[int, int] = {}
    for a, b in places.twins(config.submaps.distance / 2):
        if limit is not None and len(gone) >= limit:
            break
        between = newer_than is None or places.keys[a] <= newer_than < places.keys[b]
        if a in gone or b in gone or not between:
            continue
        loser, survivor = a, b
        if config.store.keep == "distinctive" and b != len(poses) - 1:
            _, near = places.around([a, b])
            others = [places.keys[i] for i in {*near[0], *near[1]} - {a, b} - set(gone)]
            if _resemblance(places.keys[b], others, describe) > _resemblance(places.keys[a], others, describe):
                loser, survivor = b, a
        gone[loser] = survivor
    return [(places.keys[loser], places.keys[survivor]) for loser, survivor in gone.items()]


def least_missed(poses: Sequence[Pose], wanted: int, config: Config, describe: Describe) -> list[int]:
    """`wanted` ids to remove by policy, never the last one's, of (id, T_map_base) from oldest to newest."""
    wanted, left = min(wanted, len(poses) - 1), list(poses)
    gone: list[int] = []
    if config.store.keep == "newest":
        return [key for key, _ in poses[:max(wanted, 0)]]
    while len(gone) < wanted:
        gone += _most_alike(_Places(left), wanted - len(gone), describe)
        left = [p for p in left if p[0] not in set(gone)]
    return gone


def _resemblance(key: int, others: Iterable[int], describe: Describe) -> float:
    """The greatest cosine similarity of a descriptor of a submap and one of the others'; -1 without others."""
    own = describe(key)
    return max((float((own @ describe(k).T).max()) for k in others), default=-1.0)


def _most_alike(places: _Places, wanted: int, describe: Describe) -> list[int]:
    """At least one and at most `wanted` ids: of the most crowded the most alike, no two of them side by side."""
    away, near = places.around(range(len(places.keys) - 1))
    crowded = np.argsort(away, kind="stable")[:COMPARED * wanted].tolist()
    alike = {i: _resemblance(places.keys[i], [places.keys[j] for j in near[i]], describe) for i in crowded}
    out: list[int] = []
    touched: set[int] = set()
    for i in sorted(crowded, key=lambda i: (-alike[i], i)):
        if len(out) < wanted and i not in touched:
            out.append(places.keys[i])
            touched |= {i, *near[i]}
    return out
