# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Packed training pairs, read from disk as they are needed, and batches of many streets.

A shard is an uncompressed `.npz` on the experiment's grids:
    img    (N, rows, columns, 3) uint8, blue first: what a camera would see in every cell
    rng    (N, rows, columns) float16, metres, 0 = nothing: the sweep from the same pose
    rng2   like `rng`, a sweep of the same place from a nearby pose
    scene  (N,) int street, s (N,) float metres along it
and, where they come from a mapped city,
    view   (N, rows, turn) float16 metres, the whole turn as a map renders it near the pose, column 0 at +180 degrees
    moved  (N, 3) float32, where that is from the pose: metres ahead, metres to the left, radians to the left
"""

from __future__ import annotations

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

KEYS = ("img", "rng", "rng2", "scene", "s")


@dataclass(frozen=True)
class Batch:
    """`image` (N, C, H, W), `sweep` (N, C, H, W), `bins`, `seen` (N, rows, columns) or None; `street`, `along` (N,).

    `others`: (M, C, H, W) looks from some of the places in other directions, or None.
    """

    image: Tensor
    sweep: Tensor
    bins: Tensor | None
    seen: Tensor | None
    street: Tensor
    along: Tensor
    others: Tensor | None = None


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


def extra(path: Path) -> tuple[str, ...]:
    """The arrays of a mapped city that a shard has beside the usual ones."""
    with zipfile.ZipFile(path) as archive:
        return tuple(k for k in ("view", "moved") if f"{k}.npy" in archive.namelist())


def window(turns: Tensor, heading: Tensor, columns: int) -> Tensor:
    """(K, rows, columns) of (K, rows, turn) panoramas, each centred on its `heading` (K,), radians, to the nearest
    column; what `core.projection.cut` does for one."""
    turn = turns.shape[2]
    middle = (0.5 - heading / (2 * torch.pi)) * turn
    first = (middle - columns / 2).round().long()
    index = (first[:, None] + torch.arange(columns)) % turn
    return turns.gather(2, index[:, None].expand(-1, turns.shape[1], -1))


class Shards:
    """All pairs of some shard files, addressed by one running number."""

    def __init__(self, paths: Sequence[Path], experiment: Experiment) -> None:
        if not paths:
            raise DataError("no shards given: expected .npz files as written by the street generator")
        self._parts = [{k: member(Path(p), k) for k in ("img", "rng", "rng2", *extra(Path(p)))} for p in paths]
        self.street = np.concatenate([np.array(member(Path(p), "scene")) for p in paths])
        self.along = np.concatenate([np.array(member(Path(p), "s")) for p in paths]).astype(np.float32)
        self._first = np.cumsum([0] + [len(part["img"]) for part in self._parts])
        camera, lidar = experiment.camera.grid, experiment.lidar.grid
        for path, part in zip(paths, self._parts, strict=True):
            found, wanted = (part["img"].shape[1:], part["rng"].shape[1:]), ((camera.rows, camera.columns, 3),
                                                                            (lidar.rows, lidar.columns))
            if found != wanted:
                raise DataError(f"{path} holds images and sweeps of {found}, the experiment's grids want {wanted}")
        held = self.street % experiment.data.held_out_every == experiment.data.held_out_every - 1
        self.held_out = np.where(held)[0]
        order = np.argsort(self.street, kind="stable")
        order = order[~held[order]]
        self.streets = np.split(order, np.where(np.diff(self.street[order]))[0] + 1)
        if len(self.streets) < 2:
            raise DataError(f"{len(self.streets)} training street in {len(paths)} shards: a batch needs at least two")

    def __len__(self) -> int:
        return len(self.street)

    def turns(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, Tensor, Tensor]:
        """Of the pairs that have a rendered view: which of `rows` they are (K,), the views (K, rows, turn) metres, and
        by how many radians each is turned to the left of its pose (K,)."""
        which, views, turned = [], [], []
        for k, i in enumerate(rows):
            p = int(np.searchsorted(self._first, i, side="right")) - 1
            part, j = self._parts[p], i - self._first[p]
            if "view" in part:
                which.append(k)
                views.append(part["view"][j].astype(np.float32))
                turned.append(float(part["moved"][j, 2]))
        stacked = torch.from_numpy(np.stack(views)) if views else torch.zeros(0, 0, 0)
        return np.array(which, np.int64), stacked, torch.tensor(turned)

    def read(self, rows: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Images (N, 3, H, W) float in 0..1, red first; sweeps and neighbouring sweeps (N, rows, columns) metres."""
        out: dict[str, list[np.ndarray]] = {"img": [], "rng": [], "rng2": []}
        for i in rows:
            part = int(np.searchsorted(self._first, i, side="right")) - 1
            for key, values in out.items():
                values.append(self._parts[part][key][i - self._first[part]])
        image = torch.from_numpy(np.stack(out["img"])).flip(-1).permute(0, 3, 1, 2).float() / 255.0
        near, far = (torch.from_numpy(np.stack(out[k]).astype(np.float32)) for k in ("rng", "rng2"))
        return image, near, far


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


