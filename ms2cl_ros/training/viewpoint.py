# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far beside, ahead and askew of a map's views is a place still found? On streets that no model was trained on.

For each condition the map holds one view for each picture, from a pose that differs by just that; a right answer is the
picture's own view among those of all pictures of all streets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ms2cl_ros.core.types import RangeImage
from ms2cl_ros.tools.embedding import Embedder, similarity
from ms2cl_ros.tools.recall import Recall, rank, recall
from ms2cl_ros.training.city.offsets import CONDITIONS, Street, places

SAME_DAY = "same pose, same day"
SWEEP, VIEW = "single sweep", "rendered view"
# Told with the figures; each picture's own view lies nearer, all others farther.
WITHIN = 6.0
Figures = Mapping[tuple[str, str], Recall]
"""By condition and by what the map holds, SWEEP or VIEW."""


def table(encoder: Embedder, made: Sequence[Street],
          progress: Callable[[int, int], None] | None = None) -> Figures:
    """Recall by condition and by what the map holds (SWEEP or VIEW), each view looked at along the camera."""
    images = [[encoder.embed_image(rgb, valid)[0] for rgb, valid in zip(s.rgb, s.valid)] for s in made]
    asked = np.concatenate([np.stack(i) for i in images])
    street = np.repeat(np.arange(len(made)), [len(i) for i in images])
    out = {(SAME_DAY, SWEEP): _recall(asked, [_embedded(encoder, s, s.own, 0.0) for s in made], street)}
    for done, c in enumerate(CONDITIONS, 1):
        place = places().index((c.along, c.aside))
        for kind in (SWEEP, VIEW):
            turns = [(s, (s.sweeps if kind == SWEEP else s.views)[:, place]) for s in made]
            out[c.name, kind] = _recall(asked, [_embedded(encoder, s, t, c.turn_deg) for s, t in turns], street)
        if progress:
            progress(done, len(CONDITIONS))
    return out


def _embedded(encoder: Embedder, street: Street, turns: np.ndarray, turn_deg: float) -> np.ndarray:
    """(n, 1, D) of (n, rows, turn) whole turns, looked at `turn_deg` to the left of the camera."""
    grid = encoder.sidecar.lidar.grid.panorama()
    heading = np.array([float(street.heading) + np.radians(turn_deg)])
    return encoder.embed_turns([RangeImage(t.astype(np.float32), grid) for t in turns], heading)


def _recall(asked: np.ndarray, views: list[np.ndarray], street: np.ndarray) -> Recall:
    scores = similarity(asked, np.concatenate(views))
    own = np.eye(len(asked), dtype=bool)
    return recall(rank(scores, np.ones_like(own), own), street, WITHIN, ("1", "5"))


def plain(figures: Figures, seeds: Sequence[int], encoder: Embedder) -> dict[str, Any]:
    """For JSON."""
    out: dict[str, Any] = {}
    for (condition, kind), r in figures.items():
        out.setdefault(condition, {})[kind] = {k: v for k, v in r.plain().items() if k != "radius"}
    return {"model": encoder.sidecar.name, "fingerprint": encoder.sidecar.fingerprint, "seeds": list(seeds),
            "conditions": out}


def rich_table(figures: Figures) -> Any:
    """A row for each condition."""
    from rich.table import Table
    some = next(iter(figures.values()))
    shown = Table(title=f"{some.queries} pictures of {some.segments} streets, each for its own view: R@1 / R@5 in %, "
                        f"R@1 in 95 %; chance {100 * (some.chance or 0):.1f}")
    for name in ("map's view", SWEEP, "95 %", VIEW, "95 %"):
        shown.add_column(name, justify="left" if name == "map's view" else "right")
    for condition in dict.fromkeys(c for c, _ in figures):
        cells = [cell for kind in (SWEEP, VIEW) for cell in _cells(figures.get((condition, kind)))]
        shown.add_row(condition, *cells)
    return shown


def _cells(r: Recall | None) -> tuple[str, str]:
    if r is None or r.ranks["1"] is None or r.ranks["5"] is None:
        return "-", "-"
    low_high = r.interval["1"]
    interval = "-" if low_high is None else f"{100 * low_high[0]:.1f} to {100 * low_high[1]:.1f}"
    return f"{100 * r.ranks['1']:.1f} / {100 * r.ranks['5']:.1f}", interval
