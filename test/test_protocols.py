# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The protocols by letter: which frames ask, which may answer, and figures worked out by hand or measured before."""

import os
from pathlib import Path

import numpy as np
import pytest

from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.core.geometry import rotation_z, transform
from ms2cl_ros.tools.evaluate_drive import Asked, Mapped, Outcome, evaluate, localisation
from ms2cl_ros.tools.precision_recall import RULES, curve
from ms2cl_ros.tools.protocols import B1_SPLITS, Protocol, answerable, askers
from ms2cl_ros.tools.routes import Route, base_route, camera_route
from ms2cl_ros.tools.trajectories import read_trajectory

ROOT = Path(__file__).resolve().parents[1]


def out_and_back(n: int = 20, step: float = 5.0) -> Route:
    """Straight ahead for n frames, then back beside it; a frame a second."""
    ahead = [transform([step * i, 0.0, 0.0]) for i in range(n)]
    back = [transform([step * i, 3.0, 0.0]) @ rotation_z(np.pi) for i in reversed(range(n))]
    return base_route(np.stack(ahead + back), np.arange(2.0 * n))


def asked_by(route: Route, answers: np.ndarray) -> tuple[Asked, Mapped]:
    """Frame i takes scan `answers[i]` for its own; otherwise those of lower index are more alike."""
    n = len(route)
    scores = np.tile(-np.arange(n) / n, (n, 1))
    scores[np.arange(n), answers] = 1.0
    return Asked(scores, route, np.zeros(n)), Mapped(np.eye(n)[:, None], route, np.zeros(1))


def run(letter: str, route: Route, answers: np.ndarray, **more: object) -> Outcome:
    return evaluate(Protocol(letter, **more), *asked_by(route, answers))  # type: ignore[arg-type]


def test_headings_and_places_are_told_in_camera_axes():
    route = base_route(np.stack([transform([1.0, 2.0, 3.0]) @ rotation_z(0.3)]), np.zeros(1))
    np.testing.assert_allclose(route.position, [[-2.0, -3.0, 1.0]])
    assert route.heading[0] == pytest.approx(-0.3)


def test_a_finds_its_own_scan_and_a_minus_may_not():
    route = out_and_back()
    own = np.arange(len(route))
    a = run("A", route, own).recalls["all"]
    assert (a[5.0].ranks["1"], a[5.0].queries, a[5.0].database) == (1.0, 40, 40)
    # of 20 places 5 m apart, each seen twice 3 m aside; "nearer than 5 m" leaves its own and the one beside
    assert a[5.0].chance == pytest.approx(2 / 40)
    minus = run("A-", route, own[::-1]).recalls["all"][10.0]
    assert (minus.ranks["1"], minus.database) == (1.0, 39)


def test_b1_asks_200_frames_after_its_map_and_measures_in_space():
    route = base_route(np.stack([transform([abs(300.0 - i), 0.0, 0.0]) for i in range(600)]), np.arange(600.0))
    b1 = Protocol("B1", split=100)
    rows = askers(b1, route)
    assert (rows[0], rows[-1]) == (300, 599)
    assert answerable(b1, route, rows[:1], route).sum() == 100
    r = run("B1", route, np.maximum(0, 600 - np.arange(600)) % 600, split=100).recalls["all"][5.0]
    # the way back passes the first 100 frames, 201 to 300 m ahead, and 4 m beyond them
    assert (r.asked, r.queries, r.database) == (300, 103, 100)
    assert r.ranks["1"] == pytest.approx(99 / 103)


def test_b1_without_a_split_is_refused():
    with pytest.raises(ConfigError, match="--split"):
        Protocol("B1")


@pytest.mark.parametrize("letter", ["A-", "B1", "D1"])
def test_protocols_of_one_pass_refuse_two(letter):
    with pytest.raises(ConfigError, match="one pass"):
        Protocol(letter, split=10, one_pass=False)


