# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Launch files, the table they come from, and the nodes as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import launch_standin
import pytest
import yaml

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.ros.launch_arguments import LAUNCHES, MODULES, arguments, processes
from ms2cl_ros.ros.transport import SETTINGS, environment

ROOT = Path(__file__).resolve().parent.parent
CHOICES = {
    "localize": {"namespace": "robot", "points_topic": "/velodyne/points", "image_topic": "/cam/image",
                 "backends": "initialpose_amcl, lio_loop", "publish_tf": "true", "target_precision": "0.999",
                 "backend_namespace": "/nav", "mapping": "true", "database": "~/here.db", "pose_source": "pose",
                 "map_frame": "world", "use_sim_time": "true"},
    "map": {"odometry_topic": "/odom", "log_level": "debug", "model": "/models/mine",
            "extrinsics_source": "parameters",
            "autostart": "false"},
    "replay": {"bag": "/bags/drive", "rate": "2.0", "loop": "true", "one_process": "true", "base_frame": "body",
               "points_topic": "/velodyne/points", "image_topic": "/cam/image"},
}


def launch_file(name):
    return ROOT / "launch" / f"{name}.launch.py"


def meaning(command):
    """What ROS arguments say, whichever way they are written."""
    said = {"remaps": {}, "parameters": {}, "files": [], "log_level": ""}
    rest = command[command.index("--ros-args") + 1:]
    for flag, value in zip(rest[::2], rest[1::2]):
        name, _, new = value.partition(":=")
        if flag == "-r":
            said["remaps"][name] = new
        elif flag == "-p":
            said["parameters"][name] = yaml.safe_load(new)
        elif flag == "--params-file" and "/tmp" in value:
            said["parameters"].update(yaml.safe_load(Path(value).read_text())["/**"]["ros__parameters"])
        elif flag == "--params-file":
            said["files"].append(value)
        else:
            said[flag] = value
    return said


def test_every_launch_of_the_table_has_its_file_and_the_other_way_round():
    assert {p.name for p in (ROOT / "launch").glob("*.launch.py")} == {f"{name}.launch.py" for name in LAUNCHES}


@pytest.mark.parametrize("name", LAUNCHES)
def test_a_launch_file_declares_the_table_with_descriptions(name):
    shown = launch_standin.declared(launch_file(name))
    assert [(d.name, d.default) for d in shown] == [(a.name, a.default) for a in arguments(name)]
    assert all(len(d.description) > 8 for d in shown)


@pytest.mark.parametrize("name", LAUNCHES)
@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "defaults"])
def test_launch_files_start_what_the_table_says(name, chosen):
    given = CHOICES[name] if chosen else {k: v for k, v in CHOICES[name].items() if k == "bag"}
    started, table = launch_standin.plan(launch_file(name), **given), processes(name, **given)
    assert len(started) == len(table)
    for one, process in zip(started, table):
        assert one.environment == process.environment
        if process.has_nodes:
            assert one.executable == process.executable
            assert meaning(one.command) == meaning(process.argv())
        else:
            assert one.command == process.argv()


def test_every_entry_point_runs_the_module_that_the_table_runs():
    have = launch_standin.entry_points()
    assert {name: f"{module}:main" for name, module in MODULES.items()}.items() <= have.items()


def test_arguments_reach_parameters_and_topics():
    mapper, matcher = processes("localize", **CHOICES["localize"])
    assert mapper.parameters == {"use_sim_time": True, "store.database": "~/here.db", "frames.map": "world",
                                 "frames.pose_source": "pose"}
    assert mapper.remappings == (("points", "/velodyne/points"),)
    assert matcher.remappings == (("image", "/cam/image"),)
    assert matcher.parameters["backends.names"] == ["initialpose_amcl", "lio_loop"]
    assert matcher.parameters["backends.publish_tf"] is True
    assert matcher.parameters["trust.target_precision"] == 0.999
    assert matcher.parameters["backends.namespace"] == "/nav"
    assert "__ns:=/robot" in mapper.argv()


def test_an_argument_left_empty_leaves_the_parameter_file_alone():
    assert processes("map")[0].parameters == {"use_sim_time": False}


def test_without_mapping_the_matcher_runs_alone():
    assert [p.name for p in processes("localize", mapping=False)] == ["place_matcher"]


