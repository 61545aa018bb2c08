# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One thread for the heavy work, so that callbacks stay short and messages are taken in on time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Worker:
    """Calls `work(job)` in a thread of its own, oldest job first.

    At most `depth` jobs wait; with a depth of 1 the newest wins. An exception from `work` goes to `failed(error, job)`
    and the next job is taken up. `idle()` is called, again and again, while no job waits and it answers True.
    """

    def __init__(self, work: Callable[[Any], None], failed: Callable[[Exception, Any], None], depth: int,
                 name: str, idle: Callable[[], bool] = lambda: False) -> None:
        self._work, self._failed, self._depth, self._idle = work, failed, depth, idle
        self._jobs: deque[Any] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, job: Any) -> Any | None:
        """Queues a job; returns the oldest one if it had to make room, else None."""
        with self._changed:
            displaced = self._jobs.popleft() if len(self._jobs) >= self._depth else None
            self._jobs.append(job)
            self._changed.notify()
            return displaced

    def stop(self, timeout: float = 10.0) -> list[Any]:
        """Finishes the job at hand, ends the thread and returns the jobs that were still waiting."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return list(self._jobs)

    def _run(self) -> None:
        more = True
        while True:
            with self._changed:
                if not more:
                    self._changed.wait_for(lambda: self._jobs or self._stopping)
                if self._stopping:
                    return
                job = self._jobs.popleft() if self._jobs else None
            try:
                if job is None:
                    more = self._idle()
                else:
                    more = True
                    self._work(job)
            except Exception as e:  # a thread that died in silence would be worse than any error
                more = job is not None
                self._failed(e, job)
