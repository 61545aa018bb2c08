# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a node counts of its own work, and the verdict a person reads: OK, WARN or ERROR, and why."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

OK, WARN, ERROR = 0, 1, 2
SECOND = 1_000_000_000
# a stamp this much older than the one before is a clock set back, not a late message
JUMP_NS = SECOND
# how long a trouble is reported after it was last seen, and how long silence is no trouble, seconds
RECENT, PATIENCE = 10.0, 5.0
# the mapper's diagnostic of how far its views lag behind its submaps
WAITING = "submaps without views"


class Stream:
    """One topic's messages: how many came, and, from gaps between their stamps, about how many did not."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.received = self.lost = self.jumps = 0
        self._last: int | None = None
        self._steps: deque[int] = deque(maxlen=50)

    @property
    def period(self) -> float | None:
        """Median seconds between stamps, or None before there are five."""
        return statistics.median(self._steps) / SECOND if len(self._steps) >= 5 else None

    def note(self, stamp_ns: int) -> bool:
        """Counts a message; True if its clock jumped back by more than a second."""
        self.received += 1
        last, self._last = self._last, stamp_ns
        if last is None:
            return False
        step = stamp_ns - last
        if step < -JUMP_NS:
            self.jumps += 1
            self._steps.clear()
            return True
        if step <= 0:
            self._last = last
            return False
        if self.period:
            self.lost += max(0, round(step / SECOND / self.period) - 1)
        self._steps.append(step)
        return False


class Health:
    """Counts and times of one node's work; safe to use from several threads.

    A *skip* is work left out on purpose, a *drop* a message that could not be used, a *fault* a state in which all
    work fails. Drops are a warning, and an error once nothing has gone well for ten seconds. `log(text)` is called
    at most every ten seconds for each reason.
    """

    def __init__(self, done: str, streams: tuple[Stream, ...], log: Callable[[str], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._done, self.streams, self._log, self._clock = done, streams, log, clock
        self._lock = threading.Lock()
        self._started = clock()
        self.processed = 0
        self.skipped: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._fault = self._waiting = ""
        self._recent: dict[str, tuple[float, str]] = {}
        self._logged: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._latencies: deque[float] = deque(maxlen=200)
        self._last_done: float | None = None
        self._last_good = self._started

    def note(self, stream: Stream, stamp_ns: int) -> bool:
        """Counts a message of a stream; True if its clock jumped back, which is then reported."""
        with self._lock:
            self._heard[stream.topic] = self._clock()
            jumped = stream.note(stamp_ns)
        if jumped:
            self.warn("clock jumped back", f"the stamps on {stream.topic} jumped back; what was buffered of the "
                                           "time before is forgotten")
        return jumped

    def done(self, seconds: float) -> None:
        """One message has become a result, `seconds` after it arrived."""
        with self._lock:
            self.processed += 1
            self._latencies.append(seconds)
            self._last_done = self._last_good = self._clock()

    def skip(self, reason: str, working: bool = True) -> None:
        """A message was left out on purpose. `working`: this shows that all is well, so far as it got."""
        with self._lock:
            self.skipped[reason] += 1
            if working:
                self._last_good = self._clock()

    def drop(self, reason: str, detail: str, count: int = 1) -> None:
        """A message could not be used."""
        with self._lock:
            self.dropped[reason] += count
        self.warn(reason, detail)

    def warn(self, reason: str, detail: str) -> None:
        """Something is not as it should be, without a message being lost by it."""
        now = self._clock()
        with self._lock:
            self._recent[reason] = (now, detail)
            due = now - self._logged.get(reason, -RECENT) >= RECENT
            if due:
                self._logged[reason] = now
        if due:
            self._log(f"{reason}: {detail}")

    def fault(self, detail: str) -> None:
        """Nothing works until this is mended; an empty text ends it."""
        with self._lock:
            fresh, self._fault = bool(detail) and detail != self._fault, detail
        if fresh:
            self._log(detail)

    def wait(self, detail: str) -> None:
        """Nothing is wrong, but nothing can be done yet; an empty text ends it."""
        with self._lock:
            fresh, self._waiting = bool(detail) and detail != self._waiting, detail
        if fresh:
            self._log(detail)

    def verdict(self, publishers: Callable[[str], int] = lambda topic: 1) -> tuple[int, str]:
        """Level and one sentence. `publishers(topic)`: how many there are of a topic that stays silent."""
        with self._lock:
            now = self._clock()
            recent = {r: d for r, (t, d) in self._recent.items() if now - t < RECENT}
            idle = now - self._last_good >= RECENT
            if self._fault:
                return ERROR, self._fault
            if self._waiting:
                return WARN, self._waiting
            silent = self._silent(now, publishers)
            if silent:
                return WARN, silent
            if recent:
                text = "; ".join(f"{reason}: {detail}" for reason, detail in recent.items())
                return (ERROR if idle and any(self.dropped[r] for r in recent) else WARN), text
            return OK, f"{self.processed} {self._done}"

    def _silent(self, now: float, publishers: Callable[[str], int]) -> str:
        for stream in self.streams:
            quiet = now - self._heard.get(stream.topic, self._started)
            if quiet > PATIENCE:
                n = publishers(stream.topic)
                why = ("nobody publishes it: check the topic's name" if not n else
                       f"its publishers ({n}) are there: check that they send, and that the transport lets it through")
                return f"nothing on {stream.topic} for {quiet:.0f} s; {why}"
        return ""

    def values(self) -> dict[str, str]:
        """All counts and times, by what they are called."""
        with self._lock:
            out: dict[str, object] = {}
            for s in self.streams:
                out[f"received on {s.topic}"] = s.received
                out[f"lost on {s.topic} (estimated from stamps)"] = s.lost
                out[f"period on {s.topic}, s"] = f"{s.period:.3f}" if s.period else "unknown"
                out[f"clock jumps back on {s.topic}"] = s.jumps
            out["processed"] = self.processed
            out.update({f"skipped: {reason}": n for reason, n in self.skipped.items()})
            out.update({f"dropped: {reason}": n for reason, n in self.dropped.items()})
            for name, p in (("p50", 0.5), ("p95", 0.95)):
                out[f"latency {name}, s"] = f"{quantile(self._latencies, p):.3f}" if self._latencies else "unknown"
            age = None if self._last_done is None else self._clock() - self._last_done
            out["age of the last result, s"] = "none yet" if age is None else f"{age:.1f}"
            return {k: str(v) for k, v in out.items()}


def quantile(values: deque[float], fraction: float) -> float:
    """The value below which `fraction` of all lie (nearest rank)."""
    return sorted(values)[min(len(values) - 1, int(fraction * len(values)))]
