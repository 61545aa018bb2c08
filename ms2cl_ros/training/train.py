# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Trains one experiment on packed shards; stops and resumes exactly.

    python -m ms2cl_ros.training.train config/training/ms2cl_city.yaml runs/ms2cl_city shards/*.npz
    torchrun --nproc_per_node 4 -m ms2cl_ros.training.train ...    # the same on four GPUs
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ms2cl_ros.core.errors import ConfigError, DataError, Ms2clError
from ms2cl_ros.training.curves import Curves
from ms2cl_ros.training.data import Batch, batches
from ms2cl_ros.training.experiment import Experiment, ScheduleConfig, from_tree, load, same_run, to_tree
from ms2cl_ros.training.gradients import add_gradients
from ms2cl_ros.training.losses import Queue
from ms2cl_ros.training.model import CrossModalModel, windows
from ms2cl_ros.training.parallel import ALONE, World, join, leave
from ms2cl_ros.training.shards import Shards
from ms2cl_ros.training.validate import validate

CHECKPOINT = "checkpoint.pt"


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

    def __init__(self, experiment: Experiment, shards: Shards, folder: Path, world: World = ALONE) -> None:
        torch.set_num_threads(experiment.schedule.threads)
        torch.manual_seed(experiment.seed)
        self.experiment, self.shards, self.folder, self.world = experiment, shards, folder, world
        self.model = CrossModalModel(experiment).to(world.device)
        if experiment.schedule.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.optimiser = optimiser(self.model, experiment.schedule)
        self.step, self.seconds = 0, 0.0
        self.queue = _empty_queue(experiment, world.device)
        self._batches: Iterator[Batch] | None = None

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
        self.optimiser.zero_grad(set_to_none=True)
        drawn = [self._next_batch(k) for k in range(schedule.accumulate)]
        found = [add_gradients(self.model, batch, self.experiment, self.world, self.queue, 1.0 / len(drawn))
                 for batch in drawn]
        terms = {k: sum(f[k].item() for f in found) / len(found) for k in found[0]}
        if not math.isfinite(sum(terms.values())):
            raise DataError(f"the loss is {sum(terms.values())} at step {self.step}: lower schedule.learning_rate or "
                            "check the shards")
        self.world.average_gradients(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), schedule.clip)
        self.optimiser.step()
        self._average(min(schedule.ema, (self.step + 1) / (self.step + 10)))
        for batch in drawn if self.queue is not None else ():
            self._remember(batch)
        self.step += 1
        self.seconds += self.world.agreed(time.monotonic() - began)
        return terms

    def _next_batch(self, part: int) -> Batch:
        """The next batch of this step; what is drawn at random after it depends on its number and the process."""
        schedule, number = self.experiment.schedule, self.step * self.experiment.schedule.accumulate + part
        if self._batches is None:
            self._batches = batches(self.shards, self.experiment, number)
        batch = next(self._batches)
        if schedule.workers or self.world.rank:
            rng = np.random.default_rng((self.experiment.seed, number, self.world.rank))
            torch.manual_seed(int(rng.integers(2 ** 31)))
        return batch.to(self.world.device) if self.world.device.type != "cpu" else batch

    @torch.no_grad()
    def _average(self, keep: float) -> None:
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1.0 - keep)

    @torch.no_grad()
    def _remember(self, batch: Batch) -> None:
        """Puts what the averaged LiDAR encoder makes of a batch into the queue."""
        mine, lidar = batch.rows(self.world.share(len(batch))), self.model.lidar.eval()
        weights = {k.removeprefix("lidar."): v for k, v in self.average.items() if k.startswith("lidar.")}
        found = torch.func.functional_call(lidar, weights, (mine.ranges,))
        lidar.train()
        looks = windows(found, self.experiment.model.columns)[:, :batch.windows] if found.ndim == 3 else found[:, None]
        assert self.queue is not None
        self.queue.push(self.world.gather(looks.float(), len(batch)), batch.street, batch.along,
                        self.experiment.loss.queue)

    def save(self) -> None:
        """Writes the checkpoint; a kill in the middle leaves the previous one whole."""
        if self.world.rank:
            return
        queue = {} if self.queue is None else {"queue": vars(self.queue)}
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / (CHECKPOINT + ".part")
        torch.save({"experiment": to_tree(self.experiment), "model": self.model.state_dict(), "average": self.average,
                    "optimiser": self.optimiser.state_dict(), "step": self.step, "seconds": self.seconds,
                    "pairs": len(self.shards), "streets": self.shards.count, **queue}, part)
        os.replace(part, self.folder / CHECKPOINT)

    def begin_from(self, checkpoint: Path) -> list[str]:
        """Takes over another run's averaged weights, to refine them; returns what it had no weights for, which begins
        as in a new run. Raises DataError if less than half of the model is in it."""
        mine = self.model.state_dict()
        try:
            weights = torch.load(checkpoint, weights_only=True, map_location=self.world.device)["average"]
            fit = {k: v for k, v in weights.items() if k in mine and mine[k].shape == v.shape}
        except (OSError, KeyError, RuntimeError, AttributeError) as e:
            raise DataError(f"{checkpoint} holds no weights: {e}") from e
        wanted = [name for name, _ in self.model.named_parameters()]
        parts = [name for name in wanted if name not in fit]
        if 2 * len(parts) > len(wanted):
            raise DataError(f"{checkpoint} holds no weights for this model: of its {len(wanted)} parameters it lacks "
                            f"{len(parts)}, such as {', '.join(parts[:3])}")
        if parts:
            self.model.take_pretrained(self.experiment.model)
        self.model.load_state_dict({**self.model.state_dict(), **fit})
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        return sorted({".".join(p.split(".")[:3]) for p in parts})

    def take_pretrained(self) -> list[str]:
        """Lets trunks that are named after published models begin with their weights; raises DataError."""
        taken = self.model.take_pretrained(self.experiment.model)
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        return taken

    def resume(self) -> bool:
        """Goes on from the folder's checkpoint, if there is one; raises ConfigError if it is another experiment's."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return False
        try:
            state = torch.load(path, weights_only=True, map_location=self.world.device)
            same = same_run(from_tree(state["experiment"]), self.experiment)
        except (OSError, KeyError, RuntimeError, ConfigError) as e:
            raise DataError(f"{path} is no checkpoint of this training code: {e}") from e
        if not same or state["pairs"] != len(self.shards):
            raise ConfigError(f"{path} belongs to another experiment or other shards: give another folder, "
                              "or delete it")
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self._batches = state["step"], state["seconds"], None
        self.queue = Queue(**state["queue"]) if "queue" in state else self.queue
        return True


def _empty_queue(experiment: Experiment, device: torch.device) -> Queue | None:
    if not experiment.loss.queue:
        return None
    return Queue(torch.zeros(0, experiment.model.embedding, device=device),
                 torch.zeros(0, dtype=torch.long, device=device), torch.zeros(0, device=device))


def averaged(checkpoint: Path) -> tuple[Experiment, CrossModalModel, dict[str, Any]]:
    """The experiment, the averaged model in evaluation mode, and the checkpoint's counters."""
    try:
        state = torch.load(checkpoint, weights_only=True, map_location="cpu")
        experiment = from_tree(state["experiment"])
        model = CrossModalModel(experiment)
        model.load_state_dict(state["average"])
    except (OSError, KeyError, RuntimeError) as e:
        raise DataError(f"{checkpoint} is no checkpoint of this training code: {e}") from e
    return experiment, model.eval(), {k: state[k] for k in ("step", "seconds", "pairs", "streets")}


def train(experiment: Experiment, shards: Shards, folder: Path, say: Callable[[str], None] = print,
          begin: Path | None = None, world: World | None = None) -> Run:
    """Trains until the budget is spent, checkpointing on the way; goes on where an earlier call was stopped.

    `begin`: a checkpoint whose averaged weights a new run starts from. `world`: by default the processes that
    `torchrun` started.
    """
    run = Run(experiment, shards, folder, world or join(experiment.schedule.device))
    say = (lambda line: None) if run.world.rank else say
    resumed = run.resume()
    new = run.begin_from(begin) if begin is not None and not resumed else []
    taken = run.take_pretrained() if begin is None and not resumed else []
    say(f"{'resumed at' if resumed else 'starts at'} step {run.step}: {len(shards)} pairs, "
        f"{shards.count} streets, {len(shards.held_out)} pairs held out"
        + "".join(f"; {weights}" for weights in taken) + (f"; anew: {', '.join(new)}" if new else ""))
    curves = None if run.world.rank else Curves(folder, run.step)
    _until_spent(run, curves, say)
    run.save()
    _held_out(run, curves, say)
    if curves is not None:
        curves.close()
    return run


def _until_spent(run: Run, curves: Curves | None, say: Callable[[str], None]) -> None:
    """Steps, with progress, checkpoints and figures every so many seconds of training."""
    schedule = run.experiment.schedule
    recent: list[dict[str, float]] = []
    saved = validated = reported = run.seconds
    while run.fraction < 1.0:
        recent.append(run.advance())
        if curves is not None:
            curves.add(run.step, {"seconds": run.seconds, "learning_rate": run.optimiser.param_groups[0]["lr"],
                                  "scale": run.model.log_scale.exp().item(), **recent[-1]})
        if run.seconds - reported > 30 or run.fraction >= 1.0:
            say(progress(run, recent))
            reported, recent = run.seconds, []
        if run.seconds - saved > schedule.checkpoint_seconds:
            run.save()
            saved = run.seconds
        if run.seconds - validated > schedule.validate_seconds:
            _held_out(run, curves, say)
            validated = run.seconds


def _held_out(run: Run, curves: Curves | None, say: Callable[[str], None]) -> None:
    """Figures of the averaged weights, by the first process; the others wait."""
    if curves is not None:
        figures = validate(run.experiment, run.model, run.average, run.shards)
        curves.held_out(run.step, figures)
        say("  held out: " + ", ".join(f"{k} {v}" for k, v in figures.items()))
    run.world.wait()


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
        leave()
    except Ms2clError as e:
        print(f"error: {e}", file=sys.stderr)
        raise SystemExit(1) from e


if __name__ == "__main__":
    import typer
    typer.run(main)
