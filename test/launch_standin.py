# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the package's launch files where `launch` is absent, and says which processes they would start.

Knows only the few classes that those files use, with only the arguments used; anything else fails loudly. It builds
the command lines that the real launch was seen to build. It does not prove launch itself.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import types
from contextlib import contextmanager
from pathlib import Path

import yaml


class LaunchConfiguration:
    def __init__(self, name):
        self.name = name

    def perform(self, context):
        return context[self.name]


class LaunchDescription:
    def __init__(self, entities):
        self.entities = list(entities)


class DeclareLaunchArgument:
    def __init__(self, name, *, default_value=None, description=None, choices=None):
        self.name, self.default, self.description, self.choices = name, default_value, description, choices
        assert choices is None or choices, "launch refuses an empty list of choices"

    def visit(self, context):
        if self.name not in context:
            if self.default is None:
                raise ValueError(f"launch argument {self.name} has no value")
            context[self.name] = self.default
        if self.choices and context[self.name] not in self.choices:
            raise ValueError(f"{self.name}={context[self.name]!r} is not one of {self.choices}")
        return []


class OpaqueFunction:
    def __init__(self, *, function):
        self.function = function

    def visit(self, context):
        return self.function(context)


class ExecuteProcess:
    def __init__(self, *, cmd, additional_env=None, output="log"):
        self.command, self.environment = list(cmd), dict(additional_env or {})


class Node:
    def __init__(self, *, package, executable, name=None, namespace=None, parameters=(), remappings=(),
                 ros_arguments=(), additional_env=None, output="log"):
        self.package, self.executable, self.environment = package, executable, dict(additional_env or {})
        self.arguments = ["--ros-args", *ros_arguments]
        if name:
            self.arguments += ["-r", f"__node:={name}"]
        if namespace:
            self.arguments += ["-r", "__ns:=/" + namespace.lstrip("/")]
        for given in parameters:
            self.arguments += ["--params-file", _parameter_file(given)]
        for old, new in remappings:
            self.arguments += ["-r", f"{old}:={new}"]

    @property
    def command(self):
        """Runs the entry point that setup.py promises under this name."""
        target = entry_points()[self.executable]
        module, function = target.split(":")
        return [sys.executable, "-c", f"import sys; from {module} import {function}; sys.exit({function}())",
                *self.arguments]


def _parameter_file(given):
    """A file as it is; a dictionary as launch writes it, into a file of its own."""
    if not isinstance(given, dict):
        assert os.path.isfile(given), given
        return str(given)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as f:
        yaml.safe_dump({"/**": {"ros__parameters": given}}, f)
    return f.name


def entry_points():
    """Console scripts of setup.py, read without running it."""
    import ast
    text = (Path(__file__).resolve().parent.parent / "setup.py").read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Dict) and any(getattr(k, "value", "") == "console_scripts" for k in node.keys):
            lines = ast.literal_eval(node)["console_scripts"]
            return dict(map(str.strip, line.split("=")) for line in lines)
    raise AssertionError("setup.py names no console_scripts")


KNOWN = {
    "launch": {},
    "launch.launch_description": {"LaunchDescription": LaunchDescription},
    "launch.actions": {"DeclareLaunchArgument": DeclareLaunchArgument, "OpaqueFunction": OpaqueFunction,
                       "ExecuteProcess": ExecuteProcess},
    "launch.substitutions": {"LaunchConfiguration": LaunchConfiguration},
    "launch_ros": {},
    "launch_ros.actions": {"Node": Node},
}


@contextmanager
def _stand_in():
    saved = {name: sys.modules.get(name) for name in KNOWN}
    for name, classes in KNOWN.items():
        module = types.ModuleType(name)
        module.__dict__.update(classes)
        sys.modules[name] = module
    try:
        yield
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def read(path):
    """The launch description of a file; no bytecode is left beside it."""
    spec = importlib.util.spec_from_file_location("launch_file", path)
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
        return module.generate_launch_description()
    finally:
        sys.dont_write_bytecode = before


def declared(path):
    """The arguments that `ros2 launch --show-args` would list."""
    with _stand_in():
        return [e for e in read(path).entities if isinstance(e, DeclareLaunchArgument)]


def plan(path, **arguments):
    """What the file would start with these arguments: a list of Node and ExecuteProcess."""
    with _stand_in():
        description, context = read(path), {k: str(v) for k, v in arguments.items()}
        unknown = set(context) - {e.name for e in description.entities if isinstance(e, DeclareLaunchArgument)}
        if unknown:
            raise ValueError(f"unknown launch arguments {sorted(unknown)}")
        return [started for entity in description.entities for started in entity.visit(context)]
