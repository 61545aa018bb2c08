# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures on recorded pairs as they are written down: JSON by drive, tables, pictures of what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.projection import cut
from ms2cl_ros.core.types import RangeImage
from ms2cl_ros.tools.compact import CompactDrive
from ms2cl_ros.tools.embedding import Embedder
from ms2cl_ros.tools.evaluate_pairs import ALL, GAPS, OWN_IN, RADII, RANKS, SINGLE, Evaluated, Group, left_out
from ms2cl_ros.tools.pairs import Pairs
from ms2cl_ros.tools.recall import Recall
from ms2cl_ros.tools.wrong_matches import Case, draw_all, surest, wrong

# The radius that the tables tell most about.
USUAL = 5.0
RIGHT = "a scan of the same drive nearer than the radius; of a single scene, its own"


def plain(pairs: Pairs, evaluated: Evaluated, encoder: Embedder) -> dict[str, Any]:
    """For JSON. Under `drives`, by drive name: queries, database size, chance by radius, and `recall` by score kind,
    N and radius; the same with scans left out under `left_out`, by metres (0: the image's own scan)."""
    told = {name: _group(kinds) for name, kinds in evaluated.items()}
    return {"model": encoder.sidecar.name, "fingerprint": encoder.sidecar.fingerprint, "pairs": len(pairs.images),
            "headings_per_scan": pairs.scans.shape[1], "right_answer": RIGHT,
            "drives": {name: told[name] for name in pairs.names if name in told},
            **{name: told[name] for name in (ALL, SINGLE) if name in told}}


def _group(kinds: Mapping[str, Mapping[float | None, Group]]) -> dict[str, Any]:
    rules = list(next(iter(kinds.values())))
    out = _rule({kind: by_rule[OWN_IN] for kind, by_rule in kinds.items()})
    more = {f"{gap:g}": _rule({kind: by_rule[gap] for kind, by_rule in kinds.items()})
            for gap in rules if gap is not None}
    return {**out, "left_out": more} if more else out


def _rule(kinds: Mapping[str, Group]) -> dict[str, Any]:
    first = next(iter(kinds.values())).by_radius
    return {"queries": first[RADII[0]].asked, "database": first[RADII[0]].database,
            "with_right_answer": {f"{r:g}": first[r].queries for r in RADII},
            "chance": {f"{r:g}": first[r].plain()["chance"] for r in RADII},
            "recall": {kind: _by_rank(group, "recall") for kind, group in kinds.items()},
            "interval_95": {kind: _by_rank(group, "interval_95") for kind, group in kinds.items()},
            "segments": max(r.segments for r in first.values()),
            "right_drive": {kind: round(group.right_drive, 4) for kind, group in kinds.items()}}


def _by_rank(group: Group, key: str) -> dict[str, dict[str, Any]]:
    return {n: {f"{r:g}": group.by_radius[r].plain()[key][n] for r in RADII} for n in RANKS}


def tables(evaluated: Evaluated) -> list[Any]:
    """rich tables: a row for each group and score kind; first with every scan in the map, then with near ones left
    out. Cells are R@1 and R@5."""
    from rich.table import Table
    every = Table(title="Every scan in the map: R@1 / R@5 in %")
    _columns(every, [f"{r:g} m" for r in RADII], f"R@1 at {USUAL:g} m, 95 %", "right drive", "chance", "|Q|", "|DB|")
    fewer = Table(title=f"Scans near the image left out: R@1 / R@5 at {USUAL:g} m in %")
    gaps = [g for g in GAPS if g is not None]
    _columns(fewer, [f"< {g:g} m" if g else "own" for g in gaps], "chance", "|Q+| of |Q|, last")
    for name, kinds in evaluated.items():
        for kind, rules in kinds.items():
            r, group = rules[OWN_IN].by_radius[USUAL], rules[OWN_IN]
            every.add_row(name, kind, *(_cell(v) for v in group.by_radius.values()), between(r.interval["1"]),
                          share(group.right_drive), share(r.chance), str(r.asked), str(r.database))
            left = [rules[g].by_radius[USUAL] for g in gaps if g in rules]
            if left:
                fewer.add_row(name, kind, *map(_cell, left), f"{share(left[0].chance)} to {share(left[-1].chance)}",
                              f"{left[-1].queries} of {left[-1].asked}")
    return [every, fewer]


def _columns(table: Any, cells: list[str], *more: str) -> None:
    for i, name in enumerate(["images", "score", *cells, *more]):
        table.add_column(name, justify="left" if i < 2 else "right", no_wrap=i < 2)


def _cell(r: Recall) -> str:
    one, five = (r.ranks[n] for n in RANKS)
    return "-" if one is None or five is None else f"{100 * one:.1f} / {100 * five:.1f}"


def share(value: float | None) -> str:
    """A share of one as text; a dash where there is none."""
    return "-" if value is None else f"{value:.1%}"


def between(interval: tuple[float, float] | None) -> str:
    """An interval as text; a dash where there is none."""
    return "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"


def draw_wrong(folder: Path, pairs: Pairs, scores: np.ndarray, drives: Sequence[CompactDrive],
               encoder: Embedder) -> tuple[int, int]:
    """Writes pictures of images whose first answer is no scan nearer than the usual radius, the surest first; returns
    how many were written and how many such images there are. `scores`: (N, N), every scan in the map."""
    grid = encoder.sidecar.lidar.grid
    found = wrong(scores, ~left_out(pairs, OWN_IN), pairs.apart(), USUAL)

    def named(row: int) -> tuple[str, CompactDrive, int]:
        drive, frame = drives[pairs.drive[row]], int(pairs.frame[row])
        return f"{drive.name} {drive.indices[frame]}", drive, frame

    def picture(query: int) -> tuple[str, np.ndarray]:
        name, drive, frame = named(query)
        return name, drive.picture(frame)[0]

    def window(scan: int, case: Case) -> tuple[str, RangeImage]:
        name, drive, frame = named(scan)
        return name, cut(drive.frame(frame).panorama, float(pairs.best_headings(case.query)[scan]), grid.columns)
    return draw_all(folder, surest(found), picture, window), len(found)
