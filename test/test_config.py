# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Defaults live in one place; everything else is generated from it or held against it here."""

from pathlib import Path

import pytest

from ms2cl_ros.core import config
from ms2cl_ros.core.config import Config
from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.install import installed


def test_the_shipped_parameter_file_is_what_the_dataclasses_say():
    assert installed("config/ms2cl.yaml").read_text() == config.dump()
    assert config.load(installed("config/ms2cl.yaml")) == Config()


def test_the_readme_shows_the_table_that_the_dataclasses_make():
    assert config.table() in (Path(__file__).resolve().parent.parent / "README.md").read_text()


def test_every_setting_is_described_and_its_default_lies_in_its_range():
    for name, s in config.settings().items():
        assert s.description, name
        assert config.check(name, s.default) == s.default


@pytest.mark.parametrize(("name", "value", "says"), [
    ("submaps.distanse", 1.0, "submaps.distance"),
    ("submap.distance", 1.0, "submaps.*"),
    ("submaps.distance", "far", "wants a float"),
    ("submaps.distance", True, "wants a float"),
    ("submaps.headings", 2.5, "wants a int"),
    ("submaps.headings", 0, "between 1 and 400"),
    ("frames.pose_source", "gps", "odometry, pose, tf"),
    ("frames.lidar_extrinsics", [0.0, 0.0, 1.0], "wants a list like"),
])
def test_a_wrong_setting_is_refused_with_what_is_allowed(name, value, says):
    with pytest.raises(ConfigError, match=says.replace("*", r"\*")):
        config.from_mapping({name: value})


def test_a_parameter_file_overrides_only_what_it_names(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("/**:\n  ros__parameters:\n    use_sim_time: true\n    submaps: {distance: 3}\n")
    loaded = config.load(path)
    assert loaded.submaps.distance == 3.0
    assert loaded.encoder == Config().encoder


@pytest.mark.parametrize("text", ["submaps: {distance: 3.0}\n", "/**:\n  ros__parameters: 4\n", "a: [\n",
                                  "/**:\n  ros__parameters:\n    submaps: {distanse: 3.0}\n"])
def test_a_file_that_is_no_parameter_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"p\.yaml"):
        config.load(path)


def test_a_missing_parameter_file_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        config.load(tmp_path / "nowhere.yaml")
