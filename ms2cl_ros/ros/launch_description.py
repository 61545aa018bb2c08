# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The table of launch arguments as a launch description. The only file that imports launch."""

from __future__ import annotations

import os
from typing import Any

from ms2cl_ros.ros.launch_arguments import Process, arguments, processes


def describe(name: str) -> Any:
    """The LaunchDescription of `localize`, `map` or `replay`."""
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    from launch.launch_description import LaunchDescription
    from launch.substitutions import LaunchConfiguration
    table = arguments(name)

    def start(context: Any) -> list[Any]:
        chosen = {a.name: LaunchConfiguration(a.name).perform(context) for a in table}
        return [action(process) for process in processes(name, os.environ, **chosen)]

    declared = [DeclareLaunchArgument(a.name, default_value=a.default, description=a.description,
                                      choices=list(a.choices) or None) for a in table]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def action(process: Process) -> Any:
    """The launch action that starts a process."""
    from launch.actions import ExecuteProcess
    from launch_ros.actions import Node
    if not process.has_nodes:
        return ExecuteProcess(cmd=process.argv(), additional_env=process.environment, output="screen")
    return Node(package="ms2cl_ros", executable=process.executable, name=process.name or None,
                namespace=process.namespace or None, parameters=[process.params_file, process.parameters],
                remappings=list(process.remappings), ros_arguments=["--log-level", process.log_level],
                additional_env=process.environment, output="screen")
