# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl foxglove`: the layout over foxglove-sdk's own server, answered by a client that reads what it was promised."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("foxglove", reason="the extra [foxglove] is not installed")
pytest.importorskip("websockets")
from conftest import ROOT
from five_places import five_places, parameter_file
from foxglove_viewer import Viewer, needs, panels, resolved

from ms2cl_ros.tools.bags import open_bag

LAYOUT = json.loads((ROOT / "rviz" / "ms2cl.foxglove.json").read_text())
TOPICS = sorted({topic for _, topic, _ in needs(LAYOUT)})
PICTURES, STATE, MARKERS = "/place_matcher/comparison", "/place_matcher/state", "/place_matcher/markers"


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_model):
    """A bag, a map of it, and the settings."""
    from ms2cl_ros.core.config import load
    from ms2cl_ros.tools.offline import map_bag
    folder = tmp_path_factory.mktemp("foxglove")
    there = SimpleNamespace(bag=five_places(folder / "bag"), map=folder / "map.db",
                            params=parameter_file(folder / "p.yaml", tiny_model))
    map_bag(there.bag, there.map, load(there.params))
    return there


@contextmanager
def serving(place, *options):
    """`ms2cl foxglove` as a user starts it, on a free port that is yielded; at the end Ctrl-C."""
    command = [sys.executable, "-m", "ms2cl_ros.cli", "foxglove", place.map, "--bag", place.bag, "--params-file",
               place.params, "--port", "0", *options]
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            line = process.stderr.readline()
            found = re.match(r"ws://127\.0\.0\.1:(\d+) waits for Foxglove: open (https://\S+)$", line)
            assert found, line + process.stderr.read()
            assert found[1] in found[2]
            assert process.stderr.readline().strip().endswith("rviz/ms2cl.foxglove.json")
            yield int(found[1])
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
            assert process.stderr.read().endswith("ended\n")
        finally:
            process.kill()  # where the test failed it still runs, and would be waited for



@pytest.fixture(scope="module")
def port(place):
    """A server that plays the bag once."""
    with serving(place, "--rate", "10") as number:
        yield number


@pytest.fixture(scope="module")
def seen(port):
    """What the first viewer is told of the whole bag when it opens the layout."""
    with Viewer(port) as viewer:
        assert viewer.hear(lambda: set(TOPICS) <= set(viewer.channels)), (TOPICS, list(viewer.channels))
        viewer.subscribe(*TOPICS)
        assert viewer.hear(lambda: len(viewer.messages[PICTURES]) == 5 and len(viewer.messages["/diagnostics"]) == 5)
    return viewer


def newest(viewer, topic):
    return viewer.messages[topic][max(viewer.messages[topic])]


def test_every_topic_of_the_layout_is_served_and_said(seen):
    assert len(TOPICS) == 8
    assert {topic for topic in TOPICS if seen.messages[topic]} == set(TOPICS)


def test_the_layout_has_settings_for_each_of_its_panels_and_no_others():
    assert sorted(panels(LAYOUT)) == sorted(LAYOUT["configById"])


@pytest.mark.parametrize(("panel", "topic", "kinds"), needs(LAYOUT), ids=lambda x: x if isinstance(x, str) else "kinds")
def test_every_panel_is_given_a_type_that_it_can_show(seen, panel, topic, kinds):
    assert not kinds or seen.channels[topic]["schemaName"] in kinds


def test_the_frame_that_the_scene_follows_is_that_of_all_its_messages(seen):
    scene = LAYOUT["configById"]["3D!map"]
    for topic in scene["topics"]:
        for message in seen.messages[topic].values():
            headers = [m.header for m in message.markers] if topic == MARKERS else [message.header]
            assert {h.frame_id for h in headers} == {scene["followTf"]}


def test_the_scene_colours_points_by_a_field_that_they_have(seen):
    topics = LAYOUT["configById"]["3D!map"]["topics"]
    for topic, settings in topics.items():
        if "colorField" in settings:
            assert settings["colorField"] in {f.name for f in newest(seen, topic).fields}


def test_the_indicators_path_gives_a_state_for_which_it_has_a_rule(seen):
    indicator = LAYOUT["configById"]["Indicator!state"]
    rules = {rule["rawValue"]: rule["label"] for rule in indicator["rules"]}
    assert set(rules) == {"MATCHED", "TRACKING", "LOST"}
    states = [resolved(indicator["path"], message) for message in seen.messages[STATE].values()]
    assert set(states) <= set(rules)
    assert states[-1] == "MATCHED"


def test_the_status_that_is_shown_is_among_the_diagnostics(seen):
    panel = LAYOUT["configById"]["DiagnosticStatusPanel!matching"]
    status = next(s for s in newest(seen, panel["topicToRender"]).status if s.name == panel["selectedName"])
    values = {v.key: v.value for v in status.values}
    assert (status.level, status.message) == (0, "5 images matched")
    assert (values["state"], values["processed"]) == ("MATCHED", "5")
    assert status.hardware_id == panel["selectedHardwareId"]


