# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""SLAM with closures found by a camera: a drive is made, driven, closed, and shown before and after. See README.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import front_end
import numpy as np
import typer
from pose_graph import STEP, Closure, Solution, aligned, ate, onto, solve, spread, with_false_ones
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ms2cl_ros.core.config import Config
from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.geometry import inverse, quaternion
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.training.city.drive import synthesize
from ms2cl_ros.training.city.passes import DrivePass
from ms2cl_ros.training.city.recipe import Day, Recipe

# Yesterday: two laps with both sensors and a pause between them, in which some cars left. Today: the camera alone,
# other cars, a little to the other side.
PASSES = (DrivePass(), DrivePass(lateral_offset=0.3, day=Day(1, car_change=0.1), light=1),
          DrivePass(lidar=False, lateral_offset=-0.35, start=1.1, day=Day(2), light=2))
FALSE_SHARE = 0.2
# A closure no more than this off is right, as in place recognition's protocols.
RIGHT_METRES = 5.0
# One step of wheel odometry, ROS order: metres and radians. Height and tilt are bound only by the map.
WHEEL_STEP = np.array([0.1, 0.05, 0.1, *np.deg2rad([0.5, 0.5, 0.5])])
console = Console()


@dataclass(frozen=True)
class Form:
    """One form of the example: what came in, and what came of it. Poses are (n, 4, 4).

    `T_truth_map`: where the map lies that closures without a partner refer to, for the judgement of those.
    """

    name: str
    odometry_name: str
    truth: np.ndarray
    odometry: np.ndarray
    closures: Sequence[Closure]
    closed: Solution
    with_false: Solution
    T_truth_map: np.ndarray = field(default_factory=lambda: np.eye(4))

    def off(self) -> np.ndarray:
        """(m,) level metres that each closure as it came is off."""
        true = [inverse(self.T_truth_map if c.partner is None else self.truth[c.partner]) @ self.truth[c.index]
                for c in self.closures]
        return np.array([np.hypot(*(A[:2, 3] - c.T_partner_base[:2, 3])) for A, c in zip(true, self.closures)])

    def figures(self) -> dict[str, Any]:
        """Everything that is written to `summary.json` about it; metres."""
        off, step = self.off(), spread(self.odometry, self.truth)
        ways = {"odometry": self.odometry, "closures": self.closed.poses, "with_false": self.with_false.poses}
        return {"odometry": self.odometry_name, "poses": len(self.truth), "closures": len(self.closures),
                "right": int((off < RIGHT_METRES).sum()), "median_off": float(np.median(off)) if len(off) else None,
                "believed": int((self.closed.weights > 0.5).sum()), "false_share": FALSE_SHARE,
                "metres": float(np.linalg.norm(np.diff(self.truth[:, :3, 3], axis=0), axis=1).sum()),
                "spread_of_a_step": {"metres": step[:3].tolist(), "degrees": np.rad2deg(step[3:]).tolist()},
                "ate": {name: ate(poses, self.truth) for name, poses in ways.items()}}


def main(out: Annotated[Path, typer.Option(help="folder for the drive, the map and the results")] = Path("slam"),
         length: Annotated[float, typer.Option(help="metres of a lap, 320 to 2000")] = 400.0,
         step: Annotated[float, typer.Option(help="metres between sweeps")] = 1.25,
         seed: Annotated[int, typer.Option(help="of the city, the simulated wheels and the false closures")] = 1,
         lidar: Annotated[int, typer.Option(help="beams: 16, 32 or 64")] = 16,
         refine: Annotated[bool, typer.Option(help="form 1: register closures with submaps' points")] = True) -> None:
    """Form 1: KISS-ICP and a camera that finds its own past. Form 2: a camera alone in yesterday's map."""
    for package in ("gtsam", "kiss_icp"):
        if find_spec(package) is None:
            raise typer.BadParameter(f"{package} is not installed: pip install -e '.[city,plot,slam]', in Python 3.11 "
                                     "to 3.13, for which GTSAM 4.3 has wheels")
    config, map_file = Config(), out / "map.db"
    # 16 beams alone are too thin; and this car keeps to its lane, so nothing is rendered beside it
    config = replace(config, submaps=replace(config.submaps, accumulate=8.0), views=replace(config.views, spacing=0.0))
    with bar("driving") as progress:
        made = synthesize(out / "drive", Recipe(seed, "eight", length), passes=PASSES, step_m=step, lidar=lidar,
                          progress=progress)
    drives = [d.folder for d in made.drives]
    yesterday, calibration = front_end.read(drives[:2])
    today, _ = front_end.read(drives[2:])
    with bar("KISS-ICP") as progress:
        odometry = front_end.icp_odometry(yesterday, progress)
    for old in out.glob("map.db*"):
        old.unlink()
    with bar("looking for its own past") as progress:
        closures = front_end.own_past(yesterday, odometry, calibration, config, map_file, refine, progress)
    first = form("camera against its own past", "KISS-ICP", yesterday, odometry, closures, seed, STEP)
    straighten(map_file, config, yesterday, first.closed.poses)
    wheels = front_end.wheel_odometry(today, seed)
    with bar("a camera in yesterday's map") as progress:
        closures = front_end.in_map(today, wheels, calibration, config, map_file, progress)
    second = form("camera alone in yesterday's map", "wheels (simulated: 2 % too long, heading drifts)", today, wheels,
                  closures, seed, WHEEL_STEP)
    report(out, [first, replace(second, T_truth_map=onto(first.closed.poses, first.truth))])


