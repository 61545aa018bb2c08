# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Packed training pairs, read from disk as they are needed.

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

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.core.types import AngularGrid
from ms2cl_ros.training.experiment import Experiment

KEYS = ("img", "rng", "scene", "s")
TURNS = ("sweep", "view")


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


class Shards:
    """All pairs of some shard files, addressed by one running number.

    `training`: they are to be drawn from, so there must be two streets at least.
    """

    def __init__(self, paths: Sequence[Path], experiment: Experiment, training: bool = True) -> None:
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
        if experiment.data.packed is not None and not self.turns.all():
            raise DataError("data.packed cuts looks out of whole turns, but some shards have none (`sweep` or `view`)")
        if training and self.count < 2:
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
    camera, lidar = experiment.camera.stored, packed_grid(experiment)
    wanted = {"img": (*camera, 3), "valid": camera, "moved": (3,),
              "rng": (lidar.rows, lidar.columns), "rng2": (lidar.rows, lidar.columns),
              **dict.fromkeys(TURNS, (lidar.rows, lidar.turn_columns))}
    wrong = {k: v.shape[1:] for k, v in part.items() if v.shape[1:] != wanted[k]}
    if wrong:
        raise DataError(f"{path} holds {wrong}, the experiment's grids want {({k: wanted[k] for k in wrong})}")
    return part


def packed_grid(experiment: Experiment) -> AngularGrid:
    """The LiDAR grid that the shards lie on."""
    grid = experiment.data.packed or experiment.lidar.grid
    assert grid is not None
    return grid


def first_packed_row(experiment: Experiment) -> int:
    """The row of the shards' grid at which the experiment's begins; raises ConfigError if that is no part of it."""
    ours, packed = experiment.lidar.grid, packed_grid(experiment)
    assert ours is not None
    row = (packed.elevation_top_deg - ours.elevation_top_deg) / packed.elevation_step_deg
    same = (ours.elevation_step_deg, ours.azimuth_step_deg) == (packed.elevation_step_deg, packed.azimuth_step_deg)
    if not same or abs(row - round(row)) > 1e-3 or not 0 <= round(row) <= packed.rows - ours.rows or (
            (ours.columns - packed.columns) % 2):
        raise ConfigError(f"the LiDAR grid {ours} must be whole cells of data.packed, {packed}, with the same middle")
    return round(row)
