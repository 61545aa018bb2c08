# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The main job from end to end: real nodes in processes of their own, a map from LiDAR, then a camera in that map.

`run` plays `drive.map_bag` (scans) and then `drive.query_bag` (images) to the nodes that `localize.launch.py` would
start, and holds every match against the query bag's own poses.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.decision import LOST, MATCHED
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import DataError, Ms2clError
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.messages import to_pose
from ms2cl_ros.core.types import Candidate, Match
from ms2cl_ros.ros.health import WAITING
from ms2cl_ros.ros.launch_arguments import processes
from ms2cl_ros.ros.transport import environment
from ms2cl_ros.tools.bags import IMAGES, POINTS, open_bag
from ms2cl_ros.tools.evaluation import Recall, by_direction, errors, published, recalls
from ms2cl_ros.tools.offline import truth

START_TIMEOUT, SETTLE_TIMEOUT, STOP_TIMEOUT = 60.0, 60.0, 15.0
PLAYED = ("/points", "/camera/image", "/odometry")
Say = Callable[[str], None]
Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class Drive:
    """What the demo plays. `poses` of both bags are in one map frame."""

    name: str
    map_bag: Path
    query_bag: Path


@dataclass(frozen=True)
class Outcome:
    """What came of it, as `summary.json` keeps it and the picture needs it."""

    matches: list[Match]
    truths: list[np.ndarray]
    missed: list[np.ndarray]
    submaps: list[np.ndarray]
    summary: dict[str, Any]


