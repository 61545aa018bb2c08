# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One connection to a PostgreSQL server, made anew when it was lost. The only file that imports psycopg.

Passwords come from the URL, PGPASSWORD or .pgpass; none gets into an error, and no error carries one as its cause.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus
from uuid import uuid4

import psycopg
from psycopg import conninfo

from ms2cl_ros.core.errors import StoreError

Answer = TypeVar("Answer")
Database = psycopg.Connection[Any]

SCHEMA = "ms2cl"
WRITER_LOCK = 0x4D53324C  # "MS2L": held from the first id that a transaction takes until it has committed
# A robot that drops off the network in the middle of a write must not keep the others waiting for long.
SETTINGS = {"lock_timeout": "10s", "idle_in_transaction_session_timeout": "20s"}
DEFAULTS = {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
            "tcp_user_timeout": 10_000, "application_name": "ms2cl_ros"}
REFUSED = re.compile("authentication failed|no password supplied|does not exist|no pg_hba.conf entry|permission denied")
# An @ or a / in a password that is not written as %XX would make its rest part of the host's or the map's name.
READABLE = re.compile(r"postgres(ql)?://([^@/?#]*@)?[^@]*")
UNREADABLE = ("the URL of the map cannot be read (it is not repeated here, it may hold a password): expected "
              "postgresql://USER:PASSWORD@HOST:PORT/NAME with special characters written as %XX")


class AwayError(StoreError):
    """The server does not answer now; what was asked may be asked again."""


class Server:
    """Reads and writes in transactions, one thread at a time. `name`: the URL without its password."""

    def __init__(self, url: str) -> None:
        self._mutex = threading.RLock()
        self._db: Database | None = None
        self._url = url
        self._conninfo, self._secrets, self.name = _parse(url)

    def close(self) -> None:
        """Ends the connection."""
        with self._mutex:
            if self._db is not None:
                self._db.close()
                self._db = None

    def another(self) -> Server:
        """A connection of its own to the same map, for what takes long."""
        return Server(self._url)

    def read(self, work: Callable[[Database], Answer]) -> Answer:
        """`work` in a transaction that sees one moment of the map; once more if the connection was lost."""
        def once() -> Answer:
            db = self._connected()
            with db.transaction():
                db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return work(db)
        return self._twice(once, "read")

    def write(self, work: Callable[[Database], Answer], done: Write | None = None) -> Answer:
        """`work` in a transaction, exactly once, also if the connection is lost while it commits.

        Writers take turns: the ids that they are given are in the order in which their transactions become visible.
        `done`: of an earlier call that raised AwayError, and nobody knows whether it was carried out.
        """
        done = done or Write()

        def once() -> Answer:
            db = self._connected()
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
                if done.answered and db.execute("SELECT 1 FROM writes WHERE token = %s", (done.token,)).fetchone():
                    return done.answer
                done.answer, done.answered = work(db), True
                db.execute("INSERT INTO writes (token) VALUES (%s)", (done.token,))
            return done.answer
        return self._twice(once, "write to")

    def prepare(self, work: Callable[[Database], Answer]) -> Answer:
        """`work` in a writing transaction before there are tables."""
        def once() -> Answer:
            db = self._connected()
            with db.transaction():
                db.execute("SELECT pg_advisory_xact_lock(%s)", (WRITER_LOCK,))
                return work(db)
        return self._twice(once, "open")

    def _twice(self, once: Callable[[], Answer], doing: str) -> Answer:
        with self._mutex:
            try:
                return once()
            except psycopg.Error as e:
                if self._db is None or not self._db.closed:
                    raise self._error(e, doing) from None
            try:
                return once()
            except psycopg.Error as e:
                raise self._error(e, doing) from None

    def _error(self, e: psycopg.Error, doing: str) -> StoreError:
        lost = self._db is None or self._db.closed
        text = self._clean(e)
        if isinstance(e, psycopg.errors.LockNotAvailable):
            return AwayError(f"cannot {doing} the map {self.name}: other writers have held it for "
                             f"{SETTINGS['lock_timeout']}; try again")
        return (AwayError if lost else StoreError)(f"cannot {doing} the map {self.name}: {text}")

    def _connected(self) -> Database:
        if self._db is None or self._db.closed:
            try:
                self._db = psycopg.connect(self._conninfo, autocommit=True)
            except psycopg.Error as e:
                self._db, text = None, self._clean(e)
                if REFUSED.search(text):
                    raise StoreError(f"the server refuses the map {self.name}: {text}; check the name of the database "
                                     "and of the user, and the password in the URL, PGPASSWORD or .pgpass") from None
                raise AwayError(f"the server of the map {self.name} does not answer: {text}; check host and port, and "
                                "that PostgreSQL runs there") from None
            for key, value in SETTINGS.items():
                self._db.execute("SELECT set_config(%s, %s, false)", (key, value))
            self._db.execute(f"SET search_path = {SCHEMA}, pg_catalog")
        return self._db

    def _clean(self, e: psycopg.Error) -> str:
        """The first lines of an error in one, without any password."""
        text = " ".join(str(e).split())
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:500]


class Write:
    """One write that must not be carried out twice: its token is stored with what it writes."""

    def __init__(self) -> None:
        self.token, self.answered = uuid4(), False
        self.answer: Any = None


def _parse(url: str) -> tuple[str, tuple[str, ...], str]:
    """(what libpq gets, the secrets in it in every spelling, the name for messages)."""
    if not READABLE.fullmatch(url):
        raise StoreError(UNREADABLE)
    try:
        parts: dict[str, Any] = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        raise StoreError(UNREADABLE) from None
    plain = [str(parts[k]) for k in ("password", "sslpassword") if parts.get(k)]
    secrets = {s for p in plain for s in (p, quote(p), quote(p, safe=""), quote_plus(p))}
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    name = f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"
    full = conninfo.make_conninfo("", **{**DEFAULTS, **parts})
    return full, tuple(sorted(secrets, key=len, reverse=True)), name