def test_what_is_shown_is_where_the_images_were_taken_and_when(seen):
    found = seen.messages["/place_matcher/match_pose"]
    assert [round(m.pose.pose.position.x, 1) for m in found.values()] == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert list(found) == [m.header.stamp.sec * 10**9 for m in found.values()]
    assert [p.pose.position.x for p in newest(seen, "/submap_mapper/submaps").poses] == [0, 10, 20, 30, 40]
    picture = newest(seen, PICTURES)
    assert (picture.encoding, len(picture.data)) == ("rgb8", picture.height * picture.step)
    assert np.ptp(picture.data) > 100


def test_who_comes_later_sees_what_was_said_last(port, seen):
    with Viewer(port) as late:
        assert late.hear(lambda: set(TOPICS) <= set(late.channels))
        late.subscribe(STATE, MARKERS)
        assert late.hear(lambda: late.messages[STATE] and late.messages[MARKERS])
        assert newest(late, STATE).data == "MATCHED"
        assert newest(late, MARKERS).markers[1].header.stamp.sec == 14


def test_a_loop_begins_a_new_session_with_a_state_that_is_not_that_of_the_end(place):
    with serving(place, "--rate", "50", "--loop") as number, Viewer(number) as viewer:
        assert viewer.hear(lambda: STATE in viewer.channels)
        viewer.subscribe(STATE)
        assert viewer.hear(lambda: len(viewer.sessions) >= 3)
        first, *more = viewer.told[STATE]
        assert {first.data, *[m.data for m in more]} == {"LOST", "MATCHED"}
        assert sum(m.data == "LOST" for m in more) >= 1


def test_the_topics_have_the_types_that_the_nodes_publish(ros, seen, tiny_model, tmp_path):
    from robot import settings

    from ms2cl_ros.nodes.place_matcher import PlaceMatcher
    from ms2cl_ros.nodes.submap_mapper import SubmapMapper
    nodes = [ros.node(kind, settings(tiny_model, tmp_path)) for kind in (SubmapMapper, PlaceMatcher)]
    published = {p.topic_name: p.msg_type for node in nodes for p in node.publishers}
    for topic, channel in seen.channels.items():
        package, _, name = channel["schemaName"].split("/")
        assert (published[topic].__module__.split(".")[0], published[topic].__name__) == (package, name)


def test_a_file_has_every_topic_and_is_read_as_any_bag(place, tmp_path, ms2cl):
    arguments = ("foxglove", place.map, "--bag", place.bag, "--params-file", place.params, "-o", tmp_path / "seen.mcap")
    code, _, said = ms2cl(*arguments)
    assert (code, "5 images matched" in said, "ms2cl.foxglove.json" in said) == (0, True, True)
    with open_bag(tmp_path / "seen.mcap") as bag:
        assert set(TOPICS) <= set(bag.topics)
        assert bag.topics[PICTURES].count == 5
        *_, (_, stamp, last) = bag.messages(["/place_matcher/match_pose"])
        assert (round(last.pose.pose.position.x, 1), stamp) == (40.0, 14 * 10**9)
    code, _, said = ms2cl(*arguments)
    assert (code, "exists already" in said) == (1, True)


def test_nothing_is_drawn_that_nobody_looks_at(place, monkeypatch):
    from ms2cl_ros.core.config import load
    from ms2cl_ros.core.maps.database import open_map
    from ms2cl_ros.ros import bag_show
    from ms2cl_ros.tools.offline import Topics

    def refuse(*_):
        raise AssertionError("drawn for nobody")
    monkeypatch.setattr("ms2cl_ros.ros.outputs.marker_array", refuse)
    monkeypatch.setattr("ms2cl_ros.tools.side_by_side.SideBySide.draw", refuse)
    show = bag_show.Show(bag_show.Channels("place_matcher"), load(place.params), print)
    with open_bag(place.bag) as bag, open_map(place.map, show.encoder.sidecar, write=False) as store:
        show.run(bag, store, Topics(), lambda stamp: None)
    assert show.health.processed == 5


def test_a_port_that_is_taken_is_refused_with_what_to_do(place, port, ms2cl):
    code, _, said = ms2cl("foxglove", place.map, "--bag", place.bag, "--params-file", place.params, "--port", port)
    assert code == 1
    assert f"cannot serve on 127.0.0.1:{port}" in said
    assert "another --port" in said


def test_without_foxglove_sdk_the_command_says_what_to_install(place, monkeypatch, ms2cl):
    monkeypatch.setitem(sys.modules, "foxglove", None)
    code, _, said = ms2cl("foxglove", place.map, "--bag", place.bag, "--params-file", place.params)
    assert (code, "pip install foxglove-sdk" in said) == (1, True)
