# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The three terms: contrast between the teachers, distillation within each modality, range classification.

Each where the paper leaves it open has its alternatives here: LIP-Loc's contrast, three distances of distillation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ms2cl_ros.training.experiment import RangeMapConfig

BESIDE = 1  # columns to either side of the right one that show nearly the same
MAX_SCALE = 100.0  # of the logits, as in CLIP: beyond it the loss only chases label noise


@dataclass
class Queue:
    """LiDAR windows of earlier batches, newest last: `windows` (Q, D) of unit length, `street`, `along` (Q,)."""

    windows: Tensor
    street: Tensor
    along: Tensor

    def push(self, windows: Tensor, street: Tensor, along: Tensor, most: int) -> None:
        """Adds (N, W, D) windows of N places and forgets the oldest beyond `most`."""
        wide = windows.shape[1]
        self.windows = torch.cat([self.windows, windows.detach().flatten(0, 1)])[-most:]
        self.street = torch.cat([self.street, street.repeat_interleave(wide)])[-most:]
        self.along = torch.cat([self.along, along.repeat_interleave(wide)])[-most:]

    def strangers(self, street: Tensor, along: Tensor, metres: float) -> Tensor:
        """(N, Q) bool: windows of other streets, or of the same at least `metres` along."""
        return (street[:, None] != self.street[None]) | ((along[:, None] - self.along[None]).abs() >= metres)


def contrast(camera: Tensor, windows: Tensor, column: Tensor, log_scale: Tensor, near: Tensor,
             further: Tensor | None = None, strangers: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE over teacher embeddings: (N, D) of images, (N, W, D) of every heading of their places.

    `column` (N,) int64: which heading is the image's; those beside it are no negatives, the others are: an image is
    told from all headings of all places. `near` (N, N) bool marks places that are no negatives of each other.
    `further` (Q, D): windows of other batches, negatives of those images where `strangers` (N, Q) bool is true.
    """
    scale = log_scale.exp().clamp(max=MAX_SCALE)
    n, wide = windows.shape[:2]
    number = torch.arange(n, device=camera.device)
    near = near & (number[:, None] != number[None])
    scores = (camera @ windows.flatten(0, 1).T * scale).view(n, n, wide).masked_fill(near[:, :, None], -1e4)
    away = (torch.arange(wide, device=camera.device)[None] - column[:, None]).abs()
    beside = (torch.minimum(away, wide - away) <= BESIDE) & (away > 0)
    scores[number, number] = scores[number, number].masked_fill(beside, -1e4)
    back = (windows[number, column] @ camera.T * scale).masked_fill(near, -1e4)
    forth = scores.flatten(1)
    if further is not None and strangers is not None and len(further):
        forth = torch.cat([forth, (camera @ further.T * scale).masked_fill(~strangers, -1e4)], 1)
    return 0.5 * (F.cross_entropy(forth, number * wide + column) + F.cross_entropy(back, number))


def lip_loc(camera: Tensor, lidar: Tensor) -> Tensor:
    """LIP-Loc's loss over (N, D) embeddings as long as they come: logits are dot products (temperature 1), targets the
    softmax of the mean similarity within the two modalities; mean of both cross-entropies.

    Its code lets gradients into the targets, and so does this.
    """
    logits = lidar @ camera.T
    targets = ((camera @ camera.T + lidar @ lidar.T) / 2).softmax(-1)
    forth = -(targets * logits.log_softmax(-1)).sum(1)
    back = -(targets.T * logits.T.log_softmax(-1)).sum(1)
    return ((forth + back) / 2).mean()


def part(strips: Tensor, column: Tensor, columns: int) -> Tensor:
    """(N, numbers * columns) float32: of each strip (N, numbers, width) the `columns` from `column` (N,) on."""
    index = (column[:, None] + torch.arange(columns, device=column.device)) % strips.shape[2]
    return strips.gather(2, index[:, None].expand(-1, strips.shape[1], -1)).flatten(1).float()


def look(strips: Tensor, column: Tensor, columns: int) -> Tensor:
    """The same of unit length."""
    found = part(strips, column, columns)
    return found / found.norm(dim=1, keepdim=True).clamp(min=1e-12)


def near_frames(street: Tensor, along: Tensor, metres: float) -> Tensor:
    """(N, N) bool: frames of one street less than `metres` apart, each with itself included."""
    return (street[:, None] == street[None]) & ((along[:, None] - along[None]).abs() < metres)


def distillation(teacher: Tensor, students: list[Tensor], stop_gradient: bool = True, distance: str = "cosine",
                 temperature: float = 0.07) -> Tensor:
    """Mean over the students of their distance from the teacher, all (N, D).

    `cosine`: 1 - cosine of embeddings of unit length. `mse`: of embeddings as long as they come; of unit length it
    would be the cosine again. `relational`: for each pair, the Kullback-Leibler divergence of how alike the student
    finds the others of the batch from how alike the teacher does, both softmax(cosine / temperature).
    """
    target = teacher.detach() if stop_gradient else teacher
    if not students:
        return teacher.new_zeros(())
    if distance == "relational":
        return torch.stack([relation(s, target, temperature) for s in students]).mean()
    if distance == "mse":
        return torch.stack([F.mse_loss(s, target) for s in students]).mean()
    return torch.stack([1.0 - (s * target).sum(1).mean() for s in students]).mean()


def relation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) between rows of in-batch similarity, (N, D) of unit length; a pair is not asked about
    itself."""
    same = torch.eye(len(student), dtype=torch.bool, device=student.device)
    mine, theirs = ((x @ x.T / temperature).masked_fill(same, -1e4).log_softmax(1) for x in (student, teacher))
    return (theirs.exp() * (theirs - mine)).sum(1).mean()


def range_targets(ranges: Tensor, config: RangeMapConfig) -> Tensor:
    """(N, H, W) metres, 0 = nothing -> (N, rows, columns) int64 bins of the nearest return; `bins` = nothing."""
    block = (ranges.shape[1] // config.rows, ranges.shape[2] // config.columns)
    empty = torch.where(ranges > 0, ranges, torch.full_like(ranges, 1e9))
    nearest = -F.max_pool2d(-empty[:, None], block)[:, 0]
    low, high = math.log(config.near), math.log(config.far)
    bins = ((nearest.clamp(config.near, config.far).log() - low) / (high - low) * config.bins).floor()
    bins = bins.clamp(0, config.bins - 1).long()
    return torch.where(nearest < 1e8, bins, torch.full_like(bins, config.bins))


def range_classes(logits: Tensor, target: Tensor, seen: Tensor, smoothing: float = 0.1,
                  total: Tensor | None = None) -> Tensor:
    """Cross-entropy over cells with `seen` (N, rows, columns) weights; neighbouring range bins share `smoothing`.

    `total`: the sum of the weights, where these rows are a part of a batch.
    """
    last = logits.shape[1] - 2
    chances = logits.log_softmax(1)

    def of(bins: Tensor) -> Tensor:
        return chances.gather(1, bins[:, None])[:, 0]

    sides = of((target - 1).clamp(0, last)) + of((target + 1).clamp(0, last))
    share = torch.where(target <= last, smoothing, 0.0)
    loss = -(1 - 2 * share) * of(target) - share * sides
    return (loss * seen).sum() / (seen.sum() if total is None else total).clamp(min=1.0)


def range_bin_centres(config: RangeMapConfig) -> Tensor:
    """(bins,) natural logarithm of each bin's middle."""
    low, high = math.log(config.near), math.log(config.far)
    return low + (torch.arange(config.bins) + 0.5) * (high - low) / config.bins
