# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting and its default, one dataclass per stage.

`config/ms2cl.yaml`, the declared ROS parameters, the CLI and the README's table are generated from these
fields or tested against them. A ROS parameter is named `stage.field`, as in `submaps.distance`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ms2cl_ros.core.errors import ConfigError


def setting(default: Any, description: str, *, low: float | None = None, high: float | None = None,
            choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field that carries what a parameter declaration needs."""
    meta = {"description": description, "low": low, "high": high, "choices": choices}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=meta)
    return field(default=default, metadata=meta)


@dataclass(frozen=True)
class SensorsConfig:
    """What counts as a LiDAR return, and which of CameraInfo's matrices describes the picture."""

    min_range: float = setting(1.5, "returns nearer than this are dropped, metres", low=0.0, high=20.0)
    max_range: float = setting(120.0, "returns farther than this are dropped, metres", low=5.0, high=500.0)
    image_rectified: bool = setting(False, "the image topic is a rectified one (image_rect): P of CameraInfo holds")


@dataclass(frozen=True)
class SubmapsConfig:
    """When a scan becomes a submap, and how it is looked at."""

    distance: float = setting(2.0, "a new submap after this many metres", low=0.0, high=1000.0)
    angle_deg: float = setting(20.0, "a new submap after turning this many degrees", low=0.0, high=360.0)
    headings: int = setting(50, "headings of a view, evenly around the turn; a model that goes round the turn keeps "
                            "one strip for 50, 25, 10, 5, 2 or 1", low=1, high=400)
    accumulate: float = setting(0.0, "scans of this many metres of road before and after a submap are merged into it "
                                "(for sparse LiDARs); 0 takes the one scan", low=0.0, high=100.0)
    voxel: float = setting(0.2, "the points kept with a submap are thinned to one per cube of this edge, metres; 0 "
                           "keeps no points, and no views can be rendered", low=0.0, high=5.0)
    carrier: list[float] = setting([-3.2, 3.2, -1.8, 1.8], "the robot's own body in the base: x from, to, y from, to, "
                                   "metres; returns above and below it are not kept with a submap")


@dataclass(frozen=True)
class ViewsConfig:
    """Views rendered from the map's points at poses where nobody drove."""

    spacing: float = setting(2.0, "a rendered view every so many metres along the road; 0 renders none",
                             low=0.0, high=50.0)
    lateral_reach: float = setting(3.5, "how far to the left and right of the driven line, metres", low=0.0, high=20.0)
    lateral_step: float = setting(1.75, "metres between neighbouring lines of views", low=0.1, high=20.0)
    height: float = setting(0.0, "height of the querying robot's sensor above its base, metres; 0 takes the LiDAR's",
                            low=0.0, high=10.0)
    reach: float = setting(12.0, "scans within so many metres of a view are rendered into it", low=1.0, high=100.0)


@dataclass(frozen=True)
class EncoderConfig:
    """Which exported model runs, and on what."""

    model: str = setting("ms2cl_city", "a model shipped in models/, or the path of a model's folder")
    providers: list[str] = setting(["CPUExecutionProvider"], "ONNX Runtime execution providers, first choice first")
    threads: int = setting(1, "threads of one inference", low=1, high=64)


@dataclass(frozen=True)
class StoreConfig:
    """Where the map is kept."""

    database: str = setting("~/.ros/ms2cl_map.db", "the map: an SQLite file, made when missing, or the URL of a shared "
                            "one, postgresql://USER@HOST/NAME (password from PGPASSWORD or .pgpass)")
    cache: str = setting("~/.ros/ms2cl_cache.db", "with a shared map: the local copy that is worked on")
    copy: str = setting("", "where ~/save writes its copy; empty: beside the map, with the time in its name")
    max_submaps: int = setting(0, "the map is kept below this many submaps; 0 for no limit", low=0, high=10_000_000)
    max_megabytes: float = setting(0.0, "the map is kept below this size; 0 for no limit", low=0.0, high=1e6)
    keep: str = setting("newest", "what stays when the map is full: the newest of a place, or the most distinctive",
                        choices=("newest", "distinctive"))


@dataclass(frozen=True)
class IndexConfig:
    """How descriptors are searched."""

    kind: str = setting("auto", "exact (flat) up to index.flat_limit descriptors and clustered (ivf) beyond, or always "
                        "one of them", choices=("auto", "flat", "ivf"))
    flat_limit: int = setting(100_000, "largest number of descriptors searched exactly", low=0, high=100_000_000)
    quantise: bool = setting(True, "a clustered index keeps 8 bits a number instead of 32")


@dataclass(frozen=True)
class RetrievalConfig:
    """How the map is searched, and how sure an answer is taken to be."""

    candidates: int = setting(20, "candidates asked of the index and published", low=1, high=1000)
    min_score: float = setting(-1.0, "a best score below this is no match (cosine similarity)", low=-1.0, high=1.0)


@dataclass(frozen=True)
class FramesConfig:
    """Frame names and where poses and extrinsics come from."""

    map: str = setting("map", "frame of the map and of every match")
    base: str = setting("base_link", "the robot's body; matches are poses of this frame")
    pose_source: str = setting("odometry", "source of a cloud's pose: an Odometry topic, a PoseStamped topic, or TF",
                               choices=("odometry", "pose", "tf"))
    pose_gap: float = setting(0.25, "poses are interpolated across gaps up to this many seconds", low=0.0, high=10.0)
    pose_wait: float = setting(1.0, "a cloud waits this many seconds for its pose, then is dropped", low=0.0, high=30.0)
    extrinsics_source: str = setting("tf", "pose of the sensors in the base: TF, or the parameters frames.*_extrinsics",
                                     choices=("tf", "parameters"))
    lidar_extrinsics: list[float] = setting([0.0, 0.0, 1.73, 0.0, 0.0, 0.0, 1.0],
                                            "LiDAR in base: x y z (m) qx qy qz qw; with extrinsics_source=parameters")
    camera_extrinsics: list[float] = setting([0.27, 0.06, 1.65, -0.5, 0.5, -0.5, 0.5],
                                             "camera optical frame in base: x y z (m) qx qy qz qw; likewise")


@dataclass(frozen=True)
class TrustConfig:
    """When a match may be published."""

    target_precision: float = setting(0.99, "share of the published matches that is to be right", low=0.5, high=0.9999)
    motion: str = setting("odometry", "how images are joined: by odometry (as constant_velocity while none comes), by "
                          "a constant velocity, or each image for itself (none)",
                          choices=("odometry", "constant_velocity", "none"))
    odometry_wait: float = setting(0.3, "seconds that an image's candidates wait for odometry up to the image's stamp; "
                                   "late ones are joined by a constant velocity", low=0.0, high=30.0)
    verify: bool = setting(True, "candidates are compared with the ranges that the model reads from the image, if it "
                           "reads any")
    look: float = setting(6.0, "images from within so many metres count as one: their errors are alike",
                          low=0.1, high=100.0)
    calibration: str = setting("", "a file written by `ms2cl calibrate`; empty: what the model brings along")


@dataclass(frozen=True)
class BackendsConfig:
    """Which SLAM and localisation back ends are told of matches, and how hard it is tried."""

    names: list[str] = setting([""], "adapters to run, none by default: initialpose_amcl, initialpose_slam_toolbox, "
                               "initialpose_rtabmap, lio_loop, rtabmap_link, rtabmap_landmark, hdl_query, autoware")
    publish_tf: bool = setting(False, "broadcast the transform from frames.map to the odometry's frame, from matches "
                               "and odometry; only if nobody else does")
    namespace: str = setting("", "where back ends have their topics and services, as in /rtabmap; empty: where the "
                             "matcher has its own")
    attempts: int = setting(6, "how often a back end is told before it is given up", low=1, high=1000)
    retry: float = setting(1.0, "seconds until it is told again; doubled each time, up to 30", low=0.1, high=30.0)
    tolerance: float = setting(3.0, "a back end whose own pose is within so many metres of a match agrees with it",
                               low=0.1, high=100.0)
    disagreements: int = setting(5, "matches in a row that a localiser's own pose has to disagree with before it is "
                                 "given an initial pose again", low=1, high=1000)


@dataclass(frozen=True)
class Config:
    """All stages together."""

    sensors: SensorsConfig = field(default_factory=SensorsConfig)
    submaps: SubmapsConfig = field(default_factory=SubmapsConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    backends: BackendsConfig = field(default_factory=BackendsConfig)


@dataclass(frozen=True)
class Setting:
    """One field of one stage, as parameter declarations and tables want it."""

    name: str
    default: Any
    description: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]


def settings() -> dict[str, Setting]:
    """Every setting by its dotted name, in order."""
    out = {}
    for stage in dataclasses.fields(Config):
        defaults = getattr(Config(), stage.name)
        for f in dataclasses.fields(defaults):
            name = f"{stage.name}.{f.name}"
            out[name] = Setting(name, getattr(defaults, f.name), **f.metadata)
    return out


def check(name: str, value: Any) -> Any:
    """`value` in the type of the setting `name`; raises ConfigError saying what is allowed."""
    known = settings()
    if name not in known:
        stage = name.split(".")[0]
        near = [k for k in known if k.startswith(stage + ".")] or sorted({k.split(".")[0] + ".*" for k in known})
        raise ConfigError(f"unknown setting '{name}'; there are: {', '.join(near)}")
    s = known[name]
    kind = type(s.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is list and isinstance(value, (list, tuple)):
        item = type(s.default[0])
        value = [float(v) if item is float and isinstance(v, int) else v for v in value]
        if any(not isinstance(v, item) for v in value) or (item is float and len(value) != len(s.default)):
            raise ConfigError(f"{name} wants a list like {s.default}, got {value}")
    elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{name} wants a {kind.__name__} like {s.default!r}, got {value!r}")
    if s.choices and value not in s.choices:
        raise ConfigError(f"{name} is one of {', '.join(s.choices)}; got {value!r}")
    if (s.low is not None and value < s.low) or (s.high is not None and value > s.high):
        raise ConfigError(f"{name} must lie between {s.low} and {s.high}; got {value}")
    return value


def from_mapping(values: Mapping[str, Any], base: Config | None = None) -> Config:
    """A Config from dotted names; what is not named keeps the value of `base` (or its default)."""
    config = base or Config()
    for name, value in values.items():
        checked = check(name, value)
        stage, key = name.split(".", 1)
        config = dataclasses.replace(config, **{stage: dataclasses.replace(getattr(config, stage), **{key: checked})})
    return config


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} -> {'a.b': 1}."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out.update(flatten(value, f"{prefix}{key}."))
        else:
            out[f"{prefix}{key}"] = value
    return out


# what a node's parameter file may hold beside the settings
NO_SETTINGS = ("use_sim_time", "autostart")


def load(path: str | Path, base: Config | None = None) -> Config:
    """A Config from a ROS parameter file (`/**: ros__parameters:`); raises ConfigError naming the file."""
    import yaml
    try:
        tree = yaml.safe_load(Path(path).read_text())
        values = flatten(dict(tree["/**"]["ros__parameters"]))
        return from_mapping({k: v for k, v in values.items() if k not in NO_SETTINGS}, base)
    except OSError as e:
        raise ConfigError(f"cannot read the parameter file {path}: {e.strerror}") from e
    except (yaml.YAMLError, KeyError, TypeError) as e:
        raise ConfigError(f"{path} is no ROS parameter file with '/**: ros__parameters:': {e}") from e
    except ConfigError as e:
        raise ConfigError(f"{path}: {e}") from e


def dump() -> str:
    """The text of `config/ms2cl.yaml`: every setting with its default, description and range."""
    import yaml
    lines = ["# Every parameter with its default, made by `ms2cl config`. Both nodes read this file.",
             "/**:", "  ros__parameters:"]
    stage = ""
    for s in settings().values():
        head, key = s.name.split(".", 1)
        if head != stage:
            lines += [f"    {head}:"]
            stage = head
        extra = f"; one of {', '.join(s.choices)}" if s.choices else ""
        extra += f" [{s.low:g}, {s.high:g}]" if s.low is not None and s.high is not None else ""
        value = yaml.safe_dump(s.default, default_flow_style=True, width=200).strip().removesuffix("...").strip()
        lines += [f"      # {s.description}{extra}", f"      {key}: {value}"]
    return "\n".join(lines) + "\n"


def table() -> str:
    """The README's table of parameters."""
    lines = ["| parameter | default | meaning |", "|---|---|---|"]
    for s in settings().values():
        choices = f"; one of {', '.join(s.choices)}" if s.choices else ""
        lines.append(f"| `{s.name}` | `{s.default}` | {s.description}{choices} |")
    return "\n".join(lines) + "\n"
