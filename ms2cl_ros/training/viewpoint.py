# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far beside, ahead and askew of a map's views is a place still found? On streets that no model was trained on.

For each condition the map holds one view for each picture, from a pose that differs by just that; a right answer is the
picture's own view among those of all pictures of all streets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ms2cl_ros.core.calibration import Calibration
from ms2cl_ros.core.projection import coarse
from ms2cl_ros.core.types import RangeImage
from ms2cl_ros.tools.consecutive import Drives, over_frames
from ms2cl_ros.tools.embedding import Embedder
from ms2cl_ros.tools.evaluate_pairs import BOTH, OVER_FRAMES
from ms2cl_ros.tools.pairs import Pairs
from ms2cl_ros.tools.recall import Recall, rank, recall
from ms2cl_ros.tools.score_kinds import score_kinds
from ms2cl_ros.training.city.offsets import CONDITIONS, Condition, Street, beside, places

SAME_DAY = Condition("same pose, same day")
SWEEP, VIEW = "single sweep", "rendered view"
# Told with the figures; each picture's own view lies nearer, all others farther.
WITHIN = 6.0
Figures = Mapping[tuple[str, str, str], Recall]
"""By condition, by what the map holds, SWEEP or VIEW, and by score kind."""


def table(encoder: Embedder, made: Sequence[Street],
          progress: Callable[[int, int], None] | None = None) -> Figures:
    """Recall by condition, by what the map holds and by score: `descriptor` and, with a calibrated model, `range`,
    `both` and both over several pictures of a street, 12 m apart, joined by their true motion."""
    out, asked = dict[tuple[str, str, str], Recall](), _asked(encoder, made)

    def tell(condition: Condition, kind: str, turns: list[np.ndarray]) -> None:
        pairs = _with_map(asked, encoder, made, condition, turns)
        out.update({(condition.name, kind, score): r for score, r in _recalls(pairs, asked.poses, encoder).items()})
    tell(SAME_DAY, SWEEP, [s.own for s in made])
    for done, c in enumerate(CONDITIONS, 1):
        place = places().index((c.along, c.aside))
        for kind in (SWEEP, VIEW):
            tell(c, kind, [(s.sweeps if kind == SWEEP else s.views)[:, place] for s in made])
        if progress:
            progress(done, len(CONDITIONS))
    return out


def _asked(encoder: Embedder, made: Sequence[Street]) -> Pairs:
    """The pictures alone, as pairs without scans."""
    seen = [encoder.embed_image(rgb, valid) for s in made for rgb, valid in zip(s.rgb, s.valid, strict=True)]
    sizes = [len(s.rgb) for s in made]
    count, numbers = sum(sizes), np.concatenate([np.arange(n) for n in sizes])
    logits = [r for _, r in seen if r is not None]
    nothing = np.zeros((count, 0))
    return Pairs(tuple(f"street {k}" for k in range(len(made))), np.stack([d for d, _ in seen]), nothing[:, :, None],
                 np.repeat(np.arange(len(made)), sizes), np.concatenate([s.poses for s in made]), np.ones(count, bool),
                 numbers.astype(float), nothing, numbers, np.stack(logits) if logits else None)


def _with_map(asked: Pairs, encoder: Embedder, made: Sequence[Street], condition: Condition,
              turns: Sequence[np.ndarray]) -> Pairs:
    """With the whole turns (n, rows, turn) of each street as scans, looked at so much to the left of the camera."""
    grid, spec = encoder.sidecar.lidar.grid, encoder.sidecar.range_map
    scans, headings, bins, poses = [], [], [], []
    for s, street in zip(made, turns, strict=True):
        around = np.array([float(s.heading) + np.radians(condition.turn_deg)])
        panoramas = [RangeImage(t.astype(np.float32), grid.panorama()) for t in street]
        scans.append(encoder.embed_turns(panoramas, around))
        headings.append(np.tile(around, (len(street), 1)))
        bins += [coarse(p, spec, grid.columns) for p in panoramas] if spec else []
        poses += [beside(T, i, condition.along, condition.aside) for i, T in enumerate(s.poses)]
    return replace(asked, scans=np.concatenate(scans), headings=np.concatenate(headings), poses=np.stack(poses),
                   coarse=np.stack(bins) if bins else None)


def _recalls(pairs: Pairs, asked: np.ndarray, encoder: Embedder) -> dict[str, Recall]:
    """By score kind; `asked`: (n, 4, 4) where the pictures were taken."""
    known = encoder.sidecar.calibration
    kinds = score_kinds(pairs, encoder.sidecar, Calibration.from_mapping(known) if known else None)
    own, every = np.eye(len(pairs.images), dtype=bool), np.ones((len(pairs.images),) * 2, bool)
    if BOTH in kinds:
        kinds[OVER_FRAMES] = over_frames(kinds[BOTH], every, Drives(pairs.drive, asked, pairs.posed),
                                         Drives(pairs.drive, pairs.poses, pairs.posed))
    return {name: recall(rank(scores, every, own), pairs.drive, WITHIN, ("1", "5")) for name, scores in kinds.items()}


def plain(figures: Figures, seeds: Sequence[int], encoder: Embedder) -> dict[str, Any]:
    """For JSON."""
    out: dict[str, Any] = {}
    for (condition, kind, score), r in figures.items():
        told = {k: v for k, v in r.plain().items() if k != "radius"}
        out.setdefault(condition, {}).setdefault(kind, {})[score] = told
    return {"model": encoder.sidecar.name, "fingerprint": encoder.sidecar.fingerprint, "seeds": list(seeds),
            "conditions": out}


def rich_table(figures: Figures) -> Any:
    """A row for each condition."""
    from rich.table import Table
    some, scores = next(iter(figures.values())), dict.fromkeys(score for _, _, score in figures)
    shown = Table(title=f"{some.queries} pictures of {some.segments} streets, each for its own view: R@1 / R@5 in %; "
                        f"chance {100 * (some.chance or 0):.1f}")
    shown.add_column("map's view")
    for name in (f"{kind}: {score}" for kind in (SWEEP, VIEW) for score in scores):
        shown.add_column(name, justify="right")
    for condition in dict.fromkeys(c for c, _, _ in figures):
        shown.add_row(condition, *(_cell(figures.get((condition, kind, s))) for kind in (SWEEP, VIEW) for s in scores))
    return shown


def _cell(r: Recall | None) -> str:
    if r is None or r.ranks["1"] is None or r.ranks["5"] is None:
        return "-"
    return f"{100 * r.ranks['1']:.1f} / {100 * r.ranks['5']:.1f}"
