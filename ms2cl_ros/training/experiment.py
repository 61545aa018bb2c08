# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One experiment is one YAML file: the grids, the model, the losses, the data and the schedule."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.types import AngularGrid


@dataclass(frozen=True)
class InputConfig:
    """One modality's input: its cells, its channels and their normalisation (see `core/sidecar.py`)."""

    grid: AngularGrid
    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    near: float = 1.5
    far: float = 120.0


@dataclass(frozen=True)
class TrunkConfig:
    """A Swin trunk. Stage k has stride 4 * 2**k and `width` * 2**k channels; `window` is (rows, columns) in tokens."""

    width: int = 48
    depths: tuple[int, ...] = (2, 2, 4)
    heads: tuple[int, ...] = (2, 4, 8)
    window: tuple[int, ...] = (4, 10)
    stem: str = "convolution"
    drop_path: float = 0.05


@dataclass(frozen=True)
class RangeMapConfig:
    """The camera's range map: `bins` log-spaced ranges between `near` and `far` metres, and "nothing came back"."""

    rows: int = 24
    columns: int = 80
    bins: int = 32
    near: float = 2.0
    far: float = 90.0


@dataclass(frozen=True)
class ModelConfig:
    """Two trunks, their teacher heads on the coarsest stage, and student heads on the `students` stages."""

    camera: TrunkConfig = field(default_factory=TrunkConfig)
    lidar: TrunkConfig = field(default_factory=lambda: TrunkConfig(width=40, window=(3, 10)))
    embedding: int = 320
    columns: int = 10
    students: tuple[int, ...] = (0, 1)
    decoder: tuple[int, ...] = (80, 112)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the three terms; `near` metres within a street count as the same place and are no negatives."""

    contrastive: float = 1.0
    distillation: float = 0.5
    range_map: float = 1.0
    stop_gradient: bool = True
    near: float = 3.5
    temperature: float = 0.07


@dataclass(frozen=True)
class DataConfig:
    """How a batch is put together. `nearby`: share of pairs whose sweep comes from the neighbouring pose.

    Where shards carry views rendered from a map, `views` of those come instead of the sweep, looked at up to
    `heading_deg` beside the camera's heading, and each adds a look in another direction as a negative.
    """

    streets: int = 24
    frames: int = 3
    nearby: float = 0.5
    views: float = 0.7
    heading_deg: float = 4.0
    held_out_every: int = 20
    augment: float = 1.0


@dataclass(frozen=True)
class ScheduleConfig:
    """Ends after `minutes` or `steps`, whichever is given (the other is 0); warm-up and cosine in between."""

    minutes: float = 45.0
    steps: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.05
    ema: float = 0.995
    clip: float = 1.0
    bfloat16: bool = True
    threads: int = 2
    checkpoint_seconds: float = 120.0
    validate_seconds: float = 300.0


@dataclass(frozen=True)
class AboutConfig:
    """What the exported model's card says about where it comes from."""

    data: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Experiment:
    """Everything that `train` needs apart from the data's path."""

    name: str
    camera: InputConfig
    lidar: InputConfig
    model: ModelConfig = field(default_factory=ModelConfig)
    range_map: RangeMapConfig | None = field(default_factory=RangeMapConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    about: AboutConfig = field(default_factory=AboutConfig)
    seed: int = 0

    @property
    def first_row(self) -> int:
        """The camera row at which the LiDAR grid begins; raises ConfigError if the two grids do not line up."""
        a, b = self.camera.grid, self.lidar.grid
        row = (a.elevation_top_deg - b.elevation_top_deg) / a.elevation_step_deg
        same = ((a.elevation_step_deg, a.azimuth_step_deg, a.columns)
                == (b.elevation_step_deg, b.azimuth_step_deg, b.columns))
        if not same or abs(row - round(row)) > 1e-3 or not 0 <= round(row) <= a.rows - b.rows:
            raise ConfigError(f"the LiDAR grid {b} must be whole rows of the camera grid {a}: same steps and columns")
        return round(row)


def load(path: str | Path) -> Experiment:
    """The experiment in a YAML file; raises ConfigError naming the file and what is wrong in it."""
    import yaml
    try:
        tree = yaml.safe_load(Path(path).read_text())
        return from_tree(tree)
    except OSError as e:
        raise ConfigError(f"cannot read the experiment {path}: {e.strerror}") from e
    except (yaml.YAMLError, ConfigError) as e:
        raise ConfigError(f"{path}: {e}") from e


def from_tree(tree: dict[str, Any]) -> Experiment:
    """An Experiment from nested mappings; raises ConfigError for unknown or missing keys."""
    built = _build(Experiment, tree, "experiment")
    if bool(built.schedule.minutes) == bool(built.schedule.steps):
        raise ConfigError("schedule: give either minutes or steps, and set the other to 0")
    if built.model.embedding % built.model.columns:
        raise ConfigError(f"model.embedding {built.model.embedding} is no multiple of "
                          f"model.columns {built.model.columns}")
    return built


def to_tree(experiment: Experiment) -> dict[str, Any]:
    """The same as nested mappings and tuples."""
    return dataclasses.asdict(experiment)


def _build(cls: Any, tree: Any, where: str) -> Any:
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: expected a mapping, got {tree!r}")
    known = {f.name: f for f in dataclasses.fields(cls)}
    required = {n for n, f in known.items()
                if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}
    if set(tree) - set(known) or required - set(tree):
        raise ConfigError(f"{where}: unknown {sorted(set(tree) - set(known))}, missing {sorted(required - set(tree))}; "
                          f"there are {', '.join(known)}")
    types = typing.get_type_hints(cls)
    return cls(**{k: _value(types[k], v, f"{where}.{k}") for k, v in tree.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    options = [k for k in typing.get_args(kind) if dataclasses.is_dataclass(k)]
    if value is None and type(None) in typing.get_args(kind):
        return None
    if options or dataclasses.is_dataclass(kind):
        return _build(options[0] if options else kind, value, where)
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return tuple(item(v) for v in value)
    if kind is float and isinstance(value, int):
        return float(value)
    if not isinstance(value, kind):
        raise ConfigError(f"{where} wants {kind.__name__}, got {value!r}")
    return value
