# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `ms2cl localize --report` leaves behind: figures with known answers, pictures that are there."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sightings import STEP, World, candidate, odometry, pose, route, trust

from ms2cl_ros.core.belief import Place
from ms2cl_ros.core.types import Match, StampedPose
from ms2cl_ros.tools.moments import Moment, entropy_bits, figures

HONEST = np.diag([1.0, 1.0, 100.0, 10.0, 10.0, STEP**2])


def moment(second: float, answer, truth, state="MATCHED", probability=0.995) -> Moment:
    """One whose best candidate is its answer; the second one is 200 m away."""
    found = () if answer is None else (candidate(answer, 3.0), candidate(answer @ pose(200.0, 0), 0.0))
    stamp = round(second * 1e9)
    match = None if answer is None else Match(stamp, answer, HONEST, found, {}, state, probability)
    place = None if answer is None else Place(answer, HONEST, probability, 0.001, True)
    return Moment(stamp, match, state, place, 0.5, 0.1, truth)


def drive() -> list[Moment]:
    """A drive along x: two images without a match, six right ones, of which one is only tracked, two wrong ones."""
    out = [moment(10.0, None, pose(0, 0), "LOST"), moment(10.5, pose(300, 0), pose(1, 0), "LOST", 0.1)]
    out += [moment(11.0 + 0.5 * i, pose(2.0 + i, 0.5), pose(2.0 + i, 0)) for i in range(5)]
    out.append(moment(13.5, pose(7.0, 0.5), pose(7.0, 0), "TRACKING", 0.7))
    out += [moment(14.0, pose(8.0, 40.0), pose(8.0, 0)), moment(14.5, pose(9.0, 0, np.pi), pose(9.0, 0), probability=1)]
    return out


def test_figures_are_those_of_a_drive_that_is_known():
    out = figures(drive(), [pose(x, 0) for x in range(0, 9, 2)])
    assert out["images"] == 10
    assert out["states"] == {"LOST": 2, "TRACKING": 1, "MATCHED": 7}
    assert out["seconds_to_first_match"] == out["seconds_to_first_right_match"] == 1.0
    p = out["published"]
    assert (p["told"], p["right"], p["queries"], p["asked"]) == (7, 5, 10, 10)
    assert p["precision"] == pytest.approx(5 / 7)
    assert p["recall"] == pytest.approx(0.5)
    # a match 0.5 m off whose covariance says 1 m
    assert out["ellipse"]["mean"] == pytest.approx(0.25, abs=1e-3)
    assert out["ellipse"]["within_95"] == 1.0
    assert out["published_errors"]["max_m"] == pytest.approx(40.0)
    # of nine answers six are right; what was said of them: seven times nearly 1, once 0.7, once 0.1
    assert out["expected_calibration_error"] == pytest.approx((7 * abs(6.97 / 7 - 5 / 7) + 0.3 + 0.1) / 9, abs=0.01)


def test_without_any_truth_nothing_is_said_of_it():
    out = figures([replace(m, truth=None) for m in drive()], [pose(0, 0)])
    assert set(out) == {"images", "states", "seconds_to_first_match"}


def test_the_entropy_is_that_of_what_is_believed():
    judge = trust()
    judge.belief.observe(World(0).image(pose(300, 300)))
    known = [*judge.belief.hypotheses.weights, judge.belief.elsewhere, judge.belief.outside]
    assert entropy_bits(judge.belief) == pytest.approx(-sum(w * np.log2(w) for w in known if w > 0))
    judge.belief.reset()
    assert entropy_bits(judge.belief) == pytest.approx(-0.9 * np.log2(0.9) - 0.1 * np.log2(0.1))


