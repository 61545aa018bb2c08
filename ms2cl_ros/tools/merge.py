# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two maps become one, if they lie in the same frame or can be shown where they lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.geometry import inverse
from ms2cl_ros.core.maps.cache import cut_loose
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.retention import thin
from ms2cl_ros.core.types import Submap
from ms2cl_ros.tools.frame_alignment import compare, moved, offset
from ms2cl_ros.tools.rebuilding import building, by_session

Progress = Callable[[int, int], None]
# Two maps of one frame differ by their SLAM's drift and by what can be measured.
SAME_METRES, SAME_RADIANS = 0.5, np.deg2rad(1.0)


@dataclass(frozen=True)
class Merged:
    """`submaps`: how many the new map has; `thinned`: near-duplicates that went. `said`: how the frames were judged."""

    submaps: int
    thinned: int
    said: str


def merge(a: str | Path, b: str | Path, output: Path, config: Config, *, align: bool = False,
          trust_frames: bool = False, tolerance: float = SAME_METRES, progress: Progress | None = None) -> Merged:
    """Writes a new map at `output` with the submaps of map A and, as newer ones, of map B. A and B stay as they are.

    If places of B are found in A, B lies where they say: within `tolerance` (metres, where the two overlap) and one
    degree of A's frame they are joined as they are; beyond, B is moved if `align`, and refused otherwise. If none are
    found, they are refused. `trust_frames` joins them as they are in any case. Sessions stay apart. Of near-duplicates
    between A and B one stays, by `store.keep`. Raises StoreError, and then there is nothing at `output`.
    """
    with open_map(a, None, write=False) as first, open_map(b, None, write=False) as second:
        _same_model(first, second)
        T_a_b, said = _judge(first, second, config, align, trust_frames, tolerance)
        with building(output) as part:
            first.save(part)
            cut_loose(part)  # where A is the cache of a shared map, the new one is not
            with open_map(part, None, write=True) as joined:
                last = max((key for key, _, _ in joined.poses()), default=0)
                _append(joined, second, T_a_b, progress)
                thinned = thin(joined, config, newer_than=last)
                joined.save(output)
                return Merged(joined.count(), thinned, said)


def _same_model(a: Store, b: Store) -> None:
    one, other = a.made_with(), b.made_with()
    if one.fingerprint != other.fingerprint:
        raise StoreError(f"{a.name} was made with model '{one.name}' ({one.fingerprint[:12]}), {b.name} with "
                         f"'{other.name}' ({other.fingerprint[:12]}): bring them to one model with `ms2cl database "
                         "reembed MAP --model M -o NEW`")


def _judge(a: Store, b: Store, config: Config, align: bool, trust: bool, tolerance: float) -> tuple[np.ndarray, str]:
    """`T_a_b` to apply, and why; raises StoreError if the maps must not be joined so."""
    if not a.count() or not b.count():
        raise StoreError(f"{a.name if not a.count() else b.name} has no submaps: there is nothing to merge")
    agreement = compare(a, b, a.made_with().size, config)
    if agreement is None:
        if trust:
            return np.eye(4), "no overlap was found; the frames are taken to be the same, as told"
        raise StoreError(f"no place of {b.name} was found in {a.name}, so nothing shows that they lie in one frame: "
                         "map a drive that joins them, or say --trust-frames if you know that they do")
    if agreement.same_frame(tolerance, SAME_RADIANS):
        return np.eye(4), f"one frame: they differ by {offset(agreement)}"
    if trust:
        return np.eye(4), f"the frames are taken to be the same, as told, though B seems off by {offset(agreement)}"
    if not align:
        raise StoreError(f"{b.name} lies in another frame than {a.name}: it is off by {offset(agreement)}; say --align "
                         "to move it there, or --trust-frames if you know better")
    return agreement.T_a_b, f"moved by {offset(agreement)}"


def _append(joined: Store, b: Store, T_a_b: np.ndarray, progress: Progress | None) -> None:
    waiting, total = set(b.unrendered()), b.count()
    for done, (name, submap, fresh) in enumerate(by_session(b)):
        if fresh:
            joined.begin_session(name)
        copy = _moved(submap, T_a_b)
        stored = joined.add(dataclasses.replace(copy, views=tuple(v for v in copy.views if not v.rendered)))
        if submap.id not in waiting and submap.points is not None:
            joined.add_views(stored.id or 0, [v for v in copy.views if v.rendered])
        if progress:
            progress(done + 1, total)


def _moved(submap: Submap, T_a_b: np.ndarray) -> Submap:
    pose, covariance = moved(submap, T_a_b)
    back = inverse(submap.T_map_base)
    views = tuple(dataclasses.replace(v, T_map_base=pose @ (back @ v.T_map_base)) for v in submap.views)
    return dataclasses.replace(submap, T_map_base=pose, covariance=covariance, views=views)
