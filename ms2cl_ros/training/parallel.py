# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several processes that train one model, started by `torchrun`: each takes a share of the rows of every batch.

Embeddings are gathered with their gradients, so that the negatives are those of the whole batch; the outcome is that of
one process, up to rounding. Gradients are averaged here and not by DistributedDataParallel, which wants one forward and
one backward pass a step: cached gradients have several, and the temperature belongs to none of the encoders.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ms2cl_ros.core.errors import ConfigError


class _Gather(torch.autograd.Function):
    """Rows of all processes; the gradient of a row is the sum of what every process makes of it."""

    @staticmethod
    def forward(ctx: Any, mine: Tensor, rank: int, counts: list[int]) -> Tensor:
        ctx.place = sum(counts[:rank]), counts[rank]
        padded = mine.new_zeros(max(counts), *mine.shape[1:])
        padded[:len(mine)] = mine
        all_ = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(all_, padded)
        return torch.cat([x[:n] for x, n in zip(all_, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        first, count = ctx.place
        return total[first:first + count], None, None


@dataclass(frozen=True)
class World:
    """This process among `size`; alone by default."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def share(self, rows: int, rank: int | None = None) -> slice:
        """Which rows of a batch are this process's (or another's); raises ConfigError if there are too few."""
        if rows < self.size:
            raise ConfigError(f"a batch of {rows} pairs cannot be shared by {self.size} processes: raise data.streets, "
                              "data.cities or the frames of each")
        rank = self.rank if rank is None else rank
        return slice(rows * rank // self.size, rows * (rank + 1) // self.size)

    def gather(self, mine: Tensor, rows: int) -> Tensor:
        """This process's rows (n, ...) and all others', `rows` in all, in the batch's order."""
        if self.size == 1:
            return mine
        shares = [self.share(rows, r) for r in range(self.size)]
        found: Tensor = _Gather.apply(mine, self.rank, [s.stop - s.start for s in shares])
        return found

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces every gradient by its mean over the processes."""
        found = [p.grad for p in parameters if p.grad is not None]
        if self.size == 1 or not found:
            return
        flat = torch.cat([g.flatten() for g in found])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(found, flat.split([g.numel() for g in found]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def total(self, value: Tensor) -> Tensor:
        """The sum of a number over the processes."""
        value = value.detach().clone()
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def agreed(self, seconds: float) -> float:
        """The first process's number, on which all must act alike."""
        if self.size == 1:
            return seconds
        value = torch.tensor([seconds], dtype=torch.float64, device=self.device)
        dist.broadcast(value, 0)
        return float(value.item())

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


ALONE = World()


def device_of(name: str) -> torch.device:
    """The device of a setting; raises ConfigError if there is no GPU where one is asked for."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("schedule.device is cuda, but torch finds no GPU here: say auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def join(device: str) -> World:
    """The processes that `torchrun` started this one with; raises ConfigError if a device is missing."""
    chosen, size = device_of(device), int(os.environ.get("WORLD_SIZE", "1"))
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
        torch.set_float32_matmul_precision("high")
    if size == 1:
        return World(device=chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return World(dist.get_rank(), dist.get_world_size(), chosen)


def leave() -> None:
    """Ends what `join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()
