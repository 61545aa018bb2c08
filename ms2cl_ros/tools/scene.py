# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is to be seen of a matcher at work, as plain shapes: RViz, Foxglove and a PNG all show the same ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ms2cl_ros.core.geometry import transform
from ms2cl_ros.core.hypotheses import Hypotheses
from ms2cl_ros.core.loop_closure import LoopClosure
from ms2cl_ros.core.types import Candidate, Match

Colour = tuple[float, float, float, float]
# Told apart by people who see red and green alike (Okabe and Ito).
STATES: dict[str, Colour] = {"MATCHED": (0.0, 0.62, 0.45, 1.0), "TRACKING": (0.9, 0.62, 0.0, 1.0),
                             "LOST": (0.84, 0.37, 0.0, 1.0)}
ROUTE, PARTNER = (0.34, 0.71, 0.91, 1.0), (1.0, 1.0, 1.0, 0.9)
BELIEF, CANDIDATES = (0.8, 0.47, 0.65), (0.94, 0.71, 0.24)
# A step of the route, its longest one still joined by a line (metres), and how many are kept.
STEP, GAP, KEPT = 0.5, 30.0, 4000
# So many hypotheses are shown, down to this probability.
SHOWN, LEAST = 60, 1e-3
# Metres above the ground, so that shapes do not flicker into it.
LIFT = np.array([0.0, 0.0, 0.5])


@dataclass(frozen=True)
class Shape:
    """`kind`: `lines` (xyz in pairs), `points`, `arrows` (xyz in pairs, from and to) or `text` (one xyz).

    `layer`: its name in the viewer. `xyz`: (N, 3) metres, map frame. `size`: metres. `colours`: (N, 4), 0 to 1.
    """

    kind: str
    layer: str
    xyz: np.ndarray
    colours: np.ndarray
    size: float
    text: str = ""


@dataclass
class Scene:
    """Keeps the route; everything else is of the newest image only."""

    _route: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=KEPT))

    def note(self, match: Match) -> None:
        """Adds a promised match to the route; others leave it as it is."""
        place = match.T_map_base[:3, 3]
        if match.state == "MATCHED" and (not self._route or np.linalg.norm(place - self._route[-1]) >= STEP):
            self._route.append(place)

    def forget(self) -> None:
        """Begins a new route."""
        self._route.clear()

    def shapes(self, match: Match, hypotheses: Hypotheses | None, closure: LoopClosure | None) -> list[Shape]:
        """Route, belief, candidates, the line from the base to the submap that it was matched with, and the state."""
        colour = STATES.get(match.state, STATES["LOST"])
        return [self._route_shape(), _belief(hypotheses), _candidates(match.candidates), _partner(match, closure),
                _base(match, colour), _words(match, colour)]

    def _route_shape(self) -> Shape:
        places = np.array(self._route).reshape(-1, 3)
        pairs = np.stack([places[:-1], places[1:]], axis=1) if len(places) > 1 else np.zeros((0, 2, 3))
        near = np.linalg.norm(pairs[:, 1] - pairs[:, 0], axis=1) <= GAP
        return _shape("lines", "route", pairs[near].reshape(-1, 3), ROUTE, 0.6)


def _shape(kind: str, layer: str, xyz: np.ndarray, colour: Sequence[float], size: float, text: str = "") -> Shape:
    lifted = np.asarray(xyz, float).reshape(-1, 3) + LIFT
    return Shape(kind, layer, lifted, np.tile(np.asarray(colour, float), (len(lifted), 1)), size, text)


def _belief(hypotheses: Hypotheses | None) -> Shape:
    """An arrow a hypothesis, the fainter the less probable."""
    if hypotheses is None or not len(hypotheses):
        return _shape("arrows", "belief", np.zeros((0, 3)), (*BELIEF, 1.0), 0.8)
    best = np.argsort(-hypotheses.weights)[:SHOWN]
    best = best[hypotheses.weights[best] >= LEAST]
    x, y, yaw, _ = hypotheses.poses[best].T
    z = hypotheses.grounds[best][:, 2, 3]
    tails = np.stack([x, y, z], axis=1)
    pairs = np.stack([tails, tails + 4.0 * np.stack([np.cos(yaw), np.sin(yaw), np.zeros(len(best))], axis=1)], axis=1)
    shape = _shape("arrows", "belief", pairs, (*BELIEF, 1.0), 0.8)
    shape.colours[:, 3] = np.repeat(np.clip(0.15 + 0.85 * np.sqrt(hypotheses.weights[best]), 0.0, 1.0), 2)
    return shape


def _candidates(found: tuple[Candidate, ...]) -> Shape:
    """A dot a candidate of this image alone, the first one strongest."""
    shape = _shape("points", "candidates", np.array([c.T_map_base[:3, 3] for c in found]), (*CANDIDATES, 1.0), 1.6)
    shape.colours[:, 3] = np.linspace(1.0, 0.3, len(found))
    return shape


def _partner(match: Match, closure: LoopClosure | None) -> Shape:
    ends = np.zeros((0, 3)) if closure is None else \
        np.array([match.T_map_base[:3, 3], closure.T_map_submap[:3, 3]])
    return _shape("lines", "match", ends, PARTNER, 0.3)


def _base(match: Match, colour: Colour) -> Shape:
    ahead = match.T_map_base @ transform([6.0, 0.0, 0.0])
    return _shape("arrows", "base", np.array([match.T_map_base[:3, 3], ahead[:3, 3]]), colour, 1.5)


def _words(match: Match, colour: Colour) -> Shape:
    return _shape("text", "state", match.T_map_base[:3, 3] + [0.0, 0.0, 4.0], colour, 3.0,
                  f"{match.state} {match.probability:.3f}")
