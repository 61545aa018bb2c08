# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Batches of many streets, from packed pairs (`shards.py`): what is drawn, what is changed at random, what is shown."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ms2cl_ros.training.augment import augment_image, augment_ranges, fields_of_view, flip, shift
from ms2cl_ros.training.experiment import Experiment, InputConfig
from ms2cl_ros.training.losses import range_targets
from ms2cl_ros.training.shards import Shards, first_packed_row, packed_grid


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

    def __len__(self) -> int:
        return len(self.image)

    def rows(self, which: slice) -> Batch:
        """A part of the pairs."""
        return self._each(lambda x: x[which])

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return self._each(lambda x: x.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Batch(**{k: change(v) if isinstance(v, Tensor) else v for k, v in values.items()})


def crop(turns: Tensor, first: Tensor, columns: int) -> Tensor:
    """(N, rows, columns) of (N, rows, turn): from column `first` (N,) int64 on, round the turn."""
    index = (first[:, None] + torch.arange(columns)) % turns.shape[2]
    return turns.gather(2, index[:, None].expand(-1, turns.shape[1], -1))


def paste(turns: Tensor, first: Tensor, looks: Tensor) -> Tensor:
    """(N, rows, turn) with `looks` (N, rows, columns) put in from column `first` (N,) int64 on, round the turn."""
    index = (first[:, None] + torch.arange(looks.shape[2])) % turns.shape[2]
    return turns.scatter(2, index[:, None].expand(-1, turns.shape[1], -1), looks)


def resized(x: Tensor, size: tuple[int, int], nearest: bool) -> Tensor:
    """(N, H, W) or (N, C, H, W) at `size`; the cell under the middle of each new one, or between them."""
    if tuple(x.shape[-2:]) == size:
        return x
    if not nearest:
        return F.interpolate(x, size, mode="bilinear", align_corners=False)
    rows, columns = (((torch.arange(new) + 0.5) * old / new).long() for new, old in zip(size, x.shape[-2:]))
    return x[..., rows[:, None], columns]


def camera_input(image: Tensor, valid: Tensor, inputs: InputConfig) -> Tensor:
    """(N, 3, H, W) in 0..1, red first, and (N, H, W) bool -> (N, C, H, W); what `projection.camera_tensor` makes."""
    planes = {"red": 0, "green": 1, "blue": 2}
    image, valid = resized(image, inputs.pixels, False), resized(valid, inputs.pixels, True)
    seen, out = valid.to(image.dtype), []
    for name, mean, std in zip(inputs.channels, inputs.mean, inputs.std, strict=True):
        out.append(seen if name == "valid" else (image[:, planes[name]] - mean) / std * seen)
    return torch.stack(out, 1)


def lidar_input(ranges: Tensor, inputs: InputConfig) -> Tensor:
    """(N, H, W) metres, 0 = nothing -> (N, C, H, W); what `projection.lidar_tensor` makes."""
    ranges = resized(ranges, inputs.pixels, True) if inputs.size else ranges
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
    valid = seen_cells(len(rows), experiment)
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
    assert experiment.lidar.grid is not None
    grid = dataclasses.replace(experiment.lidar.grid, columns=ranges.shape[2])
    ranges = augment_ranges(ranges, grid, config.augment)
    bins = range_targets(here, experiment.range_map) if experiment.range_map else None
    return Batch(camera_input(image, valid, experiment.camera), lidar_input(ranges, experiment.lidar), column, windows,
                 bins, cells_that_count(bins, experiment), torch.from_numpy(shards.street[rows]),
                 torch.from_numpy(shards.along[rows]))


def seen_cells(count: int, experiment: Experiment) -> Tensor:
    """(count, rows, columns) bool: what cameras drawn at random see; all of a whole image."""
    if experiment.camera.grid is None:
        return torch.ones(count, *experiment.camera.pixels, dtype=torch.bool)
    return fields_of_view(count, experiment.camera.grid, experiment.data.augment)


def batches(shards: Shards, experiment: Experiment, first: int) -> Iterator[Batch]:
    """The batches from number `first` on, without end; `schedule.workers` processes prepare them ahead."""
    if not experiment.schedule.workers:
        yield from (draw_batch(shards, experiment, number) for number in itertools.count(first))
        return
    from torch.utils.data import DataLoader
    drawn = _Drawn(shards, experiment)
    # forked: the mapped shards are shared then, not copied
    yield from DataLoader(drawn, batch_size=None, sampler=itertools.count(first),  # type: ignore[arg-type]
                          num_workers=experiment.schedule.workers, multiprocessing_context="fork")


class _Drawn(torch.utils.data.Dataset):
    """Batches by number."""

    def __init__(self, shards: Shards, experiment: Experiment) -> None:
        self._shards, self._experiment = shards, experiment

    def __getitem__(self, number: int) -> Batch:
        torch.set_num_threads(1)
        return draw_batch(self._shards, self._experiment, number)


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
    look, model, width = packed_grid(experiment).columns, experiment.model, experiment.data.width
    if not model.around:
        return look_of(ranges, begin, experiment), torch.zeros(len(ranges), dtype=torch.long), 1
    if ranges.shape[2] == look:
        return ranges, begin.long(), 1
    whole = width == ranges.shape[2]
    step = look // model.columns
    windows = width // step if whole else (width - look) // step + 1
    before = torch.randint(0, width if whole else width - look + 1, (len(ranges),))
    first = begin.round().long() - before
    column = ((begin - first) / step).round().long()
    return crop(ranges, first, width), column % windows if whole else column.clamp(0, windows - 1), windows


def look_of(ranges: Tensor, begin: Tensor, experiment: Experiment) -> Tensor:
    """(N, rows, columns) of the experiment's grid out of turns or looks on the shards'; `begin` (N,): the column at
    which a look of theirs begins."""
    ours, packed, row = experiment.lidar.grid, packed_grid(experiment), first_packed_row(experiment)
    assert ours is not None
    first = begin.round().long() - (ours.columns - packed.columns) // 2
    return crop(ranges[:, row:row + ours.rows], first, ours.columns)


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
