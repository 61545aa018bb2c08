# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps a robot's cache and a shared map in step, in a thread of its own that outlives the server's absences."""

from __future__ import annotations

import math
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.cache import Cache
from ms2cl_ros.core.maps.exchange import Exchange, Listing, News, Part
from ms2cl_ros.core.maps.filelock import FileLock
from ms2cl_ros.core.maps.server import AwayError, Server
from ms2cl_ros.core.sidecar import Sidecar

PERIOD = 1.0  # seconds between looks at a server with nothing new
LONGEST = 15.0  # seconds between tries at a server that is away
BATCH = 32  # submaps fetched at a time
STEP = 0.25  # of the radius: how far the robot moves before the part of the map around it is looked through again
KEPT = 2.0  # times the radius: what others have mapped farther away leaves the cache


@dataclass(frozen=True)
class Wish:
    """What of the shared map a robot wants, and who it is. `radius`: metres around it, None for the whole map."""

    radius: float | None = None
    sessions: tuple[int, ...] = ()
    robot: str = field(default_factory=socket.gethostname)


@dataclass
class Progress:
    """What has been done so far, for `status`."""

    state: str = "starting"
    reason: str = ""
    sent: int = 0
    received: int = 0
    failures: int = 0
    last_contact: float | None = None


def reach(url: str, model: Sidecar | None, write: bool, wish: Wish) -> Exchange | None:
    """The shared map, or None where the server is away; a wrong address, password or model raises StoreError."""
    try:
        return Exchange.open(url, model, write, wish.robot)
    except AwayError:
        return None


