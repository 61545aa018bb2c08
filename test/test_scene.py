# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is shown of a matcher at work, and the PNG of it where there is no RViz."""

from __future__ import annotations

import numpy as np
import pytest

from ms2cl_ros.core.geometry import rotation_z, transform
from ms2cl_ros.core.loop_closure import LoopClosure, loop_closure
from ms2cl_ros.core.types import AngularGrid, Candidate, Match, RangeImage
from ms2cl_ros.tools.scene import Scene
from ms2cl_ros.tools.side_by_side import coloured, window


def match(x, state="MATCHED", seen=None):
    T = transform([x, 2.0, 0.0])
    found = (Candidate(3, 1, 0.0, 0.1, 0.9, transform([x if seen is None else seen, 2.0, 0.0])),
             Candidate(8, 2, 0.0, 0.1, 0.4, transform([90.0, 0.0, 0.0])))
    return Match(10**9, T, np.eye(6), found, state=state, probability=0.987)


def layers(scene, match_, hypotheses=None, closure=None):
    return {s.layer: s for s in scene.shapes(match_, hypotheses, closure)}


class Guesses:
    """Three hypotheses, as far as they are shown."""

    weights = np.array([0.8, 0.1, 1e-6])
    poses = np.array([[0.0, 0.0, 0.0, 0.0], [50.0, 0.0, np.pi / 2, 0.0], [70.0, 0.0, 0.0, 0.0]])
    grounds = np.tile(np.eye(4), (3, 1, 1))

    def __len__(self):
        return 3


def test_the_route_joins_promised_matches_that_moved_and_no_jumps():
    scene = Scene()
    for x, state in ((0.0, "MATCHED"), (0.1, "MATCHED"), (5.0, "MATCHED"), (300.0, "TRACKING"), (10.0, "MATCHED"),
                     (100.0, "MATCHED"), (104.0, "MATCHED")):
        scene.note(match(x, state))
    route = layers(scene, match(104.0))["route"].xyz
    assert route[:, 0].reshape(-1, 2).tolist() == [[0.0, 5.0], [5.0, 10.0], [100.0, 104.0]]
    scene.forget()
    assert not len(layers(scene, match(0.0))["route"].xyz)


def test_hypotheses_are_arrows_that_fade_with_their_probability():
    belief = layers(Scene(), match(0.0), Guesses())["belief"]
    ends = belief.xyz.reshape(-1, 2, 3)
    assert len(ends) == 2
    assert (ends[:, 1] - ends[:, 0])[:, :2] == pytest.approx(np.array([[4.0, 0.0], [0.0, 4.0]]))
    assert belief.colours[0, 3] > 2 * belief.colours[2, 3]


def test_the_line_goes_from_the_base_to_the_submap_and_the_words_say_how_sure_it_is():
    closure = LoopClosure(0, 3, 0, 1, transform([7.0, 0.0, 0.0]), np.eye(4), np.eye(6))
    seen = layers(Scene(), match(5.0, "TRACKING"), None, closure)
    assert seen["match"].xyz[:, 0].tolist() == [5.0, 7.0]
    assert seen["state"].text == "TRACKING 0.987"
    assert len(seen["candidates"].xyz) == 2


def test_an_image_that_does_not_speak_for_the_place_closes_no_loop(maps, config):
    from ms2cl_ros.core.encoder import Encoder
    from ms2cl_ros.core.maps.database import open_map
    with open_map(maps / "a.db", Encoder.load(config.encoder).sidecar, write=False) as store:
        key, stamp, T = store.poses()[2]
        base = T @ transform([0.4, 0.2, 0.0]) @ rotation_z(0.3)
        one = Match(stamp + 5, base, np.diag([4.0, 1.0, 9.0, 1.0, 1.0, 0.1]),
                    (Candidate(99, 1, 0.0, 0.1, 0.9, T @ transform([40.0, 0.0, 0.0])),
                     Candidate(key, 1, 0.0, 0.1, 0.8, base)))
        closure = loop_closure(one, store)
        assert (closure.submap_id, closure.submap_stamp_ns) == (key, stamp)
        assert closure.T_map_submap @ closure.T_submap_base == pytest.approx(base)
        R = T[:3, :3]
        assert R @ closure.covariance[:3, :3] @ R.T == pytest.approx(one.covariance[:3, :3])
        assert loop_closure(match(5.0, seen=60.0), store) is None


def test_a_window_of_a_turn_is_centred_and_wraps_around():
    grid = AngularGrid(1, 360, 0.0, 1.0, 1.0)
    turn = RangeImage(np.arange(360.0, dtype=np.float32)[None], grid)
    # column 0 begins at azimuth +180 degrees; azimuth falls with the column
    assert window(turn, 0.0, 4)[0].tolist() == [178.0, 179.0, 180.0, 181.0]
    assert window(turn, np.pi, 4)[0].tolist() == [358.0, 359.0, 0.0, 1.0]
    assert window(turn, np.pi / 2, 2)[0].tolist() == [89.0, 90.0]


def test_ranges_go_from_bright_to_dark_and_nothing_is_black():
    near, far, nothing = coloured(np.array([[2.0, 60.0, 0.0]]))[0].astype(int)
    assert near.tolist() == [253, 231, 37]
    assert far.tolist() == [68, 1, 84]
    assert nothing.tolist() == [0, 0, 0]


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """Five places with both sensors."""
    pytest.importorskip("rclpy")
    from five_places import five_places
    return five_places(tmp_path_factory.mktemp("scene") / "bag")


def test_the_command_draws_the_scene_and_the_two_images_to_a_png(bag, tmp_path, tiny_model, ms2cl):
    import cv2
    from five_places import parameter_file
    params = parameter_file(tmp_path / "p.yaml", tiny_model)
    assert ms2cl("map", bag, "-o", tmp_path / "map.db", "--params-file", params)[0] == 0
    code, _, said = ms2cl("markers", tmp_path / "map.db", "--bag", bag, "-o", tmp_path / "seen.png", "--number", 3,
                          "--params-file", params)
    assert (code, "MATCHED" in said) == (0, True)
    picture = cv2.imread(str(tmp_path / "seen.png"))
    assert min(picture.shape[:2]) > 600
    # the ground is dark, and not all of the picture is ground
    assert (picture == picture[2, 2]).all(axis=2).mean() < 0.9


def test_a_bag_without_a_match_draws_nothing_and_says_so(bag, tmp_path, tiny_model, ms2cl):
    from ms2cl_ros.core import sidecar
    from ms2cl_ros.core.maps.database import open_map
    open_map(tmp_path / "empty.db", sidecar.load(tiny_model), write=True).close()
    code, _, said = ms2cl("markers", tmp_path / "empty.db", "--bag", bag, "-o", tmp_path / "no.png", "-p",
                          f"encoder.model={tiny_model}", "-p", "frames.extrinsics_source=parameters")
    assert code == 1
    assert "had a match" in said
    assert not (tmp_path / "no.png").exists()
