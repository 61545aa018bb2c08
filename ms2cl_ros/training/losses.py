# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The three terms: contrast between the teachers, distillation within each modality, range classification."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ms2cl_ros.training.experiment import RangeMapConfig

BESIDE = 1  # columns to either side of the right one that show nearly the same
MAX_SCALE = 100.0  # of the logits, as in CLIP: beyond it the loss only chases label noise


def contrast(camera: Tensor, windows: Tensor, column: Tensor, log_scale: Tensor, near: Tensor) -> Tensor:
    """Symmetric InfoNCE over teacher embeddings: (N, D) of images, (N, W, D) of every heading of their places.

    `column` (N,) int64: which heading is the image's; those beside it are no negatives, the others are: an image is
    told from all headings of all places. `near` (N, N) bool marks places that are no negatives of each other.
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
    return 0.5 * (F.cross_entropy(scores.flatten(1), number * wide + column) + F.cross_entropy(back, number))


def look(strips: Tensor, column: Tensor, columns: int) -> Tensor:
    """(N, numbers * columns) of unit length: of each strip (N, numbers, width) the `columns` from `column` (N,) on."""
    index = (column[:, None] + torch.arange(columns, device=column.device)) % strips.shape[2]
    part = strips.gather(2, index[:, None].expand(-1, strips.shape[1], -1)).flatten(1).float()
    return part / part.norm(dim=1, keepdim=True).clamp(min=1e-12)


def near_frames(street: Tensor, along: Tensor, metres: float) -> Tensor:
    """(N, N) bool: frames of one street less than `metres` apart, each with itself included."""
    return (street[:, None] == street[None]) & ((along[:, None] - along[None]).abs() < metres)


def distillation(teacher: Tensor, students: list[Tensor], stop_gradient: bool = True) -> Tensor:
    """Mean of 1 - cosine between each student and its teacher, all (N, D) of unit length."""
    target = teacher.detach() if stop_gradient else teacher
    if not students:
        return teacher.new_zeros(())
    return torch.stack([1.0 - (s * target).sum(1).mean() for s in students]).mean()


def range_targets(ranges: Tensor, config: RangeMapConfig) -> Tensor:
    """(N, H, W) metres, 0 = nothing -> (N, rows, columns) int64 bins of the nearest return; `bins` = nothing."""
    block = (ranges.shape[1] // config.rows, ranges.shape[2] // config.columns)
    empty = torch.where(ranges > 0, ranges, torch.full_like(ranges, 1e9))
    nearest = -F.max_pool2d(-empty[:, None], block)[:, 0]
    low, high = math.log(config.near), math.log(config.far)
    bins = ((nearest.clamp(config.near, config.far).log() - low) / (high - low) * config.bins).floor()
    bins = bins.clamp(0, config.bins - 1).long()
    return torch.where(nearest < 1e8, bins, torch.full_like(bins, config.bins))


def range_classes(logits: Tensor, target: Tensor, seen: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy over cells with `seen` (N, rows, columns) weights; neighbouring range bins share `smoothing`."""
    last = logits.shape[1] - 2
    chances = logits.log_softmax(1)

    def of(bins: Tensor) -> Tensor:
        return chances.gather(1, bins[:, None])[:, 0]

    sides = of((target - 1).clamp(0, last)) + of((target + 1).clamp(0, last))
    share = torch.where(target <= last, smoothing, 0.0)
    loss = -(1 - 2 * share) * of(target) - share * sides
    return (loss * seen).sum() / seen.sum().clamp(min=1.0)


def range_bin_centres(config: RangeMapConfig) -> Tensor:
    """(bins,) natural logarithm of each bin's middle."""
    low, high = math.log(config.near), math.log(config.far)
    return low + (torch.arange(config.bins) + 0.5) * (high - low) / config.bins