def private_graph() -> None:
    """A ROS domain and transports of our own, so that the demo meets no robot; call it before rclpy is imported."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.update(environment(os.environ))


class Nodes:
    """The processes of a launch file, their output in `folder`; a context manager that ends them as Ctrl-C does."""

    def __init__(self, launch: str, folder: Path, **arguments: str) -> None:
        self._commands = processes(launch, **arguments)
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Nodes:
        self._folder.mkdir(parents=True, exist_ok=True)
        for command in self._commands:
            env = {**os.environ, **command.environment, "ROS_LOG_DIR": str(self._folder)}
            name = command.name or command.executable
            with open(self._folder / f"{name}.log", "wb") as log:
                self._running[name] = subprocess.Popen(command.argv(), stdout=log, stderr=subprocess.STDOUT, env=env,
                                                       start_new_session=True)
        return self

    def pids(self) -> dict[str, int]:
        """The processes by name."""
        return {name: process.pid for name, process in self._running.items()}

    def check(self) -> None:
        """Raises Ms2clError with the last lines of a node that has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                lines = (self._folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
                raise Ms2clError(f"{name} ended with exit code {process.returncode}: {' | '.join(lines[-5:])}")

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        for process in self._running.values():
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def run(drive: Drive, out: Path, config: Config, say: Say, progress: Progress, rate: float = 1.0) -> Outcome:
    """Maps and localises `drive` through both nodes. Raises Ms2clError where any stage yields nothing."""
    with ExitStack() as stack:
        arguments = {"database": config.store.database, "model": config.encoder.model, "pose_source": "odometry",
                     "points_topic": "/points", "image_topic": "/camera/image", "odometry_topic": "/odometry",
                     "camera_info_topic": "/camera/camera_info", "extrinsics_source": "parameters",
                     "params_file": _parameter_file(out, config)}
        nodes = stack.enter_context(Nodes("localize", out / "log", **arguments))
        recorder = stack.enter_context(_recorder())
        say("waiting for both nodes")
        _until(lambda: len(recorder.diagnostics) >= 2, START_TIMEOUT, nodes, "the nodes did not report within")
        say("pass 1: LiDAR only, the map grows")
        joined = config.trust.motion == "odometry"  # then the matcher hears the odometry too
        _play(drive.map_bag, 2 + joined, rate, progress)  # points and odometry
        _until_still(lambda: _count(recorder), nodes)
        say("the mapper finishes its views")
        _until_still(lambda: _waiting(recorder), nodes)
        if not _count(recorder):
            raise DataError(f"the mapper stored no submap; see {out / 'log'} ({_verdicts(recorder)})")
        say("pass 2: camera only, each image looks for its place")
        sent = _play(drive.query_bag, 3 + joined, rate, progress)  # image, camera_info, and the mapper's odometry
        _until_still(lambda: len(recorder.candidates), nodes)
        nodes.check()
        if not recorder.candidates:
            raise DataError(f"no image was matched; see {out / 'log'} ({_verdicts(recorder)})")
    return _evaluate(drive, config, recorder, sent)


def _parameter_file(out: Path, config: Config) -> str:
    """The settings of `config` that launch arguments do not carry; what the player sends is heard without loss."""
    import yaml
    path = out / "parameters.yaml"
    heard = {topic: {"subscription": {"reliability": "reliable", "depth": 100}} for topic in PLAYED}
    path.write_text(yaml.safe_dump({"/**": {"ros__parameters": asdict(config) | {"qos_overrides": heard}}}))
    return str(path)


@contextmanager
def _recorder() -> Iterator[Any]:
    import rclpy

    from ms2cl_ros.ros.recorder import Recorder, Spinner
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    recorder = Recorder(context=context)
    try:
        with Spinner(recorder):
            yield recorder
    finally:
        recorder.destroy_node()
        rclpy.try_shutdown(context=context)


def _play(bag: Path, listeners: int, rate: float, progress: Progress) -> dict[float, float]:
    """Plays a bag by `ms2cl play`; returns when, in monotonic seconds, each moment of it (seconds from its start) was
    published. Raises Ms2clError with the player's last words if it fails."""
    command = [sys.executable, "-m", "ms2cl_ros.cli", "play", str(bag), "--rate", str(rate),
               "--wait", str(listeners), "--wait-timeout", str(START_TIMEOUT), "--log", "/dev/stdout"]
    sent: dict[float, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as player:
        assert player.stdout is not None and player.stderr is not None
        for line in player.stdout:
            done, total, when = map(float, line.split())
            sent[round(done, 6)] = when
            progress(done, total)
        words = player.stderr.read()
    if player.returncode:
        raise Ms2clError(f"playing {bag} failed with exit code {player.returncode}: {' '.join(words.split())[-600:]}")
    return sent


def _until(condition: Callable[[], bool], timeout: float, nodes: Nodes, failure: str) -> None:
    end = time.monotonic() + timeout
    while not condition():
        nodes.check()
        if time.monotonic() > end:
            raise Ms2clError(f"{failure} {timeout:g} s")
        time.sleep(0.1)


def _until_still(count: Callable[[], int], nodes: Nodes, quiet: float = 3.0) -> None:
    """Until `count` has not grown for `quiet` seconds."""
    last, since, end = count(), time.monotonic(), time.monotonic() + SETTLE_TIMEOUT
    while time.monotonic() - since < quiet and time.monotonic() < end:
        nodes.check()
        time.sleep(0.1)
        if count() != last:
            last, since = count(), time.monotonic()


def _count(recorder: Any) -> int:
    return len(recorder.submaps.poses) if recorder.submaps is not None else 0


def _waiting(recorder: Any) -> int:
    """Around how many submaps the mapper has still to render views."""
    return next((int(v.get(WAITING, 0)) for k, v in recorder.diagnostics.items() if "submap_mapper" in k), 0)


def _verdicts(recorder: Any) -> str:
    return "; ".join(f"{name}: {values['message']}" for name, values in recorder.diagnostics.items())


def _evaluate(drive: Drive, config: Config, recorder: Any, sent: dict[float, float]) -> Outcome:
    with open_bag(drive.map_bag) as bag:
        scans = bag.topics[bag.pick(POINTS)].count
    with open_bag(drive.query_bag) as bag:
        begin = bag.start_ns
        stamps = [record.stamp_ns for record in bag.records([bag.pick(IMAGES)])]
    with open_map(config.store.database, Encoder.load(config.encoder).sidecar, write=False) as store:
        submaps, views = [T for _, _, T in store.poses()], store.view_count()
    motion = truth(drive.query_bag, config)
    matches = [_match(recorder, s) for s in stamps if s in recorder.candidates]
    truths = [motion.base(m.stamp_ns).T_map_base for m in matches]
    missed = [motion.base(s).T_map_base for s in stamps if s not in recorder.candidates]
    delays = [recorder.candidates[m.stamp_ns][1] - sent[round((m.stamp_ns - begin) / 1e9, 6)] for m in matches]
    summary = _summary(drive, recorder, scans, len(stamps), delays, errors(matches, truths),
                       recalls(matches, missed, truths, submaps), len(submaps))
    ways = by_direction(matches, missed, truths, submaps)
    summary |= {"views": views, "recall_by_direction": {k: [asdict(r) for r in v] for k, v in ways.items()},
                "published": asdict(published(matches, missed, truths, submaps))}
    return Outcome(matches, truths, missed, submaps, summary)


def _match(recorder: Any, stamp: int) -> Match:
    """What was heard of one image, as the core's type; submaps and scores do not travel in a PoseArray.

    An image whose match was not published gets its best candidate, LOST and of unknown covariance.
    """
    found = tuple(Candidate(0, 0, 0.0, 0.0, float("nan"), _pose(p)) for p in recorder.candidates[stamp][0].poses)
    if stamp not in recorder.matches:
        return Match(stamp, found[0].T_map_base, np.full((6, 6), np.nan), found, state=LOST, probability=0.0)
    message = recorder.matches[stamp][0]
    return Match(stamp, to_pose(message).T_map_base, np.reshape(message.pose.covariance, (6, 6)), found, state=MATCHED)


def _pose(pose: Any) -> np.ndarray:
    from ms2cl_ros.core.geometry import transform
    p, q = pose.position, pose.orientation
    return transform([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])


def _summary(drive: Drive, recorder: Any, scans: int, images: int, delays: list[float], off: np.ndarray,
             found: list[Recall], submaps: int) -> dict[str, Any]:
    mapper = next(v for k, v in recorder.diagnostics.items() if "submap_mapper" in k)
    received = next(int(v) for k, v in mapper.items() if k.startswith("received on") and k.endswith("points"))
    dropped = sum(int(v) for k, v in mapper.items() if k.startswith("dropped:"))
    return {
        "drive": drive.name, "submaps": submaps, "images": images, "matched": len(delays),
        "scans": scans, "scan_rate_kept": (received - dropped) / scans,
        "latency_ms": {"median": 1e3 * float(np.median(delays)), "p95": 1e3 * float(np.quantile(delays, 0.95))},
        "error": {"median_m": float(np.median(off[:, 0])), "median_deg": float(np.median(off[:, 1]))},
        "recall": [asdict(r) for r in found],
    }


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Writes the figures as JSON."""
    path.write_text(json.dumps(summary, indent=2) + "\n")
