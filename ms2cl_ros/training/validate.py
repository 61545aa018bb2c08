# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures on held-out streets: recall against sweeps of the same and of the neighbouring pose, and range error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ms2cl_ros.training.data import Shards, camera_input, lidar_input
from ms2cl_ros.training.experiment import Experiment
from ms2cl_ros.training.losses import range_bin_centres, range_targets
from ms2cl_ros.training.model import CrossModalModel


def recall(scores: np.ndarray, correct: np.ndarray, k: int = 1) -> float:
    """Share of queries (rows of (Q, M) scores) with a correct answer among the best k; `correct` is (Q, M) bool."""
    best = np.argsort(-scores, axis=1)[:, :k]
    return float(np.take_along_axis(correct, best, 1).any(1).mean())


@torch.no_grad()
def embed(model: CrossModalModel, experiment: Experiment, shards: Shards, rows: np.ndarray) -> dict[str, Tensor]:
    """Embeddings of images and of both sweeps, and |d ln r| of the range map where there is one."""
    grid = experiment.camera.grid
    out: dict[str, list[Tensor]] = {"camera": [], "rng": [], "rng2": [], "error": []}
    for part in np.array_split(rows, max(1, len(rows) // 64)):
        image, here, nearby = shards.read(part)
        valid = torch.ones(len(part), grid.rows, grid.columns, dtype=torch.bool)
        camera, _, logits = model.camera.train_forward(camera_input(image, valid, experiment.camera))
        out["camera"].append(camera)
        for key, ranges in (("rng", here), ("rng2", nearby)):
            out[key].append(model.lidar(lidar_input(ranges, experiment.lidar)))
        if logits is not None and experiment.range_map is not None:
            bins = range_targets(here, experiment.range_map)
            centres = range_bin_centres(experiment.range_map)
            expected = (logits[:, :-1].softmax(1) * centres[:, None, None]).sum(1)
            seen = bins < experiment.range_map.bins
            out["error"].append((expected - centres[bins.clamp(max=len(centres) - 1)]).abs()[seen])
    return {k: torch.cat(v) for k, v in out.items() if v}


def held_out_figures(model: CrossModalModel, experiment: Experiment, shards: Shards,
                     limit: int = 600) -> dict[str, Any]:
    """Recall@1 and @5 within 5 m in the right street among `limit` held-out pairs, and the mean |d ln r|."""
    rows = shards.held_out[:limit]
    if not len(rows):
        return {"pairs": 0}
    found = embed(model, experiment, shards, rows)
    street, along = shards.street[rows], shards.along[rows]
    correct = (street[:, None] == street[None]) & (np.abs(along[:, None] - along[None]) < 5.0)
    figures: dict[str, Any] = {"pairs": len(rows), "chance": round(float(correct.mean()), 4)}
    for key, name in (("rng", "same_pose"), ("rng2", "nearby_pose")):
        scores = (found["camera"] @ found[key].T).numpy()
        figures[name] = {f"recall@{k}": round(recall(scores, correct, k), 4) for k in (1, 5)}
    if "error" in found:
        figures["mean_abs_log_range_error"] = round(float(found["error"].mean()), 4)
    return figures


def validate(experiment: Experiment, model: CrossModalModel, average: dict[str, Tensor], shards: Shards) -> str:
    """The figures of the averaged weights in one line; the model keeps its own weights."""
    own = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(average)
    model.eval()
    figures = held_out_figures(model, experiment, shards)
    model.load_state_dict(own)
    model.train()
    return ", ".join(f"{k} {v}" for k, v in figures.items())
