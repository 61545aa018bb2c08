# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl foxglove`: a bag's localisation in Foxglove, with the layout that the nodes are looked at with."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from ms2cl_ros.cli_options import Params, Set, bar, console, read_config
from ms2cl_ros.core.errors import ConfigError

LAYOUT = "rviz/ms2cl.foxglove.json"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("foxglove")(foxglove_command)


def foxglove_command(
    map_: Annotated[str, typer.Argument(metavar="MAP", help="a map's file, or its URL")],
    bag: Annotated[Path, typer.Option(help="images to localise in it")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="an MCAP file to open in Foxglove, in place of "
                                                "a server")] = None,
    host: Annotated[str, typer.Option(help="address to serve on; 0.0.0.0: to other computers too")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port to serve on; 0: a free one")] = 8765,
    rate: Annotated[float, typer.Option(min=0.01, help="times the bag's own pace")] = 1.0,
    loop: Annotated[bool, typer.Option(help="begin again at the end")] = False,
    params_file: Params = None, set_: Set = None,
    image: Annotated[str, typer.Option(help="Image or CompressedImage topic; the only one if left out")] = "",
    camera_info: Annotated[str, typer.Option(help="CameraInfo topic; the only one if left out")] = "",
    poses: Annotated[str, typer.Option(help="Odometry or PoseStamped topic; the only one if left out")] = "",
) -> None:
    """Localise a bag and show it in Foxglove. Example: ms2cl foxglove campus.db --bag drive2

    Needs no running ROS, but its message classes. Foxglove connects to ws://localhost:8765, or opens the file of -o.
    """
    from ms2cl_ros.core.install import installed
    from ms2cl_ros.tools.offline import Topics
    show = _bag_show()
    topics, config = Topics(image=image, camera_info=camera_info, poses=poses), read_config(params_file, set_)
    layout = f"layout to import in Foxglove: {installed(LAYOUT)}"

    def log(text: str) -> None:
        console.print(f"[yellow]{text}[/]")
    if output is not None:
        with bar("localising") as progress:
            health = show.write(output, bag, map_, config, topics, log, progress)
        console.print(f"{health.verdict()[1]}; written: {output}; {layout}", soft_wrap=True)
        return

    def ready(server: Any) -> None:
        console.print(f"ws://{host}:{server.port} waits for Foxglove: open {server.app_url()}", soft_wrap=True)
        console.print(f"{layout}\nCtrl-C ends it", soft_wrap=True)
        # a shell's background job begins with SIGINT ignored, and a supervisor sends SIGTERM
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
    try:
        show.serve((host, port), bag, map_, config, topics, log, ready, rate, loop)
    except KeyboardInterrupt:
        console.print("ended")


def _bag_show() -> Any:
    try:
        from ms2cl_ros.ros import bag_show
    except ModuleNotFoundError as e:
        raise ConfigError(f"{e.name} is not installed: source a ROS installation, or run "
                          "`pip install 'ms2cl_ros[ros]'`") from e
    return bag_show
