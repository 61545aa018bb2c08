# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One picture of a drive that was localised: where it was believed to be, how surely, and where that was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.decision import LOST, MATCHED, TRACKING
from ms2cl_ros.core.frames import SECOND
from ms2cl_ros.tools.moments import METRES, Moment, candidates_right
from ms2cl_ros.tools.report import FAINT, INK, PAPER, draw_route

RIGHT, WRONG = "#1f6fb4", "#d1420f"
STATE = {LOST: "#5f6070", TRACKING: "#e3a21a", MATCHED: "#2e9e6b"}
# Errors are drawn from here to there, metres.
LEAST, MOST = 0.1, 1000.0
# Images farther apart than this are not joined by a line, metres.
BREAK = 25.0


def draw(path: Path, title: str, moments: Sequence[Moment], submaps: Sequence[np.ndarray], target: float) -> None:
    """Writes a PNG: the route with published matches by error and the moments without one; over time the state, the
    probability, the entropy, the errors and which candidates were right."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    figure = plt.figure(figsize=(17, 10), facecolor=PAPER, constrained_layout=True)
    grid = figure.add_gridspec(4, 2, width_ratios=[1, 1.15], height_ratios=[1.15, 0.6, 1.0, 1.0])
    _map(figure, figure.add_subplot(grid[:, 0]), moments, submaps)
    seconds = np.array([m.stamp_ns - moments[0].stamp_ns for m in moments]) / SECOND
    panels = [figure.add_subplot(grid[0, 1])]
    panels += [figure.add_subplot(grid[i, 1], sharex=panels[0]) for i in (1, 2, 3)]
    for axes, fill in zip(panels, (_belief, _entropy, _errors, _candidates)):
        fill(axes, seconds, moments)
        _spans(axes, seconds, moments)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelbottom=axes is panels[-1])
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False, fontsize=9,
                        borderaxespad=0.0, handlelength=1.4, columnspacing=1.2)
    panels[0].axhline(target, color=INK, linewidth=0.7, linestyle=":", zorder=1)
    panels[0].annotate(f"target precision {target:g}", (0.0, target), xycoords=("axes fraction", "data"),
                       xytext=(3, -10), textcoords="offset points", fontsize=8, color=INK)
    panels[-1].set_xlabel("seconds since the first image")
    figure.suptitle(title, fontsize=13, color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _map(figure: Any, axes: Any, moments: Sequence[Moment], submaps: Sequence[np.ndarray]) -> None:
    known = [m for m in moments if m.truth is not None]
    told = [m for m in known if m.told]
    draw_route(figure, axes, [m.match for m in told if m.match], [m.truth for m in told if m.truth is not None],
               submaps, _route([m.truth for m in known if m.truth is not None]))
    for state, marker in ((LOST, "x"), (TRACKING, "^")):
        where = np.array([m.truth[:2, 3] for m in known if m.state == state and m.truth is not None]).reshape(-1, 2)
        if len(where):
            axes.scatter(*where.T, s=26, marker=marker, c=STATE[state], linewidths=1.1, zorder=5,
                         label=f"{len(where)} {state}, nothing published")
    if not known:  # nothing to hold the answers against: they alone are the route
        where = np.array([m.match.T_map_base[:2, 3] for m in moments if m.told and m.match]).reshape(-1, 2)
        axes.scatter(*where.T, s=14, c=STATE[MATCHED], zorder=4, label="published; the truth is not known")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=9)


def _route(truths: Sequence[np.ndarray]) -> np.ndarray:
    """(n, 2) places in order, with nan where images are far apart."""
    xy = np.array([T[:2, 3] for T in truths]).reshape(-1, 2)
    gaps = np.flatnonzero(np.linalg.norm(np.diff(xy, axis=0), axis=1) > BREAK) + 1
    return np.insert(xy, gaps, np.nan, axis=0)


def _spans(axes: Any, seconds: np.ndarray, moments: Sequence[Moment]) -> None:
    """A tint behind each stretch of one state."""
    ends = np.append(seconds[1:], seconds[-1] + (np.median(np.diff(seconds)) if len(seconds) > 1 else 1.0))
    states = [m.state for m in moments]
    begin = 0
    for i in range(1, len(states) + 1):
        if i == len(states) or states[i] != states[begin]:
            axes.axvspan(seconds[begin], ends[i - 1], color=STATE[states[begin]], alpha=0.16, linewidth=0, zorder=0)
            begin = i


def _belief(axes: Any, seconds: np.ndarray, moments: Sequence[Moment]) -> None:
    from matplotlib.patches import Patch
    best = [m.match.probability if m.match else m.place.probability if m.place else 0.0 for m in moments]
    second = [m.place.next if m.place else 0.0 for m in moments]
    axes.plot(seconds, best, color=INK, linewidth=1.3, label="most probable place")
    axes.plot(seconds, second, color=WRONG, linewidth=1.0, label="next other place")
    axes.plot(seconds, [m.outside for m in moments], color=RIGHT, linewidth=0.9, linestyle="--", label="not in the map")
    axes.set_ylim(-0.02, 1.04)
    axes.set_ylabel("probability")
    states = axes.legend(handles=[Patch(color=c, alpha=0.4, label=s) for s, c in STATE.items()], loc="lower left",
                         bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=9, borderaxespad=0.0,
                         handlelength=1.0, columnspacing=1.0)
    axes.add_artist(states)


def _entropy(axes: Any, seconds: np.ndarray, moments: Sequence[Moment]) -> None:
    axes.fill_between(seconds, [m.entropy for m in moments], color=FAINT, linewidth=0, zorder=2)
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("entropy, bits")


def _errors(axes: Any, seconds: np.ndarray, moments: Sequence[Moment]) -> None:
    metres = np.array([m.off[0] for m in moments])
    shown = np.isfinite(metres)
    told, right = np.array([m.told for m in moments]), np.array([m.right for m in moments])
    level = np.clip(metres, LEAST, MOST)
    for which, colour, fill, name in ((told & right, RIGHT, True, "published, right"),
                                      (told & ~right & shown, WRONG, True, "published, WRONG"),
                                      (~told & shown, FAINT, False, "best guess, not published")):
        axes.scatter(seconds[which], level[which], s=20 if fill else 12, facecolors=colour if fill else "none",
                     edgecolors=colour, linewidths=0.8, zorder=4 if fill else 3, label=f"{name}: {int(which.sum())}")
    axes.axhline(METRES, color=INK, linewidth=0.7, linestyle=":", zorder=1)
    axes.set_yscale("log")
    axes.set_ylim(LEAST * 0.8, MOST * 1.3)
    axes.set_ylabel("metres off")


def _candidates(axes: Any, seconds: np.ndarray, moments: Sequence[Moment]) -> None:
    """Each candidate of each image by its rank."""
    right = [candidates_right(m) for m in moments]
    k = max((len(r) for r in right), default=0)
    for value, colour, name in ((False, "#dfe2e7", "wrong"), (True, RIGHT, "right")):
        at = [(t, i + 1) for t, ranks in zip(seconds, right) for i, r in enumerate(ranks) if r == value]
        axes.scatter(*np.array(at).reshape(-1, 2).T, s=9, marker="s", c=colour, linewidths=0,
                     label=f"candidate that is {name}")
    axes.set_ylim(k + 0.7, 0.3)
    axes.set_yticks([i for i in (1, 5, 10, 15, 20) if i <= k])
    axes.set_ylabel("rank by evidence")
