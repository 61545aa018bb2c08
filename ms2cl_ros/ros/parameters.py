# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The settings of `core/config.py` as ROS parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from ms2cl_ros.core.config import Config, Setting, check, from_mapping, settings
from ms2cl_ros.core.errors import ConfigError

# All others shape what is loaded or stored when a node is configured.
LIVE = frozenset({"frames.pose_gap", "frames.pose_wait", "retrieval.candidates", "retrieval.min_score",
                  "trust.target_precision"})
AUTOSTART = "autostart"
# rclpy's own parameters, and the one of every managed node: no settings.
FOREIGN = ("use_sim_time", "start_type_description_service", "qos_overrides.", AUTOSTART)


def autostart(node: Node) -> bool:
    """Declares `autostart`: whether the node configures and activates itself. Raises ConfigError for no bool."""
    d = ParameterDescriptor(name=AUTOSTART, description="configure and activate at the start; false: wait for a "
                                                        "lifecycle manager, or for ~/change_state")
    try:
        return bool(node.declare_parameter(AUTOSTART, True, d).value)
    except ParameterException as e:
        raise ConfigError(f"parameter {AUTOSTART}: {e}") from e


def declare(node: Node, stages: tuple[str, ...], configured: Callable[[], bool] = lambda: True) -> Config:
    """Declares the settings of `stages` and returns the node's Config.

    While `configured()`, only those in LIVE can be set. Raises ConfigError for an override that is unknown, of the
    wrong type or outside its range.
    """
    known = settings()
    # the only place where rclpy keeps overrides that nobody has declared
    overrides: dict[str, Parameter] = getattr(node, "_parameter_overrides", {})
    for name, parameter in overrides.items():
        if not name.startswith(FOREIGN):
            _check_override(name, parameter.value)
    node.add_on_set_parameters_callback(_refuse_bad_values)
    for s in known.values():
        if s.name.split(".")[0] in stages:
            try:
                node.declare_parameter(s.name, s.default, descriptor(s))
            except ParameterException as e:
                raise ConfigError(f"parameter {s.name}: {e}") from e
    # after declaring, which asks these callbacks too
    node.add_on_set_parameters_callback(lambda changed: _refuse_too_late(changed, configured()))
    return read_config(node)


def read_config(node: Node) -> Config:
    """The Config of the declared parameters; stages that the node does not use keep their defaults."""
    values = {name: node.get_parameter(name).value for name in settings() if node.has_parameter(name)}
    return from_mapping({k: v if isinstance(v, (str, int, float)) else list(v) for k, v in values.items()})


def on_change(node: Node, apply: Callable[[Config], None]) -> None:
    """Calls `apply` with the new Config after a live parameter has been set."""
    def changed(parameters: list[Parameter]) -> None:
        if any(p.name in LIVE for p in parameters):
            apply(read_config(node))
    node.add_post_set_parameters_callback(changed)


def descriptor(s: Setting) -> ParameterDescriptor:
    """What `ros2 param describe` says of a setting."""
    when = [] if s.name in LIVE else ["can be set while the node is unconfigured"]
    choices = [f"one of: {', '.join(s.choices)}"] if s.choices else []
    d = ParameterDescriptor(name=s.name, description=s.description, additional_constraints="; ".join(choices + when))
    if s.low is not None and s.high is not None:
        if isinstance(s.default, float):
            d.floating_point_range = [FloatingPointRange(from_value=float(s.low), to_value=float(s.high), step=0.0)]
        else:
            d.integer_range = [IntegerRange(from_value=int(s.low), to_value=int(s.high), step=1)]
    return d


def _check_override(name: str, value: Any) -> None:
    """As `config.check`, but as strict about integers as ROS parameters are."""
    default = settings()[name].default if name in settings() else None
    plain = value if isinstance(value, (str, int, float)) else list(value)
    items, defaults = (plain, default) if isinstance(default, list) else ([plain], [default])
    if isinstance(defaults[0], float) and isinstance(items, list) and any(type(v) is int for v in items):
        raise ConfigError(f"parameter {name} is a decimal number, got the integer {plain}: write {_decimal(plain)}")
    check(name, plain)


def _decimal(value: Any) -> Any:
    return [float(v) for v in value] if isinstance(value, list) else float(value)


def _refuse_bad_values(parameters: list[Parameter]) -> SetParametersResult:
    """Ranges are refused by rclpy; this adds choices and list lengths."""
    for p in parameters:
        if p.name in settings() and p.value is not None:
            try:
                check(p.name, p.value if isinstance(p.value, (str, int, float)) else list(p.value))
            except ConfigError as e:
                return SetParametersResult(successful=False, reason=str(e))
    return SetParametersResult(successful=True)


def _refuse_too_late(parameters: list[Parameter], configured: bool) -> SetParametersResult:
    """What is made from a setting when the node is configured would not follow it."""
    late = [p.name for p in parameters if configured and p.name in settings() and p.name not in LIVE]
    if not late:
        return SetParametersResult(successful=True)
    return SetParametersResult(successful=False, reason=(
        f"{', '.join(late)} can be set only while the node is unconfigured: deactivate and clean it up first "
        f"(`ros2 lifecycle set`), or start it with the value; live are: {', '.join(sorted(LIVE))}"))
