# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Packed training pairs, read from disk as they are needed, and batches of many streets.

A shard is an uncompressed `.npz` on the experiment's grids:
    img    (N, rows, columns, 3) uint8, blue first: what a camera would see in every cell
    rng    (N, rows, columns) float16, metres, 0 = nothing: the sweep from the same pose, where the camera looks
    scene  (N,) int street, s (N,) float metres along it
and of what a map may hold of the place
    rng2   like `rng`, a sweep from a nearby pose
or, the whole turn, column 0 at +180 degrees,
    sweep  (N, rows, turn) float16 metres, one sweep from near the pose
    view   like `sweep`, rendered from the sweeps of a map
    moved  (N, 3) float32, where both are from the pose: metres ahead, metres to the left, radians to the left
and, where a real camera took the picture,
    valid  (N, rows, columns) bool, the cells that it sees; without it, a field of view is drawn.
"""

from __future__ import annotations

import dataclasses
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.training.augment import augment_image, augment_ranges, fields_of_view, flip, shift
from ms2cl_ros.training.experiment import Experiment, InputConfig
from ms2cl_ros.training.losses import range_targets

KEYS = ("img", "rng", "scene", "s")
TURNS = ("sweep", "view")


@dataclass(frozen=True)
class Batch:
    """`image` (N, C, H, W), `ranges` (N, C, H, W) round the turn or a part of it, `column` (N,) int64 of the strip from
    which on the camera's look lies in it; `windows`: how many columns a look may begin at. `bins`, `seen`
    (N, rows, columns) or None; `street`, `along` (N,)."""

    image: Tensor
    ranges: Tensor
    column: Tensor
    windows: int
    bins: Tensor | None
    seen: Tensor | None
    street: Tensor
    along: Tensor


def member(path: Path, key: str) -> np.ndarray:
    """One array of an uncompressed `.npz`, mapped into memory and not read; raises DataError if that cannot be."""
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(f"{key}.npy")
            if info.compress_type != zipfile.ZIP_STORED:
                raise DataError(f"{path} is compressed, so it cannot be mapped: write it with np.savez")
            with archive.open(info) as f:
                np.lib.format.read_magic(f)
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(f)
                inside = f.tell()
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as e:
        raise DataError(f"{path} is no shard with an array '{key}': {e}") from e
    with open(path, "rb") as f:
        f.seek(info.header_offset)
        head = f.read(30)
    # The local header repeats the name and may carry other extra bytes than the central directory.
    start = info.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    return np.memmap(path, dtype, "r", start + inside, shape, "F" if fortran else "C")


def crop(turns: Tensor, first: Tensor, columns: int) -> Tensor:
    """(N, rows, columns) of (N, rows, turn): from column `first` (N,) int64 on, round the turn."""
    index = (first[:, None] + torch.arange(columns)) % turns.shape[2]
    return turns.gather(2, index[:, None].expand(-1, turns.shape[1], -1))


def paste(turns: Tensor, first: Tensor, looks: Tensor) -> Tensor:
    """(N, rows, turn) with `looks` (N, rows, columns) put in from column `first` (N,) int64 on, round the turn."""
    index = (first[:, None] + torch.arange(looks.shape[2])) % turns.shape[2]
    return turns.scatter(2, index[:, None].expand(-1, turns.shape[1], -1), looks)


class Shards:
    """All pairs of some shard files, addressed by one running number."""

    def __init__(self, paths: Sequence[Path], experiment: Experiment) -> None:
        if not paths:
            raise DataError("no shards given: expected .npz files as written by `ms2cl pack` or `ms2cl pairs`")
        self._parts = [_part(Path(p), experiment) for p in paths]
        counts = [len(part["img"]) for part in self._parts]
        self.street = np.concatenate([np.array(member(Path(p), "scene")) for p in paths])
        self.along = np.concatenate([np.array(member(Path(p), "s")) for p in paths]).astype(np.float32)
        self._first = np.cumsum([0, *counts])
        self.turns = np.repeat([any(k in part for k in TURNS) for part in self._parts], counts)
        held = self.street % experiment.data.held_out_every == experiment.data.held_out_every - 1
        self.held_out = np.where(held)[0]
        self.streets = {kind: self._streets(np.where(~held & (self.turns == kind))[0]) for kind in (False, True)}
        self.count = sum(map(len, self.streets.values()))
        if self.count < 2:
            raise DataError(f"fewer than two training streets in {len(paths)} shards: a batch needs at least two")

    def _streets(self, rows: np.ndarray) -> list[np.ndarray]:
        order = rows[np.argsort(self.street[rows], kind="stable")]
        return np.split(order, np.where(np.diff(self.street[order]))[0] + 1) if len(order) else []

    def __len__(self) -> int:
        return len(self.street)

    def _row(self, i: int) -> tuple[dict[str, np.ndarray], int]:
        part = int(np.searchsorted(self._first, i, side="right")) - 1
        return self._parts[part], i - self._first[part]

    def images(self, rows: Sequence[int] | np.ndarray) -> tuple[Tensor, list[np.ndarray | None]]:
        """(N, 3, H, W) float in 0..1, red first, and of each the cells its camera sees, where that is known."""
        found = [self._row(i) for i in rows]
        image = torch.from_numpy(np.stack([part["img"][j] for part, j in found])).flip(-1)
        return (image.permute(0, 3, 1, 2).float() / 255.0,
                [part["valid"][j] if "valid" in part else None for part, j in found])

    def ranges(self, rows: Sequence[int] | np.ndarray, key: str) -> Tensor:
        """(N, rows, columns) float32 metres of `rng` or `rng2` (its place taken by `rng` where there is none)."""
        found = [self._row(i) for i in rows]
        return torch.from_numpy(np.stack([part[key if key in part else "rng"][j].astype(np.float32)
                                          for part, j in found]))

    def around(self, rows: Sequence[int] | np.ndarray, rendered: Sequence[bool] | np.ndarray) -> tuple[Tensor, Tensor]:
        """Whole turns (N, rows, turn) metres, `rendered` ones where there is a choice, and by how many radians each
        is turned to the left of its pose (N,). All `rows` must have turns."""
        turns, turned = [], []
        for i, wanted in zip(rows, rendered, strict=True):
            part, j = self._row(i)
            key = TURNS[bool(wanted)] if TURNS[bool(wanted)] in part else next(k for k in TURNS if k in part)
            turns.append(part[key][j].astype(np.float32))
            turned.append(float(part["moved"][j, 2]))
        return torch.from_numpy(np.stack(turns)), torch.tensor(turned)


def _part(path: Path, experiment: Experiment) -> dict[str, np.ndarray]:
    """The arrays of a shard, mapped; raises DataError if they do not suit the experiment's grids."""
    member(path, "img")
    with zipfile.ZipFile(path) as archive:
        there = [k for k in ("rng2", *TURNS, "moved", "valid") if f"{k}.npy" in archive.namelist()]
    part = {k: member(path, k) for k in ("img", "rng", *there)}
    camera, lidar = experiment.camera.grid, experiment.lidar.grid
    wanted = {"img": (camera.rows, camera.columns, 3), "valid": (camera.rows, camera.columns), "moved": (3,),
              "rng": (lidar.rows, lidar.columns), "rng2": (lidar.rows, lidar.columns),
              **dict.fromkeys(TURNS, (lidar.rows, lidar.turn_columns))}
    wrong = {k: v.shape[1:] for k, v in part.items() if v.shape[1:] != wanted[k]}
    if wrong:
        raise DataError(f"{path} holds {wrong}, the experiment's grids want {({k: wanted[k] for k in wrong})}")
    return part


