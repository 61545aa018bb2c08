# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Wrong matches as pictures: the query, the three scans that it was taken for, and the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.types import RangeImage

SHOWN, MOST = 3, 40
PAPER, INK = "#ffffff", "#222222"
EMPTY = "#e9ebee"
NEAR, FAR = 2.0, 60.0


@dataclass(frozen=True)
class Case:
    """A query whose first answer is wrong. `answers`: the first scans, best first; `truth`: the nearest scan it might
    have been answered with; `scores`, `metres`: of the answers and, last, of the truth; `standing`: how many stood
    before the best right answer."""

    query: int
    answers: tuple[int, ...]
    truth: int
    scores: tuple[float, ...]
    metres: tuple[float, ...]
    standing: int


def wrong(scores: np.ndarray, allowed: np.ndarray, metres: np.ndarray, radius: float, first: int = 0) -> list[Case]:
    """Of (Q, M) scores, which scans were allowed, and metres to them (infinite in another drive): queries that have an
    answer nearer than `radius` and were answered otherwise. `first`: the number of the first query."""
    out = []
    for i, (score, there, away) in enumerate(zip(scores, allowed, metres)):
        order = np.argsort(-np.where(there, score, -np.inf), kind="stable")[:int(there.sum())]
        right = away[order] < radius
        if not right.any() or right[0]:
            continue
        truth = int(np.where(there, away, np.inf).argmin())
        told = [*order[:SHOWN].tolist(), truth]
        out.append(Case(first + i, tuple(told[:-1]), truth, tuple(score[told].tolist()), tuple(away[told].tolist()),
                        int(right.argmax())))
    return out


def surest(cases: Iterable[Case], most: int = MOST) -> list[Case]:
    """Those that were taken furthest above the truth."""
    return sorted(cases, key=lambda c: c.scores[-1] - c.scores[0])[:most]


def draw(path: Path, case: Case, name: str, rgb: np.ndarray, windows: Sequence[RangeImage],
         names: Sequence[str]) -> None:
    """Writes a PNG. `rgb`: the query on its grid; `windows`, `names`: of the answers and, last, of the truth."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(len(windows) + 1, 1, figsize=(7.5, 2.0 * (len(windows) + 1)), facecolor=PAPER,
                                constrained_layout=True)
    axes[0].imshow(rgb, aspect="auto")
    axes[0].set_title(f"asked: {name}; {case.standing} wrong answers before the best right one", fontsize=9, color=INK)
    for i, (axis, window) in enumerate(zip(axes[1:], windows)):
        title = "truth" if i == len(windows) - 1 else f"answer {i + 1}"
        away = f"{case.metres[i]:.1f} m away" if np.isfinite(case.metres[i]) else "elsewhere"
        _ranges(axis, window, f"{title}: {names[i]}, {away}, score {case.scores[i]:.3f}")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _ranges(axis: Any, window: RangeImage, title: str) -> None:
    shown = np.where(window.ranges > 0, np.log(np.maximum(window.ranges, 1.0)), np.nan)
    axis.imshow(np.ma.masked_invalid(shown), aspect="auto", cmap="viridis_r", vmin=np.log(NEAR), vmax=np.log(FAR))
    axis.set_facecolor(EMPTY)
    axis.set_title(title, fontsize=9, color=INK)


def draw_all(folder: Path, cases: Sequence[Case], picture: Callable[[int], tuple[str, np.ndarray]],
             window: Callable[[int, Case], tuple[str, RangeImage]]) -> int:
    """Writes a PNG for each case into `folder`; returns how many. `picture(query)` and `window(scan, case)` give a name
    and what is shown."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases):
        name, rgb = picture(case.query)
        names, windows = zip(*(window(scan, case) for scan in (*case.answers, case.truth)))
        draw(folder / f"{number:03d}_{name.replace('/', '_').replace(' ', '_')}.png", case, name, rgb, windows, names)
    return len(cases)