def draw_rows(shards: Shards, streets: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Up to `frames` pairs from each of `streets` streets: hard negatives stand in the same street.

    A street comes as often as it has pairs.
    """
    pairs = np.array([len(s) for s in shards.streets], float)
    chosen = rng.choice(len(pairs), min(streets, len(pairs)), replace=False, p=pairs / pairs.sum())
    return np.concatenate([rng.permutation(shards.streets[c])[:frames] for c in chosen])


def draw_batch(shards: Shards, experiment: Experiment, step: int) -> Batch:
    """The batch of one step: it depends on the seed and the step alone, so a resumed run repeats it."""
    config = experiment.data
    rng = np.random.default_rng((experiment.seed, step))
    torch.manual_seed(int(rng.integers(2 ** 31)))
    rows = draw_rows(shards, config.streets, config.frames, rng)
    image, here, nearby = shards.read(rows)
    nearby, others = look_around(shards, rows, nearby, experiment)
    valid = fields_of_view(len(rows), experiment.camera.grid, config.augment)
    image, valid = shift(augment_image(image, config.augment), valid, config.augment)
    image, here, nearby, valid = flip(image, here, nearby, valid)
    bins = range_targets(here, experiment.range_map) if experiment.range_map else None
    sweep = torch.where(torch.rand(len(rows), 1, 1) < config.nearby, nearby, here)
    sweep = augment_ranges(sweep, experiment.lidar.grid, config.augment)
    return Batch(camera_input(image, valid, experiment.camera), lidar_input(sweep, experiment.lidar), bins,
                 cells_that_count(bins, experiment), torch.from_numpy(shards.street[rows]),
                 torch.from_numpy(shards.along[rows]), others)


def look_around(shards: Shards, rows: np.ndarray, nearby: Tensor,
                experiment: Experiment) -> tuple[Tensor, Tensor | None]:
    """Some of the neighbouring sweeps replaced by rendered views, and what is seen in other directions (or None)."""
    which, turns, turned = shards.turns(rows)
    if not len(which):
        return nearby, None
    config, columns = experiment.data, experiment.lidar.grid.columns
    spread = math.radians(config.heading_deg)
    ahead = -turned + torch.empty(len(which)).uniform_(-spread, spread)
    looks = window(turns, ahead, columns)
    chosen = torch.rand(len(which), 1, 1) < config.views
    nearby = nearby.clone()
    nearby[which] = torch.where(chosen, looks, nearby[which])
    aside = torch.empty(len(which)).uniform_(math.radians(20.0), math.radians(340.0))
    others = augment_ranges(window(turns, ahead + aside, columns), experiment.lidar.grid, config.augment)
    return nearby, lidar_input(others, experiment.lidar)


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
