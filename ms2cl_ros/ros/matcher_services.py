# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a person or a navigation stack may ask of the matcher: search anew, and pause."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

from ms2cl_ros.core.decision import LOST, MATCHED
from ms2cl_ros.core.geometry import quaternion, yaw
from ms2cl_ros.core.types import Match

# An answer comes with the first match that is promised, and after so many seconds of real time in any case.
PATIENCE = 5.0


@dataclass
class _Asked:
    """Somebody waits. `until`: monotonic seconds."""

    until: float
    done: Future = field(default_factory=Future)
    images: int = 0
    match: Match | None = None
    state: str = LOST


class MatcherServices:
    """`~/relocalize` (Trigger) and `~/set_enabled` (SetBool).

    `forget()` is called when a new search is asked for; `active()` says whether the node works on images. `note` is to
    be called after each image from then on; it may come from another thread.
    """

    def __init__(self, node: Node, forget: Callable[[], None], trouble: Callable[[], str],
                 active: Callable[[], bool] = lambda: True) -> None:
        self._forget, self._trouble, self._active = forget, trouble, active
        self._asked: list[_Asked] = []
        self._lock = threading.Lock()
        self.enabled = True
        # in a group of its own: while it waits for images, the callbacks that bring them must run
        node.create_service(Trigger, "~/relocalize", self._relocalize, callback_group=ReentrantCallbackGroup())
        node.create_service(SetBool, "~/set_enabled", self._set_enabled)
        node.create_timer(0.1, self._look_at_clock, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def note(self, match: Match | None, state: str) -> None:
        """What became of an image of the new search."""
        with self._lock:
            for asked in self._asked:
                asked.images, asked.state = asked.images + 1, state
                asked.match = match or asked.match
            done = [a for a in self._asked if state == MATCHED]
            self._asked = [a for a in self._asked if a not in done]
        for asked in done:
            asked.done.set_result(None)

    def dismiss(self) -> None:
        """Answers all who wait with what there is."""
        with self._lock:
            waiting, self._asked = self._asked, []
        for asked in waiting:
            asked.done.set_result(None)

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = [a for a in self._asked if now > a.until]
            self._asked = [a for a in self._asked if now <= a.until]
        for asked in late:
            asked.done.set_result(None)

    async def _relocalize(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not self.enabled or not self._active():
            why = "call ~/set_enabled with data: true first" if self._active() else "the node is not active"
            response.message = json.dumps({"state": "DISABLED", "why": why})
            return response
        asked = _Asked(time.monotonic() + PATIENCE)
        self._forget()
        with self._lock:
            self._asked.append(asked)
        await asked.done
        response.success = asked.state == MATCHED
        response.message = json.dumps(self._told(asked))
        return response

    def _told(self, asked: _Asked) -> dict[str, Any]:
        """The answer as plain values; lengths in metres, angles in radians."""
        match = asked.match
        out: dict[str, Any] = {"state": asked.state, "images": asked.images,
                               "reliability": round(match.probability, 6) if match else 0.0}
        if match is None:
            out["why"] = self._trouble() if not asked.images else "no candidate reached retrieval.min_score"
            return out
        out["stamp_ns"] = match.stamp_ns
        out["pose"] = _place(match.T_map_base)
        out["candidates"] = [{**_place(c.T_map_base), "submap": c.submap_id, "score": round(c.score, 4),
                              "range_score": None if c.range_score is None else round(c.range_score, 3),
                              "evidence": round(c.evidence, 3)} for c in match.candidates]
        return out

    def _set_enabled(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.enabled = bool(request.data)
        response.success = True
        response.message = "images are matched" if self.enabled else "images are passed over"
        return response


def _place(T: Any) -> dict[str, Any]:
    x, y, z = (round(float(v), 3) for v in T[:3, 3])
    return {"x": x, "y": y, "z": z, "yaw": round(yaw(T), 4), "quaternion": [round(float(v), 6) for v in quaternion(T)]}
