# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The curves of a run: `curves.csv`, a line a step, `held_out.jsonl`, and TensorBoard's events where it is installed.

They go on where the checkpoint goes on: lines of steps that a kill undid are taken out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CURVES, HELD_OUT = "curves.csv", "held_out.jsonl"


class Curves:
    """Writes the curves of a run into its folder, from `step` on."""

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._header = folder / CURVES, ""
        lines = _whole_lines(self._path)
        if lines and step:
            self._header = lines[0]
            lines = [lines[0], *(x for x in lines[1:] if _step(x) <= step and x.count(",") == lines[0].count(","))]
        else:
            lines = []
        self._path.write_text("".join(x + "\n" for x in lines))
        told = folder / HELD_OUT
        told.write_text("".join(x + "\n" for x in _whole_lines(told) if json.loads(x)["step"] <= step))
        # as long as the run, a line at a time: a kill loses no whole line
        self._lines, self._told = open(self._path, "a", buffering=1), open(told, "a", buffering=1)  # noqa: SIM115
        self._board = _tensorboard(folder, step)

    def add(self, step: int, values: dict[str, float]) -> None:
        """One step's seconds, learning rate, temperature and terms of the loss."""
        header = ",".join(["step", *values])
        if not self._header:
            self._header = header
            self._lines.write(header + "\n")
        self._lines.write(",".join([str(step), *(f"{v:.9g}" for v in values.values())]) + "\n")
        for name, value in values.items() if self._board else ():
            self._board.add_scalar(name, value, step)

    def held_out(self, step: int, figures: dict[str, Any]) -> None:
        """Figures on the streets that were held out."""
        self._told.write(json.dumps({"step": step, **figures}) + "\n")
        for name, value in _flat(figures).items() if self._board else ():
            self._board.add_scalar(f"held_out/{name}", value, step)

    def close(self) -> None:
        """Ends the files."""
        for f in (self._lines, self._told, *([self._board] if self._board else [])):
            f.close()


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file but an unfinished last one; none if there is no file."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def _step(line: str) -> int:
    return int(line.split(",", 1)[0])


def _flat(figures: dict[str, Any], before: str = "") -> dict[str, float]:
    out: dict[str, float] = {}
    for name, value in figures.items():
        out |= _flat(value, f"{before}{name}/") if isinstance(value, dict) else {before + name: float(value)}
    return out


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer of TensorBoard's events, or None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
