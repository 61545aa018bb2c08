# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl database ...`: look at a map, check, join, thin, recompute and export it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ms2cl_ros.cli_options import Params, Set, bar, console, read_config
from ms2cl_ros.core.errors import Ms2clError

if TYPE_CHECKING:
    from ms2cl_ros.core.config import Config
    from ms2cl_ros.tools.database import Info

app = typer.Typer(no_args_is_help=True, help="Look at a map, check, join, thin, recompute and export it.")

Map = Annotated[str, typer.Argument(metavar="MAP", help="a map's file, or postgresql://USER@HOST/NAME")]
New = Annotated[Path, typer.Option("-o", "--output", help="the new map; must not exist")]
Keep = Annotated[str | None, typer.Option(help="of submaps of one place and heading: newest or distinctive")]


def _with(params_file: Path | None, values: list[str] | None, **given: Any) -> Config:
    """Settings with those options that were given."""
    return read_config(params_file, values, **{k.replace("__", "."): v for k, v in given.items() if v is not None})


def _stamp(stamp_ns: int) -> str:
    """Of the epoch as a date, of a clock that began with the drive in seconds."""
    from datetime import datetime, timezone
    if stamp_ns < 10**17:
        return f"{stamp_ns / 1e9:.2f} s"
    return datetime.fromtimestamp(stamp_ns // 10**9, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


@app.command()
def info(map_: Map) -> None:
    """What is in a map. Example: ms2cl database info campus.db"""
    from ms2cl_ros.tools.database import info as look
    found = look(map_)
    out = Console()
    for name, value in _facts(found):
        out.print(f"{name:<10} {value}", highlight=False, soft_wrap=True)
    out.print(_sessions(found))
    for line in found.damaged:
        console.print(f"[yellow]{line}[/]", highlight=False)


def _facts(i: Info) -> list[tuple[str, str]]:
    (x0, y0), (x1, y1) = i.extent
    cost = i.bytes_per_100_m
    points = "with points" if i.with_points else "without points: no views can be rendered"
    per_road = "" if cost is None else f", {cost / 1e6:.2f} MB per 100 m"
    return [("map", i.name),
            ("model", f"{i.model.name} ({i.model.fingerprint[:12]}), descriptors of {i.model.size} numbers"),
            ("submaps", f"{i.submaps}, {points}"),
            ("views", f"{i.views}, of these {i.rendered} rendered"),
            ("extent", f"x {x0:.1f} to {x1:.1f} m, y {y0:.1f} to {y1:.1f} m"),
            ("road", f"{i.metres:.0f} m"),
            ("size", f"{i.megabytes:.2f} MB{per_road}")]


def _sessions(i: Info) -> Any:
    from rich.table import Table
    table = Table(title="Sessions", title_justify="left")
    for name, justify in (("id", "right"), ("name", "left"), ("submaps", "right"), ("metres", "right"),
                          ("from", "left"), ("to", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for s in i.sessions:
        table.add_row(str(s.id), s.name or "-", str(s.submaps), f"{s.metres:.0f}", _stamp(s.first_stamp_ns),
                      _stamp(s.last_stamp_ns))
    return table


@app.command()
def check(map_: Map) -> None:
    """Compute every checksum of a map anew. Ends with 1 if something is damaged."""
    from ms2cl_ros.tools.database import check as look
    faults = look(map_)
    for line in faults:
        print(line)
    if faults:
        raise Ms2clError(f"{len(faults)} faults in {map_}: `ms2cl database prune {map_} --damaged` removes what is "
                         "damaged and keeps the rest")
    console.print(f"{map_} is sound")


@app.command()
def merge(a: Annotated[str, typer.Argument(metavar="A", help="a map; its frame becomes that of the new one")],
          b: Annotated[str, typer.Argument(metavar="B", help="another, counted as newer")], output: New,
          align: Annotated[bool, typer.Option("--align", help="move B if it is found in another frame")] = False,
          trust_frames: Annotated[bool, typer.Option("--trust-frames", help="join them as they are")] = False,
          tolerance: Annotated[float, typer.Option(help="metres by which maps of one frame may differ")] = 0.5,
          keep: Keep = None, params_file: Params = None, set_: Set = None) -> None:
    """Join two maps. Example: ms2cl database merge monday.db tuesday.db -o both.db"""
    from ms2cl_ros.tools.merge import merge as join
    if align and trust_frames:
        raise Ms2clError("--align moves B, --trust-frames leaves it where it is: say one of them")
    config = _with(params_file, set_, store__keep=keep)
    with bar("merging") as progress:
        out = join(a, b, output, config, align=align, trust_frames=trust_frames, tolerance=tolerance,
                   progress=progress)
    console.print(f"{out.submaps} submaps in {output}; {out.thinned} near-duplicates left out; {out.said}",
                  highlight=False)


@app.command()
def prune(map_: Map,
          max_submaps: Annotated[int | None, typer.Option(min=1, help="keep at most so many submaps")] = None,
          max_megabytes: Annotated[float | None, typer.Option(min=0.0, help="keep at most so many megabytes")] = None,
          keep: Keep = None, session: Annotated[int | None, typer.Option(help="remove this session")] = None,
          damaged: Annotated[bool, typer.Option("--damaged", help="remove what `check` finds")] = False,
          duplicates: Annotated[bool, typer.Option("--duplicates", help="of one place and heading keep one")] = False,
          params_file: Params = None, set_: Set = None) -> None:
    """Remove submaps from a map. Example: ms2cl database prune campus.db --max-megabytes 500 --keep distinctive"""
    from ms2cl_ros.tools.database import prune as remove
    config = _with(params_file, set_, store__max_submaps=max_submaps, store__max_megabytes=max_megabytes,
                   store__keep=keep)
    out = remove(map_, config, session=session, damaged=damaged, twins=duplicates)
    if not out.gone:
        raise Ms2clError("prune wants to be told what goes: --max-submaps, --max-megabytes, --session, --duplicates "
                         "or --damaged")
    said = ", ".join(f"{n} {what}" for what, n in out.gone.items())
    console.print(f"removed: {said}; {out.left} submaps are left, {out.before:.2f} -> {out.after:.2f} MB (what is "
                  "free now keeps its place on the disk and is used again)", highlight=False)


@app.command()
def recover(map_: Annotated[Path, typer.Argument(metavar="MAP", help="the file of a damaged map")],
            output: New) -> None:
    """Save what is sound of a map whose file is damaged. Example: ms2cl database recover broken.db -o saved.db"""
    from ms2cl_ros.core.maps.recovery import recover as save
    out = save(map_, output)
    console.print(f"{out.submaps} submaps with {out.views} views in {output}; {out.missing_submaps} submaps and "
                  f"{out.missing_views} views gave nothing: lost, or removed before", highlight=False)


@app.command()
def reembed(map_: Map, output: New,
            model: Annotated[str, typer.Option(help="a model shipped in models/, or its folder")] = "",
            params_file: Params = None, set_: Set = None) -> None:
    """Compute a map anew with another model. Example: ms2cl database reembed old.db --model ms2cl_city -o new.db"""
    from ms2cl_ros.tools.reembed import reembed as embed
    config = _with(params_file, set_, encoder__model=model or None)
    with bar("embedding") as progress:
        out = embed(map_, output, config, progress)
    console.print(f"{out.submaps} submaps with {out.views} views, {out.rendered} of them rendered, by {out.model} in "
                  f"{output}", highlight=False)


@app.command()
def share(map_: Annotated[Path, typer.Argument(metavar="MAP", help="a file; it becomes a cache of the shared map")],
          url: Annotated[str, typer.Argument(metavar="URL", help="postgresql://USER@HOST/NAME")],
          timeout: Annotated[float, typer.Option(min=1.0, help="seconds")] = 3600.0,
          params_file: Params = None, set_: Set = None) -> None:
    """Send a map to a server that a fleet shares. Example: ms2cl database share campus.db postgresql://fleet@hub/campus

    What is there already is not sent again: run it once more if it was cut short.
    """
    from ms2cl_ros.tools.sharing import share as send
    with bar("sending") as progress:
        out = send(map_, url, read_config(params_file, set_), timeout, progress)
    console.print(f"{out.submaps} submaps of {map_} are in {out.name}, which has {out.total}", highlight=False)


@app.command()
def export(map_: Map, output: Annotated[Path, typer.Option("-o", "--output", help=".geojson, .csv or .tum")],
           origin: Annotated[str, typer.Option(help="LAT,LON of the map's origin, x to the east; .geojson only")] = "",
           ) -> None:
    """Write a map's submaps for other programs. Example: ms2cl database export campus.db -o campus.geojson"""
    from ms2cl_ros.tools.database_export import NOTE, parse_origin
    from ms2cl_ros.tools.database_export import export as write
    count = write(map_, output, parse_origin(origin) if origin else None)
    console.print(f"{count} submaps in {output}", highlight=False)
    if output.suffix.lower() == ".geojson" and not origin:
        console.print(f"[yellow]{NOTE}[/]", highlight=False)


@app.command()
def plot(map_: Map, output: Annotated[Path, typer.Option("-o", "--output", help="a picture, as map.png")]) -> None:
    """Draw a map from above. Example: ms2cl database plot campus.db -o campus.png"""
    from ms2cl_ros.tools.map_plot import draw
    draw(map_, output)
    console.print(f"written: {output}", highlight=False)
