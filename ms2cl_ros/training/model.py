# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""MS2-CL's two encoders: Swin trunks, a teacher head on the coarsest stage, student heads on the finer ones.

Students and their heads exist for the self-distillation loss only; `export` leaves them behind.
The camera's encoder also predicts a range map, which the LiDAR sees directly.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.training.experiment import Experiment, RangeMapConfig, TrunkConfig

STRIDE = 4  # pixels per token of the first stage


def swin(size: tuple[int, int], channels: int, config: TrunkConfig) -> Any:
    """timm's SwinTransformer for inputs of `size` (rows, columns)."""
    _declare_torchvision_operators()
    from timm.models.swin_transformer import SwinTransformer
    return SwinTransformer(img_size=size, patch_size=STRIDE, in_chans=channels, num_classes=0, global_pool="",
                           embed_dim=config.width, depths=config.depths, num_heads=config.heads,
                           window_size=(config.window[0], config.window[1]), drop_path_rate=config.drop_path)


def _declare_torchvision_operators() -> None:
    """timm imports torchvision, whose CUDA build does not load beside a CPU torch and then lacks two operators.

    They are declared only where that happened: declaring what torchvision brings itself ends the process.
    """
    try:
        import torchvision  # noqa: F401 - whether it loads is the question
        return
    except RuntimeError as e:
        if "torchvision::" not in str(e):
            raise
    for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, normalisation within each sample (nothing leaks across a batch), activation."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
                         nn.GroupNorm(8, outputs), nn.GELU())


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(channels, channels), nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ConvolutionalStem(nn.Module):
    """Stride 4 by convolutions in place of the patch embedding; row and column go in as two more channels.

    (N, C, H, W) -> (N, H / 4, W / 4, width), the layout of timm's stages.
    """

    coordinates: Tensor

    def __init__(self, channels: int, size: tuple[int, int], width: int) -> None:
        super().__init__()
        rows, columns = (torch.linspace(-1, 1, n) for n in size)
        self.register_buffer("coordinates", torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None], False)
        half = max(16, width // 2 // 8 * 8)
        self.body = nn.Sequential(convolution(channels + 2, half, 5, 2), convolution(half, half),
                                  convolution(half, width, 3, 2), Residual(width))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.coordinates.expand(x.shape[0], -1, -1, -1)], 1)
        return self.norm(self.body(x).permute(0, 2, 3, 1))


