# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tunes an exported model on a recording without labels: wherever a robot has both sensors, pairs are free.

What the model knew is kept in three ways: its weights are pulled back to where they were (L2-SP), the LiDAR's
embeddings are held to what the original model makes of the same turns, so that the space stays the one it was, and,
where shards are given, every second step rehearses the original training.
Parts of the recording are held back, block by block, and never trained on; figures before and after are of those.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.training.data import Batch, draw_batch
from ms2cl_ros.training.experiment import Experiment
from ms2cl_ros.training.losses import MAX_SCALE
from ms2cl_ros.training.model import CrossModalModel
from ms2cl_ros.training.objective import embedding_terms, encode, range_term
from ms2cl_ros.training.pairs import write_shard
from ms2cl_ros.training.shards import Shards
from ms2cl_ros.training.train import learning_rate, optimiser

# Of the recording's blocks these are held back.
BLOCKS, HELD_BACK = 10, (2, 7)
# Fewer pairs than these teach and tell nothing.
FEWEST, FEWEST_HELD_BACK = 16, 5

# However few pairs there are, so many steps are taken.
FEWEST_STEPS = 10
# Of a batch so many turns are held to what the original model makes of them: more cost time and say the same.
KEPT = 16

Say = Callable[[str], None]


@dataclass(frozen=True)
class AdaptConfig:
    """At most `minutes` of training and `passes` over the recording's pairs, or just `steps` if not 0.

    `pull`: how strongly weights are drawn back to where they were, per unit of learning rate, so that none drifts
    farther than about 1 / `pull`; `keep`: weight of the LiDAR's old embeddings; `ema`: of the weights, which begins
    where they were; `frames`: of a batch; `radius`: metres within which two frames show one place; `variants`: views
    drawn of each pair; `rehearsal`: share of steps on the shards given.
    """

    minutes: float = 6.0
    passes: float = 20.0
    steps: int = 0
    learning_rate: float = 3e-4
    pull: float = 50.0
    keep: float = 1.0
    ema: float = 0.97
    frames: int = 64
    radius: float = 5.0
    variants: int = 4
    rehearsal: float = 0.5
    threads: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Split:
    """Frames of a recording by number: (n,) indices to train on and (m,) held back. `piece`: (n,) which stretch between
    blocks held back each of `train` lies in."""

    train: np.ndarray
    held_back: np.ndarray
    piece: np.ndarray


def split(along: np.ndarray, position: np.ndarray, radius: float) -> Split:
    """Cuts (N,) metres along a recording into BLOCKS of one length and holds HELD_BACK back.

    Frames within `radius` metres of one held back, along the road or by their (N, 2) positions, are in neither part.
    Raises DataError if too little is left of either.
    """
    length = max(float(along.max() - along.min()), 1e-6)
    block = np.minimum((along - along.min()) / length * BLOCKS, BLOCKS - 1).astype(int)
    held = np.isin(block, HELD_BACK)
    away = np.abs(along[:, None] - along[None, held])
    away = np.minimum(away, np.linalg.norm(position[:, None] - position[None, held], axis=2))
    train = ~held & (away.min(1, initial=np.inf) >= radius)
    if train.sum() < FEWEST or held.sum() < FEWEST_HELD_BACK:
        raise DataError(f"{len(along)} pairs along {length:.0f} m leave {train.sum()} to train on and {held.sum()} to "
                        f"hold back; at least {FEWEST} and {FEWEST_HELD_BACK} are needed: take a longer recording")
    piece = np.searchsorted(HELD_BACK, block[train])
    return Split(np.flatnonzero(train), np.flatnonzero(held), piece)


def write_pieces(path: Path, variants: Sequence[dict[str, np.ndarray]], parts: Split) -> None:
    """One shard of the frames to train on, in all variants. Stretches between blocks held back are scenes: within one,
    near frames are told by their metres; two of them lie a block apart."""
    arrays = {k: np.concatenate([v[k][parts.train] for v in variants]) for k in variants[0]}
    arrays["scene"] = np.tile(parts.piece * 1000, len(variants)).astype(np.int64)
    write_shard(path, arrays)