def test_one_process_holds_both_nodes_with_what_is_meant_for_either():
    both, player = processes("replay", bag="/bags/drive", one_process=True, pose_source="odometry", publish_tf=True,
                             points_topic="/p", image_topic="/i", autostart=False)
    assert (both.executable, both.name) == ("both", "")
    assert both.parameters == {"use_sim_time": False, "autostart": False, "frames.pose_source": "odometry",
                               "backends.publish_tf": True}
    assert both.remappings == (("points", "/p"), ("image", "/i"))
    assert not any("__node" in word for word in both.argv())
    assert player.arguments[player.arguments.index("--wait") + 1] == "5"
    assert processes("localize", one_process=True, mapping=False)[0].executable == "place_matcher"


def test_replay_waits_for_both_nodes_before_it_plays():
    player = processes("replay", bag="/bags/drive")[-1]
    assert player.argv()[3:7] == ["play", "/bags/drive", "--rate", "1.0"]
    assert player.arguments[player.arguments.index("--wait") + 1] == "5"  # the odometry goes to both


def test_replay_waits_for_one_topic_less_where_poses_come_from_tf(tmp_path):
    file = tmp_path / "tf.yaml"
    file.write_text("submap_mapper:\n  ros__parameters:\n    frames:\n      pose_source: tf\n")
    for given in ({"pose_source": "tf"}, {"params_file": file}):
        player = processes("replay", bag="/bags/drive", **given)[-1]
        assert player.arguments[player.arguments.index("--wait") + 1] == "3"
    file.write_text("- no mapping")
    with pytest.raises(ConfigError, match="no ROS parameter file"):
        processes("replay", bag="/bags/drive", params_file=file)


@pytest.mark.parametrize(("name", "given", "said"), [
    ("fly", {}, "no launch file 'fly'; there are: localize, map, replay"),
    ("map", {"image_topic": "x"}, "map has no argument image_topic"),
    ("map", {"pose_source": "gps"}, "pose_source is one of odometry, pose, tf"),
    ("localize", {"target_precision": "high"}, "target_precision wants a number like 0.99, got 'high'"),
    ("localize", {"publish_tf": "perhaps"}, "publish_tf is one of true, false"),
    ("map", {"params_file": "/nowhere.yaml"}, r"no params_file /nowhere\.yaml"),
    ("replay", {}, "launch argument bag must be given"),
    ("replay", {"bag": "b", "mapping": False, "matching": False}, "nothing to do"),
])
def test_wrong_arguments_are_refused_with_what_there_is(name, given, said):
    with pytest.raises(ConfigError, match=said):
        processes(name, **given)


