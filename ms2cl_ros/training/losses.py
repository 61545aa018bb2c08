# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The three terms: contrast between the teachers, distillation within each modality, range classification."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ms2cl_ros.training.experiment import RangeMapConfig

MAX_SCALE = 100.0  # of the logits, as in CLIP: beyond it the loss only chases label noise


def contrast(camera: Tensor, lidar: Tensor, log_scale: Tensor, near: Tensor, others: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE over teacher embeddings (N, D); `near` (N, N) bool marks pairs that are no negatives.

    `others` (M, D): looks in other directions, which are nobody's match; every image is told from them as well.
    """
    scale = log_scale.exp().clamp(max=MAX_SCALE)
    scores = camera @ lidar.T * scale
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(near & ~own, -1e4)
    target = torch.arange(len(scores), device=scores.device)
    against = scores if others is None else torch.cat([scores, camera @ others.T * scale], 1)
    return 0.5 * (F.cross_entropy(against, target) + F.cross_entropy(scores.T, target))


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
