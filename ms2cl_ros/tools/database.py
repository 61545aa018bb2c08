# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is in a map, and what may leave it."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.cache import Cache, is_cache
from ms2cl_ros.core.maps.database import is_url, open_map
from ms2cl_ros.core.maps.store import MadeWith, Store
from ms2cl_ros.core.retention import make_room, thin

# Submaps of one session farther apart than this, metres, are not taken to be joined by road: some in between are gone.
LONGEST_STEP = 50.0


@dataclass(frozen=True)
class SessionInfo:
    """One drive's share: `submaps` that are there, `metres` of road that they stand on, first and last stamp."""

    id: int
    name: str
    submaps: int
    metres: float
    first_stamp_ns: int
    last_stamp_ns: int


@dataclass(frozen=True)
class Info:
    """A map in numbers. `extent`: (x, y) of the lowest and of the highest corner, metres; zero in an empty map.

    `damaged`: what reading the map found damaged and left out, one line a record.
    """

    name: str
    model: MadeWith
    submaps: int
    with_points: bool
    views: int
    rendered: int
    sessions: tuple[SessionInfo, ...]
    extent: tuple[tuple[float, float], tuple[float, float]]
    megabytes: float
    damaged: tuple[str, ...]

    @property
    def metres(self) -> float:
        """Road that the submaps stand on, each session's counted for itself."""
        return sum(s.metres for s in self.sessions)

    @property
    def bytes_per_100_m(self) -> float | None:
        """What a hundred metres of road cost; None where there are none."""
        return self.megabytes * 1e8 / self.metres if self.metres else None


@dataclass(frozen=True)
class Route:
    """The submaps of one session, oldest first. `poses`: (n, 4, 4) `T_map_base`."""

    id: int
    name: str
    keys: tuple[int, ...]
    stamps: tuple[int, ...]
    poses: np.ndarray

    def pieces(self) -> list[np.ndarray]:
        """(m, 2) x y of each stretch without a gap."""
        xy = self.poses[:, :2, 3]
        steps = np.linalg.norm(np.diff(self.poses[:, :3, 3], axis=0), axis=1)
        return np.split(xy, np.flatnonzero(steps > LONGEST_STEP) + 1)

    def metres(self) -> float:
        """Along the submaps, gaps left out."""
        steps = np.linalg.norm(np.diff(self.poses[:, :3, 3], axis=0), axis=1)
        return float(steps[steps <= LONGEST_STEP].sum())


def routes(store: Store) -> list[Route]:
    """Every session that has submaps, oldest first; damaged submaps are left out, `store.damage()` names them."""
    sound = {key: (stamp, T) for key, stamp, T in store.poses()}
    out = []
    for session in store.sessions():
        keys = [key for key in store.members(session.id) if key in sound]
        if keys:
            out.append(Route(session.id, session.name, tuple(keys), tuple(sound[k][0] for k in keys),
                             np.stack([sound[k][1] for k in keys])))
    return out


def info(database: str | Path) -> Info:
    """Looks through every view of a map; raises StoreError if it cannot be opened."""
    with open_map(database, None, write=False) as store:
        drives = routes(store)
        rendered = [view.rendered for _, _, view in store.views_after(0)]
        sessions = tuple(SessionInfo(r.id, r.name, len(r.keys), r.metres(), min(r.stamps), max(r.stamps))
                         for r in drives)
        xy = np.concatenate([r.poses[:, :2, 3] for r in drives] or [np.zeros((1, 2))])
        low, high = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
        keeps = bool(drives) and store.submap(drives[-1].keys[-1], views=False).points is not None
        return Info(store.name, store.made_with(), store.count(), keeps, len(rendered), sum(rendered), sessions,
                    ((low[0], low[1]), (high[0], high[1])), store.megabytes(), tuple(store.damage()))


def check(database: str | Path) -> list[str]:
    """What is wrong with a map, one line a fault; raises StoreError if it cannot be opened at all."""
    with open_map(database, None, write=False) as store:
        return store.check()


@dataclass(frozen=True)
class Pruned:
    """How many submaps went, by reason, how many are left, and the map's megabytes before and after."""

    gone: dict[str, int]
    left: int
    before: float
    after: float


def prune(database: str | Path, config: Config, *, session: int | None = None, damaged: bool = False,
          twins: bool = False) -> Pruned:
    """Removes damaged records, a session, near-duplicates (`twins`) and what is over the limits of `config.store`.

    Of the cache of a shared map only damaged records are removed, and fetched again by the nodes where the server has
    them. Raises StoreError if another process writes the map, or if there is no such session.
    """
    gone: dict[str, int] = {}
    limited = bool(config.store.max_submaps or config.store.max_megabytes)
    cached = not is_url(database) and is_cache(Path(database))
    if cached and (session is not None or twins or limited):
        raise StoreError(f"{database} is the cache of a shared map, and what goes from it goes for every robot: prune "
                         "the shared map by its URL, or a copy made with ~/save")
    with open_map(database, None, write=True) as store:
        before = store.megabytes()
        if damaged:
            with closing(Cache.at(Path(database), None)) if cached else nullcontext() as cache:
                known = cache.forget_damaged() if cache is not None else []
            gone["damaged records"] = len(known) + len(store.drop_damaged())
        if session is not None:
            gone[f"submaps of session {session}"] = store.remove(_members(store, session))
        if twins:
            gone["near-duplicates"] = thin(store, config)
        if limited:
            gone["submaps over the limit"] = make_room(store, config, slack=0.0)
        return Pruned(gone, store.count(), before, store.megabytes())


def _members(store: Store, session: int) -> list[int]:
    known = [s.id for s in store.sessions() if s.submaps]
    if session not in known:
        raise StoreError(f"{store.name} has no session {session}; there are {', '.join(map(str, known)) or 'none'}")
    return store.members(session)


