# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Trains one experiment on packed shards; stops and resumes exactly.

    python -m ms2cl_ros.training.train config/training/ms2cl_city.yaml runs/ms2cl_city shards/*.npz
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ms2cl_ros.core.errors import ConfigError, DataError, Ms2clError
from ms2cl_ros.training import losses
from ms2cl_ros.training.data import Batch, Shards, draw_batch
from ms2cl_ros.training.experiment import Experiment, ScheduleConfig, load, to_tree
from ms2cl_ros.training.model import CrossModalModel, unit, windows
from ms2cl_ros.training.validate import validate

CHECKPOINT = "checkpoint.pt"


def loss_terms(model: CrossModalModel, batch: Batch, experiment: Experiment) -> dict[str, Tensor]:
    """The weighted terms of the loss by name; their sum is what is minimised."""
    weights, columns = experiment.loss, experiment.model.columns
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=experiment.schedule.bfloat16):
        camera, camera_students, logits = model.camera.train_forward(batch.image)
        lidar, lidar_students, _ = model.lidar.train_forward(batch.ranges)
    near = losses.near_frames(batch.street, batch.along, weights.near)
    seen = unit(camera, experiment.model.embedding)
    headings = windows(lidar.float(), columns)[:, :batch.windows]
    terms = {"contrast": weights.contrastive * losses.contrast(seen, headings, batch.column, model.log_scale, near),
             "distil": weights.distillation * 0.5 * (
                 _distil(camera, camera_students, torch.zeros_like(batch.column), experiment)
                 + _distil(lidar, lidar_students, batch.column, experiment))}
    if logits is not None and batch.bins is not None and batch.seen is not None:
        terms["range"] = weights.range_map * losses.range_classes(logits, batch.bins, batch.seen)
    return terms


def _distil(teacher: Tensor, students: list[Tensor], column: Tensor, experiment: Experiment) -> Tensor:
    """Of one modality, over the embeddings of the camera's look."""
    columns = experiment.model.columns
    looks = [losses.look(strips, column, columns) for strips in students]
    return losses.distillation(losses.look(teacher, column, columns), looks, experiment.loss.stop_gradient)


def learning_rate(fraction: float, schedule: ScheduleConfig) -> float:
    """Linear warm-up, then a cosine to nearly nothing; `fraction` of the budget is spent."""
    rise = min(1.0, (fraction + 1e-3) / max(schedule.warmup, 1e-9))
    return schedule.learning_rate * rise * (0.5 + 0.5 * math.cos(math.pi * min(fraction, 1.0))) + 1e-7


def optimiser(model: CrossModalModel, schedule: ScheduleConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices only, not biases, norms, position biases or the temperature."""
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, p in model.named_parameters():
        (free if p.ndim < 2 or "relative_position_bias_table" in name else decayed).append(p)
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, schedule.learning_rate, betas=(0.9, 0.98))


class Run:
    """One training run: the model, its moving average, the optimiser, and how much of the budget is spent."""

    def __init__(self, experiment: Experiment, shards: Shards, folder: Path) -> None:
        torch.set_num_threads(experiment.schedule.threads)
        torch.manual_seed(experiment.seed)
        self.experiment, self.shards, self.folder = experiment, shards, folder
        self.model = CrossModalModel(experiment)
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.optimiser = optimiser(self.model, experiment.schedule)
        self.step, self.seconds = 0, 0.0

    @property
    def fraction(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        schedule = self.experiment.schedule
        return self.step / schedule.steps if schedule.steps else self.seconds / (60.0 * schedule.minutes)

    def advance(self) -> dict[str, float]:
        """One optimisation step; returns the terms of the loss. Raises DataError when the loss is not finite."""
        began, schedule = time.monotonic(), self.experiment.schedule
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.fraction, schedule)
        self.model.train()
        terms = loss_terms(self.model, draw_batch(self.shards, self.experiment, self.step), self.experiment)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise DataError(f"the loss is {loss.item()} at step {self.step}: lower schedule.learning_rate or "
                            "check the shards")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), schedule.clip)
        self.optimiser.step()
        self._average(min(schedule.ema, (self.step + 1) / (self.step + 10)))
        self.step += 1
        self.seconds += time.monotonic() - began
        return {k: v.item() for k, v in terms.items()}

    @torch.no_grad()
    def _average(self, keep: float) -> None:
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1.0 - keep)

    def save(self) -> None:
        """Writes the checkpoint; a kill in the middle leaves the previous one whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / (CHECKPOINT + ".part")
        torch.save({"experiment": to_tree(self.experiment), "model": self.model.state_dict(), "average": self.average,
                    "optimiser": self.optimiser.state_dict(), "step": self.step, "seconds": self.seconds,
                    "pairs": len(self.shards), "streets": self.shards.count}, part)
        os.replace(part, self.folder / CHECKPOINT)

    def begin_from(self, checkpoint: Path) -> None:
        """Takes over another run's averaged weights, to refine them; raises DataError if they do not fit."""
        try:
            weights = torch.load(checkpoint, weights_only=True)["average"]
            self.model.load_state_dict(weights)
        except (OSError, KeyError, RuntimeError) as e:
            raise DataError(f"{checkpoint} holds no weights for this model: {e}") from e
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}

    def resume(self) -> bool:
        """Goes on from the folder's checkpoint, if there is one; raises ConfigError if it is another experiment's."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        if state["experiment"] != to_tree(self.experiment) or state["pairs"] != len(self.shards):
            raise ConfigError(f"{path} belongs to another experiment or other shards: give another folder, "
                              "or delete it")
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        return True


def averaged(checkpoint: Path) -> tuple[Experiment, CrossModalModel, dict[str, Any]]:
    """The experiment, the averaged model in evaluation mode, and the checkpoint's counters."""
    from ms2cl_ros.training.experiment import from_tree
    try:
        state = torch.load(checkpoint, weights_only=True)
        experiment = from_tree(state["experiment"])
        model = CrossModalModel(experiment)
        model.load_state_dict(state["average"])
    except (OSError, KeyError, RuntimeError) as e:
        raise DataError(f"{checkpoint} is no checkpoint of this training code: {e}") from e
    return experiment, model.eval(), {k: state[k] for k in ("step", "seconds", "pairs", "streets")}


def train(experiment: Experiment, shards: Shards, folder: Path, say: Callable[[str], None] = print,
          begin: Path | None = None) -> Run:
    """Trains until the budget is spent, checkpointing on the way; goes on where an earlier call was stopped.

    `begin`: a checkpoint whose averaged weights a new run starts from.
    """
    run = Run(experiment, shards, folder)
    resumed = run.resume()
    if begin is not None and not resumed:
        run.begin_from(begin)
    say(f"{'resumed at' if resumed else 'starts at'} step {run.step}: {len(shards)} pairs, "
        f"{shards.count} streets, {len(shards.held_out)} pairs held out")
    schedule = experiment.schedule
    recent: list[dict[str, float]] = []
    saved = validated = reported = run.seconds
    while run.fraction < 1.0:
        recent.append(run.advance())
        if run.seconds - reported > 30 or run.fraction >= 1.0:
            say(progress(run, recent))
            reported, recent = run.seconds, []
        if run.seconds - saved > schedule.checkpoint_seconds:
            run.save()
            saved = run.seconds
        if run.seconds - validated > schedule.validate_seconds:
            say("  held out: " + validate(run.experiment, run.model, run.average, shards))
            validated = run.seconds
    run.save()
    say("  held out: " + validate(run.experiment, run.model, run.average, shards))
    return run


def progress(run: Run, recent: list[dict[str, float]]) -> str:
    """One line: step, terms of the loss averaged over `recent` steps, and the time left."""
    terms = "  ".join(f"{k} {sum(r[k] for r in recent) / len(recent):.3f}" for k in recent[0])
    left = run.seconds / max(run.fraction, 1e-6) * (1.0 - run.fraction) / 60.0
    return (f"step {run.step}  {100 * run.fraction:.0f} %  {terms}  scale {run.model.log_scale.exp().item():.1f}  "
            f"{run.seconds / run.step:.2f} s a step  {max(left, 0.0):.1f} min left")


def main(experiment: Path, folder: Path, shards: list[Path], begin: Path | None = None) -> None:
    """Trains EXPERIMENT (a YAML file) on SHARDS (.npz files); checkpoints go into FOLDER, from where it resumes.

    BEGIN: a checkpoint whose weights are refined instead of random ones.
    """
    try:
        settings = load(experiment)
        train(settings, Shards(shards, settings), folder, lambda line: print(line, flush=True), begin)
    except Ms2clError as e:
        print(f"error: {e}", file=sys.stderr)
        raise SystemExit(1) from e


if __name__ == "__main__":
    import typer
    typer.run(main)
