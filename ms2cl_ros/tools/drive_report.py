# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of the protocols as they are written down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.projection import cut
from ms2cl_ros.core.types import RangeImage
from ms2cl_ros.tools import protocols
from ms2cl_ros.tools.embedding import Embedder, similarities
from ms2cl_ros.tools.evaluate_drive import Asked, Mapped, Outcome, localisation
from ms2cl_ros.tools.pairs_report import between, share
from ms2cl_ros.tools.passes import Pass
from ms2cl_ros.tools.recall import ONE_PERCENT
from ms2cl_ros.tools.recorded_pass import Cells, panorama
from ms2cl_ros.tools.wrong_matches import Case, draw_all, surest, wrong

NOT_REVISITS = "A and A- ask for the scan taken with the image, or its neighbours: they do not measure revisits."


def print_outcome(outcome: Outcome, console: Any) -> None:
    """A table of recalls by group and radius, then errors and precision in a line each."""
    from rich.table import Table
    p = outcome.protocol
    table = Table(title=f"Protocol {p.letter} by {outcome.score}: {p.rule}")
    for name in ("queries", "within", "R@1", "R@5", "R@1%", "chance", "R@1, 95 %", "|Q+| of |Q|", "|DB|"):
        table.add_column(name, justify="left" if name == "queries" else "right")
    for group, by_radius in outcome.recalls.items():
        for radius, r in by_radius.items():
            if group == "all" or r.queries:
                near = "to " * (p.letter == "D1") + f"{radius:g} m"
                table.add_row(group, near, share(r.ranks["1"]), share(r.ranks["5"]), share(r.ranks[ONE_PERCENT]),
                              share(r.chance), between(r.interval["1"]), f"{r.queries} of {r.asked}", str(r.database))
    console.print(table)
    at, c = localisation(outcome), outcome.curve
    console.print(f"First answers, where there is one within {at['radius']:g} m: {at['metres_median']} m off (median), "
                  f"{at['metres_p90']} m (90 %); those that are right: {at['right_metres_median']} m, "
                  f"{at['right_degrees_median']} degrees (median).", highlight=False, soft_wrap=True)
    console.print(f"Accepted from a score on ({c.rule.replace('_', ' ')}; {c.queries} queries, {c.real} with a right "
                  f"answer): average precision {c.average_precision:.3f}, best F1 {c.best_f1:.3f}, recall at 99 % "
                  f"precision {c.recall_at(0.99):.3f}, at 100 % {c.recall_at(1.0):.3f}.", highlight=False,
                  soft_wrap=True)
    if p.letter in ("A", "A-", "C") and p.one_pass:
        console.print(NOT_REVISITS)


def plain(outcomes: Sequence[Outcome], asking: Pass, mapped: Pass, encoder: Embedder, scans: Mapped) -> dict[str, Any]:
    """For JSON."""
    return {"model": encoder.sidecar.name, "fingerprint": encoder.sidecar.fingerprint, "queries": asking.name,
            "map": mapped.name, "headings_per_scan": len(scans.headings),
            "protocols": [outcome.plain() for outcome in outcomes]}


def draw_wrong(folder: Path, outcome: Outcome, asked: Asked, scans: Mapped, asking: Pass, mapped: Pass,
               encoder: Embedder) -> tuple[int, int]:
    """Writes pictures of queries whose first answer is wrong at the usual radius, the surest first; returns how many
    were written and how many such queries there are."""
    found = []
    p, ranked = outcome.protocol, outcome.ranked[outcome.usual]
    for row in outcome.answers.rows[ranked.hit > 0]:
        [(_, scores, _)] = similarities(asked.descriptors[[row]], scans.descriptors)
        rows = np.array([row])
        found += wrong(scores, protocols.answerable(p, asked.route, rows, scans.route),
                       protocols.distances(p, asked.route, rows, scans.route), outcome.usual, int(row))
    chosen = surest(found)
    pictures, turns = _looks(chosen, asked, scans, asking, mapped, encoder)

    def picture(query: int) -> tuple[str, np.ndarray]:
        index = int(asked.route.index[query])
        return f"{asking.name} {index}", pictures[index]

    def window(scan: int, case: Case) -> tuple[str, RangeImage]:
        index = int(scans.route.index[scan])
        heading = scans.headings[(scans.descriptors[scan] @ asked.descriptors[case.query]).argmax()]
        return f"{mapped.name} {index}", cut(turns[index], float(heading), encoder.sidecar.lidar.grid.columns)
    return draw_all(folder, chosen, picture, window), len(found)


def _looks(cases: Sequence[Case], asked: Asked, scans: Mapped, asking: Pass, mapped: Pass,
           encoder: Embedder) -> tuple[dict[int, np.ndarray], dict[int, RangeImage]]:
    """Pictures on the camera's grid and whole turns that the cases show, by index."""
    cells = Cells(encoder.sidecar.camera)
    queries = {int(asked.route.index[c.query]) for c in cases}
    answers = {int(scans.route.index[s]) for c in cases for s in (*c.answers, c.truth)}
    pictures = {look.index: cells(look)[0] for look in asking.looks(True, False, queries)}
    return pictures, {look.index: panorama(look, encoder.sidecar.lidar.grid)
                      for look in mapped.looks(False, True, answers)}
