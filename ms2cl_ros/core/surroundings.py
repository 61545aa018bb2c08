# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a stored map knows around one of its submaps, and the views that are rendered out of it."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ms2cl_ros.core.accumulation import Sighting
from ms2cl_ros.core.config import Config
from ms2cl_ros.core.geometry import distance, transform
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap, View
from ms2cl_ros.core.views import Station, covered, free, lattice, render_view, shows_enough

KEPT = 96  # submaps held in memory
Embed = Callable[[RangeImage, np.ndarray], View]
"""An embedded view of a panorama, for a base at `T_map_base`."""


@dataclass(frozen=True)
class Place:
    """A submap in memory: `sighting` is None where it keeps no points; its views without their descriptors."""

    submap: Submap
    sighting: Sighting | None


class Surroundings:
    """Reads submaps of a map as they are needed, and keeps the last of them. One thread at a time."""

    def __init__(self, config: Config, grid: AngularGrid, store: Store, embed: Embed) -> None:
        self._config, self._grid, self._store, self._embed = config, grid, store, embed
        self._places: OrderedDict[int, Place] = OrderedDict()
        self._revision = store.revision()

    def refresh(self) -> None:
        """Forgets what has been moved, removed or embedded anew in the map since."""
        revision = self._store.revision()
        if revision != self._revision:
            self._places.clear()
            self._revision = revision

    def place(self, submap_id: int) -> Place:
        """A submap with its sighting; raises StoreError if it cannot be read."""
        if submap_id not in self._places:
            self._places[submap_id] = _place(self._store.submap(submap_id))
        self._places.move_to_end(submap_id)
        while len(self._places) > KEPT:
            self._places.popitem(last=False)
        return self._places[submap_id]

    def render(self, submap_id: int) -> list[View]:
        """The views around a submap that neither it nor a neighbour has yet, embedded; they are not stored.

        Points come from submaps of the same session: what stood there on one day. Views of all sessions count as
        covering, and places that no ray has passed, or where something stands, get none.
        """
        self.refresh()
        config, here = self._config.views, self.place(submap_id)
        around = self._around(here)
        T_base_lidar = here.submap.T_base_lidar.copy()
        if config.height:
            T_base_lidar[2, 3] = config.height
        known = [view for place in around for view in place.submap.views]
        session = [p for p in around if p.submap.session == here.submap.session]
        views: list[View] = []
        before, after = _neighbours(here.submap, [p.submap for p in session])
        for T_map_base in lattice(before, _station(here.submap), after, config):
            if covered(T_map_base, known, config):
                continue
            panorama = self._panorama(T_map_base @ transform([*T_base_lidar[:3, 3]]), session)
            if panorama is not None:
                views.append(dataclasses.replace(self._embed(panorama, T_map_base), rendered=True))
                known.append(views[-1])
        self._remember(here, views)
        return views

    def view_at(self, T_map_base: np.ndarray, T_base_lidar: np.ndarray) -> View | None:
        """What a sensor would see at a pose, embedded, from the points of the nearest submap's session; not stored.

        None where nobody could stand or too little is known.
        """
        self.refresh()
        places = [self.place(k) for k in self._store.near(T_map_base[:2, 3], self._config.views.reach)[:KEPT]]
        session = [p for p in places if p.submap.session == places[0].submap.session]
        panorama = self._panorama(T_map_base @ transform([*T_base_lidar[:3, 3]]), session)
        return None if panorama is None else dataclasses.replace(self._embed(panorama, T_map_base), rendered=True)

    def _around(self, here: Place) -> list[Place]:
        """The submaps whose points or views may reach the views of `here`, itself included."""
        config = self._config.views
        ids = self._store.near(here.submap.T_map_base[:2, 3], config.reach + config.lateral_reach + config.spacing)
        places = [self.place(k) for k in ids[:KEPT]]
        return places if any(p is here for p in places) else [here, *places]

    def _panorama(self, T_map_view: np.ndarray, places: list[Place]) -> RangeImage | None:
        """What is seen from a pose, or None where nobody could stand or too little is known."""
        reach, limits = self._config.views.reach, self._config.sensors
        near = [p.sighting for p in places
                if p.sighting is not None and distance(p.sighting.T_map_view, T_map_view) <= reach]
        for one in near:
            for other in near:
                one.hear(other)
        if not near or not free(near, T_map_view):
            return None
        panorama = render_view(near, T_map_view, self._grid, self._config.submaps.voxel, limits.min_range,
                               limits.max_range)
        return panorama if shows_enough(panorama, near) else None

    def _remember(self, here: Place, views: list[View]) -> None:
        """So that neighbours rendered later see them as covering; they are stored in the meantime."""
        if here.submap.id in self._places and here.submap.id is not None:
            submap = dataclasses.replace(here.submap, views=here.submap.views + tuple(map(_bare, views)))
            self._places[here.submap.id] = dataclasses.replace(here, submap=submap)


def _place(submap: Submap) -> Place:
    sighting = None
    if submap.points is not None and len(submap.points):
        sighting = Sighting(submap.T_map_base, submap.T_base_lidar, submap.points, submap.panorama)
    return Place(dataclasses.replace(submap, views=tuple(map(_bare, submap.views)), points=None), sighting)


def _bare(view: View) -> View:
    return dataclasses.replace(view, descriptors=np.zeros((0, 0), np.float32), coarse=None, strip=None)


def _station(submap: Submap) -> Station:
    return submap.travelled, submap.T_map_base


def _neighbours(here: Submap, session: list[Submap]) -> tuple[Station | None, Station | None]:
    """The stations before and after a submap, by metres travelled in its session."""
    before = max((s for s in session if s.travelled < here.travelled), key=lambda s: s.travelled, default=None)
    after = min((s for s in session if s.travelled > here.travelled), key=lambda s: s.travelled, default=None)
    return None if before is None else _station(before), None if after is None else _station(after)
