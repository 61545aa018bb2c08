# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures on held-out streets: recall among own sweeps and among what a map holds nearby, and range error."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ms2cl_ros.training import losses
from ms2cl_ros.training.data import camera_input, lidar_input, look_from, look_of, paste
from ms2cl_ros.training.experiment import Experiment, RangeMapConfig
from ms2cl_ros.training.losses import range_bin_centres, range_targets
from ms2cl_ros.training.model import CrossModalModel, unit
from ms2cl_ros.training.shards import Shards, packed_grid


def recall(scores: np.ndarray, correct: np.ndarray, k: int = 1) -> float:
    """Share of queries (rows of (Q, M) scores) with a correct answer among the best k; `correct` is (Q, M) bool."""
    best = np.argsort(-scores, axis=1)[:, :k]
    return float(np.take_along_axis(correct, best, 1).any(1).mean())


@torch.no_grad()
def embed(model: Any, experiment: Experiment, shards: Shards, rows: np.ndarray) -> dict[str, Tensor]:
    """Embeddings of images, of their own sweeps and of what a map holds nearby (a rendered view, where there is one),
    each along the camera; and |d ln r| of the range map where there is one."""
    device = next(model.parameters(), torch.zeros(0)).device
    out: dict[str, list[Tensor]] = {"camera": [], "own": [], "nearby": [], "error": []}
    for part in np.array_split(rows, max(1, len(rows) // 64)):
        image, known = shards.images(part)
        valid = torch.stack([torch.ones(*experiment.camera.stored, dtype=torch.bool) if mask is None
                             else torch.from_numpy(np.array(mask)) for mask in known])
        camera, _, logits = model.camera.train_forward(camera_input(image, valid, experiment.camera).to(device))
        out["camera"].append(unit(camera, experiment.model.embedding).cpu())
        here = shards.ranges(part, "rng")
        for key, ranges, column in (("own", *_own(shards, part, here, experiment)),
                                    ("nearby", *_nearby(shards, part, experiment))):
            strips = model.lidar.train_forward(lidar_input(ranges, experiment.lidar).to(device))[0]
            out[key].append(losses.look(strips.cpu(), column, experiment.model.columns))
        if logits is not None and experiment.range_map is not None:
            out["error"].append(_range_error(logits.cpu(), here, experiment.range_map))
    return {k: torch.cat(v) for k, v in out.items() if v}


def _own(shards: Shards, rows: np.ndarray, here: Tensor, experiment: Experiment) -> tuple[Tensor, Tensor]:
    """The camera's own sweeps, in the middle of the map's turn where there is one, and the column they begin at."""
    ahead = torch.zeros(len(rows), dtype=torch.long)
    if not shards.turns[rows].all() or not (experiment.model.around or experiment.data.packed):
        return here, ahead
    turns, _ = shards.around(rows, [True] * len(rows))
    first = torch.full((len(rows),), (turns.shape[2] - here.shape[2]) // 2)
    turns = paste(turns, first, here)
    if not experiment.model.around:
        return look_of(turns, first, experiment), ahead
    return turns, first // (here.shape[2] // experiment.model.columns)


def _nearby(shards: Shards, rows: np.ndarray, experiment: Experiment) -> tuple[Tensor, Tensor]:
    look, ahead = packed_grid(experiment).columns, torch.zeros(len(rows), dtype=torch.long)
    if not shards.turns[rows].all():
        return shards.ranges(rows, "rng2"), ahead
    turns, turned = shards.around(rows, [True] * len(rows))
    begin = look_from(turned, turns.shape[2], look)
    if not experiment.model.around:
        return look_of(turns, begin, experiment), ahead
    step = look // experiment.model.columns
    return turns, (begin / step).round().long() % (turns.shape[2] // step)


def _range_error(logits: Tensor, here: Tensor, config: RangeMapConfig) -> Tensor:
    bins, centres = range_targets(here, config), range_bin_centres(config)
    expected = (logits[:, :-1].softmax(1) * centres[:, None, None]).sum(1)
    seen = bins < config.bins
    return (expected - centres[bins.clamp(max=len(centres) - 1)]).abs()[seen]


def held_out_figures(model: Any, experiment: Experiment, shards: Shards,
                     limit: int = 600) -> dict[str, Any]:
    """Recall@1 and @5 within 5 m in the right street among up to `limit` held-out pairs of shards without whole turns
    (streets) and with them (cities), and the mean |d ln r|. `model`: torch's or an exported one."""
    figures: dict[str, Any] = {"pairs": 0}
    for kind, name in ((False, "streets"), (True, "cities")):
        rows = shards.held_out[shards.turns[shards.held_out] == kind][:limit]
        if len(rows):
            figures["pairs"] += len(rows)
            figures[name] = recall_figures(embed(model, experiment, shards, rows), shards, rows)
    return figures


def recall_figures(found: dict[str, Tensor], shards: Shards, rows: np.ndarray) -> dict[str, Any]:
    """Of embeddings by `embed`: recall within 5 m in the right street, its chance level, mean |d ln r|."""
    street, along = shards.street[rows], shards.along[rows]
    correct = (street[:, None] == street[None]) & (np.abs(along[:, None] - along[None]) < 5.0)
    figures: dict[str, Any] = {"chance": round(float(correct.mean()), 4)}
    for key in ("own", "nearby"):
        scores = (found["camera"] @ found[key].T).numpy()
        figures[key] = {f"recall@{k}": round(recall(scores, correct, k), 4) for k in (1, 5)}
    if "error" in found:
        figures["mean_abs_log_range_error"] = round(float(found["error"].mean()), 4)
    return figures


def validate(experiment: Experiment, model: CrossModalModel, average: dict[str, Tensor],
             shards: Shards) -> dict[str, Any]:
    """`held_out_figures` of the averaged weights; the model keeps its own."""
    own = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(average)
    model.eval()
    figures = held_out_figures(model, experiment, shards)
    model.load_state_dict(own)
    model.train()
    return figures
