# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A map made with one model becomes one made with another, from what it keeps of its scans."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.mapper import Mapper, embedded
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.projection import close_gaps, render_ranges
from ms2cl_ros.core.types import AngularGrid, RangeImage, Submap
from ms2cl_ros.tools.rebuilding import building, by_session

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Reembedded:
    """How many submaps and views the new map has, and how many of the views were rendered."""

    submaps: int
    views: int
    rendered: int
    model: str


def reembed(map_: str | Path, output: Path, config: Config, progress: Progress | None = None) -> Reembedded:
    """Writes a new map at `output`: submaps, poses and sessions of `map_`, descriptors of `config.encoder.model`.

    Range images are taken as stored where the new model has the same grid, else rendered from the points kept. Views
    from elsewhere are rendered anew as `config.views` says; with a spacing of 0 that is left to the mapper. `map_` is
    only read; killed half way, it leaves nothing at `output`. Raises StoreError if a submap neither fits nor keeps
    points.
    """
    encoder = Encoder.load(config.encoder)
    with open_map(map_, None, write=False) as old, building(output) as part:
        total = old.count() * (2 if config.views.spacing else 1)
        with open_map(part, encoder.sidecar, write=True) as new:
            for done, (name, submap, first) in enumerate(by_session(old)):
                if first:
                    new.begin_session(name)
                new.add(_anew(submap, encoder, config, old.name))
                if progress:
                    progress(done + 1, total)
            mapper = Mapper(config, encoder, new)
            while mapper.render_ripe(final=True):
                if progress:
                    progress(total - len(new.unrendered()), total)
            new.save(output)
            scanned = sum(not view.rendered for _, _, view in new.views_after(0))
            return Reembedded(new.count(), new.view_count(), new.view_count() - scanned, encoder.sidecar.name)


def _anew(submap: Submap, encoder: Encoder, config: Config, name: str) -> Submap:
    panorama = _on_grid(submap, encoder.sidecar.lidar.grid.panorama(), config, name)
    old = next((v for v in submap.views if not v.rendered), None)
    pose = submap.T_map_base if old is None else old.T_map_base
    view = embedded(encoder, panorama, pose, config.submaps.headings)
    return dataclasses.replace(submap, panorama=panorama, views=(view,))


def _on_grid(submap: Submap, grid: AngularGrid, config: Config, name: str) -> RangeImage:
    if submap.panorama.grid == grid:
        return submap.panorama
    if submap.points is None or not len(submap.points):
        raise StoreError(
            f"submap {submap.id} of {name} has a range image of {_words(submap.panorama.grid)}, the model wants "
            f"{_words(grid)}, and no points are kept to render it from: map the drive again with the new model, or "
            "choose a model of the same grid (maps made with submaps.voxel above 0 keep points)")
    points = submap.points - submap.T_base_lidar[:3, 3].astype(np.float32)
    image = render_ranges(points, grid, config.sensors.min_range, config.sensors.max_range)
    return close_gaps(image, config.submaps.voxel or 0.1)


def _words(grid: AngularGrid) -> str:
    bottom = grid.elevation_top_deg - grid.rows * grid.elevation_step_deg
    return (f"{grid.rows} x {grid.columns} cells from {bottom:+.1f} to {grid.elevation_top_deg:+.1f} degrees of "
            "elevation")