def own_experiment(experiment: Experiment, config: AdaptConfig) -> Experiment:
    """The experiment that a model was made by, for batches of one recording packed on the model's own grid.

    There is no self-distillation: the students were left behind, and new ones would pull at the trunk before they have
    learnt anything themselves.
    """
    pieces = len(HELD_BACK) + 1
    data = dataclasses.replace(experiment.data, turns=1.0, cities=pieces, city_frames=-(-config.frames // pieces),
                               packed=None)
    schedule = dataclasses.replace(experiment.schedule, minutes=config.minutes if not config.steps else 0.0,
                                   steps=config.steps, learning_rate=config.learning_rate, ema=config.ema)
    return dataclasses.replace(experiment, data=data, schedule=schedule, seed=config.seed,
                               loss=dataclasses.replace(experiment.loss, distillation=0.0))


class Adaptation:
    """The model that learns, the one that it was, and the average of the weights since."""

    def __init__(self, model: CrossModalModel, experiment: Experiment, config: AdaptConfig) -> None:
        torch.manual_seed(config.seed)
        self.model, self.experiment, self.config = model, own_experiment(experiment, config), config
        self.before = copy.deepcopy(model).eval().requires_grad_(False)
        self.start = {n: p.detach().clone() for n, p in model.named_parameters()}
        self.average = {n: p.clone() for n, p in self.start.items()}
        schedule = dataclasses.replace(self.experiment.schedule, weight_decay=0.0)
        self.optimiser = optimiser(model, schedule)

    def advance(self, batch: Batch, experiment: Experiment, fraction: float) -> dict[str, float]:
        """One step on a batch; returns the terms of its loss. Raises DataError if that is not finite."""
        rate = learning_rate(fraction, self.experiment.schedule)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.model.train()
        strips, logits = encode(self.model, batch, experiment)
        terms = embedding_terms(strips, batch, self.model.log_scale, experiment)
        ranges = range_term(logits, batch, experiment)
        if ranges is not None:
            terms["range"] = ranges
        if self.config.keep:
            terms["keep"] = self.config.keep * self._moved(batch, strips.lidar)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            raise DataError(f"the loss became {loss.item()}: adapt with a lower learning rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.experiment.schedule.clip)
        self.optimiser.step()
        self._pull_and_average(rate)
        return {k: v.item() for k, v in terms.items()}

    def _moved(self, batch: Batch, strips: Tensor) -> Tensor:
        """Mean of 1 - cosine between the strips' columns and what the original model makes of them, of some turns."""
        schedule = self.experiment.schedule
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=schedule.bfloat16):
            then = self.before.lidar.train_forward(batch.ranges[:KEPT])[0]
        return 1.0 - torch.nn.functional.cosine_similarity(strips[:KEPT], then.float(), dim=1).mean()

    @torch.no_grad()
    def _pull_and_average(self, rate: float) -> None:
        for name, p in self.model.named_parameters():
            p.lerp_(self.start[name], min(1.0, rate * self.config.pull))
            self.average[name].lerp_(p, 1.0 - self.config.ema)
        self.model.log_scale.clamp_(max=float(np.log(MAX_SCALE)))

    def finish(self) -> CrossModalModel:
        """The model with its averaged weights, in evaluation mode."""
        self.model.load_state_dict(self.average, strict=False)
        return self.model.eval()


def enough(pairs: float, config: AdaptConfig, rehearses: bool) -> int:
    """Steps for so many pairs: a short recording that is gone over again and again is learnt by heart."""
    own = max(FEWEST_STEPS, config.passes * pairs / config.frames)
    return round(own / (1.0 - config.rehearsal) if rehearses else own)


def adapt(model: CrossModalModel, experiment: Experiment, own: Path, rehearsal: Sequence[Path], config: AdaptConfig,
          say: Say = print) -> tuple[CrossModalModel, dict[str, float]]:
    """Trains on the shard `own`, by turns with the shards of `rehearsal`; returns the averaged model and
    how many `steps` and `minutes` it took. Raises DataError if the shards do not fit the model."""
    torch.set_num_threads(config.threads)
    run = Adaptation(model, experiment, config)
    mine = Shards([own], run.experiment)
    theirs = Shards(rehearsal, experiment) if rehearsal else None
    whole = dataclasses.replace(experiment, loss=run.experiment.loss, seed=config.seed)
    rng = np.random.default_rng([config.seed, 3])
    last = config.steps or enough(len(mine) / config.variants, config, theirs is not None)
    step, began, told = 0, time.monotonic(), 0.0
    budget = np.inf if config.steps else 60.0 * config.minutes
    while (spent := max(step / last, (time.monotonic() - began) / budget)) < 1.0:
        rehearses = theirs is not None and rng.random() < config.rehearsal
        shards, plan = (theirs, whole) if theirs is not None and rehearses else (mine, run.experiment)
        terms = run.advance(draw_batch(shards, plan, step), plan, spent)
        step += 1
        if time.monotonic() - told > 20.0:
            told = time.monotonic()
            say(f"step {step}  {100 * spent:.0f} %  {'rehearses' if rehearses else 'learns'}  "
                + "  ".join(f"{k} {v:.3f}" for k, v in terms.items()))
    return run.finish(), {"steps": step, "minutes": round((time.monotonic() - began) / 60.0, 1)}
