# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one table of launch arguments, and which processes they make.

The launch files and everything else that starts the nodes read it, so that they cannot drift apart.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ms2cl_ros.core.config import check, flatten, settings
from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.install import installed
from ms2cl_ros.ros.transport import environment

MAPPER, MATCHER, PLAYER = "submap_mapper", "place_matcher", "ms2cl"
BOTH, TOGETHER = (MAPPER, MATCHER), "both"
MODULES = {MAPPER: "ms2cl_ros.nodes.submap_mapper", MATCHER: "ms2cl_ros.nodes.place_matcher",
           TOGETHER: "ms2cl_ros.nodes.both", PLAYER: "ms2cl_ros.cli"}
SWITCH = ("true", "false")
AS_FILE = "; empty: as in params_file"


@dataclass(frozen=True)
class Argument:
    """A launch argument. `default` None: it must be given. It sets `parameter` of, or renames `topic` for, `nodes`."""

    name: str
    default: str | None
    description: str
    choices: tuple[str, ...] = ()
    parameter: str = ""
    topic: str = ""
    nodes: tuple[str, ...] = BOTH


@dataclass(frozen=True)
class Process:
    """One process of a launch. `parameters` override `params_file`; `name`: of its node, empty where there is not one.
    """

    executable: str
    arguments: tuple[str, ...] = ()
    name: str = ""
    namespace: str = ""
    params_file: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    log_level: str = "info"
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def has_nodes(self) -> bool:
        """Whether it takes ROS arguments."""
        return self.executable != PLAYER

    def argv(self) -> list[str]:
        """The command line that starts it with this Python, without `ros2 launch`."""
        command = [sys.executable, "-m", MODULES[self.executable], *self.arguments]
        if not self.has_nodes:
            return command
        command += ["--ros-args", "--log-level", self.log_level]
        command += ["-r", f"__node:={self.name}"] if self.name else []
        command += ["-r", f"__ns:=/{self.namespace}"] if self.namespace else []
        command += ["--params-file", self.params_file]
        for name, value in self.parameters.items():
            command += ["-p", f"{name}:={json.dumps(value)}"]
        for old, new in self.remappings:
            command += ["-r", f"{old}:={new}"]
        return command


def _setting(name: str, parameter: str, nodes: tuple[str, ...] = BOTH) -> Argument:
    """An argument for a setting; left empty, the parameter file decides. A list is written with commas."""
    s = settings()[parameter]
    choices = SWITCH if isinstance(s.default, bool) else s.choices
    return Argument(name, "", s.description + AS_FILE, ("", *choices) if choices else (), parameter, nodes=nodes)


def _parsed(parameter: str, text: str) -> Any:
    """The value of a setting from an argument's text; raises ConfigError as `config.check` does."""
    default = settings()[parameter].default
    if isinstance(default, bool):
        return text == "true"
    if isinstance(default, list):
        return check(parameter, [part.strip() for part in text.split(",")])
    if isinstance(default, (int, float)):
        try:
            return check(parameter, type(default)(text))
        except ValueError as e:
            raise ConfigError(f"{parameter} wants a number like {default}, got '{text}'") from e
    return check(parameter, text)


def _topic(name: str, topic: str, kind: str, *nodes: str) -> Argument:
    return Argument(name, topic, f"{kind} topic", topic=topic, nodes=nodes)


COMMON = (
    Argument("namespace", "", "namespace of the nodes, their topics and outputs"),
    Argument("params_file", "config/ms2cl.yaml", "ROS parameter file of the nodes"),
    Argument("use_sim_time", "false", "take the time from /clock", SWITCH),
    Argument("autostart", "", "configure and activate at the start, or wait for a lifecycle manager" + AS_FILE,
             ("", *SWITCH)),
    Argument("log_level", "info", "what the nodes log", ("debug", "info", "warn", "error", "fatal")),
    _setting("database", "store.database"),
    _setting("model", "encoder.model"),
    _setting("map_frame", "frames.map"),
    _setting("base_frame", "frames.base"),
    _setting("extrinsics_source", "frames.extrinsics_source"),
)
MAPPING = (
    _topic("points_topic", "points", "PointCloud2", MAPPER),
    _setting("pose_source", "frames.pose_source", (MAPPER,)),
    _topic("odometry_topic", "odometry", "Odometry", *BOTH),
    _topic("pose_topic", "pose", "PoseStamped", MAPPER),
)
MATCHING = (
    _topic("image_topic", "image", "Image (its compressed form is found by /compressed)", MATCHER),
    _topic("camera_info_topic", "camera_info", "CameraInfo", MATCHER),
    _setting("target_precision", "trust.target_precision", (MATCHER,)),
    _setting("backends", "backends.names", (MATCHER,)),
    _setting("backend_namespace", "backends.namespace", (MATCHER,)),
    _setting("publish_tf", "backends.publish_tf", (MATCHER,)),
)
ONE_PROCESS = Argument("one_process", "false", "both nodes in one process, with one copy of the model", SWITCH)
MAPPING_SWITCH = Argument("mapping", "true", "run submap_mapper, which makes or extends the map", SWITCH)
REPLAY = (
    Argument("bag", None, "folder of the rosbag2 to play"),
    Argument("rate", "1.0", "times the bag's own pace"),
    Argument("start", "0.0", "seconds into the bag to begin at"),
    Argument("loop", "false", "begin again at the bag's end", SWITCH),
    MAPPING_SWITCH,
    Argument("matching", "true", "run place_matcher", SWITCH),
    ONE_PROCESS,
)
LAUNCHES = {
    "localize": (*COMMON, MAPPING_SWITCH, ONE_PROCESS, *MAPPING, *MATCHING),
    "map": (*COMMON, *MAPPING),
    "replay": (*REPLAY, *COMMON, *MAPPING, *MATCHING),
}
NODES = {"localize": BOTH, "map": (MAPPER,), "replay": BOTH}
SWITCHES = {MAPPER: "mapping", MATCHER: "matching"}


