# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl calibrate`: what a model's scores are worth on a user's own drive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ms2cl_ros.cli_options import Params, Set, bar, console, read_config

if TYPE_CHECKING:
    from ms2cl_ros.tools.calibration import Calibrated


def register(app: typer.Typer) -> None:
    """Adds the command to an application."""
    app.command("calibrate")(calibrate)


def calibrate(bag: Annotated[Path, typer.Argument(metavar="BAG", help="a drive with poses in the map's frame")],
              map_: Annotated[str, typer.Option("--map", "-m", help="a map's file, or its URL")],
              output: Annotated[Path, typer.Option("-o", "--output", help="the calibration's file")]
              = Path("calibration.yaml"),
              params_file: Params = None, set_: Set = None,
              image: Annotated[str, typer.Option(help="Image or CompressedImage topic; the only one if left out")] = "",
              camera_info: Annotated[str, typer.Option(help="CameraInfo topic; the only one if left out")] = "",
              poses: Annotated[str, typer.Option(help="Odometry or PoseStamped topic; the only one if left out")] = "",
              ) -> None:
    """Fit probabilities to a drive of your own. Example: ms2cl calibrate drive2 --map campus.db -o campus.yaml

    BAG is another drive than the one that made the map, and its poses are taken as the truth. What comes out is used
    with -p trust.calibration=campus.yaml, in the nodes with the parameter of that name.
    """
    from ms2cl_ros.tools import calibration
    from ms2cl_ros.tools.offline import Topics
    config = read_config(params_file, set_)
    topics = Topics(image=image, camera_info=camera_info, poses=poses)
    with bar("localising") as progress:
        out = calibration.calibrate_on(bag, map_, config, topics, progress)
    calibration.write(out, output)
    _print(out)
    console.print(f"written: {output}; used with -p trust.calibration={output}")


def _print(out: Calibrated) -> None:
    from rich.table import Table
    table = Table(title=f"{out.images} images in {out.blocks} stretches of road, each tried under a fit to the others")
    for name in ("", "before", "after"):
        table.add_column(name, justify="left" if not name else "right")
    rows: list[tuple[str, Any, Any]] = [("expected calibration error", out.error_before, out.error_after)]
    rows += [(f"precision of answers said to be {target:g} or more sure", _share(*out.before[target]),
              _share(*out.after[target])) for target in sorted(out.before)]
    for name, before, after in rows:
        table.add_row(name, *(v if isinstance(v, str) else f"{v:.3f}" for v in (before, after)))
    Console().print(table)


def _share(right: int, answers: int) -> str:
    return f"{right / answers:.3f} ({right} of {answers})" if answers else "no answers"