def camera_input(image: Tensor, valid: Tensor, inputs: InputConfig) -> Tensor:
    """(N, 3, H, W) in 0..1, red first, and (N, H, W) bool -> (N, C, H, W); what `projection.camera_tensor` makes."""
    planes = {"red": 0, "green": 1, "blue": 2}
    seen, out = valid.to(image.dtype), []
    for name, mean, std in zip(inputs.channels, inputs.mean, inputs.std, strict=True):
        out.append(seen if name == "valid" else (image[:, planes[name]] - mean) / std * seen)
    return torch.stack(out, 1)


def lidar_input(ranges: Tensor, inputs: InputConfig) -> Tensor:
    """(N, H, W) metres, 0 = nothing -> (N, C, H, W); what `projection.lidar_tensor` makes."""
    seen = (ranges > 0) & (ranges <= inputs.far)
    zero = torch.zeros_like(ranges)
    planes = {"log_range": lambda: ranges.clamp(inputs.near, inputs.far).log(), "range": lambda: ranges / inputs.far}
    out = []
    for name, mean, std in zip(inputs.channels, inputs.mean, inputs.std, strict=True):
        out.append(seen.to(ranges.dtype) if name == "valid" else torch.where(seen, (planes[name]() - mean) / std, zero))
    return torch.stack(out, 1)


