# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the commands of `ms2cl` share: settings from the command line, and a bar while one waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from ms2cl_ros.core.config import Config

console = Console(stderr=True)

Params = Annotated[Path | None, typer.Option("--params-file", help="a ROS parameter file, as the nodes take it")]
Set = Annotated[list[str] | None, typer.Option("--set", "-p", help="one setting, as in submaps.distance=2.0")]


def read_config(params_file: Path | None, values: list[str] | None, **fixed: Any) -> Config:
    """Defaults, `fixed` settings by dotted name, a parameter file, then NAME=VALUE texts; raises ConfigError."""
    import yaml

    from ms2cl_ros.core import config
    from ms2cl_ros.core.errors import ConfigError
    settings = config.load(params_file) if params_file else config.Config()
    pairs = dict(fixed)
    for text in values or []:
        name, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"--set wants NAME=VALUE, got '{text}'")
        pairs[name.strip()] = yaml.safe_load(value)
    return config.from_mapping(pairs, settings)


@contextmanager
def bar(text: str) -> Iterator[Any]:
    """Yields `progress(done, total)`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    with Progress(TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console,
                  transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
