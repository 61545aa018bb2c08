# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The trunks that see: Swin, with windows that may go round the turn, and residual convolutions for comparison."""

from __future__ import annotations

import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.training.experiment import TrunkConfig

STRIDE = 4  # pixels per token of the first stage


def swin(size: tuple[int, int], channels: int, config: TrunkConfig, weights: bool = False) -> Any:
    """timm's SwinTransformer for inputs of `size` (rows, columns); `weights`: with those it is named after, else random
    ones. Raises ConfigError if the named one is built otherwise than the settings say, DataError if its weights cannot
    be had."""
    declare_torchvision_operators()
    from timm.models.swin_transformer import SwinTransformer
    asked: dict[str, Any] = {"img_size": size, "in_chans": channels, "num_classes": 0, "global_pool": "",
                             "window_size": (config.window[0], config.window[1]), "drop_path_rate": config.drop_path}
    if not config.pretrained:
        return SwinTransformer(patch_size=STRIDE, embed_dim=config.width, depths=config.depths,
                               num_heads=config.heads, **asked)
    whole = _named(config, weights, asked)
    found = (getattr(whole, "embed_dim", None), tuple(len(s.blocks) for s in getattr(whole, "layers", ())),
             tuple(s.blocks[0].attn.num_heads for s in getattr(whole, "layers", ())))
    if not isinstance(whole, SwinTransformer) or found != (config.width, config.depths, config.heads):
        raise ConfigError(f"{config.pretrained} has width {found[0]}, depths {found[1]}, heads {found[2]}: the trunk "
                          "must say the same")
    return whole


def _named(config: TrunkConfig, weights: bool, asked: dict[str, Any]) -> Any:
    """A model by timm's name; its weights come from the file that is named, or from where timm fetches them."""
    import timm
    local = {"pretrained_cfg_overlay": {"file": config.weights}} if weights and config.weights else {}
    try:
        return timm.create_model(config.pretrained, pretrained=weights, **local, **asked)
    except Exception as e:  # timm, its hub and its file readers share no base class
        if not weights:
            raise ConfigError(f"timm has no Swin {config.pretrained!r} of this size: {e}") from e
        raise DataError(f"no weights for {config.pretrained} from {config.weights or 'the network'}: {e}. Name a local "
                        "file in `weights` of the trunk, or leave `pretrained` out to begin with random ones") from e


def declare_torchvision_operators() -> None:
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


