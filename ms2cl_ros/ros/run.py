# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From `main` to a clean end: one line and exit code 1 for what the user can mend, 0 for Ctrl-C and SIGTERM.

rclpy's own signal handlers end the context at once: what a node finishes or says while it is closed then fails,
with `Failed to publish log message to rosout` for the least of it. Here the context outlives the nodes.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from ms2cl_ros.core.errors import Ms2clError
from ms2cl_ros.ros.lifecycle import ClosingNode


def run(name: str, makes: Sequence[Callable[[], ClosingNode]], args: Sequence[str] | None = None) -> int:
    """Makes the nodes, spins them in one thread until they are stopped; returns the exit code."""
    nodes: list[ClosingNode] = []
    try:
        _on_signals(signal.default_int_handler)
        rclpy.init(args=None if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
        executor = SingleThreadedExecutor()
        for make in makes:
            nodes.append(make())
            executor.add_node(nodes[-1])
        _spin(executor)
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
        _on_signals(signal.SIG_IGN)
        for node in reversed(nodes):
            node.get_logger().info(node.close())
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _spin(executor: SingleThreadedExecutor) -> None:
    """Until a signal: a flag, not KeyboardInterrupt, so that no callback is cut short.

    It is seen when a wait ends, which the nodes' timers end several times a second.
    """
    stopped = threading.Event()
    _on_signals(lambda *_: stopped.set())
    while not stopped.is_set():
        executor.spin_once(timeout_sec=1.0)


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _is_bad_command_line(error: Exception) -> bool:
    """Whether rcl refused arguments or a parameter file; its classes differ between distributions."""
    return type(error).__name__ in ("RCLInvalidROSArgsError", "UnknownROSArgsError", "RCLError") or (
        isinstance(error, RuntimeError) and "rcl" in str(error))
