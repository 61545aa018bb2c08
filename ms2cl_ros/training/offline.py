# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From nothing to an exported model in one go, for an hour on a borrowed machine without a network.

Cities are made and packed on all cores, then trained on, then the model is exported. Each part goes on where a kill
left it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.training.experiment import Experiment


@dataclass(frozen=True)
class CitiesPlan:
    """How many cities are made: seeds from `seed` on; metres round each block; metres between pairs; folders with
    meshes and photographs; processes (0: one a core)."""

    cities: int = 0
    seed: int = 1
    length: float = 320.0
    spacing: float = 6.0
    assets: tuple[str, ...] = ()
    workers: int = 0


def with_budget(experiment: Experiment, minutes: float, steps: int, device: str) -> Experiment:
    """The experiment for so many minutes or steps, if any are given, on a device, if one is named."""
    if minutes and steps:
        raise ConfigError(f"give either minutes ({minutes:g}) or steps ({steps})")
    schedule = experiment.schedule
    if minutes or steps:
        schedule = replace(schedule, minutes=float(minutes), steps=steps)
    return replace(experiment, schedule=replace(schedule, device=device or schedule.device))


def pack_cities(plan: CitiesPlan, experiment: Experiment, folder: Path,
                progress: Callable[[int, int], None] | None = None) -> list[Path]:
    """Shards of the planned cities on the experiment's grids, those missing made; raises ConfigError where the
    experiment's pictures have no grid."""
    from ms2cl_ros.training.city.pack import pack
    camera, lidar = experiment.camera.grid, experiment.data.packed or experiment.lidar.grid
    if camera is None or lidar is None:
        raise ConfigError("cities are packed on an angular grid, and this experiment takes whole pictures: make "
                          "drives with `ms2cl synthesize --both`, and pairs of them with `ms2cl pairs --experiment`")
    pack(folder, plan.seed, plan.cities, camera, lidar, length=plan.length, spacing=plan.spacing, assets=plan.assets,
         workers=plan.workers or None, progress=progress)
    return [folder / f"city_{seed}.npz" for seed in range(plan.seed, plan.seed + plan.cities)]


def train_and_export(experiment: Experiment, shards: Sequence[Path], run: Path, model: Path, weights: str = "float32",
                     begin: Path | None = None, say: Callable[[str], None] = print) -> Sidecar:
    """Trains in the folder `run`, going on from its checkpoint, and writes the averaged weights to `model`, with
    figures on the held-out streets."""
    from ms2cl_ros.training.export import export, figures_of
    from ms2cl_ros.training.shards import Shards
    from ms2cl_ros.training.train import CHECKPOINT, averaged, train
    train(experiment, Shards(shards, experiment), run, say, begin)
    _, trained, counters = averaged(run / CHECKPOINT)
    return export(experiment, trained, counters, model, {}, weights, figures_of(experiment, list(shards), None))
