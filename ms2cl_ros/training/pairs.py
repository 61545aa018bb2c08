# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings become training pairs, in the packed format that `training/data.py` reads.

Beside each picture stand the scan of its moment and what a map would have of the place: a scan and a rendered view,
seen from as far away as a map's views are. Both come out of the code that runs on the robot. All that a row says of
directions is told from the camera's heading. Rows of a first variant are seen from the very pose.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.accumulation import Sighting
from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.geometry import apply, camera_view, distance, inverse, lidar_view, rotation_z, transform, yaw
from ms2cl_ros.core.projection import CameraView, close_gaps, cut, render_ranges
from ms2cl_ros.core.sidecar import CameraInput
from ms2cl_ros.core.types import AngularGrid, RangeImage
from ms2cl_ros.core.views import render_view
from ms2cl_ros.training.neighbours import LIMITS, SUBMAPS, Placed, neighbourhoods, placed
from ms2cl_ros.training.sources.contract import Recorded, Source

# Recorded scenes count from here, in steps that no `held_out_every` of an experiment is likely to pick out.
FIRST_SCENE, SCENE_STEP = 1_000_000, 1000
# So many of the scans nearest to a view are left out of it, at random, where at least this many remain.
LEFT_OUT, REMAIN = 3, 5
# Metres and radians within which a place is the same as one that was passed more than LOOP metres before.
SAME_PLACE, SAME_HEADING, LOOP = 3.0, np.deg2rad(60.0), 20.0
TYPES = {"img": np.uint8, "valid": np.bool_, "rng": np.float16, "sweep": np.float16, "view": np.float16,
         "moved": np.float32, "pose": np.float64, "scene": np.int64, "s": np.float64}


@dataclass(frozen=True)
class PairsConfig:
    """How rows are made. `spacing`: metres between pairs, 0 takes every frame; `reach`: metres before and behind a
    frame whose scans may be rendered into its view; `along`, `aside` metres (either way) and `turn_deg` (standard
    deviation): where the views of later variants lie; `stretch`: metres after which a new scene begins, 0 for never;
    `border`: metres left out between two scenes, so that neighbours are not taken for strangers; `speed`: m/s, the
    guess where there are no poses."""

    spacing: float = 0.0
    reach: float = 10.0
    along: float = 1.25
    aside: float = 0.9
    turn_deg: float = 2.0
    stretch: float = 0.0
    border: float = 4.0
    speed: float = 2.0
    variants: int = 1
    seed: int = 0


class Road:
    """Metres along a recording by which its scenes are cut and near frames are told from strangers.

    A place that is come to again, the same way round, keeps the metres of the first time: two looks at one place must
    not be taken for looks at two.
    """

    def __init__(self) -> None:
        self._places: list[tuple[float, float, float, float]] = []

    def along(self, travelled: float, T_map_base: np.ndarray | None) -> float:
        """Metres along the road of a frame after so many metres travelled."""
        if T_map_base is None:
            return travelled
        x, y, heading = *T_map_base[:2, 3], yaw(T_map_base)
        if self._places:
            known = np.array(self._places)
            away = np.hypot(known[:, 0] - x, known[:, 1] - y)
            turned = np.abs((known[:, 2] - heading + np.pi) % (2 * np.pi) - np.pi)
            again = (away < SAME_PLACE) & (turned < SAME_HEADING) & (travelled - known[:, 3] > LOOP)
            if again.any():
                return float(known[np.argmin(np.where(again, away, np.inf)), 3])
        self._places.append((x, y, heading, travelled))
        return travelled


def scene_of(name: str) -> int:
    """The number of a recording's first scene: made from its name, so that two runs agree and drives differ."""
    return FIRST_SCENE + SCENE_STEP * (zlib.crc32(name.encode()) % 2_000_000)


class Pictures:
    """Pictures on the camera's grid; the geometry of each camera is worked out once."""

    def __init__(self, spec: CameraInput) -> None:
        self._spec = spec
        self._views: dict[tuple, tuple[CameraView, float]] = {}

    def __call__(self, frame: Recorded) -> tuple[np.ndarray, np.ndarray, float]:
        """`(bgr, valid, heading)`: (rows, columns, 3) uint8, (rows, columns) bool, radians in the base."""
        key = frame.camera.key(), frame.T_base_camera.tobytes()
        if key not in self._views:
            T_view_camera, heading = camera_view(frame.T_base_camera)
            self._views[key] = CameraView(frame.camera, T_view_camera, self._spec), heading
        view, heading = self._views[key]
        rgb, valid = view(frame.rgb)
        return rgb[..., ::-1], valid, heading


