# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Opens a map wherever it is kept: a file, or a server that a fleet shares."""

from __future__ import annotations

from pathlib import Path

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.sidecar import Sidecar

SCHEMES = ("postgresql://", "postgres://")


def is_url(database: str | Path) -> bool:
    """Whether `database` names a server rather than a file."""
    return str(database).startswith(SCHEMES)


def open_map(database: str | Path, model: Sidecar | None, write: bool, cache: str | Path | None = None) -> Store:
    """The map at a path or a URL, made with `model`; a writer makes it if it is missing.

    `model` None takes the map as it is, whatever model made it: for tools that neither search nor embed.
    `cache`: with a URL, the path of a local copy that is worked on while the server is away.
    Raises StoreError if it cannot be opened, is no map, or was made with another model.
    """
    if is_url(database):
        try:
            if cache is not None:
                from ms2cl_ros.core.maps.fleet import open_fleet
                return open_fleet(str(database), model, write, Path(cache).expanduser())
            from ms2cl_ros.core.maps.postgres import PostgresStore
            return PostgresStore.open(str(database), model, write)
        except ImportError as e:
            raise StoreError(f"a map on PostgreSQL needs the package psycopg ({e}): "
                             "pip install 'psycopg[binary]'") from e
    if "://" in str(database):
        scheme = str(database).split("://")[0]
        raise StoreError(f"no map can be kept at {scheme}://...: name a file, or a URL postgresql://USER@HOST/NAME")
    from ms2cl_ros.core.maps.sqlite import SqliteStore
    return SqliteStore.open(database, model, write)
