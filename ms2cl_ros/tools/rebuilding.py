# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A new map out of old ones: written beside its place, and there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.database import is_url
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.types import Submap

BESIDE = ("", "-wal", "-shm", "-journal", ".lock")


@contextmanager
def building(output: str | Path) -> Iterator[Path]:
    """A path beside `output` to build a map at; what lies there is removed before and after.

    Raises StoreError if something is at `output` already, or if it is no file: nothing is overwritten.
    """
    if is_url(output):
        raise StoreError("the new map is written to a file, not to a server: name a path")
    output = Path(output).expanduser()
    if output.exists():
        raise StoreError(f"{output} is there already; name a new file")
    part = output.with_name(f".{output.name}.part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _clear(part)
        yield part
    except OSError as e:
        raise StoreError(f"cannot write {output}: {e.strerror or e}") from e
    finally:
        _clear(part)


def _clear(part: Path) -> None:
    for suffix in BESIDE:
        part.with_name(part.name + suffix).unlink(missing_ok=True)


def by_session(store: Store) -> Iterator[tuple[str, Submap, bool]]:
    """(session's name, submap with its views, whether it is the first of it), session by session, oldest first."""
    for session in store.sessions():
        for i, key in enumerate(store.members(session.id)):
            yield session.name, store.submap(key), i == 0