def rows(source: Source, camera: CameraInput, lidar: AngularGrid,
         config: PairsConfig = PairsConfig()) -> Iterator[list[dict[str, Any]]]:
    """For each frame of a recording its row in each variant; what is left out is counted in `source.dropped`."""
    pictures, first_scene = Pictures(camera), scene_of(source.name)
    road, last = Road(), -np.inf
    for one, around in neighbourhoods(placed(source.frames(), lidar, config.speed), config.reach):
        if config.spacing and one.along - last < config.spacing:
            source.dropped["nearer than the spacing to the pair before"] += 1
            continue
        along = road.along(one.along, one.frame.T_map_base)
        number, beyond = divmod(along, config.stretch) if config.stretch else (0.0, along)
        if number and beyond < config.border:
            source.dropped["on the border of two scenes"] += 1
            continue
        last = one.along
        image, valid, heading = pictures(one.frame)
        T = np.eye(4) if one.frame.T_map_base is None else one.frame.T_map_base
        T_map_look = T @ transform([*one.frame.T_base_lidar[:3, 3]]) @ rotation_z(heading)
        own = _own(one.frame, heading, lidar)
        common: dict[str, Any] = {"img": image, "valid": valid, "rng": cut(own, 0.0, lidar.columns).ranges,
                  "pose": [*T_map_look[:2, 3], yaw(T_map_look)], "s": along,
                  "scene": first_scene + int(number)}
        rng = np.random.default_rng([config.seed, first_scene, one.frame.index])
        yield [{**common, **_elsewhere(one, around, T_map_look, own, variant, lidar, config, rng)}
               for variant in range(config.variants)]


def _own(frame: Recorded, heading: float, grid: AngularGrid) -> RangeImage:
    """The scan's whole turn, with the camera's heading as its x axis."""
    points = apply(rotation_z(-heading) @ lidar_view(frame.T_base_lidar), frame.points)
    return render_ranges(points, grid.panorama(), LIMITS.min_range, LIMITS.max_range)


def _elsewhere(one: Placed, around: Sequence[Sighting], T_map_look: np.ndarray, own: RangeImage, variant: int,
               grid: AngularGrid, config: PairsConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """`sweep`, `view` and `moved`: from the pose itself in the first variant, from somewhere about it in the others."""
    moved = np.eye(4)
    if variant:
        moved = rotation_z(np.deg2rad(rng.normal(0, config.turn_deg)))
        moved[:2, 3] = rng.uniform(-config.along, config.along), rng.uniform(-config.aside, config.aside)
    T_map_view = T_map_look @ moved
    by_distance = sorted(around, key=lambda s: distance(s.T_map_view, T_map_view))
    skip = min(int(rng.integers(0, LEFT_OUT + 1)), max(0, len(by_distance) - REMAIN))
    view = render_view(by_distance[skip:], T_map_view, grid, SUBMAPS.voxel, LIMITS.min_range, LIMITS.max_range)
    sweep = own if not variant else _seen_from(by_distance[0], T_map_view, grid)
    return {"sweep": sweep.ranges, "view": view.ranges, "moved": np.array([*moved[:2, 3], yaw(moved)])}


def _seen_from(scan: Sighting, T_map_view: np.ndarray, grid: AngularGrid) -> RangeImage:
    """One scan as it would look from a place close by."""
    points = apply(inverse(T_map_view) @ scan.T_map_base, scan.points)
    seen = render_ranges(points, grid.panorama(), LIMITS.min_range, LIMITS.max_range)
    return close_gaps(seen, SUBMAPS.voxel)


def collect(source: Source, camera: CameraInput, lidar: AngularGrid, config: PairsConfig = PairsConfig(),
            progress: Callable[[int, int], None] | None = None) -> list[dict[str, np.ndarray]]:
    """A recording's pairs as the arrays of a shard, one set for each variant; raises DataError if there are none."""
    made: list[list[dict[str, np.ndarray]]] = [[] for _ in range(config.variants)]
    total = len(source)
    for done, variants in enumerate(rows(source, camera, lidar, config), 1):
        for kept, row in zip(made, variants, strict=True):
            kept.append({k: np.asarray(v, TYPES[k]) for k, v in row.items()})
        if progress:
            progress(done, total)
    if not made[0]:
        raise DataError(f"{source.name} gave no pairs{told(source.dropped)}")
    return [{k: np.stack([row[k] for row in kept]) for k in TYPES} for kept in made]


def pack(source: Source, out: Path, camera: CameraInput, lidar: AngularGrid, config: PairsConfig = PairsConfig(),
         progress: Callable[[int, int], None] | None = None) -> tuple[int, list[Path]]:
    """Writes a recording's pairs to `out`, further variants to files beside it (`OUT_v2.npz` and so on), each whole or
    not at all. Returns how many pairs there are and the files; raises DataError if there is none."""
    made = collect(source, camera, lidar, config, progress)
    paths = [out if not k else out.with_name(f"{out.stem}_v{k + 1}{out.suffix}") for k in range(config.variants)]
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, arrays in zip(paths, made, strict=True):
        write_shard(path, arrays)
    return len(made[0]["s"]), paths


def positions(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """(N, 2) metres: where the frames of a recording are; along a straight line where it has no poses."""
    there = arrays["pose"][:, :2]
    return there if np.ptp(there, axis=0).any() else np.stack([arrays["s"], np.zeros(len(there))], 1)


def write_shard(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An uncompressed `.npz`, which can be mapped into memory; a killed writer leaves nothing that looks like one."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(unfinished, "wb") as f:
            np.savez(f, **arrays)  # type: ignore[arg-type]
        unfinished.rename(path)
    except OSError as e:
        unfinished.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {e.strerror}") from e


def told(dropped: Counter[str]) -> str:
    """`; 3 left out: reason` for each reason."""
    return "".join(f"; {n} left out: {reason}" for reason, n in sorted(dropped.items()))
