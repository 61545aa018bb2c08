# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval on recorded drives in the compact layout, with an exported model and the robot's own projection.

    python -m ms2cl_ros.training.evaluate_pairs models/ms2cl_city DATA

DATA holds drives in the compact layout (see `training/drives.py`). Every image asks all scans of all drives together.
A hit is within 5 m in the right drive.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core import projection
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import Ms2clError
from ms2cl_ros.training.drives import drive_folders, read_drive

RADIUS = 5.0
GAPS = (0.0, 1.0, 2.0)
TURNS_DEG = (2.5, 5.0, 7.5)


@dataclass(frozen=True)
class Pairs:
    """Embedded pairs: `images`, `scans` (N, D), `turned` (N, T, D) the scans looked at TURNS_DEG beside the camera's
    heading, `drive` (N,) str, `position` (N, 3) metres in the drive's own map, `ranges` (N, rows, columns), and
    `expected` (N, rows, columns), the range map's mean ln range, or None."""

    images: np.ndarray
    scans: np.ndarray
    turned: np.ndarray
    drive: np.ndarray
    position: np.ndarray
    ranges: np.ndarray
    expected: np.ndarray | None


def embed_drive(encoder: Encoder, folder: Path) -> Pairs:
    """All pairs of one drive through the exported model."""
    grid = encoder.sidecar.lidar.grid
    frames = list(read_drive(folder, encoder.sidecar.camera, grid))
    seen = [encoder.embed_image(f.rgb, f.valid) for f in frames]
    looks = [np.stack([projection.cut(f.panorama, f.heading + np.radians(turn), grid.columns).ranges for f in frames])
             for turn in (0.0, *TURNS_DEG)]
    scans, *turned = (encoder.embed_views(look) for look in looks)
    expected = [mean_log_range(logits, encoder) for _, logits in seen if logits is not None]
    return Pairs(np.stack([embedding for embedding, _ in seen]), scans, np.stack(turned, 1),
                 np.array([folder.name] * len(frames)), np.stack([f.position for f in frames]), looks[0],
                 np.stack(expected) if expected else None)


def mean_log_range(logits: np.ndarray, encoder: Encoder) -> np.ndarray:
    """(rows, columns) mean ln range of the returning part of (bins + 1, rows, columns) logits."""
    r = encoder.sidecar.range_map
    assert r is not None
    chances = np.exp(logits[:-1] - logits[:-1].max(0))
    step = np.log(r.far / r.near) / r.bins
    centres = np.log(r.near) + (np.arange(r.bins) + 0.5) * step
    return (chances * centres[:, None, None]).sum(0) / chances.sum(0)


def join(parts: list[Pairs]) -> Pairs:
    """The pairs of several drives as one union."""
    whole: dict[str, Any] = {}
    for name in (f.name for f in fields(Pairs)):
        values = [getattr(p, name) for p in parts]
        whole[name] = None if values[0] is None else np.concatenate(values)
    return Pairs(**whole)


def figures(pairs: Pairs, queries: np.ndarray, gap: float, own: bool) -> dict[str, float]:
    """Recall@1 and @5, the share in the right drive and the chance level of the `queries` (N,) bool.

    Scans of the same drive nearer than `gap` metres are left out of the map, and the image's own one unless `own`.
    """
    same = pairs.drive[:, None] == pairs.drive[None]
    apart = np.linalg.norm(pairs.position[:, None] - pairs.position[None], axis=2)
    left_out = (same & (apart < gap)) | (np.eye(len(same), dtype=bool) & (not own))
    hit = same & (apart < RADIUS) & ~left_out
    scores = np.where(left_out, -np.inf, pairs.images @ pairs.scans.T)[queries]
    best = np.argsort(-scores, axis=1)[:, :5]
    found = np.take_along_axis(hit[queries], best, 1)
    chance = hit[queries].sum(1) / (~left_out[queries]).sum(1)
    return {"recall@1": _round(found[:, 0].mean()), "recall@5": _round(found.any(1).mean()),
            "right_drive": _round(np.take_along_axis(same[queries], best[:, :1], 1).mean()),
            "chance": _round(chance.mean()), "queries": int(queries.sum())}


def _round(value: float) -> float:
    return round(float(value), 3)


def range_error(pairs: Pairs, encoder: Encoder) -> dict[str, float] | None:
    """Mean |d ln r| of the range map over returning cells, and that of the set's own median map, which knows more."""
    r = encoder.sidecar.range_map
    if r is None or pairs.expected is None:
        return None
    n, rows, columns = pairs.ranges.shape
    blocks = pairs.ranges.reshape(n, r.rows, rows // r.rows, r.columns, columns // r.columns)
    nearest = np.where(blocks > 0, blocks, np.inf).min((2, 4))
    truth = np.log(np.clip(nearest, r.near, r.far))
    truth[np.isinf(nearest)] = np.nan
    median = np.nanmedian(truth[:, np.isfinite(truth).any(0)], 0)
    return {"mean_abs_log_range_error": _round(np.nanmean(np.abs(pairs.expected - truth))),
            "median_map": _round(np.nanmean(np.abs(truth[:, np.isfinite(truth).any(0)] - median)))}


def evaluate(encoder: Encoder, data: Path) -> dict[str, Any]:
    """Figures of an exported model on all drives under `data`; raises DataError if there are none."""
    pairs = join([embed_drive(encoder, folder) for folder in drive_folders(data)])
    drives, counts = np.unique(pairs.drive, return_counts=True)
    single = np.isin(pairs.drive, drives[counts == 1])
    out: dict[str, Any] = {"pairs": len(pairs.drive), "hit_within_m": RADIUS}
    out["own_scan_in"] = figures(pairs, ~single, 0.0, own=True)
    for gap in GAPS:
        key = "own_scan_out" if not gap else f"scans_nearer_than_{gap:g}_m_out"
        out[key] = figures(pairs, ~single, gap, own=False)
    for i, turn in enumerate(TURNS_DEG):
        turned = replace(pairs, scans=pairs.turned[:, i])
        out[f"map_turned_by_{turn:g}_deg"] = figures(turned, ~single, 0.0, own=True)
    for name in drives[counts > 1]:
        out[str(name)] = figures(pairs, pairs.drive == name, 0.0, own=True)
    if single.any():
        out["single_scenes"] = figures(pairs, single, 0.0, own=True)
    error = range_error(pairs, encoder)
    return {**out, "range_map": error} if error else out


def main(model: Path, data: Path) -> None:
    """Prints the retrieval figures of the exported MODEL on the drives under DATA."""
    import yaml

    from ms2cl_ros.core.config import EncoderConfig
    try:
        print(yaml.safe_dump(evaluate(Encoder.load(EncoderConfig(model=str(model), threads=2)), data), sort_keys=False))
    except Ms2clError as e:
        print(f"error: {e}", file=sys.stderr)
        raise SystemExit(1) from e


if __name__ == "__main__":
    import typer
    typer.run(main)