def test_of_wrong_matches_each_run_is_shown_before_any_is_shown_twice():
    from ms2cl_ros.tools.mistakes import chosen
    wrong = [moment(float(i), pose(0, 90), pose(0, 0), probability=0.99 + 0.001 * (i % 3)) for i in range(20)]
    right = moment(9.0, pose(0, 0), pose(0, 0))
    shown = chosen([*wrong[:9], right, *wrong[10:]], most=2)
    assert [m.stamp_ns // 10**9 for m in shown] == [2, 11]
    assert len(chosen([*wrong[:9], right, *wrong[10:]], most=4)) == 4
    assert chosen([right]) == []


def test_a_drive_is_drawn_with_its_truth_and_without(tmp_path):
    import cv2
    pytest.importorskip("matplotlib")
    from ms2cl_ros.tools.localize_plot import draw
    judge, world, places = trust(), World(2), route(30, 2.0)
    moments = []
    for i, (T, wheels) in enumerate(zip(places, odometry(places))):
        stamp, found = 10**9 * (i + 1), world.image(T)
        answer = judge.judge(found, stamp, StampedPose(stamp, wheels))
        match = Match(stamp, answer.T_map_base, answer.covariance, found, {}, answer.state, answer.probability)
        moments.append(Moment(stamp, match, judge.state, judge.belief.best(), entropy_bits(judge.belief), 0.1, T))
    for name, shown in (("with", moments), ("one_without", [replace(moments[0], truth=None)]), ("lost", drive()[:2])):
        draw(tmp_path / f"{name}.png", "a drive", shown, places, 0.99)
        picture = cv2.imread(str(tmp_path / f"{name}.png"))
        assert picture.shape[0] >= 800 and picture.std() > 10


@pytest.fixture(scope="module")
def localised(tmp_path_factory, tiny_model):
    """(bag, map, config) of a made-up drive of four images."""
    from kitti_folders import raw_drive

    from ms2cl_ros.core.config import from_mapping
    from ms2cl_ros.tools.convert import convert_kitti_raw
    from ms2cl_ros.tools.offline import map_bag
    folder = tmp_path_factory.mktemp("report")
    convert_kitti_raw(raw_drive(folder), folder / "bag")
    config = from_mapping({"encoder.model": str(tiny_model), "submaps.distance": 0.0, "submaps.headings": 4,
                           "views.spacing": 0.0})
    map_bag(folder / "bag", folder / "map.db", config)
    return folder / "bag", folder / "map.db", config


def test_the_command_writes_figures_and_a_picture(localised, ms2cl, tmp_path):
    pytest.importorskip("matplotlib")
    bag, map_, config = localised
    (tmp_path / "report/wrong").mkdir(parents=True)
    (tmp_path / "report/wrong/old.png").write_bytes(b"of an earlier run")
    code, _, said = ms2cl("localize", bag, "--map", map_, "--report", tmp_path / "report", "-p",
                          f"encoder.model={config.encoder.model}")
    assert code == 0, said
    out = json.loads((tmp_path / "report/report.json").read_text())
    assert (out["images"], out["images_with_truth"], out["submaps"]) == (4, 4, 4)
    assert sum(out["states"].values()) == 4
    assert out["published"]["told"] == out["states"]["MATCHED"]
    assert (tmp_path / "report/report.png").stat().st_size > 10_000
    pictures = list((tmp_path / "report/wrong").glob("*.png"))
    assert len(pictures) == out["wrong_pictures"] == out["published"]["told"] - out["published"]["right"]


def test_a_wrong_match_is_shown_beside_what_it_was_taken_for(localised, tmp_path):
    pytest.importorskip("matplotlib")
    from ms2cl_ros.tools.mistakes import draw_all
    from ms2cl_ros.tools.moments import Watch
    from ms2cl_ros.tools.offline import Topics, localize_bag, truth
    bag, map_, config = localised
    motion = truth(bag, config)
    watch = Watch(lambda stamp: motion.base(stamp).T_map_base)
    localize_bag(bag, map_, config, watch=watch)
    assert len(watch.moments) == 4
    away = pose(0, 500)
    wrong = [replace(m, state="MATCHED", match=replace(m.match, state="MATCHED", T_map_base=away @ m.truth))
             for m in watch.moments[:2]]
    assert draw_all(tmp_path, bag, map_, config, Topics(), wrong) == 2
    assert sorted(int(p.stem) for p in tmp_path.glob("*.png")) == sorted(m.stamp_ns for m in wrong)
