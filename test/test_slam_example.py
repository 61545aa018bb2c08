# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The SLAM example on drives of which everything is known. Needs the extra `slam` (gtsam, kiss-icp)."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import FAR, wall
from scipy.spatial.transform import Rotation
from small_maps import config_of

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.core.geometry import apply, distance, inverse, rotation_z, transform
from ms2cl_ros.core.loop_closure import LoopClosure
from ms2cl_ros.core.types import CameraModel

for package in ("gtsam", "kiss_icp"):
    pytest.importorskip(package, reason=f"{package} is not installed; pip install -e '.[slam]'")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "slam_loop_closure"))
import front_end  # noqa: E402
from pose_graph import STEP, Closure, aligned, anchor, ate, solve, spread, with_false_ones  # noqa: E402

LAP = 30
# A step of `drifting`, which errs by more than KISS-ICP does.
DRIFT = np.array([0.05, 0.05, 0.05, *np.deg2rad([0.3, 0.3, 0.3])])
SURE = np.diag([0.3, 0.3, 0.3, 0.02, 0.02, 0.02]) ** 2
T_BASE_CAMERA = transform([0.0, 0.0, 1.73], [-0.5, 0.5, -0.5, 0.5])


def laps(number: int = 2, radius: float = 40.0) -> np.ndarray:
    """(n, 4, 4) poses round a circle, `LAP` a lap."""
    out = []
    for angle in np.arange(number * LAP + 1) * 2 * np.pi / LAP:
        T = rotation_z(angle + np.pi / 2)
        T[:2, 3] = radius * np.cos(angle), radius * np.sin(angle)
        out.append(T)
    return np.array(out)


def drifting(truth: np.ndarray, degrees: float = 0.3, pitch: float = 0.15) -> np.ndarray:
    """The same steps, each turned too far to the left and downwards, from the origin."""
    slip, out = np.eye(4), [np.eye(4)]
    slip[:3, :3] = Rotation.from_euler("zyx", [degrees, pitch, 0.0], degrees=True).as_matrix()
    for a, b in pairwise(truth):
        out.append(out[-1] @ inverse(a) @ b @ slip)
    return np.array(out)


def closures(truth: np.ndarray, known: bool = False) -> list[Closure]:
    """True ones: of the second lap against the first one, or of both against a map."""
    if known:
        return [Closure(k, None, truth[k], SURE) for k in range(0, 2 * LAP, 3)]
    return [Closure(k, k - LAP, inverse(truth[k - LAP]) @ truth[k], SURE) for k in range(LAP, 2 * LAP, 2)]


def test_true_closures_take_the_drift_out():
    truth = laps()
    odometry = drifting(truth)
    solved = solve(odometry, closures(truth), DRIFT)
    assert (solved.weights > 0.99).all()
    before, after = ate(odometry, truth), ate(solved.poses, truth)
    assert before["space"] > 2.0
    # what is left is the shape of the drift within a lap
    assert after["space"] < before["space"] / 4 and after["level"] < before["level"] / 4


@pytest.mark.parametrize("share", [0.2, 0.4])
@pytest.mark.parametrize("known", [False, True], ids=["own past", "map"])
def test_false_closures_lose_their_say_and_true_ones_keep_it(share, known):
    truth = laps()
    odometry, true = drifting(truth), closures(truth, known)
    mixed = with_false_ones(true, odometry, share, seed=4)
    false = np.array([a is not b for a, b in zip(true, mixed)])
    assert false.sum() == round(share * len(true))
    solved = solve(odometry, mixed, DRIFT)
    assert (solved.weights[false] < 0.01).all() and (solved.weights[~false] > 0.99).all()
    assert ate(solved.poses, truth)["space"] < ate(odometry, truth)["space"] / 4


def test_false_closures_claim_places_at_least_twenty_metres_away():
    truth = laps()
    true = closures(truth, known=True)
    mixed = with_false_ones(true, truth, 0.5, seed=1)
    off = [distance(a.T_partner_base, b.T_partner_base) for a, b in zip(true, mixed) if a is not b]
    assert len(off) == len(true) / 2 and min(off) > 20.0


def test_a_drive_that_began_anywhere_is_laid_into_the_map():
    truth = laps(1)
    T_map_odom = transform([120.0, -35.0, 0.0]) @ rotation_z(2.3)
    odometry = inverse(T_map_odom) @ truth
    seen = [Closure(k, None, truth[k], SURE) for k in range(0, LAP, 5)]
    seen = with_false_ones(seen, odometry, 0.4, seed=2)
    assert anchor(odometry, seen) == pytest.approx(T_map_odom, abs=1e-6)
    assert solve(odometry, seen).poses == pytest.approx(truth, abs=1e-3)


def test_a_covariance_binds_along_the_axes_of_the_base():
    ahead = rotation_z(np.pi / 2)
    odometry = np.array([ahead, ahead @ transform([2.0, 0.0, 0.0])])
    loose = np.array([1.0, 1.0, 1.0, 0.01, 0.01, 0.01])
    only_along = np.diag([1e-3, 1e3, 1e3, 1e3, 1e3, 1e3]) ** 2
    moved = Closure(1, 0, transform([2.6, 0.7, -0.4]), only_along)
    assert inverse(ahead) @ solve(odometry, [moved], loose).poses[1] == pytest.approx(transform([2.6, 0.0, 0.0]),
                                                                                      abs=2e-3)