class NormAround(nn.GroupNorm):
    """Normalises groups of channels over all rows and the `columns` round each column, cyclically, so that a cell
    depends on a look's width and not on how wide the input is. Of an input of one look it is GroupNorm."""

    def __init__(self, groups: int, channels: int, columns: int) -> None:
        super().__init__(groups, channels)
        self.columns = columns | 1

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[3] <= self.columns:
            return super().forward(x)
        n, c, h, w = x.shape
        cells = x.float().reshape(n, self.num_groups, -1, w)
        moments = torch.stack([cells.mean(2), cells.square().mean(2)], 1).flatten(1, 2)
        moments = F.pad(moments, (self.columns // 2,) * 2, mode="circular")
        mean, square = F.avg_pool1d(moments, self.columns, 1).view(n, 2, self.num_groups, 1, w).unbind(1)
        scale = (square - mean.square()).clamp(min=0).add(self.eps).rsqrt()
        out = ((cells - mean) * scale).reshape(n, c, h, w)
        return (out * self.weight[:, None, None] + self.bias[:, None, None]).to(x.dtype)


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


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1, around: int = 0) -> nn.Sequential:
    """Convolution, normalisation within each sample (nothing leaks across a batch), activation.

    `around`: if the columns go round a turn, how many of those that go in are a look; else 0.
    """
    norm = NormAround(8, outputs, around // stride) if around else nn.GroupNorm(8, outputs)
    return nn.Sequential(Convolution(inputs, outputs, size, stride, bool(around), bias=False), norm, nn.GELU())


class Residual(nn.Module):
    """Two 3 x 3 convolutions beside an identity."""

    def __init__(self, channels: int, around: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(channels, channels, around=around),
                                  Convolution(channels, channels, 3, around=bool(around)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def coordinate_planes(size: tuple[int, int], around: bool) -> Tensor:
    """(1, 2, H, W) row and column from -1 to 1; `around`: (1, 1, H, 1), the row alone."""
    rows, columns = (torch.linspace(-1, 1, n) for n in size)
    planes = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]
    return planes[:, :1, :, :1] if around else planes


class ConvolutionalStem(nn.Module):
    """Stride 4 by convolutions in place of the patch embedding; row and column go in as two more channels.

    (N, C, H, W) -> (N, H / 4, W / 4, width), the layout of timm's stages. `around`: columns of a look in a turn that
    has no first column, so only the row goes in; 0 if the input is a look.
    """

    coordinates: Tensor

    def __init__(self, channels: int, size: tuple[int, int], width: int, around: int = 0) -> None:
        super().__init__()
        self.register_buffer("coordinates", coordinate_planes(size, bool(around)), False)
        half = max(16, width // 2 // 8 * 8)
        self.body = nn.Sequential(convolution(channels + (1 if around else 2), half, 5, 2, around),
                                  convolution(half, half, around=around // 2),
                                  convolution(half, width, 3, 2, around // 2), Residual(width, around // 4))
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

    `around`: the columns go round a turn, so many of which are a look; W may then be any multiple of the coarsest
    stage's window. 0: the input is a look. `stem`: one in place of what the configuration names; what it returns beside
    the first stage's tokens is added to the second's.
    """

    def __init__(self, size: tuple[int, int], channels: int, config: TrunkConfig, around: int = 0,
                 stem: nn.Module | None = None) -> None:
        super().__init__()
        stride = STRIDE * 2 ** (len(config.depths) - 1)
        wide = stride * config.window[1] if around else stride
        if size[0] % stride or size[1] % wide:
            raise ConfigError(f"{len(config.depths)} stages want rows divisible by {stride} and columns by {wide}; "
                              f"got {size}")
        if around and config.stem != "convolution":
            raise ConfigError("a trunk that goes round the turn has a convolutional stem (stem: convolution)")
        whole = swin(size, channels, config)
        self.stem = stem or (ConvolutionalStem(channels, size, config.width, around) if config.stem == "convolution"
                             else whole.patch_embed)
        self.stages = whole.layers
        for stage in self.stages if around else ():
            for block in stage.blocks:
                go_round(block)
        self.around = bool(around)
        self.strides = [STRIDE << k for k in range(len(config.depths))]
        self.widths = [config.width * 2 ** k for k in range(len(config.depths))]
        self.sizes = [(size[0] // s, size[1] // s) for s in self.strides]
        self.norms = nn.ModuleList(nn.LayerNorm(w) for w in self.widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        x, maps = self.stem(x), []
        x, beside = x if isinstance(x, tuple) else (x, None)
        for k, (stage, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            x = stage.downsample(x)
            x = stage.blocks(x if beside is None or k != 1 else x + beside)
            maps.append(norm(x).permute(0, 3, 1, 2))
        return maps

    def take_pretrained(self, size: tuple[int, int], channels: int, config: TrunkConfig) -> None:
        """Copies the named weights in; a convolutional stem keeps its own. Raises DataError if they cannot be had."""
        whole = swin(size, channels, config, weights=True)
        self.stages.load_state_dict(whole.layers.state_dict())
        if config.stem == "patch":
            self.stem.load_state_dict(whole.patch_embed.state_dict())


class ConvolutionalTrunk(nn.Module):
    """Residual convolutions of strides 2, 4, 8, ...: (N, C, H, W) -> one map per stage, as `Trunk` does.

    Normalises within each sample, like everything here; row and column go in as two more channels (`around`: the row).
    """

    coordinates: Tensor

    def __init__(self, size: tuple[int, int], channels: int, config: TrunkConfig, around: int = 0) -> None:
        super().__init__()
        self.strides = [2 << k for k in range(len(config.depths))]
        self.widths = [config.width * 2 ** k for k in range(len(config.depths))]
        self.sizes = [(size[0] // s, size[1] // s) for s in self.strides]
        self.around = bool(around)
        if size[0] % self.strides[-1] or size[1] % self.strides[-1]:
            raise ConfigError(f"{len(config.depths)} stages want rows and columns divisible by {self.strides[-1]}; "
                              f"got {size}")
        self.register_buffer("coordinates", coordinate_planes(size, bool(around)), False)
        inputs = [channels + self.coordinates.shape[1], *self.widths]
        self.stages = nn.ModuleList(
            nn.Sequential(convolution(inputs[k], width, 3 if k else 5, 2, around >> k),
                          *(Residual(width, around >> k + 1) for _ in range(depth)))
            for k, (width, depth) in enumerate(zip(self.widths, config.depths, strict=True)))
        self.norms = nn.ModuleList(ChannelNorm(w) for w in self.widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        x, maps = torch.cat([x, self.coordinates.expand(x.shape[0], -1, x.shape[2], x.shape[3])], 1), []
        for stage, norm in zip(self.stages, self.norms, strict=True):
            x = stage(x)
            maps.append(norm(x))
        return maps