class Trunk(nn.Module):
    """(N, C, H, W) -> one (N, width * 2**k, H / 4 / 2**k, W / 4 / 2**k) map per stage k, fine to coarse."""

    def __init__(self, size: tuple[int, int], channels: int, config: TrunkConfig) -> None:
        super().__init__()
        stride = STRIDE * 2 ** (len(config.depths) - 1)
        if size[0] % stride or size[1] % stride:
            raise ConfigError(f"{len(config.depths)} stages want rows and columns divisible by {stride}; got {size}")
        whole = swin(size, channels, config)
        self.stem = (ConvolutionalStem(channels, size, config.width) if config.stem == "convolution"
                     else whole.patch_embed)
        self.stages = whole.layers
        self.widths = [config.width * 2 ** k for k in range(len(config.depths))]
        self.sizes = [(size[0] // STRIDE >> k, size[1] // STRIDE >> k) for k in range(len(config.depths))]
        self.norms = nn.ModuleList(nn.LayerNorm(w) for w in self.widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        x, maps = self.stem(x), []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x = stage(x)
            maps.append(norm(x).permute(0, 3, 1, 2))
        return maps


def unit(x: Tensor, size: int) -> Tensor:
    """(N, ...) -> (N, size) float32 of unit length; the size is given so that exported graphs know it."""
    x = x.reshape(-1, size).float()
    return x / x.norm(dim=1, keepdim=True).clamp(min=1e-12)


class ColumnHead(nn.Module):
    """Collapses the rows and keeps the azimuth columns in order: (N, C, h, w) -> (N, D), unit length."""

    def __init__(self, channels: int, size: tuple[int, int], embedding: int, columns: int, hidden: int = 128) -> None:
        super().__init__()
        if size[1] % columns:
            raise ConfigError(f"{size[1]} token columns do not pool to {columns} descriptor columns")
        wide = 3 if columns > 1 else 1
        self.embedding = embedding
        self.pool = nn.AvgPool2d((1, size[1] // columns))
        self.collapse = nn.Conv2d(channels, hidden, (size[0], wide), padding=(0, wide // 2))
        self.project = nn.Sequential(nn.GELU(), nn.Dropout(0.1), nn.Conv2d(hidden, embedding // columns, 1))

    def forward(self, x: Tensor) -> Tensor:
        return unit(self.project(self.collapse(self.pool(x))), self.embedding)


class StudentHead(nn.Module):
    """A finer stage's guess at the teacher's embedding, from averages over the same columns."""

    def __init__(self, channels: int, size: tuple[int, int], embedding: int, columns: int, hidden: int = 128) -> None:
        super().__init__()
        self.embedding = embedding
        self.pool = nn.AvgPool2d((size[0], size[1] // columns))
        self.project = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.GELU(),
                                     nn.Conv2d(hidden, embedding // columns, 1))

    def forward(self, x: Tensor) -> Tensor:
        return unit(self.project(self.pool(x)), self.embedding)


class RangeDecoder(nn.Module):
    """Climbs from the coarsest map back to stride 4, then doubles it: (N, bins + 1, rows, columns) logits."""

    def __init__(self, trunk: Trunk, widths: tuple[int, ...], first_row: int, output: RangeMapConfig) -> None:
        super().__init__()
        if len(widths) != len(trunk.widths) - 1:
            raise ConfigError(f"model.decoder wants {len(trunk.widths) - 1} widths, fine to coarse; got {widths}")
        self.first_token, self.tokens = first_row // STRIDE, output.rows // 2
        if first_row % STRIDE or 2 * trunk.sizes[0][1] != output.columns:
            raise ConfigError(f"a range map of {output.columns} columns from camera row {first_row} on does not lie on "
                              f"stride-{STRIDE} tokens")
        below = [*widths[1:], trunk.widths[-1]]
        self.merge = nn.ModuleList(nn.Conv2d(skip + up, out, 1)
                                   for skip, up, out in zip(trunk.widths[:-1], below, widths, strict=True))
        self.refine = nn.ModuleList(Residual(c) for c in widths)
        self.logits = nn.Conv2d(widths[0], (output.bins + 1) * 4, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = maps[-1]
        for k in reversed(range(len(maps) - 1)):
            x = torch.cat([maps[k], F.interpolate(x, scale_factor=2.0, mode="nearest")], 1)
            x = self.refine[k](F.gelu(self.merge[k](x)))
        x = x[:, :, self.first_token:self.first_token + self.tokens]
        return F.pixel_shuffle(self.logits(x), 2).float()


class Encoder(nn.Module):
    """One modality. `forward` is what gets exported; `train_forward` adds the students' embeddings."""

    def __init__(self, trunk: Trunk, embedding: int, columns: int, students: tuple[int, ...],
                 decoder: RangeDecoder | None = None) -> None:
        super().__init__()
        last = len(trunk.widths) - 1
        if not set(students) < set(range(last + 1)) or last in students:
            raise ConfigError(f"students are stages finer than the teacher, stage {last}; got {students}")
        self.trunk, self.decoder, self.student_stages = trunk, decoder, students
        self.teacher = ColumnHead(trunk.widths[-1], trunk.sizes[-1], embedding, columns)
        self.students = nn.ModuleList(StudentHead(trunk.widths[k], trunk.sizes[k], embedding, columns)
                                      for k in students)

    def forward(self, x: Tensor) -> Any:
        """(N, C, H, W) -> embedding (N, D) and, with a decoder, range logits."""
        maps = self.trunk(x)
        embedding = self.teacher(maps[-1])
        return embedding if self.decoder is None else (embedding, self.decoder(maps))

    def train_forward(self, x: Tensor) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """(N, C, H, W) -> teacher (N, D), students [(N, D)], range logits or None."""
        maps = self.trunk(x)
        students = [head(maps[k]) for head, k in zip(self.students, self.student_stages, strict=True)]
        return self.teacher(maps[-1]), students, self.decoder(maps) if self.decoder is not None else None


class CrossModalModel(nn.Module):
    """Both encoders and the learned logarithm of 1 / temperature."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        m = experiment.model
        trunks = {}
        for name, inputs, config in (("camera", experiment.camera, m.camera), ("lidar", experiment.lidar, m.lidar)):
            trunks[name] = Trunk((inputs.grid.rows, inputs.grid.columns), len(inputs.channels), config)
        decoder = None
        if experiment.range_map is not None:
            decoder = RangeDecoder(trunks["camera"], m.decoder, experiment.first_row, experiment.range_map)
        self.camera = Encoder(trunks["camera"], m.embedding, m.columns, m.students, decoder)
        self.lidar = Encoder(trunks["lidar"], m.embedding, m.columns, m.students)
        self.log_scale = nn.Parameter(torch.tensor(experiment.loss.temperature).log().neg())