def arguments(launch: str) -> tuple[Argument, ...]:
    """The arguments of `localize`, `map` or `replay`, with the parameter file's place filled in."""
    if launch not in LAUNCHES:
        raise ConfigError(f"no launch file '{launch}'; there are: {', '.join(LAUNCHES)}")
    return tuple(Argument(a.name, str(installed(a.default)), a.description) if a.name == "params_file" and a.default
                 else a for a in LAUNCHES[launch])


def processes(launch: str, current: Mapping[str, str] | None = None, /, **given: Any) -> list[Process]:
    """The processes that a launch starts with the arguments given, the player last.

    `current`: the environment they will be started in (default: this process's). Raises ConfigError for an argument
    that is unknown, missing or not among its choices.
    """
    table = {a.name: a for a in arguments(launch)}
    unknown = set(given) - set(table)
    if unknown:
        raise ConfigError(f"{launch} has no argument {', '.join(sorted(unknown))}; there are: {', '.join(table)}")
    chosen = {name: _value(a, given) for name, a in table.items()}
    extra = environment(os.environ if current is None else current)
    nodes = [node for node in NODES[launch] if chosen.get(SWITCHES[node], "true") == "true"]
    if not nodes:
        raise ConfigError(f"{launch} with mapping and matching switched off has nothing to do")
    together = chosen.get("one_process") == "true" and len(nodes) > 1
    out = [_process(group, table, chosen, extra) for group in ([nodes] if together else [[node] for node in nodes])]
    return [*out, _player(chosen, nodes, extra)] if launch == "replay" else out


def _value(argument: Argument, given: Mapping[str, Any]) -> str:
    value = given.get(argument.name, argument.default)
    if value is None:
        raise ConfigError(f"launch argument {argument.name} must be given: {argument.description}")
    value = str(value).lower() if isinstance(value, bool) else str(value)
    if argument.choices and value not in argument.choices:
        raise ConfigError(f"{argument.name} is one of {', '.join(filter(None, argument.choices))}; got '{value}'")
    return value


def _process(nodes: list[str], table: Mapping[str, Argument], chosen: Mapping[str, str],
             extra: dict[str, str]) -> Process:
    """One node, or both together."""
    own = [a for a in table.values() if set(nodes) & set(a.nodes)]
    params_file = Path(chosen["params_file"]).expanduser()
    if not params_file.is_file():
        raise ConfigError(f"there is no params_file {params_file}")
    parameters = {a.parameter: _parsed(a.parameter, chosen[a.name]) for a in own if a.parameter and chosen[a.name]}
    remappings = tuple((a.topic, chosen[a.name]) for a in own if a.topic and chosen[a.name] != a.topic)
    switches = {"use_sim_time": chosen["use_sim_time"] == "true"}
    if chosen["autostart"]:
        switches["autostart"] = chosen["autostart"] == "true"
    alone = nodes[0] if len(nodes) == 1 else ""
    return Process(alone or TOGETHER, name=alone, namespace=chosen["namespace"].strip("/"),
                   params_file=str(params_file), parameters={**switches, **parameters},
                   remappings=remappings, log_level=chosen["log_level"], environment=extra)


def _player(chosen: Mapping[str, str], nodes: list[str], extra: dict[str, str]) -> Process:
    """`ms2cl play`, which waits until the nodes listen: two topics each, but the mapper one with poses from TF.

    Where the bag is sure to have odometry, the matcher listens to it too.
    """
    source = chosen["pose_source"] or _in_file(chosen, "frames.pose_source")
    joined = nodes == list(BOTH) and source == "odometry" and _in_file(chosen, "trust.motion") == "odometry"
    subscriptions = 2 * len(nodes) - (MAPPER in nodes and source == "tf") + joined
    options = ["--rate", chosen["rate"], "--start", chosen["start"]]
    options += ["--wait", str(subscriptions), "--wait-timeout", "60"]
    options += ["--loop"] if chosen["loop"] == "true" else []
    return Process(PLAYER, ("play", chosen["bag"], *options), environment=extra)


def _in_file(chosen: Mapping[str, str], name: str) -> str:
    """A setting as a node will find it in the parameter file, where its section may have any name, or its default."""
    import yaml
    try:
        sections = yaml.safe_load(Path(chosen["params_file"]).expanduser().read_text()) or {}
        found = [flatten(section["ros__parameters"]).get(name) for section in sections.values()]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as e:
        raise ConfigError(f"{chosen['params_file']} is no ROS parameter file: {e!r}") from e
    return next((str(value) for value in found if value), settings()[name].default)
