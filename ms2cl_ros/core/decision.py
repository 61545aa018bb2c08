# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""When a place may be told: LOST, TRACKING, MATCHED.

LOST: no place stands out. TRACKING: one does, or did a moment ago, but nothing is promised. MATCHED: the promise holds
that of the poses told a share of `trust.target_precision` is right.

    LOST ─ probability above half ─> TRACKING ─ above the threshold, with room ─> MATCHED
    MATCHED ─ below the threshold, another place, or not seen for a moment ─> TRACKING
    TRACKING ─ probability below 0.3, or not seen for `PATIENCE` seconds ─> LOST

The room keeps the state from flickering, and is on the safe side: a pose is told at or above the threshold only.
Whoever is MATCHED somewhere goes through TRACKING before being MATCHED elsewhere.
"""

from __future__ import annotations

import numpy as np

from ms2cl_ros.core.belief import PLACE_METRES, Place
from ms2cl_ros.core.motion import elapsed

LOST, TRACKING, MATCHED = "LOST", "TRACKING", "MATCHED"
RISE, FALL = 0.5, 0.3
# Nats above the threshold that begin a MATCHED.
ROOM = 0.5
# Seconds without an image that speaks for the place: for so long it is still told, and for so long still tracked.
MOMENT, PATIENCE = 0.5, 10.0


class Decision:
    """The state after each image. `threshold`: probability that a place needs to be told.

    The margin over the next different place is asked for too: `threshold` / (1 - `threshold`) times its probability.
    """

    def __init__(self, threshold: float, hysteresis: bool = True) -> None:
        self.demand(threshold)
        self._room = ROOM if hysteresis else 0.0
        self.reset()

    def demand(self, threshold: float) -> None:
        """The probability that a place needs from now on."""
        self._least = _log_odds(threshold)

    def reset(self) -> None:
        """LOST, and nothing remembered."""
        self.state = LOST
        self._shown_ns: int | None = None
        self._told: np.ndarray | None = None

    def update(self, place: Place | None, stamp_ns: int, moved: float = 0.0) -> str:
        """The state at a stamp. `moved`: metres that the base may have gone since the last image."""
        if place is not None and place.shown:
            self._shown_ns = stamp_ns
        unseen = np.inf if self._shown_ns is None else elapsed(self._shown_ns, stamp_ns)
        if place is None or unseen > PATIENCE or place.probability < (RISE if self.state == LOST else FALL):
            self.reset()
            return self.state
        elsewhere = self._is_elsewhere(place, moved)
        self._told = place.T_map_base[:2, 3].copy()
        safe = min(_log_odds(place.probability), np.log(max(place.probability, 1e-300) / max(place.next, 1e-300)))
        needed = self._least + (0.0 if self.state == MATCHED else self._room)
        promised = safe >= needed and unseen <= MOMENT and not (self.state == MATCHED and elsewhere)
        self.state = MATCHED if promised else TRACKING
        return self.state

    def _is_elsewhere(self, place: Place, moved: float) -> bool:
        """Whether the place is another than the last one, carried along."""
        if self._told is None:
            return False
        return float(np.hypot(*(place.T_map_base[:2, 3] - self._told))) > PLACE_METRES + moved


def _log_odds(probability: float) -> float:
    p = min(max(probability, 1e-12), 1.0 - 1e-12)
    return float(np.log(p) - np.log1p(-p))
