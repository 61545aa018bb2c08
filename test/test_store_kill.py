# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A mapper that is killed loses nothing that it said was stored; the long version is benchmarks/durability.py."""

import importlib.util
from pathlib import Path

PATH = Path(__file__).resolve().parent.parent / "benchmarks" / "durability.py"


def test_nothing_acknowledged_is_lost_when_the_mapper_is_killed_twelve_times(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(PATH.parent.parent), prepend=":")
    spec = importlib.util.spec_from_file_location("durability", PATH)
    durability = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "durability", durability)
    spec.loader.exec_module(durability)
    result = durability.run(tmp_path, kills=12, seed=3)
    assert result.kills == 12
    assert result.acknowledged > 0
    assert (result.lost, result.faults) == (0, 0)
