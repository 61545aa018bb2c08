# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An experiment and a shard of toy size, for the tests of training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from ms2cl_ros.core.types import AngularGrid
from ms2cl_ros.training.experiment import (
    DataConfig,
    Experiment,
    InputConfig,
    ModelConfig,
    RangeMapConfig,
    ScheduleConfig,
    TrunkConfig,
    to_tree,
)


def tiny(steps: int = 4) -> Experiment:
    """Two Swins of three blocks on grids of 32 x 64 and 16 x 64 cells."""
    trunk = TrunkConfig(width=16, depths=(1, 1, 1), heads=(1, 2, 2), window=(2, 4), drop_path=0.1)
    return Experiment(
        name="tiny",
        camera=InputConfig(AngularGrid(32, 64, 8.0, 0.8, 1.125), ("red", "green", "blue", "valid"),
                           (0.4, 0.5, 0.6, 0.0), (0.2, 0.3, 0.25, 1.0)),
        lidar=InputConfig(AngularGrid(16, 64, 1.6, 0.8, 1.125), ("log_range", "valid"), (2.7, 0.0), (0.8, 1.0)),
        model=ModelConfig(trunk, trunk, embedding=32, columns=4, students=(0, 1), decoder=(16, 16)),
        range_map=RangeMapConfig(rows=8, columns=32, bins=8),
        data=DataConfig(streets=3, frames=2, cities=3, city_frames=2, width=128),
        schedule=ScheduleConfig(minutes=0.0, steps=steps, bfloat16=False, threads=1))


def changed(experiment: Experiment, **parts: dict) -> Experiment:
    """The experiment with some settings of its parts exchanged: `changed(e, loss={"near": 1.0})`."""
    return dataclasses.replace(experiment, **{
        name: dataclasses.replace(getattr(experiment, name), **values) for name, values in parts.items()})


def without_chance(experiment: Experiment) -> Experiment:
    """No dropout of any kind, so that a batch has one outcome."""
    still = dataclasses.replace(experiment.model.camera, drop_path=0.0)
    return changed(experiment, model={"camera": still, "lidar": still, "dropout": 0.0})


def write_experiment(experiment: Experiment, path: Path) -> Path:
    """As YAML, of which JSON is a part."""
    path.write_text(json.dumps(to_tree(experiment)))
    return path


def write_shard(path: Path, turns: bool = True, n: int = 60) -> Path:
    """Pairs of noise in 20 streets of three: with whole turns, or with looks from the pose and from near it."""
    rng = np.random.default_rng(0)
    camera, lidar = tiny().camera.grid, tiny().lidar.grid
    assert camera is not None and lidar is not None
    ranges = rng.uniform(0, 60, (n, lidar.rows, lidar.turn_columns)).astype(np.float16)
    ranges[ranges < 6] = 0
    here = ranges[:, :, 128:192]
    map_side = {"view": ranges, "moved": np.zeros((n, 3), np.float32)} if turns else {"rng2": ranges[:, :, 64:128]}
    np.savez(path, img=rng.integers(0, 255, (n, camera.rows, camera.columns, 3), dtype=np.uint8), rng=here,
             scene=np.arange(n) // 3, s=np.arange(n) * 5.0, **map_side)
    return path