def test_without_closures_the_trajectory_is_the_odometry():
    odometry = drifting(laps(1))
    assert solve(odometry, []).poses == pytest.approx(odometry) and len(solve(odometry, []).weights) == 0


def test_the_error_of_a_trajectory_forgives_where_it_lies_but_not_its_size():
    truth = laps(1)
    moved = transform([5.0, -3.0, 2.0]) @ rotation_z(1.0) @ truth
    assert ate(moved, truth)["space"] == pytest.approx(0.0, abs=1e-9)
    assert aligned(moved, truth) == pytest.approx(truth)
    bigger = truth.copy()
    bigger[:, :3, 3] *= 1.1
    assert ate(bigger, truth)["level"] == pytest.approx(4.0, rel=0.01)


def test_the_spread_of_an_odometry_is_that_of_its_steps():
    rng, sigma = np.random.default_rng(3), np.array([0.05, 0.02, 0.1, *np.deg2rad([0.1, 0.3, 0.02])])
    truth, steps = np.tile(np.eye(4), (1200, 1, 1)), rng.normal(size=(1200, 6)) * sigma
    truth[:, 0, 3] = np.arange(1200)
    assert spread(odometry_with(truth, steps), truth) == pytest.approx(sigma, rel=0.15)
    assert spread(rotation_z(1.0) @ truth, truth) == pytest.approx(0.0, abs=1e-6)