def form(name: str, odometry_name: str, frames: Sequence[front_end.Frame], odometry: np.ndarray,
         closures: Sequence[Closure], seed: int, step: np.ndarray) -> Form:
    """Solves with the closures as they came, and with some of them replaced by false ones."""
    false = with_false_ones(closures, odometry, FALSE_SHARE, seed)
    return Form(name, odometry_name, np.array([f.truth for f in frames]), odometry, closures,
                solve(odometry, closures, step), solve(odometry, false, step))


def straighten(map_file: Path, config: Config, frames: Sequence[front_end.Frame], poses: np.ndarray) -> None:
    """Moves the submaps to where the pose graph has them."""
    corrected = {f.stamp_ns: T for f, T in zip(frames, poses)}
    with open_map(map_file, Encoder.load(config.encoder).sidecar, write=True) as store:
        store.update_poses({key: corrected[stamp] for key, stamp, _ in store.poses()})


def report(out: Path, forms: Sequence[Form]) -> None:
    """Prints the errors, and writes them, the trajectories (TUM) and the picture."""
    table = Table("ATE, m (and level)", "odometry", "with closures", "20 % of them false", "closures, right, believed")
    for f in forms:
        figures = f.figures()
        table.add_row(f.name, *(f"{e['space']:.2f} ({e['level']:.2f})" for e in figures["ate"].values()),
                      f"{figures['closures']}, {figures['right']}, {figures['believed']}")
    console.print(table)
    (out / "summary.json").write_text(json.dumps({f.name: f.figures() for f in forms}, indent=2) + "\n")
    for k, f in enumerate(forms, 1):
        for name, poses in (("truth", f.truth), ("odometry", f.odometry), ("closures", f.closed.poses)):
            lines = [" ".join(f"{v:.9g}" for v in (i, *T[:3, 3], *quaternion(T))) for i, T in enumerate(poses)]
            (out / f"form{k}_{name}.tum").write_text("\n".join(lines) + "\n")
    draw(out / "slam.png", forms)
    console.print(f"picture: {out / 'slam.png'}   figures: {out / 'summary.json'}   trajectories: {out}/*.tum")


def draw(path: Path, forms: Sequence[Form]) -> None:
    """Each form's trajectories, aligned to the truth, and its error along the drive."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(2, len(forms), figsize=(6.5 * len(forms), 9.5), height_ratios=(2.2, 1))
    for f, top, bottom in zip(forms, *axes):
        errors = f.figures()["ate"]
        driven = np.cumsum(np.linalg.norm(np.diff(f.truth[:, :3, 3], axis=0, prepend=f.truth[:1, :3, 3]), axis=1))
        top.plot(*f.truth[:, :2, 3].T, color="0.75", lw=5, label="truth")
        for name, label, poses, style in (("odometry", f.odometry_name, f.odometry, "C3-"),
                                          ("closures", "with closures", f.closed.poses, "C0-"),
                                          ("with_false", "20 % of them false", f.with_false.poses, "C1--")):
            there = aligned(poses, f.truth)
            top.plot(*there[:, :2, 3].T, style, lw=1.4, label=f"{label}: ATE {errors[name]['space']:.2f} m")
            bottom.plot(driven, np.linalg.norm(there[:, :3, 3] - f.truth[:, :3, 3], axis=1), style, lw=1.4)
        believed = [c.index for c, w in zip(f.closures, f.closed.weights) if w > 0.5]
        top.plot(*aligned(f.closed.poses, f.truth)[believed, :2, 3].T, "C0.", ms=5,
                 label=f"believed closures: {len(believed)} of {len(f.closures)}")
        top.set(title=f.name, aspect="equal", xlabel="x, m", ylabel="y, m")
        bottom.set(xlabel="metres driven", ylabel="error, m", ylim=(0, None))
        top.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


@contextmanager
def bar(what: str) -> Iterator[Callable[[float, float], None]]:
    """A progress bar that is moved by `progress(done, total)`."""
    with Progress(console=console) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


if __name__ == "__main__":
    typer.run(main)
