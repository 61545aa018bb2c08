# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures on recorded drives that a model's card gives; `ms2cl evaluate pairs` gives all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.projection import first_column
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.tools.embedding import Embedder, similarity
from ms2cl_ros.tools.evaluate_pairs import ALL, OWN_IN, SINGLE, Group, figures, groups
from ms2cl_ros.tools.pairs import Pairs, embed_pairs, open_drives

RADIUS = 5.0
GAPS = {"own_scan_in": OWN_IN, "own_scan_out": 0.0, "scans_nearer_than_1_m_out": 1.0, "scans_nearer_than_2_m_out": 2.0}
TURNS_DEG = (2.5, 5.0, 7.5)


def evaluate(encoder: Embedder, data: Path) -> dict[str, Any]:
    """Figures of a model on all drives under `data`; raises DataError if there are none."""
    drives = open_drives([data], encoder)
    # scans are looked at along the camera, whose heading is that of the first drive up to a fraction of a cell
    beside = np.radians([0.0, *TURNS_DEG]) + drives[0].heading
    pairs = embed_pairs(encoder, drives, beside)
    looks = [replace(pairs, scans=pairs.scans[:, i:i + 1]) for i in range(len(beside))]
    scores, asked = similarity(pairs.images, looks[0].scans), groups(pairs)
    out: dict[str, Any] = {"pairs": len(pairs.images), "hit_within_m": RADIUS}
    if ALL in asked:
        out |= {name: _row(figures(pairs, scores, asked[ALL], gap)) for name, gap in GAPS.items()}
        for turn, look in zip(TURNS_DEG, looks[1:]):
            turned = similarity(pairs.images, look.scans)
            out[f"map_turned_by_{turn:g}_deg"] = _row(figures(pairs, turned, asked[ALL], OWN_IN))
    for name in pairs.names:
        if name in asked:
            out[name] = _row(figures(pairs, scores, asked[name], OWN_IN))
    if SINGLE in asked:
        out[SINGLE] = _row(figures(pairs, scores, asked[SINGLE], OWN_IN))
    error = range_error(pairs, encoder.sidecar)
    return {**out, "range_map": error} if error else out


def _row(group: Group) -> dict[str, Any]:
    r = group.by_radius[RADIUS]
    return {"recall@1": _round(r.ranks["1"]), "recall@5": _round(r.ranks["5"]),
            "right_drive": _round(group.right_drive), "chance": _round(r.chance), "queries": r.queries}


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)


def range_error(pairs: Pairs, model: Sidecar) -> dict[str, float] | None:
    """Mean |d ln r| of the range map over returning cells, and that of the set's own median map, which knows more."""
    spec = model.range_map
    if spec is None or pairs.logits is None or pairs.coarse is None:
        return None
    step = np.log(spec.far / spec.near) / spec.bins
    centres = np.log(spec.near) + (np.arange(spec.bins) + 0.5) * step
    across = model.lidar.grid.columns // spec.columns
    panorama = model.lidar.grid.panorama()
    first = [first_column(panorama, h[0], model.lidar.grid.columns) // across for h in pairs.headings]
    index = (np.array(first)[:, None] + np.arange(spec.columns)) % pairs.coarse.shape[2]
    bins = np.take_along_axis(pairs.coarse, index[:, None], 2)
    truth = np.append(centres, np.nan)[bins]
    logits = pairs.logits[:, :-1].astype(np.float32)
    chances = np.exp(logits - logits.max(1, keepdims=True))
    expected = (chances * centres[:, None, None].astype(np.float32)).sum(1) / chances.sum(1)
    seen = np.isfinite(truth).any(0)
    median = np.nanmedian(truth[:, seen], 0)
    return {"mean_abs_log_range_error": round(float(np.nanmean(np.abs(expected - truth))), 3),
            "median_map": round(float(np.nanmean(np.abs(truth[:, seen] - median))), 3)}
