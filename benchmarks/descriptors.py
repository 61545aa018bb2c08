# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Maps as large as one likes, with descriptors that look like a model's: a lidar's all around, a camera's to ask with.

Shards of the synthetic city (`training/city/pack.py`) give pictures and range images of thousands of streets, each from
one pose looking ahead. The model embeds them all. A submap's turn is then put together from five of those windows side
by side, as descriptors keep their azimuth columns in order, and every heading is a slice of it: at most two windows
meet in a heading, much as the two sides of a street meet in a real one. Five submaps in a row go from each window to
the same place's window from a nearby pose on another day, so neighbours on a road resemble each other; a third of
another place's such change is added, so that no window comes twice. A query is put together in the same way from the
camera's descriptors of the same five places.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ms2cl_ros.core.config import EncoderConfig
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.mapper import headings_around
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.strips import first_columns, looks, rounded
from ms2cl_ros.core.types import RangeImage, Submap, View

IN_A_ROW = 5
OTHER_CHANGE = 0.3
LIDAR_HEIGHT = 1.73
ROAD = 2000  # views before the road begins anew beside itself
POOL = 500


def embed(shards: list[Path], encoder: Encoder) -> dict[str, np.ndarray]:
    """Descriptors (N, D) of every pair: `map` and `near` (a sweep and a rendered view, as the camera looks), `query`
    (camera); some `ranges`."""
    out: dict[str, list[np.ndarray]] = {"map": [], "near": [], "query": []}
    ranges: list[np.ndarray] = []
    grid = encoder.sidecar.lidar.grid.panorama()
    for shard in shards:
        with np.load(shard) as part:
            for key, name in (("map", "sweep"), ("near", "view")):
                turns = [RangeImage(t.astype(np.float32), grid) for t in part[name]]
                ahead = np.array([encoder.embed_turns([t], np.array([-m]))[0, 0]
                                  for t, m in zip(turns, part["moved"][:, 2])])
                out[key].append(ahead)
            seen = np.ones(part["img"].shape[1:3], bool)
            out["query"].append(np.stack([encoder.embed_image(picture[..., ::-1], seen)[0] for picture in part["img"]]))
            ranges.append(part["rng"][:: max(1, len(part["rng"]) * len(shards) // POOL)])
        print(f"  {shard.name}: {len(out['map'][-1])} windows", flush=True)
    return {key: np.concatenate(parts) for key, parts in out.items()} | {"ranges": np.concatenate(ranges)}


def obtain(file: Path | None, shards: Path | None, config: EncoderConfig) -> dict[str, np.ndarray]:
    """What `embed` gives, read from `file` where it is there, else made and, if a file is named, written to it."""
    if file is not None and file.is_file():
        with np.load(file) as kept:
            return dict(kept)
    found = sorted(shards.glob("*.npz")) if shards is not None else []
    if not found:
        raise SystemExit(f"no shards *.npz in {shards}: name a folder with some (--shards), packed by "
                         "ms2cl_ros/training/city/pack.py, or a file of descriptors made before (--descriptors)")
    made = embed(found, Encoder.load(config))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **made)  # type: ignore[arg-type]
    return made


@dataclass(frozen=True)
class World:
    """Views by number, the same ones for the same seed; `views_each` of them in a row belong to one submap."""

    windows: dict[str, np.ndarray]
    model: Sidecar
    headings: int
    points: int = 0
    seed: int = 0
    views_each: int = 1

    def _sectors(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The windows that stand side by side around a view, and those whose change is added."""
        rng = np.random.default_rng([self.seed, number // IN_A_ROW])
        grid = self.model.lidar.grid
        return rng.integers(0, len(self.windows["map"]), (2, grid.turn_columns // grid.columns))

    def _turn(self, windows: np.ndarray) -> np.ndarray:
        """(sectors, D) descriptors side by side: (numbers, columns of the turn)."""
        return np.concatenate(list(windows.reshape(len(windows), -1, self.model.embedding.columns)), axis=1)

    def _headings(self, turn: np.ndarray) -> tuple[np.ndarray, bool]:
        """(headings, D) float32 of a turn, unit length, and whether they all lie on its columns."""
        width, columns = turn.shape[1], self.model.embedding.columns
        first = first_columns(headings_around(self.headings), width, columns)
        near = np.round(-np.arange(self.headings) * width / self.headings).astype(int) if first is None else first
        return looks(turn, near, columns), first is not None

    def query(self, number: int, heading: int) -> np.ndarray:
        """(D,) float32: what a camera there would be embedded as."""
        return self._headings(self._turn(self.windows["query"][self._sectors(number)[0]]))[0][heading]

    def view(self, number: int) -> View:
        """One view, with a strip if the headings lie on its columns; the first of each submap stands where its LiDAR
        stood."""
        at, other = self._sectors(number)
        here, near = self.windows["map"], self.windows["near"]
        share = number % IN_A_ROW / (IN_A_ROW - 1)
        change = share * (near[at] - here[at]) + OTHER_CHANGE * (near[other] - here[other])
        strip = rounded(self._turn(here[at] + change))
        descriptors, whole = self._headings(strip)
        T = transform([2.0 * (number % ROAD), 20.0 * (number // ROAD), 0.0])
        return View(T, headings_around(self.headings), descriptors, rendered=number % self.views_each > 0,
                    strip=strip if whole else None)

    def submap(self, number: int) -> Submap:
        """The submap of a view that is its first, with points where wanted."""
        view, grid, pool = self.view(number), self.model.lidar.grid.panorama(), self.windows["ranges"]
        ranges = np.concatenate(list(pool[self._sectors(number)[0] % len(pool)]), axis=1).astype(np.float32)
        return Submap(number, view.T_map_base, transform([0.0, 0.0, LIDAR_HEIGHT]), RangeImage(ranges, grid), (view,),
                      points=self._points(ranges, number) if self.points else None, travelled=2.0 * number)

    def _points(self, ranges: np.ndarray, number: int) -> np.ndarray:
        grid = self.model.lidar.grid.panorama()
        row, column = np.nonzero(ranges)
        kept = np.random.default_rng(number).permutation(len(row))[:self.points]
        row, column = row[kept], column[kept]
        up = np.radians(grid.elevation_top_deg - (row + 0.5) * grid.elevation_step_deg)
        left = np.radians(180.0 - (column + 0.5) * grid.azimuth_step_deg)
        level = ranges[row, column] * np.cos(up)
        return np.stack([level * np.cos(left), level * np.sin(left), ranges[row, column] * np.sin(up) + LIDAR_HEIGHT],
                        axis=1).astype(np.float32)
