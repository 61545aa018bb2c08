# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From `main` to a clean end: one line and exit code 1 for what the user can mend, exit code 0 for Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from ms2cl_ros.core.errors import Ms2clError


class ClosingNode(Node):
    """A node that holds more than ROS entities."""

    def close(self) -> str:
        """Ends its threads, closes its files; returns what there is to say at the end."""
        raise NotImplementedError


def run(name: str, make: Callable[[], ClosingNode], args: Sequence[str] | None = None) -> int:
    """Makes the node, spins it until it is stopped; returns the exit code."""
    node = None
    try:
        rclpy.init(args=None if args is None else list(args))
        node = make()
        rclpy.spin(node)
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
        if node is not None:
            summary = node.close()
            node.destroy_node()
            # not through the node: its context has ended, and /rosout with it
            rclpy.logging.get_logger(name).info(summary)
        rclpy.try_shutdown()
    return 0


def _is_bad_command_line(error: Exception) -> bool:
    """Whether rcl refused arguments or a parameter file; its classes differ between distributions."""
    return type(error).__name__ in ("RCLInvalidROSArgsError", "UnknownROSArgsError", "RCLError") or (
        isinstance(error, RuntimeError) and "rcl" in str(error))