def draw_rows(streets: Sequence[np.ndarray], count: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Up to `frames` pairs from each of `count` streets: hard negatives stand in the same street.

    A street comes as often as it has pairs; where there are too few streets, each gives more frames instead.
    """
    pairs = np.array([len(s) for s in streets], float)
    frames *= -(-count // len(pairs))
    chosen = rng.choice(len(pairs), min(count, len(pairs)), replace=False, p=pairs / pairs.sum())
    return np.concatenate([rng.permutation(streets[c])[:frames] for c in chosen])


def draw_batch(shards: Shards, experiment: Experiment, step: int) -> Batch:
    """The batch of one step: it depends on the seed and the step alone, so a resumed run repeats it.

    All of its pairs have whole turns, or none has.
    """
    config = experiment.data
    rng = np.random.default_rng((experiment.seed, step))
    torch.manual_seed(int(rng.integers(2 ** 31)))
    turns = bool(rng.random() < config.turns)
    turns = turns if shards.streets[turns] else not turns
    how_many = (config.cities, config.city_frames) if turns else (config.streets, config.frames)
    rows = draw_rows(shards.streets[turns], *how_many, rng)
    image, known = shards.images(rows)
    here = shards.ranges(rows, "rng")
    valid = fields_of_view(len(rows), experiment.camera.grid, config.augment)
    for row, mask in enumerate(known):
        if mask is not None:
            valid[row] = torch.from_numpy(np.array(mask))
    image, valid = shift(augment_image(image, config.augment), valid, config.augment)
    nearby = torch.rand(len(rows)) < config.nearby
    if turns:
        ranges, begin = _turns(shards, rows, here, nearby, config.views)
    else:
        ranges = torch.where(nearby[:, None, None], shards.ranges(rows, "rng2"), here)
        begin = torch.zeros(len(rows))
    mirrored = torch.rand(len(rows)) < 0.5
    image, here, ranges, valid = flip(mirrored, image, here, ranges, valid)
    begin = torch.where(mirrored, ranges.shape[2] - begin - here.shape[2], begin)
    ranges, column, windows = _part_of_turn(ranges, begin, experiment)
    grid = dataclasses.replace(experiment.lidar.grid, columns=ranges.shape[2])
    ranges = augment_ranges(ranges, grid, config.augment)
    bins = range_targets(here, experiment.range_map) if experiment.range_map else None
    return Batch(camera_input(image, valid, experiment.camera), lidar_input(ranges, experiment.lidar), column, windows,
                 bins, cells_that_count(bins, experiment), torch.from_numpy(shards.street[rows]),
                 torch.from_numpy(shards.along[rows]))


def look_from(turned: Tensor, turn: int, columns: int) -> Tensor:
    """(N,) column, not whole, from which on a look straight ahead of the pose lies in a turn that is `turned` (N,)."""
    return ((0.5 + turned / (2 * math.pi)) * turn - columns / 2) % turn


def _turns(shards: Shards, rows: np.ndarray, here: Tensor, nearby: Tensor, views: float) -> tuple[Tensor, Tensor]:
    """Whole turns, and the column from which on the camera's look lies in each.

    Where the map's sweep is not wanted, the camera's own takes the place of what lies in its look.
    """
    rendered = torch.rand(len(rows)) < torch.where(nearby, views, 0.0)
    turns, turned = shards.around(rows, rendered.tolist())
    begin = look_from(turned, turns.shape[2], here.shape[2])
    own = paste(turns, begin.round().long(), here)
    return torch.where(nearby[:, None, None], turns, own), torch.where(nearby, begin, begin.round())


def _part_of_turn(ranges: Tensor, begin: Tensor, experiment: Experiment) -> tuple[Tensor, Tensor, int]:
    """A part of each turn that has the look in it somewhere, the strip's column nearest to its beginning, and how
    many columns a look may begin at without passing the part's seam."""
    look, model, width = experiment.lidar.grid.columns, experiment.model, experiment.data.width
    if not model.around:
        return crop(ranges, begin.round().long(), look), torch.zeros(len(ranges), dtype=torch.long), 1
    if ranges.shape[2] == look:
        return ranges, begin.long(), 1
    whole = width == ranges.shape[2]
    step = look // model.columns
    windows = width // step if whole else (width - look) // step + 1
    before = torch.randint(0, width if whole else width - look + 1, (len(ranges),))
    first = begin.round().long() - before
    column = ((begin - first) / step).round().long()
    return crop(ranges, first, width), column % windows if whole else column.clamp(0, windows - 1), windows


def cells_that_count(bins: Tensor | None, experiment: Experiment) -> Tensor | None:
    """(N, rows, columns) weights of the range loss.

    A row without any return was not scanned. Well below the horizon a missing return is a gap between beams or a dark
    car, not news of open space.
    """
    if bins is None or experiment.range_map is None:
        return None
    returned = bins < experiment.range_map.bins
    grid = experiment.lidar.grid
    step = grid.elevation_step_deg * grid.rows / experiment.range_map.rows
    below = grid.elevation_top_deg - step * torch.arange(experiment.range_map.rows) < -1.6
    return ((returned | ~below[:, None]) & returned.any(2, keepdim=True)).float()
