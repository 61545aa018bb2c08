# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How like the real thing the city is: range images of both, by figures, by a picture and by a judge.

    ms2cl realism DATA SHARDS -o OUT

DATA: recorded drives in the compact layout; SHARDS: a folder of packed pairs. Writes statistics.png, side_by_side.jpg,
city.jpg and realism.json. The judge is a small network that tells real from synthetic range images, tested on drives
and streets that it has not seen; 50 % would be perfect.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.projection import cut
from ms2cl_ros.core.sidecar import CameraInput
from ms2cl_ros.core.types import AngularGrid
from ms2cl_ros.tools.compact import drive_folders, read_drive
from ms2cl_ros.training.city.sheets import FAR, NEAR, Pair, districts, sheet
from ms2cl_ros.training.shards import member

EDGE = 0.15
COARSE = 4


@dataclass(frozen=True)
class Looks:
    """`images`: (N, rows, columns, 3) uint8 red first; `ranges`: (N, rows, columns) float32 metres, 0 = nothing;
    `group`: (N,) str, the drive or the street that each comes from."""

    images: np.ndarray
    ranges: np.ndarray
    group: np.ndarray

    def some(self, n: int, seed: int) -> Looks:
        """At most `n` of them, evenly over all."""
        keep = np.sort(np.random.default_rng(seed).permutation(len(self.group))[:n])
        return Looks(self.images[keep], self.ranges[keep], self.group[keep])


def real_looks(data: Path, camera: AngularGrid, lidar: AngularGrid) -> Looks:
    """Every pair of the drives below `data`, looked at along the camera."""
    spec = CameraInput("", "", "angular_grid", camera, (camera.rows, camera.columns), ("red", "green", "blue"),
                       (0.0,) * 3, (1.0,) * 3)
    images, ranges, group = [], [], []
    for folder in drive_folders(data):
        for frame in read_drive(folder, spec, lidar):
            images.append(frame.rgb)
            ranges.append(cut(frame.panorama, frame.heading, lidar.columns).ranges)
            # scenes of one pair each are one group together
            group.append("scenes" if folder.name.startswith("object") else folder.name)
    return Looks(np.stack(images), np.stack(ranges), np.array(group))


def synthetic_looks(shards: Path) -> Looks:
    """Every pair of the shards in a folder; raises DataError if there are none."""
    paths = sorted(shards.glob("*.npz"))
    if not paths:
        raise DataError(f"no shards (*.npz) in {shards}: write some with `ms2cl pack`")
    parts = {key: np.concatenate([np.array(member(p, key)) for p in paths]) for key in ("img", "rng", "scene")}
    return Looks(parts["img"][..., ::-1], parts["rng"].astype(np.float32), parts["scene"].astype(str))


def statistics(ranges: np.ndarray) -> dict[str, np.ndarray]:
    """By row from the top: `log_range` mean ln m, `spread` its deviation, `empty` share without return, `edges` share
    of neighbouring returns in a row that differ by more than 15 %; `histogram`: shares of 32 log bins, 2 to 90 m."""
    met = ranges > 0
    log = np.log(np.where(met, ranges, np.nan))
    both = met[..., 1:] & met[..., :-1]
    steps = (np.abs(np.diff(np.nan_to_num(log), axis=-1)) > EDGE) & both
    counts, _ = np.histogram(ranges[met], np.geomspace(NEAR, FAR, 33))
    rows = met.any((0, 2))
    empty = np.full(ranges.shape[1], np.nan)
    with np.errstate(invalid="ignore"):
        out = {"log_range": empty.copy(), "spread": empty.copy(), "empty": 1 - met.mean((0, 2)),
               "edges": steps.sum((0, 2)) / np.maximum(both.sum((0, 2)), 1), "histogram": counts / counts.sum()}
    out["log_range"][rows] = np.nanmean(log[:, rows], (0, 2))
    out["spread"][rows] = np.nanstd(log[:, rows], (0, 2))
    return out


