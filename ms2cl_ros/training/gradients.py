# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The gradients of one batch: in one pass, or in chunks with cached gradients, where it is too large for the memory.

A contrastive loss does not fall apart into chunks: each image is told from all places. So the chunks are embedded
without a graph first, the loss's gradients by the embeddings are kept, and a second pass hands them to the encoders
(Gao et al., GradCache, 2021). The outcome is that of one pass, for a third more time and a fraction of the memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ms2cl_ros.training.data import Batch
from ms2cl_ros.training.experiment import Experiment
from ms2cl_ros.training.losses import Queue
from ms2cl_ros.training.model import CrossModalModel
from ms2cl_ros.training.objective import Strips, embedding_terms, encode, range_term
from ms2cl_ros.training.parallel import ALONE, World


def add_gradients(model: CrossModalModel, batch: Batch, experiment: Experiment, world: World = ALONE,
                  queue: Queue | None = None, weight: float = 1.0) -> dict[str, Tensor]:
    """Adds `weight` times the gradients of a batch's loss to the model's; returns the terms of the loss.

    `batch` is the whole one on every process; the gradients of a process alone mean nothing before they are averaged.
    """
    mine = batch.rows(world.share(len(batch)))
    most = experiment.schedule.chunk or len(mine)
    parts = [mine.rows(slice(i, i + most)) for i in range(0, len(mine), most)]
    total = None if batch.seen is None else batch.seen.sum()
    if len(parts) > 1:
        return _in_chunks(model, parts, batch, experiment, world, queue, weight, total)
    strips, logits = encode(model, mine, experiment)
    terms = embedding_terms(_gathered(strips, world, len(batch)), batch, model.log_scale, experiment, queue)
    loss = torch.stack(list(terms.values())).sum()
    ranges = range_term(logits, mine, experiment, total)
    if ranges is not None:
        # averaging over the processes divides it again: it is a share of the batch's, the other terms are the batch's
        loss, terms = loss + world.size * ranges, {**terms, "range": world.total(ranges)}
    (weight * loss).backward()
    return {k: v.detach() for k, v in terms.items()}


def _gathered(strips: Strips, world: World, rows: int) -> Strips:
    return Strips.of([world.gather(s, rows) for s in strips.all()])


def _in_chunks(model: CrossModalModel, parts: list[Batch], batch: Batch, experiment: Experiment, world: World,
               queue: Queue | None, weight: float, total: Tensor | None) -> dict[str, Tensor]:
    """Two passes over the chunks, which draw the same random numbers in both."""
    states, kept = [], []
    with torch.no_grad():
        for part in parts:
            states.append(_random_state(world.device))
            kept.append(encode(model, part, experiment)[0].all())
    after = _random_state(world.device)
    leaves = [torch.cat(strips).requires_grad_() for strips in zip(*kept, strict=True)]
    terms = embedding_terms(_gathered(Strips.of(leaves), world, len(batch)), batch, model.log_scale, experiment, queue)
    (weight * torch.stack(list(terms.values())).sum()).backward()
    counts, ranges = [len(part) for part in parts], []
    gradients = [[None] * len(parts) if leaf.grad is None else leaf.grad.split(counts) for leaf in leaves]
    for number, part in enumerate(parts):
        _set_random_state(world.device, states[number])
        strips, logits = encode(model, part, experiment)
        handed = [(x * g[number]).sum() for x, g in zip(strips.all(), gradients, strict=True) if g[number] is not None]
        share = range_term(logits, part, experiment, total)
        if share is not None:
            handed.append(weight * world.size * share)
            ranges.append(share.detach())
        torch.stack(handed).sum().backward()
    _set_random_state(world.device, after)
    if ranges:
        terms = {**terms, "range": world.total(torch.stack(ranges).sum())}
    return {k: v.detach() for k, v in terms.items()}


def _random_state(device: torch.device) -> tuple[Tensor, Any]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_random_state(device: torch.device, state: tuple[Tensor, Any]) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