def odometry_with(truth: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The steps of the truth, each with its own error of (6,): x y z and a turn about them."""
    out = [truth[0]]
    for a, b, e in zip(truth, truth[1:], errors):
        E = transform(e[:3])
        E[:3, :3] = Rotation.from_rotvec(e[3:]).as_matrix()
        out.append(out[-1] @ inverse(a) @ b @ E)
    return np.array(out)


def test_closures_do_not_bend_a_plane_that_the_odometry_holds_better():
    truth, rng = laps(), np.random.default_rng(5)
    odometry = odometry_with(truth, rng.normal(size=(2 * LAP, 6)) * STEP)
    loose = np.diag([0.8, 0.8, 0.1, *np.deg2rad([1.0, 1.0, 10.0])])**2
    seen = [Closure(k, k - LAP, inverse(truth[k - LAP]) @ truth[k] @ transform([0.4, -0.3, 0.0]), loose)
            for k in range(LAP, 2 * LAP, 2)]
    before, after = ate(odometry, truth), ate(solve(odometry, seen).poses, truth)
    alike = ate(solve(odometry, seen, DRIFT).poses, truth)
    assert after["level"] < before["level"] + 0.02 < alike["level"]
    assert after["space"] < before["space"]


def test_the_report_holds_errors_trajectories_and_a_picture(tmp_path):
    for package in ("trimesh", "matplotlib"):
        pytest.importorskip(package)
    import run
    truth = laps()
    odometry, true = drifting(truth), closures(truth)
    known = with_false_ones(closures(truth, known=True), truth, 0.4, seed=3)
    forms = [run.Form(name, "odometry", truth, odometry, seen, solve(odometry, seen, DRIFT),
                      solve(odometry, true[::2], DRIFT))
             for name, seen in (("own past", true), ("map", known))]
    run.report(tmp_path, forms)
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["own past"]["closures"] == told["own past"]["right"] == told["own past"]["believed"] == len(true)
    assert told["own past"]["median_off"] == pytest.approx(0.0, abs=1e-6)
    assert told["map"]["right"] == round(0.6 * len(known))
    assert told["map"]["ate"]["odometry"]["space"] == pytest.approx(ate(odometry, truth)["space"])
    assert len((tmp_path / "form2_closures.tum").read_text().splitlines()) == len(truth)
    assert cv2.imread(str(tmp_path / "slam.png")).std() > 10


def test_simulated_wheels_drive_too_far_and_bend():
    truth = np.array([transform([2.0 * k, 0.0, 0.0]) for k in range(51)])
    frames = [front_end.Frame(k, None, None, T) for k, T in enumerate(truth)]
    straight = front_end.wheel_odometry(frames, 1, scale=1.02, turn_deg=0.0, noise_deg=0.0)
    assert straight[-1] == pytest.approx(transform([102.0, 0.0, 0.0]))
    bent = front_end.wheel_odometry(frames, 1, scale=1.0, turn_deg=0.05, noise_deg=0.0)
    assert np.rad2deg(np.arctan2(bent[-1][1, 0], bent[-1][0, 0])) == pytest.approx(5.0)


@dataclass(frozen=True)
class Place:
    """A picture or a scan in the world of round walls, `conftest.wall`."""

    place: float

    def rgb(self) -> np.ndarray:
        u, v = np.meshgrid(np.arange(320) - 159.5, np.arange(120) - 59.5)
        level = np.hypot(u, 160.0)
        metres = wall(self.place, np.arctan2(-u, 160.0)) * np.hypot(1.0, v / level)
        return np.repeat(np.clip(metres / FAR * 255, 0, 255).round().astype(np.uint8)[..., None], 3, axis=-1)

    def points(self) -> np.ndarray:
        azimuth, slope = np.radians(np.arange(0.0, 360.0, 0.5)), np.tan(np.radians(np.arange(-11.5, 12.0)))[:, None]
        level = wall(self.place, azimuth)
        return np.stack(np.broadcast_arrays(np.cos(azimuth) * level, np.sin(azimuth) * level, slope * level, 0.5),
                        axis=-1).reshape(-1, 4).astype(np.float32)


CALIBRATION = SimpleNamespace(T_base_camera=T_BASE_CAMERA, camera_model=lambda width, height: CameraModel(
    width, height, np.array([[160.0, 0, 159.5], [0, 160.0, 59.5], [0, 0, 1]])))


def revisit(places: int = 8, pause_s: int = 60, scans: bool = True) -> list[front_end.Frame]:
    """A street of places 10 m apart, driven along twice."""
    return [front_end.Frame((1000 + k + lap * (places + pause_s)) * 10**9, Place(k), Place(k) if scans else None,
                            transform([10.0 * k, 0.0, 0.0])) for lap in (0, 1) for k in range(places)]


def test_a_camera_closes_loops_with_its_own_past_and_then_another_finds_the_map(tiny_model, tmp_path):
    config = config_of(tiny_model, views={"spacing": 0.0})
    frames = revisit()
    # it has drifted 3 m to the left until it comes back
    odometry = np.array([f.truth @ transform([0.0, 0.2 * k, 0.0]) for k, f in enumerate(frames)])
    found = front_end.own_past(frames, odometry, CALIBRATION, config, tmp_path / "map.db", refine=False)
    assert len(found) >= 4
    for c in found:
        assert frames[c.index].stamp_ns - frames[c.partner].stamp_ns >= front_end.APART_NS
        assert distance(c.T_partner_base, inverse(frames[c.partner].truth) @ frames[c.index].truth) < 0.5
        assert c.covariance[2, 2] == pytest.approx(front_end.ROAD[0] ** 2) and c.covariance[0, 0] > 0.5
    assert ate(solve(odometry, found, DRIFT * 10).poses, np.array([f.truth for f in frames]))["level"] < 0.5
    later = revisit(scans=False)[:8]
    matches = front_end.in_map(later, odometry[:8], CALIBRATION, config, tmp_path / "map.db")
    assert matches and all(c.partner is None for c in matches)


def corner(seed: int, shift: float = 0.0) -> np.ndarray:
    """(n, 3) points at random on a street corner, base frame: the ground, two walls that run askew, and a tower."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-20.0, 20.0, (2, 3000))
    u, v, zero = rng.uniform(-20.0, 20.0, 3000), rng.uniform(0.0, 4.0, 3000), np.zeros(3000)
    turn = rng.uniform(0.0, 2 * np.pi, 3000)
    return np.concatenate([np.c_[x, y, zero], np.c_[u, zero + 7.0 + shift, v], np.c_[zero + 11.0 - shift, 0.9 * u, v],
                           np.c_[np.cos(turn) - 5.0, np.sin(turn) - 4.0, v]])


def registered(points: np.ndarray, guess: np.ndarray, seen: np.ndarray) -> list[Closure]:
    """What a match at `guess` in a submap of `points`, stamp 20, becomes for frame 7 with a scan of `seen` (base)."""
    scan: Any = SimpleNamespace(points=lambda: apply(inverse(front_end.T_BASE_LIDAR), seen))
    store: Any = SimpleNamespace(submap=lambda key, views: SimpleNamespace(points=points.astype(np.float32)))
    return front_end._closed(LoopClosure(70, 5, 20, 1, np.eye(4), guess, SURE), 7, {20: 2, 70: 7}, store, scan)


def test_registration_makes_a_closure_good_to_centimetres():
    T = transform([0.6, -0.3, 0.05]) @ rotation_z(0.02)
    closure, = registered(corner(1), np.eye(4), apply(inverse(T), corner(2)))
    assert (closure.index, closure.partner) == (7, 2)
    assert closure.T_partner_base == pytest.approx(T, abs=0.05)
    assert closure.covariance == pytest.approx(np.diag(front_end.REFINED**2))


def test_a_closure_whose_points_do_not_agree_is_dropped():
    elsewhere = transform([0.0, 0.0, 1.5]) @ rotation_z(0.8)
    assert registered(corner(1), np.eye(4), apply(elsewhere, corner(2, 9.0))) == []


def test_a_match_without_a_submap_closes_no_loop():
    assert front_end._closed(None, 3, {}, None, None) == []


def test_without_points_a_closure_cannot_be_refined():
    with pytest.raises(DataError, match=r"submaps\.voxel"):
        front_end.refined(Closure(1, 0, np.eye(4), SURE), SimpleNamespace(points=None), None)


def test_a_camera_alone_gives_no_points():
    with pytest.raises(DataError, match="has no scan"):
        revisit(scans=False)[0].points()
