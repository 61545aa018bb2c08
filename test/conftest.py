# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures: a private ROS graph for each test, and a tiny model with which places are found by construction."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
FAR = 40.0


def _free_domain() -> tuple[int, socket.socket]:
    """A ROS domain that no other test process of this machine has, and the socket that holds its place.

    0 to 101 are safe on Linux. The domain is held by binding a port that nothing else uses.
    """
    start = int.from_bytes(os.urandom(2), "big")
    for i in range(100):
        domain = 1 + (start + i) % 100
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            holder.bind(("127.0.0.1", 21000 + domain))
            return domain, holder
        except OSError:
            holder.close()
    raise RuntimeError("no free ROS domain: a hundred test processes at once?")


# Before anything imports rclpy or a message module: both read these once.
DOMAIN, _HOLDER = _free_domain()
os.environ["ROS_DOMAIN_ID"] = str(DOMAIN)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
sys.path.insert(0, str(ROOT))


class Ros:
    """A private rclpy context with an executor; `spin_until` instead of sleeping."""

    def __init__(self) -> None:
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        self.context = rclpy.Context()
        rclpy.init(context=self.context, args=[])
        self._executor = SingleThreadedExecutor(context=self.context)
        self._nodes: list[Any] = []

    def node(self, make: Callable[..., Any] | str, parameters: dict[str, Any] | None = None, **arguments: Any) -> Any:
        """A node of a class, or a plain one by name, in this context; destroyed with the fixture."""
        import rclpy
        from rclpy.parameter import Parameter
        arguments["context"] = self.context
        if parameters:
            arguments["parameter_overrides"] = [Parameter(k, value=v) for k, v in parameters.items()]
        node = rclpy.create_node(make, **arguments) if isinstance(make, str) else make(**arguments)
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def spin_until(self, condition: Callable[[], Any], timeout: float = 20.0) -> Any:
        """Spins until the condition holds; returns its last value."""
        end = time.monotonic() + timeout
        while not (value := condition()) and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.02)
        return value

    def remove(self, node: Any) -> None:
        """Closes and destroys a node now."""
        self._nodes.remove(node)
        self._executor.remove_node(node)
        if hasattr(node, "close"):
            node.close()
        node.destroy_node()

    def shutdown(self) -> None:
        """Ends everything, in the order that rclpy wants."""
        import rclpy
        for node in list(self._nodes):
            self.remove(node)
        self._executor.shutdown()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def ros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ros]:
    """A private ROS graph; nothing of it outlives the test. Skips where rclpy is not installed."""
    pytest.importorskip("rclpy")
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))
    graph = Ros()
    try:
        yield graph
    finally:
        graph.shutdown()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model.yaml`, `camera.onnx`, `lidar.onnx`: both pool their one channel, centre and normalise.

    The LiDAR's channel is range / 40 m, the camera's is the red one. A picture whose red says range / 40 m has
    therefore the descriptor of the scan taken from the same place in the same direction.
    """
    folder = tmp_path_factory.mktemp("tiny_model")
    write_tiny_model(folder)
    return folder


def write_tiny_model(folder: Path, name: str = "tiny", columns: int = 20) -> None:
    """Writes such a model; `columns` is the width of its pooled grid, so that another one has another fingerprint.

    Its calibration says what is so by construction: only the right place has a score near 1.
    """
    from ms2cl_ros.core.calibration import Calibration, Confidence, Evidence
    from ms2cl_ros.core.sidecar import CameraInput, Embedding, LidarInput, Sidecar, save
    from ms2cl_ros.core.types import AngularGrid
    grid = AngularGrid(rows=8, columns=40, elevation_top_deg=12.0, elevation_step_deg=3.0, azimuth_step_deg=2.0)
    size = (grid.rows, grid.columns)
    for part, tensor in (("camera", "image"), ("lidar", "range_image")):
        (folder / f"{part}.onnx").write_bytes(_pooling_network(tensor, size, columns))
    save(Sidecar(
        name=name, folder=folder, training={"data": "none", "licence": "Apache-2.0"},
        camera=CameraInput("camera.onnx", "", "angular_grid", grid, size, ("red",), (0.0,), (1.0,)),
        lidar=LidarInput("lidar.onnx", "", grid, size, ("range",), (0.0,), (1.0,), 1.0, FAR),
        embedding=Embedding(size=2 * columns, columns=1, metric="cosine", logit_scale=20.0),
        calibration=Calibration(Evidence(-394.0, 400.0), None, Confidence(0.0)).to_mapping()), folder)


def _pooling_network(tensor: str, size: tuple[int, int], columns: int) -> bytes:
    """ONNX: (N, 1, H, W) -> average pooling to 2 x columns -> centred -> unit length."""
    from onnx import TensorProto, helper
    kernel = [size[0] // 2, size[1] // columns]
    nodes = [
        helper.make_node("AveragePool", [tensor], ["pooled"], kernel_shape=kernel, strides=kernel),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1]),
        helper.make_node("Sub", ["flat", "mean"], ["centred"]),
        helper.make_node("ReduceL2", ["centred"], ["norm"], axes=[1]),
        helper.make_node("Max", ["norm", "tiny"], ["length"]),
        helper.make_node("Div", ["centred", "length"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes, "pooling",
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["N", 1, *size])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 2 * columns])],
        [helper.make_tensor("tiny", TensorProto.FLOAT, [1], [1e-6])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


def wall(place: float, azimuth: np.ndarray) -> np.ndarray:
    """Horizontal metres to the walls around a place, by azimuth in radians: all places and directions differ."""
    return (14.0 + 5.0 * np.sin(2 * azimuth + 1.7 * place) + 4.0 * np.sin(5 * azimuth + 2.9 * place)
            + 3.0 * np.sin(9 * azimuth + 0.6 * place))


@pytest.fixture(scope="session")
def sensor_messages() -> Any:
    """The synthetic messages below, once rclpy's message classes are there."""
    pytest.importorskip("sensor_msgs.msg")
    import synthetic_messages
    return synthetic_messages


@pytest.fixture
def ms2cl(monkeypatch, capsys):
    """A run of the command line in this process: (exit code, stdout, stderr without line breaks)."""
    from ms2cl_ros import cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ms2cl", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
            raise SystemExit(0)
        said = capsys.readouterr()
        return end.value.code, said.out, " ".join(said.err.split())
    return run


@pytest.fixture(scope="session")
def config(tiny_model):
    """The settings with which `maps` were made."""
    from small_maps import config_of
    return config_of(tiny_model)


@pytest.fixture(scope="session")
def maps(tmp_path_factory, config):
    """Maps of one town: `a`; `b`, the same road half a step on and 0.4 m aside; `off`, b in another frame; `far`."""
    from small_maps import OFFSET, make_map, route, town

    from ms2cl_ros.core.geometry import transform
    folder, points = tmp_path_factory.mktemp("maps"), town()
    half_on = [T @ transform([0.7, 0.4, 0.0]) for T in route()]
    make_map(folder / "a.db", config, route(), session="monday", points=points)
    make_map(folder / "b.db", config, half_on, session="tuesday", start_s=9000, points=points)
    make_map(folder / "off.db", config, half_on, OFFSET, "tuesday", 9000, points)
    make_map(folder / "far.db", config, route(), transform([500.0, 0.0, 0.0]), "elsewhere", 9000, town(seed=8))
    return folder


@pytest.fixture
def copy(maps, tmp_path):
    """A copy of `a` of `maps`, to be changed."""
    shutil.copy(maps / "a.db", tmp_path / "a.db")
    return tmp_path / "a.db"


@pytest.fixture(scope="session")
def other_model(tmp_path_factory):
    """A model of the same grid, with descriptors half as long."""
    folder = tmp_path_factory.mktemp("wider")
    write_tiny_model(folder, "wider", 10)
    return folder


@pytest.fixture(scope="session")
def other_grid(tmp_path_factory):
    """The tiny model with an elevation a degree higher: range images have to be rendered anew."""
    import yaml
    folder = tmp_path_factory.mktemp("higher")
    write_tiny_model(folder, "higher")
    tree = yaml.safe_load((folder / "model.yaml").read_text())
    tree["lidar"]["grid"]["elevation_top_deg"] += 1.0
    (folder / "model.yaml").write_text(yaml.safe_dump(tree))
    return folder


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL on loopback for one module's tests. Skips where it is not installed."""
    pytest.importorskip("psycopg", reason="the extra [fleet] is not installed")
    import postgres_server
    if postgres_server.programs() is None:
        pytest.skip(postgres_server.MISSING)
    running = postgres_server.Server()
    yield running
    running.stop()


@pytest.fixture
def url(server):
    """The URL of a database without a map."""
    return server.database()


@pytest.fixture
def hurry(monkeypatch):
    """A shared map is looked at more often than in earnest."""
    from ms2cl_ros.core.maps import exchanger
    monkeypatch.setattr(exchanger, "PERIOD", 0.1)
    monkeypatch.setattr(exchanger, "LONGEST", 0.5)
