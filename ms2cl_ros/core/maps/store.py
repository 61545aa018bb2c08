# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of a map on disk: what every database behind it promises.

One writer at a time on one file, any number of readers; what `add` returned is on disk. Submap and view ids grow and
are never used twice. Every error is a StoreError that names the map and the remedy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap, View


@dataclass(frozen=True)
class Session:
    """One drive's share of the map. `name`: what a person called it; `submaps`: how many there are of it now."""

    id: int
    name: str
    first_stamp_ns: int
    submaps: int


@dataclass(frozen=True)
class MadeWith:
    """The model that made a map. `size`: numbers of a descriptor; `grid`: the window of a range image it looks at."""

    name: str
    fingerprint: str
    size: int
    grid: AngularGrid


class Store(ABC):
    """Submaps and their views, in one frame, made with one model."""

    name: str
    """The map as messages call it: a path, or a URL without its password."""
    shared = False
    """Whether other robots keep their submaps in it too, so that no robot may make room for itself alone."""

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Lets go of the map; another writer may come."""

    # writing -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def add(self, submap: Submap) -> Submap:
        """Stores a submap with its views in one transaction; on return it is on disk. Returns it with its ids."""

    @abstractmethod
    def add_views(self, submap_id: int, views: Sequence[View]) -> tuple[View, ...]:
        """Stores views rendered around a submap in one transaction, and marks it rendered, even if there are none."""

    @abstractmethod
    def begin_session(self, name: str = "") -> None:
        """What is added from now on belongs to a new session, which exists from its first submap on.

        Without a call, all that one opening of the map adds is one session.
        """

    @abstractmethod
    def update_poses(self, poses: Mapping[int, np.ndarray]) -> int:
        """Moves submaps, by id, to new `T_map_base`; their views move along. Returns how many there were.

        Ids that are not in the map are passed over (a pose graph may know submaps that have been pruned), and so are
        damaged submaps.
        """

    @abstractmethod
    def remove(self, submap_ids: Sequence[int]) -> int:
        """Removes submaps with their views; returns how many there were."""

    def drop_damaged(self) -> list[str]:
        """Removes what `check` finds damaged, so that the rest is sound; one line a record that is gone."""
        raise StoreError(f"the map {self.name} cannot drop damaged records: restore a backup of it")

    @abstractmethod
    def save(self, path: Path) -> None:
        """Writes a consistent copy of the map to a file, as an SQLite map, while others go on reading and writing."""

    # reading -------------------------------------------------------------------------------------------------------

    @abstractmethod
    def count(self) -> int:
        """How many submaps the map holds."""

    @abstractmethod
    def view_count(self) -> int:
        """How many views the map holds."""

    @abstractmethod
    def megabytes(self) -> float:
        """What the map takes on disk, in 10^6 bytes; room that `remove` has freed is used again and does not count."""

    @abstractmethod
    def sessions(self) -> list[Session]:
        """Every session, oldest first."""

    def made_with(self) -> MadeWith:
        """The model that made the map."""
        raise StoreError(f"the map {self.name} does not say which model made it: open it with that model")

    def members(self, session: int) -> list[int]:
        """Ids of the submaps of a session, oldest first."""
        return [key for key, _, _ in self.poses() if self.submap(key, views=False).session == session]

    @abstractmethod
    def last_view_id(self) -> int:
        """The newest view's id, 0 in an empty map."""

    @abstractmethod
    def revision(self) -> int:
        """A number that changes when submaps are moved, removed or embedded anew, not when new ones are added.

        Raises StoreError if another model's map has taken the place of the one that was opened.
        """

    @abstractmethod
    def poses(self) -> list[tuple[int, int, np.ndarray]]:
        """(id, stamp_ns, T_map_base) of every submap that is not damaged, oldest first."""

    @abstractmethod
    def submap(self, submap_id: int, views: bool = True) -> Submap:
        """One submap whole, or without its views. Raises StoreError if there is none, or if it is damaged."""

    @abstractmethod
    def near(self, xy: np.ndarray, radius: float) -> list[int]:
        """Ids of the submaps within `radius` metres of a (2,) place on the map, nearest first."""

    @abstractmethod
    def unrendered(self) -> list[int]:
        """Ids of submaps that keep points and around which no views have been rendered yet, oldest first."""

    @abstractmethod
    def views_after(self, last_view_id: int, limit: int | None = None) -> Iterator[tuple[int, np.ndarray, View]]:
        """(submap id, T_base_lidar, view) of every view (at most `limit`) stored after `last_view_id`, oldest first.

        Ids rise strictly and are read as they are asked for, a page at a time, never all at once. A view that is
        damaged, or whose submap is, is left out and named by `damage`: one bad sector does not cost the whole map.
        Fewer than `limit` views come only when there are no more.
        """

    @abstractmethod
    def panorama(self, submap_id: int) -> RangeImage:
        """The stored range image of a submap, the whole turn. Raises StoreError if it is damaged."""

    def damage(self) -> list[str]:
        """What reading has found damaged so far and left out, one line a record; `check` looks at everything."""
        return []

    def look_around(self, xy: np.ndarray) -> None:  # noqa: B027 - a map that is here whole has nothing to do
        """The robot believes to be at a (2,) place of the map now, should more of the map have to be fetched there."""

    def status(self) -> dict[str, str | int | float]:
        """How it stands with the server of a shared map, for diagnostics; empty for a map in a file."""
        return {}

    @abstractmethod
    def check(self) -> list[str]:
        """What is wrong with the map, one line a fault; empty if every checksum fits."""