@pytest.mark.parametrize(("letter", "axes"), [("F", "xz"), ("A", "zz")])
def test_unknown_letters_and_axes_are_refused(letter, axes):
    with pytest.raises(ConfigError, match="A-, B1"):
        Protocol(letter, axes)


def test_a_pass_too_short_to_ask_is_refused():
    with pytest.raises(DataError, match="too short"):
        run("D1", out_and_back(), np.arange(40))


def test_e_leaves_out_the_last_seconds_and_tells_directions_apart():
    route = out_and_back()
    e = run("E", route, np.arange(40)[::-1], seconds=10.0).recalls
    # frames 15 to 24 pass their place again within 10 s; the others only the opposite way
    assert e["opposite"][5.0].queries == 30 and e["opposite"][5.0].ranks["1"] == 1.0
    assert e["same"][5.0].queries == e["both"][5.0].queries == 0 and e["all"][5.0].queries == 30
    assert run("E", route, np.arange(40)[::-1], seconds=10.0, online=True).recalls["all"][5.0].queries == 15


def test_e_by_road_needs_no_clock():
    route = out_and_back()
    e = run("E", route, np.arange(40)[::-1], seconds=0.0, metres=50.0).recalls["all"][5.0]
    assert e.queries == 30


def test_another_pass_is_asked_in_the_map_they_share():
    route, other = out_and_back(20), base_route(np.stack([transform([5.0 * i, 1.0, 0.0]) for i in range(10)]),
                                                np.arange(10.0))
    n = len(route)
    mapped = Mapped(np.eye(n)[:, None], route, np.zeros(1))
    asked = Asked(np.eye(n)[:10], other, np.zeros(10))
    r = evaluate(Protocol("E", seconds=0.0, one_pass=False), asked, mapped).recalls
    assert r["both"][5.0].queries == 10 and r["all"][5.0].ranks["1"] == 1.0


def test_errors_are_those_of_the_first_answer():
    route = out_and_back()
    n, quarter = len(route), np.deg2rad(90.0)
    # every frame takes the scan beside its own, looked at 90 degrees to the left of where the camera looks, turned back
    asked, mapped = asked_by(route, np.arange(n)[::-1])
    turned = Mapped(mapped.descriptors, route, np.array([np.pi - quarter]))
    told = localisation(evaluate(Protocol("A"), asked, turned))
    assert told["metres_median"] == pytest.approx(3.0) and told["right_degrees_median"] == pytest.approx(90.0)


def test_scans_are_compared_at_all_their_headings():
    route = out_and_back(5)
    looks = np.stack([np.eye(10), np.roll(np.eye(10), 1, 1)], 1)
    out = evaluate(Protocol("A"), Asked(np.roll(np.eye(10), 1, 1), route, np.full(10, np.pi)),
                   Mapped(looks, route, np.array([0.0, np.pi])))
    assert out.recalls["all"][5.0].ranks["1"] == 1.0
    # frame i looks like scan i turned round, and like scan i + 1 as it stands: the lower index comes first
    assert out.answers.scan.tolist()[:9] == list(range(9)) and out.answers.degrees[0] == pytest.approx(0.0)


# precision and recall -----------------------------------------------------------------------------------------------


