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


class ChannelNorm(nn.LayerNorm):
    """Normalises the channels of each cell of (N, C, H, W), so that no cell depends on how wide the input is."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Convolution(nn.Conv2d):
    """Same-size convolution; `around`: columns wrap instead of being padded with zeros."""

    def __init__(self, inputs: int, outputs: int, size: int | tuple[int, int], stride: int = 1, around: bool = False,
                 rows: bool = True, bias: bool = True) -> None:
        size = (size, size) if isinstance(size, int) else size
        self.sides = size[1] // 2 if around else 0
        super().__init__(inputs, outputs, size, stride, (size[0] // 2 if rows else 0, 0 if around else size[1] // 2),
                         bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (self.sides, self.sides, 0, 0), mode="circular") if self.sides else x)


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1, around: bool = False) -> nn.Sequential:
    """Convolution, normalisation within each sample (nothing leaks across a batch), activation."""
    norm = ChannelNorm(outputs) if around else nn.GroupNorm(8, outputs)
    return nn.Sequential(Convolution(inputs, outputs, size, stride, around, bias=False), norm, nn.GELU())


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside an identity."""

    def __init__(self, channels: int, around: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(channels, channels, around=around),
                                  Convolution(channels, channels, 3, around=around))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class ConvolutionalStem(nn.Module):
    """Stride 4 by convolutions in place of the patch embedding; row and column go in as two more channels.

    (N, C, H, W) -> (N, H / 4, W / 4, width), the layout of timm's stages. `around`: there is no first column, so only
    the row goes in.
    """

    coordinates: Tensor

    def __init__(self, channels: int, size: tuple[int, int], width: int, around: bool = False) -> None:
        super().__init__()
        rows, columns = (torch.linspace(-1, 1, n) for n in size)
        planes = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]
        self.register_buffer("coordinates", planes[:, :1, :, :1] if around else planes, False)
        half = max(16, width // 2 // 8 * 8)
        self.body = nn.Sequential(convolution(channels + (1 if around else 2), half, 5, 2, around),
                                  convolution(half, half, around=around),
                                  convolution(half, width, 3, 2, around), Residual(width, around))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, self.coordinates.expand(x.shape[0], -1, x.shape[2], x.shape[3])], 1)
        return self.norm(self.body(x).permute(0, 2, 3, 1))


def go_round(block: Any) -> None:
    """Lets a timm Swin block's shifted windows wrap in azimuth, at any width: only its rows are kept apart."""
    height = block.input_resolution[0]
    (rows, columns), (shift, _) = block.window_size, block.shift_size

    def mask(x: Tensor) -> Tensor | None:
        if not shift:
            return None
        region = torch.zeros(height, device=x.device)
        region[-rows:-shift], region[-shift:] = 1.0, 2.0
        cells = region.view(-1, rows, 1).expand(-1, rows, columns).reshape(-1, 1, rows * columns)
        apart = (cells - cells.transpose(1, 2)) != 0
        wide = x.shape[2] // columns
        return (apart * -100.0).to(x.dtype)[:, None].expand(-1, wide, -1, -1).flatten(0, 1)

    block.dynamic_mask, block.attn_mask, block.get_attn_mask = True, None, mask


class Trunk(nn.Module):
    """(N, C, H, W) -> one (N, width * 2**k, H / 4 / 2**k, W / 4 / 2**k) map per stage k, fine to coarse.

    `around`: the columns go round a turn; W may then be any multiple of the coarsest stage's window.
    """

    def __init__(self, size: tuple[int, int], channels: int, config: TrunkConfig, around: bool = False) -> None:
        super().__init__()
        stride = STRIDE * 2 ** (len(config.depths) - 1)
        wide = stride * config.window[1] if around else stride
        if size[0] % stride or size[1] % wide:
            raise ConfigError(f"{len(config.depths)} stages want rows divisible by {stride} and columns by {wide}; "
                              f"got {size}")
        if around and config.stem != "convolution":
            raise ConfigError("a trunk that goes round the turn has a convolutional stem (stem: convolution)")
        whole = swin(size, channels, config)
        self.stem = (ConvolutionalStem(channels, size, config.width, around) if config.stem == "convolution"
                     else whole.patch_embed)
        self.stages = whole.layers
        for stage in self.stages if around else ():
            for block in stage.blocks:
                go_round(block)
        self.around = around
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
                 hidden: int = 128) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d((1, pooled))
        self.collapse = Convolution(channels, hidden, (rows, 3 if neighbours else 1), around=around, rows=False)
        self.project = nn.Sequential(nn.GELU(), nn.Dropout(0.1), nn.Conv2d(hidden, numbers, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.collapse(self.pool(x)))[:, :, 0]


class StudentHead(nn.Module):
    """A finer stage's guess at the teacher's strip, from averages over the same columns."""

    def __init__(self, channels: int, rows: int, numbers: int, pooled: int, hidden: int = 128) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d((rows, pooled))
        self.project = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.GELU(), nn.Conv2d(hidden, numbers, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.pool(x))[:, :, 0]


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
    """One modality. `forward` is what gets exported; `train_forward` adds the students' strips.

    `columns`: those of an embedding; `trunk.around` decides whether a strip has just those or a turn's.
    """

    def __init__(self, trunk: Trunk, window: int, embedding: int, columns: int, students: tuple[int, ...],
                 decoder: RangeDecoder | None = None) -> None:
        super().__init__()
        last = len(trunk.widths) - 1
        if not set(students) < set(range(last + 1)) or last in students:
            raise ConfigError(f"students are stages finer than the teacher, stage {last}; got {students}")
        tokens = window // STRIDE >> last
        if tokens % columns:
            raise ConfigError(f"{tokens} token columns do not pool to {columns} descriptor columns")
        self.trunk, self.decoder, self.student_stages, self.embedding = trunk, decoder, students, embedding
        numbers = embedding // columns
        self.strip = numbers, trunk.sizes[-1][1] * columns // tokens
        self.teacher = ColumnHead(trunk.widths[-1], trunk.sizes[-1][0], numbers, tokens // columns, columns > 1,
                                  trunk.around)
        self.students = nn.ModuleList(StudentHead(trunk.widths[k], trunk.sizes[k][0], numbers,
                                                  (tokens << (last - k)) // columns) for k in students)

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
    """Both encoders and the learned logarithm of 1 / temperature."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        m, camera, lidar = experiment.model, experiment.camera, experiment.lidar
        eye = Trunk((camera.grid.rows, camera.grid.columns), len(camera.channels), m.camera)
        wide = lidar.grid.turn_columns if m.around else lidar.grid.columns
        ear = Trunk((lidar.grid.rows, wide), len(lidar.channels), m.lidar, m.around)
        decoder = None
        if experiment.range_map is not None:
            decoder = RangeDecoder(eye, m.decoder, experiment.first_row, experiment.range_map)
        self.camera = Encoder(eye, camera.grid.columns, m.embedding, m.columns, m.students, decoder)
        self.lidar = Encoder(ear, lidar.grid.columns, m.embedding, m.columns, m.students)
        self.log_scale = nn.Parameter(torch.tensor(experiment.loss.temperature).log().neg())
