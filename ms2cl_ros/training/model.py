# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MS2-CL's two encoders: Swin trunks, a teacher head on the coarsest stage, student heads on the finer ones.

Students and their heads exist for the self-distillation loss only; `export` leaves them behind.
The camera's encoder also predicts a range map, which the LiDAR sees directly.

An encoder's output is a *strip*: (N, numbers, columns), azimuth columns in order. A camera's strip is its embedding.
The LiDAR's encoder goes round the turn: its convolutions and windows wrap, so that a whole turn has no seam and the
embedding of any heading is a window of its strip.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.training.experiment import Experiment, InputConfig, ModelConfig, RangeMapConfig, TrunkConfig
from ms2cl_ros.training.features import NAME as PHOTOGRAPHS
from ms2cl_ros.training.features import PhotographStem
from ms2cl_ros.training.trunks import ChannelNorm, Convolution, ConvolutionalTrunk, Residual, Trunk


def unit(x: Tensor, size: int) -> Tensor:
    """(N, ...) -> (N, size) float32 of unit length; the size is given so that exported graphs know it."""
    x = x.reshape(-1, size).float()
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)


def windows(strips: Tensor, columns: int) -> Tensor:
    """(N, numbers, width) strips of a turn -> (N, width, numbers * columns) embeddings of unit length: the k-th of
    the `columns` columns from column k on, round the turn. A strip of just `columns` columns has one."""
    if strips.shape[2] == columns:
        return unit(strips, strips.shape[1] * columns)[:, None]
    round_the_turn = torch.cat([strips, strips[:, :, :columns - 1]], 2)
    cut = round_the_turn.unfold(2, columns, 1).permute(0, 2, 1, 3).flatten(2).float()
    return cut / cut.norm(dim=2, keepdim=True).clamp(min=1e-12)


class ColumnHead(nn.Module):
    """Collapses the rows and keeps the azimuth columns in order: (N, C, h, w) -> (N, numbers, w / pooled).

    `pooled`: token columns to one column of the strip. One column for the whole width is the paper's global pooling.
    """

    def __init__(self, channels: int, rows: int, numbers: int, pooled: int, neighbours: bool, around: bool,
                 dropout: float = 0.1, hidden: int = 128) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d((1, pooled))
        self.collapse = Convolution(channels, hidden, (rows, 3 if neighbours else 1), around=around, rows=False)
        self.project = nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Conv2d(hidden, numbers, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.collapse(self.pool(x)))[:, :, 0]