class Exchanger:
    """Sends what waits in a cache and fetches what is needed, in a thread of its own."""

    def __init__(self, cache: Cache, url: str, model: Sidecar | None, write: bool, wish: Wish) -> None:
        self.cache, self._url, self._model, self._write, self._wish = cache, url, model, write, wish
        self._server: Exchange | None = None
        self._wake, self._stop = threading.Event(), threading.Event()
        self._here: tuple[float, float] | None = None
        self._round = threading.Condition()
        self._rounds = 0
        self.progress = Progress()
        self.name = Server(url).name
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    def start(self, server: Exchange | None) -> None:
        """Begins; `server` None: it was away a moment ago. Raises StoreError if the cache is another map's."""
        if server is None:
            self._failed("away", AwayError(f"the server of the map {self.name} does not answer"))
        else:
            self._adopt(server)
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Sends what waits for at most `patience` seconds if the server answers, then ends."""
        if self.progress.state not in ("away", "refused"):
            self.settle(patience)
        self._stop.set()
        self._wake.set()
        self._thread.join(patience + 10.0)
        if self._server is not None:
            self._server.close()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def look_around(self, x: float, y: float) -> None:
        """The robot is here now."""
        old, self._here = self._here, (x, y)
        if old is None:
            self._wake.set()

    def settle(self, timeout: float) -> bool:
        """Waits for a whole round that leaves nothing to send; returns whether there was one in time."""
        end = time.monotonic() + timeout
        with self._round:
            wanted = self._rounds + 2  # the round going on now may have begun before what is waited for
            self._wake.set()
            while self._rounds < wanted or (self._write and self.cache.waiting()):
                left = end - time.monotonic()
                if left <= 0 or self._stop.is_set():
                    return False
                self._wake.set()
                self._round.wait(min(left, 0.2))
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._exchange()
                self.progress.failures, pause = 0, PERIOD
            except StoreError as e:
                self._failed("away" if isinstance(e, AwayError) else "refused", e)
                pause = min(LONGEST, 0.25 * 2 ** min(self.progress.failures, 10))
            if self.progress.failures:
                self._stop.wait(pause)  # what is added meanwhile does not make the server come back
            else:
                self._wake.wait(pause)
            self._wake.clear()

    def _failed(self, state: str, error: StoreError) -> None:
        self.progress.state, self.progress.reason = state, str(error)
        self.progress.failures += 1

    def _connect(self) -> Exchange:
        if self._server is None:
            server = Exchange.open(self._url, self._model, self._write, self._wish.robot)
            try:
                self._adopt(server)
            except StoreError:
                server.close()
                raise
            return server
        return self._server

    def _adopt(self, server: Exchange) -> None:
        self.cache.belongs_to(server.uid, server.name)
        self._server = server

    def _exchange(self) -> None:
        """One round. Another process with the same cache may be at it; then this one has nothing to do."""
        try:
            lock = FileLock.take(self.cache.path.with_name(self.cache.path.name + ".exchange"))
        except StoreError:
            return
        try:
            server = self._connect()
            if self._write:
                self._send(server)
            self._receive(server)
        finally:
            lock.release()
        self.progress.state, self.progress.reason, self.progress.last_contact = "in step", "", time.time()
        with self._round:
            self._rounds += 1
            self._round.notify_all()

    def _send(self, server: Exchange) -> None:
        """All that waits; a submap that cannot be sent does not hold up the others."""
        failed: dict[UUID, StoreError] = {}
        while not self._stop.is_set():
            notes = [n for n in self.cache.outbox(BATCH + len(failed)) if n[0] not in failed]
            if not notes:
                break
            self.progress.state = "sending"
            news, answers = self._read(notes, failed), []
            for answer, (uid, _, _) in zip(server.send(news), news):
                if isinstance(answer, StoreError):
                    failed[uid] = answer
                answers.append((uid, answer))
            numbers = {uid: number for uid, _, number in notes}
            done = [(uid, numbers[uid], changed) for uid, changed in answers if not isinstance(changed, StoreError)]
            self.cache.sent(done)
            self.progress.sent += len(done)
            self.progress.last_contact = time.time()
        for error in failed.values():
            raise error

    def _read(self, notes: list[tuple[UUID, int, int]], failed: dict[UUID, StoreError]) -> list[News]:
        """The submaps of notes as they are now; what is damaged in the cache goes to `failed`."""
        news: list[News] = []
        for uid, happened, _ in notes:
            try:
                news.append((uid, self.cache.parcel(uid, self._wish.robot), happened))
            except StoreError as e:
                failed[uid] = e
        return news

    def _receive(self, server: Exchange) -> None:
        part = self._part()
        wanted = [part.centre, part.radius, part.sessions]
        seen, before = self.cache.seen()
        whole = not self._covers(before, part)
        listing = server.listing(seen, part, whole)
        if listing.upto < seen:  # the server was set back to a backup
            self.cache.send_all_again()
        elif listing.upto == seen and not whole:
            return
        self.cache.forget(listing.removed)
        if not self._fetch(server, listing):
            return
        if whole and part.centre is not None and part.radius is not None:
            self.cache.evict(part.centre, KEPT * part.radius)
        self.cache.set_seen(listing.upto, wanted if whole else before)

    def _fetch(self, server: Exchange, listing: Listing) -> bool:
        """Fetches what is not here as it is there; False if it was told to stop before the end."""
        known = self.cache.known()
        ids = [key for uid, key, changed, inside in listing.submaps
               if known.get(uid) != changed and (inside or uid in known)]
        for i in range(0, len(ids), BATCH):
            if self._stop.is_set():
                return False
            self.progress.state = "receiving"
            parcels = server.fetch(ids[i:i + BATCH])
            self.cache.receive(parcels)
            self.progress.received += len(parcels)
            self.progress.last_contact = time.time()
        return True

    def _part(self) -> Part:
        radius = self._wish.radius
        centre = self._here or (self.cache.last_place() if radius is not None else None)
        return Part(centre if radius is not None else None, radius, self._wish.sessions)

    @staticmethod
    def _covers(before: Any, part: Part) -> bool:
        """Whether what was looked through before is, near enough, what is needed now."""
        if before is None:
            return False
        centre, radius, sessions = before
        if tuple(sessions) != part.sessions or radius != part.radius or (centre is None) != (part.centre is None):
            return False
        return part.centre is None or math.dist(centre, part.centre) < STEP * (part.radius or math.inf)