def test_precision_and_recall_by_both_rules():
    scores, correct = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False])
    real = np.array([True, True, True, False])
    first, second = (curve(scores, correct, real, rule) for rule in RULES)
    np.testing.assert_allclose(first.precision, [1, 1 / 2, 2 / 3, 1 / 2])
    np.testing.assert_allclose(first.recall, [1 / 3, 1 / 2, 1, 1])
    np.testing.assert_allclose(second.precision, [1, 1, 1, 2 / 3])
    np.testing.assert_allclose(second.recall, [1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert first.average_precision == pytest.approx(1 / 3 + 1 / 6 * 1 / 2 + 1 / 2 * 2 / 3)
    assert first.best_f1 == pytest.approx(0.8) and first.recall_at(1.0) == pytest.approx(1 / 3)
    assert first.plain()["real"] == 3


def test_equal_scores_are_accepted_together():
    both = curve(np.array([0.5, 0.5]), np.array([True, False]), np.array([True, False]))
    assert both.precision.tolist() == [0.5] and both.recall.tolist() == [1.0]
    assert both.recall_at(0.99) == 0.0


def test_d1_accepts_four_metres_and_counts_its_candidates():
    ahead = [transform([1.0 * i, 0.0, 0.0]) for i in range(120)]
    again = [transform([1.0 * i, 4.0, 0.0]) for i in range(40)]
    route = base_route(np.stack(ahead + again), np.arange(160.0))
    answers = np.r_[np.zeros(120, int), np.arange(40)]
    d1 = run("D1", route, answers)
    assert (d1.curve.queries, d1.curve.real) == (60, 40)
    # the 20 without a right answer are as sure of themselves as the 40 with one
    assert d1.curve.average_precision == pytest.approx(40 / 60) and d1.recalls["all"][4.0].ranks["1"] == 1.0


# routes of KITTI ----------------------------------------------------------------------------------------------------


def kitti(sequence: str) -> Route:
    folder = Path(os.environ.get("MS2CL_DATA", ROOT.parent / "shared" / "data")) / "kitti_odometry_poses"
    if not folder.is_dir():
        pytest.skip(f"no pose files at {folder}: set MS2CL_DATA")
    poses = np.stack([p.T_map_base for p in read_trajectory(folder / f"{sequence}.txt")[0]])
    return camera_route(poses, np.arange(len(poses)) / 10.0)


def counted(protocol: Protocol, route: Route) -> Outcome:
    """What can be said without a model: every answer is as good as the other."""
    n = len(route)
    return evaluate(protocol, Asked(np.zeros((n, 1)), route, np.zeros(n)),
                    Mapped(np.zeros((n, 1, 1)), route, np.zeros(1)))


@pytest.mark.parametrize(("sequence", "axes", "percent"), [
    ("04", "xz", (5.1, 9.9)), ("04", "yz", (5.1, 9.9)), ("04", "xy", (100.0, 100.0)), ("06", "xz", (2.7, 7.2)),
    ("06", "yz", (4.6, 8.9)), ("06", "xy", (54.0, 96.9))])
def test_chance_levels_of_kitti_by_axes_are_reproduced(sequence, axes, percent):
    found = counted(Protocol("A", axes), kitti(sequence)).recalls["all"]
    assert [round(100 * float(found[r].chance or 0), 1) for r in (10.0, 20.0)] == pytest.approx(percent, abs=0.051)


def test_revisits_of_kitti_07_by_direction_are_reproduced():
    found = counted(Protocol("E"), kitti("07")).recalls
    assert [found["all"][r].queries for r in (5.0, 10.0, 20.0)] == [94, 126, 170]
    assert [found[k][10.0].queries for k in ("same", "opposite", "both", "side")] == [110, 0, 0, 16]


def test_b1_of_kitti_06_has_the_queries_it_is_known_to_have():
    found = counted(Protocol("B1", split=B1_SPLITS["06"]), kitti("06")).recalls["all"][5.0]
    assert (found.asked, found.queries, found.database) == (301, 270, 600)


def test_weighing_reorders_the_best_and_leaves_the_rest_below_in_their_order():
    route = out_and_back(40)
    asked, mapped = asked_by(route, (np.arange(80) + 20) % 80)
    own = evaluate(Protocol("A"), asked, mapped, lambda row, scans, cosines, headings: -abs(scans - row) - 9.0)
    # the 50 best by descriptor are the wrong one and the scans of lowest index
    assert own.score == "both" and own.recalls["all"][5.0].ranks["1"] > 0.6
    assert own.answers.scan[:49].tolist() == list(range(49)) and own.answers.score[0] == -9.0
    blind = evaluate(Protocol("A"), asked, mapped, lambda row, scans, cosines, headings: cosines)
    plain = evaluate(Protocol("A"), asked, mapped)
    np.testing.assert_array_equal(blind.ranked[5.0].hit, plain.ranked[5.0].hit)