def test_reading_a_launch_file_is_cheap_and_leaves_nothing_behind():
    program = ("import sys; sys.path.insert(0, 'test'); import launch_standin; "
               "launch_standin.declared('launch/localize.launch.py'); "
               "print([m for m in ('rclpy', 'numpy', 'cv2', 'onnxruntime', 'faiss') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert not (ROOT / "launch" / "__pycache__").exists()


def test_transport_settings_name_the_shipped_profile():
    added = environment({})
    assert set(added) == {"FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"}
    assert all(Path(p).name == "fastdds.xml" and Path(p).is_file() for p in added.values())


@pytest.mark.parametrize("current", [{name: "x"} for name in SETTINGS] + [{"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}])
def test_transport_settings_of_the_user_are_left_alone(current):
    assert environment(current) == {}


@contextmanager
def started(command, tmp_path, extra=()):
    """A process in a group of its own; killed at the end if it is still there."""
    log = open(tmp_path / f"{len(list(tmp_path.iterdir()))}.log", "w+")  # noqa: SIM115 - closed below
    env = {**os.environ, "ROS_LOG_DIR": str(tmp_path / "log"), **dict(extra)}
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env, start_new_session=True)
    process.log = lambda: Path(log.name).read_text()
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


@pytest.fixture
def params_file(tiny_model, tmp_path):
    from synthetic_messages import CAMERA_EXTRINSICS, LIDAR_EXTRINSICS
    values = {"encoder": {"model": str(tiny_model)}, "store": {"database": str(tmp_path / "map.db")},
              # the robot leaps from place to place, so that each image stands for itself
              "submaps": {"headings": 45}, "trust": {"motion": "none", "target_precision": 0.5},
              "frames": {"extrinsics_source": "parameters", "lidar_extrinsics": LIDAR_EXTRINSICS,
                         "camera_extrinsics": CAMERA_EXTRINSICS}}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    return path


@pytest.mark.parametrize("one_process", [False, True])
def test_mapper_and_matcher_share_a_growing_map_and_stop_cleanly(ros, params_file, tmp_path, one_process):
    from geometry_msgs.msg import PoseWithCovarianceStamped
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2
    from synthetic_messages import camera_info, cloud, image, odometry
    nodes = launch_standin.plan(launch_file("localize"), params_file=params_file, namespace="robot",
                                image_topic="cam/image", one_process=str(one_process).lower())
    assert len(nodes) == 2 - one_process
    with ExitStack() as stack:
        running = [stack.enter_context(started(node.command, tmp_path)) for node in nodes]
        logs = lambda: "".join(process.log() for process in running)  # noqa: E731
        driver, matches = ros.node("driver", namespace="robot"), []
        driver.create_subscription(PoseWithCovarianceStamped, "place_matcher/match_pose", matches.append, 10)
        publish = {name: driver.create_publisher(kind, name, 10) for name, kind in (
            ("points", PointCloud2), ("odometry", Odometry), ("cam/image", Image), ("camera_info", CameraInfo))}
        assert ros.spin_until(lambda: all(p.get_subscription_count() for p in publish.values()), 30), logs()
        t = 1.0
        for place in (1, 3):
            def found(place=place):
                """One more look of all sensors; a single message may come before the other side has found us."""
                nonlocal t
                t += 0.1
                publish["odometry"].publish(odometry(t, place))
                publish["points"].publish(cloud(t, place))
                publish["camera_info"].publish(camera_info(t))
                publish["cam/image"].publish(image(t, place))
                ros.spin_until(lambda: False, 0.1)
                return matches and abs(matches[-1].pose.pose.position.x - 10.0 * place) < 0.01
            assert ros.spin_until(found, 30), logs()
        for k in range(3):  # some of it is still worked on when the end comes
            publish["cam/image"].publish(image(t + 0.1 + 0.1 * k, 3))
        for process in running:
            # as under `ros2 launch`: Ctrl-C of the terminal, then launch's own
            os.killpg(process.pid, signal.SIGINT)
            ros.spin_until(lambda: False, 0.05)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(20) == 0, process.log()
            assert "Traceback" not in process.log()
        assert "2 submaps in" in logs()
        for cut_short in ("Failed to publish", "please report this"):
            assert cut_short not in logs()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_that_waits_for_a_lifecycle_manager_ends_cleanly_by_a_signal(ros, params_file, tmp_path, number):
    from diagnostic_msgs.msg import DiagnosticArray
    command = [sys.executable, "-m", MODULES["place_matcher"], "--ros-args", "--params-file", str(params_file),
               "-p", "autostart:=false"]
    heard = []
    ros.node("listener").create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
    with started(command, tmp_path) as process:
        assert ros.spin_until(lambda: heard, 30), process.log()
        process.send_signal(number)
        assert process.wait(20) == 0, process.log()
        assert "the node was not configured" in process.log()
        assert "Failed to publish" not in process.log()


@pytest.mark.parametrize(("arguments_", "said"), [
    (["-p", "encoder.model:=nothing"], "no model 'nothing'"),
    (["-p", "submaps.distance:=5"], "write 5.0"),
    (["-p", "submaps.distanse:=5.0"], "unknown setting 'submaps.distanse'"),
    (["-p", "store.database:=/proc/map.db"], "/proc/map.db"),
    (["--params-file", "/nowhere.yaml"], "/nowhere.yaml"),
])
@pytest.mark.parametrize("name", ["submap_mapper"])
def test_what_the_user_can_mend_is_one_line_and_exit_code_1(ros, params_file, tmp_path, name, arguments_, said):
    command = [sys.executable, "-m", MODULES[name], "--ros-args", "--params-file", str(params_file), *arguments_]
    with started(command, tmp_path) as process:
        assert process.wait(30) == 1
        assert said in process.log()
        assert "Traceback" not in process.log()


def test_the_real_launch_reads_every_launch_file():
    launch = pytest.importorskip("launch", reason="ROS's launch is not on PyPI")
    pytest.importorskip("launch_ros")
    for name in LAUNCHES:
        description = launch_standin.read(launch_file(name))
        context = launch.LaunchContext()
        context.launch_configurations.update(CHOICES[name])
        for entity in description.entities:
            assert entity.visit(context) is not Ellipsis
