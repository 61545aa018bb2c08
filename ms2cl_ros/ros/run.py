# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From `main` to a clean end: one line and exit code 1 for what the user can mend, exit code 0 for Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from ms2cl_ros.core.errors import Ms2clError
from ms2cl_ros.ros.lifecycle import ClosingNode


def run(name: str, makes: Sequence[Callable[[], ClosingNode]], args: Sequence[str] | None = None) -> int:
    """Makes the nodes, spins them in one thread until they are stopped; returns the exit code."""
    nodes: list[ClosingNode] = []
    try:
        rclpy.init(args=None if args is None else list(args))
        executor = SingleThreadedExecutor()
        for make in makes:
            nodes.append(make())
            executor.add_node(nodes[-1])
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Ms2clError as e:
        rclpy.logging.get_logger(name).fatal(str(e))
        return 1
    except Exception as e:
        if not _is_bad_command_line(e):
            raise
        print(f"{name}: {' '.join(str(e).split())}", file=sys.stderr)
        return 1
    finally:
        # a terminal's Ctrl-C reaches a node under `ros2 launch` twice; the second must not cut this short
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for node in reversed(nodes):
            # not through the node: its context has ended, and /rosout with it
            rclpy.logging.get_logger(node.get_name()).info(node.close())
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _is_bad_command_line(error: Exception) -> bool:
    """Whether rcl refused arguments or a parameter file; its classes differ between distributions."""
    return type(error).__name__ in ("RCLInvalidROSArgsError", "UnknownROSArgsError", "RCLError") or (
        isinstance(error, RuntimeError) and "rcl" in str(error))