class ProjectionHead(nn.Module):
    """LIP-Loc's head, a column at a time: averages over the rows, two linear layers, the second beside an identity, and
    LayerNorm. (N, C, h, w) -> (N, numbers, w / pooled)."""

    def __init__(self, channels: int, rows: int, numbers: int, pooled: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.pool, self.first = nn.AvgPool2d((rows, pooled)), nn.Conv2d(channels, numbers, 1)
        self.second = nn.Sequential(nn.GELU(), nn.Conv2d(numbers, numbers, 1), nn.Dropout(dropout))
        self.norm = ChannelNorm(numbers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.pool(x))
        return self.norm(x + self.second(x)).squeeze(2)


class StudentHead(nn.Module):
    """A finer stage's guess at the teacher's strip, from averages over the same columns."""

    def __init__(self, channels: int, rows: int, numbers: int, pooled: int, hidden: int = 128) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d((rows, pooled))
        self.project = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.GELU(), nn.Conv2d(hidden, numbers, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.pool(x))[:, :, 0]


class RangeDecoder(nn.Module):
    """Climbs from the coarsest map back to the finest, then to its own cells: (N, bins + 1, rows, columns) logits."""

    def __init__(self, eye: Any, widths: tuple[int, ...], first_row: int, output: RangeMapConfig) -> None:
        super().__init__()
        if len(widths) != len(eye.widths) - 1:
            raise ConfigError(f"model.decoder wants {len(eye.widths) - 1} widths, fine to coarse; got {widths}")
        stride, finer = eye.strides[0], output.columns // eye.sizes[0][1]
        self.first_token, self.tokens = first_row // stride, output.rows // max(finer, 1)
        if first_row % stride or finer * eye.sizes[0][1] != output.columns or output.rows % max(finer, 1):
            raise ConfigError(f"a range map of {output.columns} columns from camera row {first_row} on does not lie on "
                              f"stride-{stride} tokens")
        below = [*widths[1:], eye.widths[-1]]
        self.finer = finer
        self.merge = nn.ModuleList(nn.Conv2d(skip + up, out, 1)
                                   for skip, up, out in zip(eye.widths[:-1], below, widths, strict=True))
        self.refine = nn.ModuleList(Residual(c) for c in widths)
        self.logits = nn.Conv2d(widths[0], (output.bins + 1) * finer ** 2, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for k in reversed(range(len(maps) - 1)):
            x = torch.cat([maps[k], F.interpolate(x, scale_factor=2.0, mode="nearest")], 1)
            x = self.refine[k](F.gelu(self.merge[k](x)))
        x = x[:, :, self.first_token:self.first_token + self.tokens]
        return F.pixel_shuffle(self.logits(x), self.finer).float()


class Encoder(nn.Module):
    """One modality. `forward` is what gets exported; `train_forward` adds the students' strips.

    `seen`: the trunk. `window`: columns of the input that an embedding sees; `trunk.around` decides whether a strip has
    an embedding's columns or a turn's.
    """

    def __init__(self, seen: Any, window: int, model: ModelConfig, decoder: RangeDecoder | None = None) -> None:
        super().__init__()
        students, columns, last = model.students, model.columns, len(seen.widths) - 1
        if not set(students) < set(range(last + 1)) or last in students:
            raise ConfigError(f"students are stages finer than the teacher, stage {last}; got {students}")
        tokens = window // seen.strides[-1]
        if not tokens or tokens % columns:
            raise ConfigError(f"{tokens} token columns do not pool to {columns} descriptor columns")
        self.trunk, self.decoder, self.student_stages, self.embedding = seen, decoder, students, model.embedding
        numbers, rows = model.embedding // columns, seen.sizes[-1][0]
        self.strip = numbers, seen.sizes[-1][1] * columns // tokens
        self.teacher = (
            ProjectionHead(seen.widths[-1], rows, numbers, tokens // columns, model.dropout)
            if model.head == "projection" else
            ColumnHead(seen.widths[-1], rows, numbers, tokens // columns, columns > 1, seen.around, model.dropout))
        self.students = nn.ModuleList(StudentHead(seen.widths[k], seen.sizes[k][0], numbers,
                                                  window // seen.strides[k] // columns) for k in students)

    def forward(self, x: Tensor) -> Any:
        """(N, C, H, W) -> round the turn: strip (N, numbers, columns); else the embedding (N, D) of unit length and,
        with a decoder, range logits."""
        maps = self.trunk(x)
        strip = self.teacher(maps[-1])
        if self.trunk.around:
            # a reader of the exported file sees how wide a strip is only if it is told
            return strip.reshape(-1, *self.strip) if torch.onnx.is_in_onnx_export() else strip
        embedding = unit(strip, self.embedding)
        return embedding if self.decoder is None else (embedding, self.decoder(maps))

    def train_forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """(N, C, H, W) -> the teacher's strip (N, numbers, columns), the students' likewise, range logits or None."""
        maps = self.trunk(x)
        students = [head(maps[k]) for head, k in zip(self.students, self.student_stages, strict=True)]
        return self.teacher(maps[-1]), students, self.decoder(maps) if self.decoder is not None else None


class CrossModalModel(nn.Module):
    """Both encoders and the learned logarithm of 1 / temperature. Raises ConfigError if the parts do not fit."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        m, camera, lidar = experiment.model, experiment.camera, experiment.lidar
        self.inputs = input_sizes(experiment)
        (see, seen), (hear, heard) = self.inputs["camera"], self.inputs["lidar"]
        eye = trunk(see, seen, m.camera, camera)
        if m.shared and (self.inputs["camera"] != self.inputs["lidar"] or m.around or m.lidar != m.camera):
            raise ConfigError("model.shared wants one input size, as many channels and one trunk for both sensors, and "
                              f"around: false; got {self.inputs}")
        ear = eye if m.shared else trunk(hear, heard, m.lidar, lidar, m.around)
        decoder = None
        if experiment.range_map is not None:
            decoder = RangeDecoder(eye, m.decoder, experiment.first_row, experiment.range_map)
        self.camera = Encoder(eye, camera.pixels[1], m, decoder)
        self.lidar = Encoder(ear, lidar.pixels[1], m)
        if m.shared:
            self.lidar.teacher, self.lidar.students = self.camera.teacher, self.camera.students
        self.log_scale = nn.Parameter(torch.tensor(experiment.loss.temperature).log().neg())

    def take_pretrained(self, model: ModelConfig) -> list[str]:
        """Lets the trunks that are named after a published model begin with its weights; returns what was taken.

        Raises DataError if the weights cannot be had.
        """
        taken = []
        for name, encoder, config in (("camera", self.camera, model.camera), ("lidar", self.lidar, model.lidar)):
            if config.stem == PHOTOGRAPHS and not (name == "lidar" and model.shared):
                encoder.trunk.stem.take_pretrained(config.stem_weights)
                taken.append(f"{name}: {config.stem}")
            if config.pretrained and not (name == "lidar" and model.shared):
                encoder.trunk.take_pretrained(*self.inputs[name], config)
                taken.append(f"{name}: {config.pretrained}")
        return taken


def trunk(size: tuple[int, int], channels: int, config: TrunkConfig, inputs: InputConfig, around: bool = False) -> Any:
    """The trunk of a configuration; raises ConfigError if it does not fit inputs of `size` (rows, columns)."""
    look = inputs.pixels[1] if around else 0
    if config.kind == "convnet":
        return ConvolutionalTrunk(size, channels, config, look)
    stem = (PhotographStem(channels, size, config.width, inputs.mean, inputs.std) if config.stem == PHOTOGRAPHS
            else None)
    return Trunk(size, channels, config, look, stem)


def input_sizes(experiment: Experiment) -> dict[str, tuple[tuple[int, int], int]]:
    """Rows and columns, and channels, of what each encoder eats."""
    camera, lidar = experiment.camera, experiment.lidar
    assert lidar.grid is not None
    turn = (lidar.grid.rows, lidar.grid.turn_columns)
    return {"camera": (camera.pixels, len(camera.channels)),
            "lidar": (turn if experiment.model.around else lidar.pixels, len(lidar.channels))}
