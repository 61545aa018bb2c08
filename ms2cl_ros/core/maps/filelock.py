# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One writer a file, and files that are replaced whole or not at all."""

from __future__ import annotations

import fcntl
import io
import os
import socket
from contextlib import suppress
from pathlib import Path

from ms2cl_ros.core.errors import StoreError


class BusyError(StoreError):
    """Another writer is at work."""


class FileLock:
    """Holds `<map>.lock` by flock: freed by the kernel when the process ends, however it ends.

    It reaches across processes and across containers that mount the same folder of one machine; over NFS it reaches
    as far as the server's flock does.
    """

    def __init__(self, file: io.TextIOBase) -> None:
        self._file = file

    @classmethod
    def take(cls, path: Path) -> FileLock:
        """Raises BusyError if another writer holds it, StoreError if it cannot be made."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(path.with_name(path.name + ".lock"), "a+")  # noqa: SIM115 - held open on purpose
        except OSError as e:
            raise StoreError(f"cannot write next to the map {path}: {e.strerror}; "
                             "choose a place that can be written") from e
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            file.seek(0)
            who = file.read(200).strip()
            file.close()
            raise BusyError(f"another process is writing the map {path}{f' ({who})' if who else ''}: stop it, or "
                            "choose another database") from e
        with suppress(OSError):  # on a full disk the lock holds without the name in it
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        return cls(file)

    def release(self) -> None:
        """Lets the next writer in."""
        with suppress(OSError):  # the name did not fit on a full disk; the file is closed all the same
            self._file.close()


def replace_file(temporary: Path, target: Path) -> None:
    """Puts a finished file in the place of `target`, so that after a power cut the one or the other is there."""
    with open(temporary, "rb") as f:
        os.fsync(f.fileno())
    os.replace(temporary, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
