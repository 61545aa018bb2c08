# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What other cameras, other LiDARs and other days do to a pair. Every function draws from torch's generator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ms2cl_ros.core.types import AngularGrid


def uniform(n: int, low: float, high: float, *shape: int) -> Tensor:
    """(n, *shape) uniform numbers, (n, 1, 1, 1) without a shape."""
    return torch.empty(n, *(shape or (1, 1, 1))).uniform_(low, high)


def chance(n: int, p: float, *shape: int) -> Tensor:
    """(n, *shape) bool, true with probability p."""
    return torch.rand(n, *(shape or (1, 1, 1))) < p


def augment_image(image: Tensor, strength: float = 1.0) -> Tensor:
    """(N, 3, H, W) in 0..1 -> the same under other exposure, colour, tone, sharpness, noise, dirt and cut-outs."""
    n, k = len(image), strength
    x = image.clamp(0, 1) ** torch.exp(uniform(n, -0.35, 0.35) * k)
    x = x * torch.exp(uniform(n, -0.3, 0.3) * k) * torch.exp(uniform(n, -0.12, 0.12, 3, 1, 1) * k)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * torch.exp(uniform(n, -0.3, 0.3) * k) + mean
    grey = torch.where(chance(n, 0.12), torch.ones(n, 1, 1, 1), uniform(n, -0.4, 0.5)) * min(k, 1.0)
    x = x + (x.mean(1, keepdim=True) - x) * grey
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = x + (blurred - x) * uniform(n, -0.6, 0.9).clamp(min=-0.5) * k
    light = F.interpolate(torch.randn(n, 1, 4, 8), size=x.shape[2:], mode="bilinear")
    x = x * torch.exp(0.18 * k * light) + torch.randn_like(x) * uniform(n, 0, 0.05) * k
    return cut_out(x, 0.3 * k).clamp(0, 1)


def cut_out(x: Tensor, p: float, times: int = 2) -> Tensor:
    """Paints up to `times` rectangles of one colour into (N, 3, H, W)."""
    rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])[None]
    for _ in range(times):
        n = len(x)
        top, left = uniform(n, 0, x.shape[2] - 4), uniform(n, 0, x.shape[3] - 4)
        high, wide = uniform(n, 4, x.shape[2] / 3), uniform(n, 4, x.shape[3] / 6)
        inside = (rows >= top) & (rows < top + high) & (columns >= left) & (columns < left + wide) & chance(n, p)
        x = torch.where(inside, torch.rand(n, 3, 1, 1), x)
    return x


def fields_of_view(n: int, grid: AngularGrid, strength: float = 1.0) -> Tensor:
    """(N, H, W) bool: the cells that n pinhole cameras see, levelled within a degree.

    Most see about 80 x 29 degrees, as a camera on a car does; the others are narrower or see less up or down.
    """
    azimuth = torch.deg2rad(grid.azimuth_left_deg - grid.azimuth_step_deg * (torch.arange(grid.columns) + 0.5))
    elevation = torch.deg2rad(grid.elevation_top_deg - grid.elevation_step_deg * (torch.arange(grid.rows) + 0.5))
    across = azimuth.tan()[None, None]
    up = elevation.tan()[None, :, None] / azimuth.cos()[None, None]
    other = chance(n, 0.2 * strength, 1, 1)

    def reach(usual: float, low: float, high: float) -> Tensor:
        angle = torch.where(other, uniform(n, low, high, 1, 1), usual + uniform(n, -1.0, 1.0, 1, 1))
        return torch.tan(angle * math.pi / 180)

    rolled = up + across * torch.tan(uniform(n, -1.0, 1.0, 1, 1) * math.pi / 180)
    return ((across.abs() < reach(40.5, 22, 45)) & (rolled < reach(13.4, 6, 20)) & (-rolled < reach(15.7, 7, 25)))


def shift(image: Tensor, valid: Tensor, strength: float = 1.0) -> tuple[Tensor, Tensor]:
    """Moves each image by up to a row and two columns, as an extrinsic error would; what comes in is not valid."""
    reach = round(2 * strength)
    if not reach:
        return image, valid
    padded = F.pad(torch.cat([image, valid[:, None].float()], 1), (reach,) * 4)
    rows = torch.randint(reach - 1, reach + 2, (len(image),)).tolist()
    columns = torch.randint(0, 2 * reach + 1, (len(image),)).tolist()
    h, w = image.shape[2:]
    moved = torch.stack([p[:, r:r + h, c:c + w] for p, r, c in zip(padded, rows, columns, strict=True)])
    return moved[:, :3], valid & (moved[:, 3] > 0)


def flip(mirrored: Tensor, image: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Those `mirrored` (N,) bool left to right, images (N, C, H, W) and `others` (N, H, W), camera and LiDAR alike."""
    flat = mirrored[:, None, None]
    return (torch.where(flat[:, None], image.flip(3), image), *(torch.where(flat, x.flip(2), x) for x in others))


def augment_ranges(ranges: Tensor, grid: AngularGrid, strength: float = 1.0) -> Tensor:
    """(N, H, W) metres, 0 = nothing -> the same with noise, lost returns, traffic, and now and then fewer beams."""
    n, k = len(ranges), strength
    x = traffic(ranges, grid, 0.25 * k)
    x = x * torch.exp(0.01 * k * torch.randn_like(x)) + (x > 0) * 0.02 * k * torch.randn_like(x)
    lost = torch.rand_like(x) < uniform(n, 0, 0.15, 1, 1) * k
    rows = torch.arange(x.shape[1])[None, :, None]
    every = torch.randint(2, 5, (n, 1, 1))
    thinned = chance(n, 0.12 * k, 1, 1) & ((rows + torch.randint(0, 4, (n, 1, 1))) % every != 0)
    return torch.where(lost | thinned, torch.zeros_like(x), x.clamp(min=0))


def traffic(ranges: Tensor, grid: AngularGrid, p: float) -> Tensor:
    """Puts a box as high as a car or a van 6 to 30 m before some sweeps: map and query differ in traffic."""
    n = len(ranges)
    distance = torch.exp(uniform(n, math.log(6.0), math.log(30.0), 1, 1))
    top = torch.rad2deg(torch.atan2(uniform(n, -0.4, 0.9, 1, 1), distance))
    bottom = torch.rad2deg(torch.atan2(torch.full_like(distance, -1.7), distance))
    half = torch.rad2deg(torch.atan2(uniform(n, 0.8, 2.3, 1, 1), distance))
    middle = uniform(n, -grid.azimuth_left_deg, grid.azimuth_left_deg, 1, 1)
    elevation = grid.elevation_top_deg - grid.elevation_step_deg * (torch.arange(grid.rows)[None, :, None] + 0.5)
    azimuth = grid.azimuth_left_deg - grid.azimuth_step_deg * (torch.arange(grid.columns)[None, None] + 0.5)
    box = (elevation < top) & (elevation > bottom) & ((azimuth - middle).abs() < half) & chance(n, p, 1, 1)
    return torch.where(box & (ranges > distance), distance, ranges)
