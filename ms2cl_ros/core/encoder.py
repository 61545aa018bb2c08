# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The exported Swin encoders behind ONNX Runtime. The only file that imports onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core import projection, sidecar
from ms2cl_ros.core.config import EncoderConfig
from ms2cl_ros.core.errors import ModelError
from ms2cl_ros.core.install import roots
from ms2cl_ros.core.sidecar import Sidecar
from ms2cl_ros.core.strips import looks, rounded
from ms2cl_ros.core.types import RangeImage

BATCH, TURNS = 16, 4  # headings, whole turns at a time


def model_folder(name: str) -> Path:
    """The folder of a model given by path or by the name of a shipped one; raises ModelError listing those."""
    path = Path(name).expanduser()
    shipped = [root / "models" / name for root in roots()]
    for folder in (path, *shipped):
        if (folder / sidecar.SIDECAR).is_file():
            return folder
    known = sorted({p.parent.name for root in roots() for p in root.glob(f"models/*/{sidecar.SIDECAR}")})
    raise ModelError(f"no model '{name}': neither a folder with {sidecar.SIDECAR} nor one of those shipped "
                     f"({', '.join(known) or 'none found'})")


def _session(path: Path, config: EncoderConfig) -> Any:
    try:
        import onnxruntime as ort
    except ImportError as e:
        raise ModelError("onnxruntime is not installed: run `pip install onnxruntime`") from e
    missing = set(config.providers) - set(ort.get_available_providers())
    if missing:
        raise ModelError(f"execution providers {sorted(missing)} are not in this onnxruntime; it has "
                         f"{', '.join(ort.get_available_providers())}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    # a waiting thread that spins would take the second core from the robot
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=list(config.providers))
    except Exception as e:  # onnxruntime's errors share no base class
        raise ModelError(f"onnxruntime cannot load {path}: {e}") from e


def _check(session: Any, path: Path, name: str, shape: tuple[int, ...], outputs: dict[str, tuple[int, ...]]) -> None:
    """Refuses a model whose input or outputs differ from what its sidecar promises."""
    have = {i.name: tuple(i.shape[1:]) for i in session.get_inputs()}
    if have != {name: shape}:
        raise ModelError(f"{path} takes {have}, its sidecar says {{'{name}': {shape}}}")
    found = {o.name: tuple(o.shape[1:]) for o in session.get_outputs()}
    if found != outputs:
        raise ModelError(f"{path} gives {found}, its sidecar says {outputs}")


def _strip_size(model: Sidecar) -> tuple[int, int]:
    """Numbers a column, and columns of a turn."""
    e, grid = model.embedding, model.lidar.grid
    return e.size // e.columns, grid.turn_columns * e.columns // grid.columns


class Encoder:
    """Range images and camera images in, unit descriptors of `sidecar.embedding.size` numbers out."""

    def __init__(self, model: Sidecar, camera: Any, lidar: Any) -> None:
        self.sidecar = model
        self._camera, self._lidar = camera, lidar

    @classmethod
    def load(cls, config: EncoderConfig) -> Encoder:
        """Loads the model named by `config.model`; raises ModelError with the reason if it does not fit its sidecar."""
        model = sidecar.load(model_folder(config.model))
        camera, lidar = (_session(model.folder / part.file, config) for part in (model.camera, model.lidar))
        size = (model.embedding.size,)
        found: dict[str, tuple[int, ...]] = {"embedding": size}
        if model.lidar.around:
            found = {"strip": _strip_size(model)}
        _check(lidar, model.folder / model.lidar.file, "range_image",
               (len(model.lidar.channels), *model.lidar.size), found)
        outputs: dict[str, tuple[int, ...]] = {"embedding": size}
        if model.range_map is not None:
            r = model.range_map
            outputs = {**outputs, "range_logits": (r.bins + 1, r.rows, r.columns)}
        _check(camera, model.folder / model.camera.file, "image",
               (len(model.camera.channels), *model.camera.size), outputs)
        return cls(model, camera, lidar)

    @property
    def headings(self) -> int:
        """How many headings of a turn cost no more than one; 1 for a model that embeds each for itself."""
        return _strip_size(self.sidecar)[1] if self.sidecar.lidar.around else 1

    def embed_turns(self, panoramas: Sequence[RangeImage], headings: np.ndarray) -> np.ndarray:
        """Whole turns and (n,) headings in radians, azimuth in their frame -> (N, n, D) float32, unit length.

        A heading is rounded as `projection.cut` does. A model that goes round the turn runs once a panorama for all
        headings that lie whole strip columns apart.
        """
        columns = self.sidecar.lidar.grid.columns
        if not self.sidecar.lidar.around:
            windows = np.stack([projection.cut(p, h, columns).ranges for p in panoramas for h in headings])
            return self._run(windows, "embedding", BATCH).reshape(len(panoramas), len(headings), -1)
        first = np.array([projection.first_column(panoramas[0].grid, h, columns) for h in headings])
        step = columns // self.sidecar.embedding.columns
        turns = np.stack([p.ranges for p in panoramas])
        out = np.empty((len(turns), len(first), self.sidecar.embedding.size), np.float32)
        for offset in np.unique(first % step):
            strips = self._run(np.roll(turns, -offset, axis=2), "strip", TURNS)
            chosen = first % step == offset
            out[:, chosen] = [looks(s, first[chosen] // step, self.sidecar.embedding.columns) for s in strips]
        return out

    def strip(self, panorama: RangeImage) -> np.ndarray:
        """The whole turn as a map keeps it, (numbers, columns of the turn) float32, see `core.strips`.

        Raises ModelError for a model that embeds each heading for itself.
        """
        if not self.sidecar.lidar.around:
            raise ModelError(f"the model '{self.sidecar.name}' embeds windows, not whole turns: use embed_turns")
        return rounded(self._run(panorama.ranges[None], "strip", TURNS)[0])

    def _run(self, ranges: np.ndarray, output: str, batch: int) -> np.ndarray:
        x = projection.lidar_tensor(ranges, self.sidecar.lidar)
        parts = [self._lidar.run([output], {"range_image": x[i:i + batch]})[0] for i in range(0, len(x), batch)]
        return np.concatenate(parts).astype(np.float32)

    def embed_image(self, rgb: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """(rows, columns, 3) uint8 and (rows, columns) bool on the model's cells -> descriptor (D,) float32 and,
        where the model predicts one, the range logits (bins + 1, rows, columns) float32."""
        x = projection.camera_tensor(rgb[None], valid[None], self.sidecar.camera)
        names = ["embedding"] + (["range_logits"] if self.sidecar.range_map else [])
        out = self._camera.run(names, {"image": x})
        return out[0][0].astype(np.float32), out[1][0] if len(out) > 1 else None