def differences(real: dict[str, np.ndarray], synthetic: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean absolute difference by statistic over the rows where both have returns, and half the histogram's."""
    out = {k: float(np.nanmean(np.abs(real[k] - synthetic[k]))) for k in ("log_range", "spread", "empty", "edges")}
    return {**out, "histogram": float(np.abs(real["histogram"] - synthetic["histogram"]).sum() / 2)}


def image_statistics(images: np.ndarray) -> dict[str, float]:
    """Of (N, rows, columns, 3) uint8 pictures, where any of them shows something: `mean` brightness and `contrast` (its
    deviation within a picture, on average), `saturation` (of HSV), `gradient` (mean step to the right-hand cell), all
    as shares of white; `burnt`, `black`: shares of cells above 250 and below 12 of 255."""
    seen = np.asarray(images.any((0, 3)))
    values = images.astype(np.float32) / 255.0
    grey, cells = values @ np.array([0.299, 0.587, 0.114], np.float32), values[:, seen]
    high, low, bright = cells.max(-1), cells.min(-1), grey[:, seen]
    both = seen[:, 1:] & seen[:, :-1]
    steps = np.abs(np.diff(grey, axis=2))[:, both]
    return {"mean": float(bright.mean()), "contrast": float(bright.std(1).mean()),
            "saturation": float(((high - low) / np.maximum(high, 1e-3)).mean()),
            "gradient": float(steps.mean()) if steps.size else 0.0,
            "burnt": float((bright > 250 / 255).mean()), "black": float((bright < 12 / 255).mean())}


def figure(path: Path, real: dict[str, np.ndarray], synthetic: dict[str, np.ndarray], lidar: AngularGrid) -> None:
    """The statistics of both, drawn one over the other."""
    from matplotlib.figure import Figure
    elevation = lidar.elevation_top_deg - (np.arange(lidar.rows) + 0.5) * lidar.elevation_step_deg
    drawing = Figure(figsize=(13, 6.5), layout="constrained")
    axes = drawing.subplots(2, 3).ravel()
    titles = {"log_range": "mean range (m)", "spread": "spread of ln range", "empty": "share of empty cells",
              "edges": "share of range edges"}
    for ax, (key, title) in zip(axes, titles.items()):
        for name, values, colour in (("real", real, "#1f77b4"), ("synthetic", synthetic, "#d95f02")):
            y = np.exp(values[key]) if key == "log_range" else values[key]
            ax.plot(elevation, y, color=colour, label=name, lw=2)
        ax.set(title=title + " by row", xlabel="elevation (degrees)")
        ax.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[0].legend()
    bins = np.geomspace(NEAR, FAR, 33)
    for name, values, colour in (("real", real, "#1f77b4"), ("synthetic", synthetic, "#d95f02")):
        axes[4].stairs(values["histogram"], bins, color=colour, label=name, lw=2)
    axes[4].set(title="ranges", xlabel="m", xscale="log")
    axes[4].grid(alpha=0.3)
    axes[5].axis("off")
    apart = differences(real, synthetic)
    axes[5].text(0, 0.9, "mean absolute difference\n\n" + "\n".join(f"{k.replace('_', ' ')}: {v:.3f}"
                                                                   for k, v in apart.items()), va="top", fontsize=12)
    drawing.savefig(path, dpi=80)


def judge(real: Looks, synthetic: Looks, coarse: int = 1, epochs: int = 12, seed: int = 0) -> dict[str, float]:
    """Share that a small network tells right, real and synthetic counted alike, by the real group left out of training.

    `coarse`: ranges are reduced to the nearest of blocks of so many cells first, which hides what beams look like.
    The streets are split in the same proportion, so that neither class is tested on what it was trained on.
    """
    out = {}
    drives, streets = np.unique(real.group), np.unique(synthetic.group)
    if len(drives) < 2 or len(streets) < len(drives):
        raise DataError(f"the judge needs two real groups and as many streets, got {len(drives)} and {len(streets)}")
    folds = np.random.default_rng(seed).permutation(len(streets)) % len(drives)
    for k, drive in enumerate(drives):
        held = np.isin(synthetic.group, streets[folds == k])
        train = _train(_planes(real.ranges[real.group != drive], coarse), _planes(synthetic.ranges[~held], coarse),
                       epochs, seed)
        right = [_share_real(train, _planes(real.ranges[real.group == drive], coarse)),
                 1 - _share_real(train, _planes(synthetic.ranges[held], coarse))]
        out[str(drive)] = float(np.mean(right))
    return {**out, "mean": float(np.mean(list(out.values())))}


def _planes(ranges: np.ndarray, coarse: int) -> np.ndarray:
    """(N, 2, rows, columns) float32: scaled ln range and whether anything returned."""
    if coarse > 1:
        n, rows, columns = ranges.shape
        blocks = np.where(ranges > 0, ranges, np.inf).reshape(n, rows // coarse, coarse, columns // coarse, coarse)
        nearest = blocks.min((2, 4))
        ranges = np.where(np.isfinite(nearest), nearest, 0.0)
    met = ranges > 0
    log = (np.log(np.clip(ranges, NEAR, FAR)) - 2.5) * met
    return np.stack([log, met], 1).astype(np.float32)


def _train(real: np.ndarray, synthetic: np.ndarray, epochs: int, seed: int) -> Any:
    import torch
    from torch import nn
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for a, b in ((2, 16), (16, 32), (32, 48)):
        layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(48, 1))
    steps = epochs * max(len(real), 128) // 32
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x = np.concatenate([part[rng.integers(len(part), size=32)] for part in (real, synthetic)])
        if rng.random() < 0.5:
            x = x[..., ::-1]
        y = torch.tensor([1.0] * 32 + [0.0] * 32)
        loss = nn.functional.binary_cross_entropy_with_logits(network(torch.from_numpy(x.copy()))[:, 0], y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def _share_real(network: Any, x: np.ndarray) -> float:
    import torch
    with torch.no_grad():
        return float((network(torch.from_numpy(x))[:, 0] > 0).float().mean())


def beside(real: Looks, synthetic: Sequence[Sequence[Pair]]) -> np.ndarray:
    """Two columns of recorded pairs, of every drive in turn, before the synthetic ones. uint8 RGB."""
    rows, drives = max(len(column) for column in synthetic), np.unique(real.group)
    pairs = []
    for n in range(2 * rows):
        own = np.flatnonzero(real.group == drives[n % len(drives)])
        i = own[(2 * (n // len(drives)) + 1) * len(own) // 5 % len(own)]
        pairs.append(Pair(f"recorded: {real.group[i]}", real.images[i], real.ranges[i]))
    return sheet([pairs[:rows], pairs[rows:], *synthetic], 2)


def main(data: Path, shards: Path, out: Path, camera: AngularGrid, lidar: AngularGrid,
         assets: tuple[str, ...] = (), epochs: int = 12) -> dict[str, Any]:
    """Writes statistics.png, side_by_side.jpg (recorded pairs among them: not to be passed on), city.jpg (synthetic
    pairs only) and realism.json into `out`; returns what the last one holds."""
    import cv2
    out.mkdir(parents=True, exist_ok=True)
    real, synthetic = real_looks(data, camera, lidar), synthetic_looks(shards)
    a, b = statistics(real.ranges), statistics(synthetic.ranges)
    figure(out / "statistics.png", a, b, lidar)
    shown = districts(camera, lidar, assets=assets)
    for name, picture in (("side_by_side.jpg", beside(real, shown)), ("city.jpg", sheet(shown))):
        if not cv2.imwrite(str(out / name), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80]):
            raise DataError(f"cannot write {out / name}: is the folder writable, and is there space?")
    result = {"real": len(real.group), "synthetic": len(synthetic.group), "differences": differences(a, b),
              "images": {"real": image_statistics(real.images), "synthetic": image_statistics(synthetic.images)},
              "judge": judge(real, synthetic, 1, epochs),
              f"judge_of_{COARSE}x{COARSE}_blocks": judge(real, synthetic, COARSE, epochs)}
    (out / "realism.json").write_text(json.dumps(result, indent=2) + "\n")
    return result
