# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a batch to the terms of the loss: what the encoders make of it, and what is asked of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ms2cl_ros.training import losses
from ms2cl_ros.training.data import Batch
from ms2cl_ros.training.experiment import Experiment
from ms2cl_ros.training.losses import Queue
from ms2cl_ros.training.model import CrossModalModel, unit, windows


@dataclass(frozen=True)
class Strips:
    """(N, numbers, columns) float32 each: the teachers', and the students' from the finest stage on."""

    camera: Tensor
    lidar: Tensor
    camera_students: list[Tensor]
    lidar_students: list[Tensor]

    def all(self) -> list[Tensor]:
        """Every strip, in an order that `of` knows."""
        return [self.camera, self.lidar, *self.camera_students, *self.lidar_students]

    @classmethod
    def of(cls, strips: Sequence[Tensor]) -> Strips:
        """The inverse of `all`."""
        students = (len(strips) - 2) // 2
        return cls(strips[0], strips[1], list(strips[2:2 + students]), list(strips[2 + students:]))


def encode(model: CrossModalModel, batch: Batch, experiment: Experiment) -> tuple[Strips, Tensor | None]:
    """The strips of a batch, and its range logits (N, bins + 1, rows, columns) if the model predicts them."""
    image, ranges, schedule = batch.image, batch.ranges, experiment.schedule
    if schedule.channels_last:
        image, ranges = (x.contiguous(memory_format=torch.channels_last) for x in (image, ranges))
    with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=schedule.bfloat16):
        camera, camera_students, logits = model.camera.train_forward(image)
        lidar, lidar_students, _ = model.lidar.train_forward(ranges)
    return Strips(camera.float(), lidar.float(), [s.float() for s in camera_students],
                  [s.float() for s in lidar_students]), logits


def embedding_terms(strips: Strips, batch: Batch, log_scale: Tensor, experiment: Experiment,
                    queue: Queue | None = None) -> dict[str, Tensor]:
    """The weighted terms that compare pairs with each other: contrast and distillation."""
    loss, columns = experiment.loss, experiment.model.columns
    ahead = torch.zeros_like(batch.column)
    if loss.kind == "liploc":
        contrast = losses.lip_loc(losses.part(strips.camera, ahead, columns),
                                  losses.part(strips.lidar, batch.column, columns))
    else:
        near = losses.near_frames(batch.street, batch.along, loss.near)
        headings = windows(strips.lidar, columns)[:, :batch.windows]
        further = strangers = None
        if queue is not None:
            further, strangers = queue.windows, queue.strangers(batch.street, batch.along, loss.near)
        contrast = losses.contrast(unit(strips.camera, experiment.model.embedding), headings, batch.column, log_scale,
                                   near, further, strangers)
    distilled = (_distil(strips.camera, strips.camera_students, ahead, experiment)
                 + _distil(strips.lidar, strips.lidar_students, batch.column, experiment))
    return {"contrast": loss.contrastive * contrast, "distil": loss.distillation * 0.5 * distilled}


def _distil(teacher: Tensor, students: list[Tensor], column: Tensor, experiment: Experiment) -> Tensor:
    """Of one modality, over the embeddings of the camera's look."""
    loss, columns = experiment.loss, experiment.model.columns
    seen = losses.part if loss.distance == "mse" else losses.look
    return losses.distillation(seen(teacher, column, columns), [seen(s, column, columns) for s in students],
                               loss.stop_gradient, loss.distance, loss.temperature)


def range_term(logits: Tensor | None, batch: Batch, experiment: Experiment,
               total: Tensor | None = None) -> Tensor | None:
    """The weighted range loss, or None where there is no range map; `total`: the weights' sum over a whole batch."""
    if logits is None or batch.bins is None or batch.seen is None:
        return None
    return experiment.loss.range_map * losses.range_classes(logits, batch.bins, batch.seen, total=total)
