# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The whole road on a small street: two sensors, two passes, real processes over DDS, the shipped model."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ms2cl_ros.core.config import Config
from ms2cl_ros.demo import config_of
from ms2cl_ros.tools.offline import localize_bag, map_bag

pytest.importorskip("embreex", reason="the street is ray-cast with trimesh and embreex")
STEP, LENGTH = 6.0, 240.0


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """(map bag, query bag, config): pass 1 scans, pass 2 images of another day 0.35 m aside."""
    from ms2cl_ros.tools.convert import convert_kitti_raw
    from ms2cl_ros.training.city.drive import synthesize
    from ms2cl_ros.training.city.recipe import Recipe
    folder = tmp_path_factory.mktemp("street")
    made = synthesize(folder / "drive", Recipe(seed=5, length=LENGTH), step_m=STEP, image_scale=0.4,
                      azimuth_step_deg=0.45, workers=1)
    for drive, name in zip(made.drives, ("map_bag", "query_bag")):
        convert_kitti_raw(drive.folder, folder / name, poses=drive.folder / "poses_base.txt")
    config = config_of(folder, made.drives[0].folder)
    # without rendered views: which ones there are depends on when a node has time for them
    config = replace(config, views=replace(config.views, spacing=0.0))
    return folder / "map_bag", folder / "query_bag", config


@pytest.fixture(scope="module")
def offline(street):
    """What `ms2cl map` and `ms2cl localize` make of it."""
    map_, query, config = street
    path = map_.parent / "offline.db"
    return map_bag(map_, path, config), localize_bag(query, path, config)


def test_offline_every_scan_becomes_a_submap_and_every_image_a_match(offline):
    mapped, found = offline
    assert mapped.submaps == mapped.seen == pytest.approx(LENGTH / STEP, abs=2)
    assert len(found.matches) == found.seen == mapped.seen
    assert not mapped.dropped
    assert not found.dropped


def test_most_places_are_found_again_on_another_day(street, offline):
    from ms2cl_ros.core.encoder import Encoder
    from ms2cl_ros.core.maps.database import open_map
    from ms2cl_ros.tools.evaluation import recalls
    from ms2cl_ros.tools.offline import truth
    map_, query, config = street
    motion = truth(query, config)
    matches = offline[1].matches
    truths = [motion.base(m.stamp_ns).T_map_base for m in matches]
    with open_map(map_.parent / "offline.db", Encoder.load(config.encoder).sidecar, write=False) as store:
        submaps = [T for _, _, T in store.poses()]
    by = {(r.rank, r.radius): r for r in recalls(matches, [], truths, submaps)}
    assert by[1, 5.0].chance <= 0.05
    # submaps are 6 m apart here, three times what the model was trained to bridge
    assert by[5, 10.0].value > 0.5


def stored(config):
    """{stamp: (pose, descriptors of its first view)} of a map's submaps."""
    from ms2cl_ros.core.encoder import Encoder
    from ms2cl_ros.core.maps.database import open_map
    with open_map(config.store.database, Encoder.load(config.encoder).sidecar, write=False) as store:
        return {stamp: (T, store.submap(i).views[0].descriptors) for i, stamp, T in store.poses()}


def localized(monkeypatch, query, config, heard):
    """What `ms2cl localize` makes, in a node's map, of the images that a node answered, by stamp."""
    from ms2cl_ros.core.messages import stamp_ns
    from ms2cl_ros.tools import offline
    every = offline._each

    def each(bag, topic, progress):
        return (m for m in every(bag, topic, progress) if "info" in topic or stamp_ns(m.header.stamp) in heard)
    monkeypatch.setattr(offline, "_each", each)
    return {m.stamp_ns: m for m in localize_bag(query, config.store.database, config).matches}


def test_the_nodes_store_and_answer_what_the_offline_run_does(street, offline, ros, tmp_path, monkeypatch):
    from ms2cl_ros.ros.replay import Drive, run, write_summary
    map_, query, config = street
    # odometry is waited for, however busy the machine
    config = replace(config, store=replace(config.store, database=str(tmp_path / "map.db")),
                     trust=replace(config.trust, odometry_wait=30.0))
    stages = []
    drive, offline_map = Drive("small street", map_, query), str(map_.parent / "offline.db")
    outcome = run(drive, tmp_path, config, stages.append, lambda done, total: None)
    assert len(stages) == 4
    mine, theirs = stored(config), stored(replace(config, store=replace(config.store, database=offline_map)))
    assert len(outcome.submaps) == len(mine)
    assert 2 * len(mine) > len(theirs), "a busy machine may pass over some"
    for stamp, (T, descriptors) in mine.items():
        np.testing.assert_allclose(T, theirs[stamp][0], atol=1e-6)
        np.testing.assert_allclose(descriptors, theirs[stamp][1], atol=1e-3)
    assert 2 * len(outcome.matches) > len(offline[1].matches), "a busy machine may pass over some"
    expected = localized(monkeypatch, query, config, {m.stamp_ns for m in outcome.matches})
    assert len(expected) == len(outcome.matches)
    for match in outcome.matches:
        twin = expected[match.stamp_ns]
        assert (match.state == "MATCHED") == (twin.state == "MATCHED")
        if match.state == "MATCHED":
            np.testing.assert_allclose(match.T_map_base, twin.T_map_base, atol=1e-6)
            np.testing.assert_allclose(match.covariance, twin.covariance, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose([c.T_map_base for c in match.candidates],
                                   [c.T_map_base for c in twin.candidates], atol=1e-6)
    assert any(m.state == "MATCHED" for m in outcome.matches)
    write_summary(tmp_path / "summary.json", outcome.summary)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["submaps"] == len(mine)
    assert summary["scan_rate_kept"] == len(mine) / len(theirs)
    assert 0 < summary["latency_ms"]["median"] <= summary["latency_ms"]["p95"]


def test_a_node_that_cannot_start_ends_the_run_with_its_own_words(street, ros, tmp_path):
    from ms2cl_ros.core.errors import Ms2clError
    from ms2cl_ros.ros.replay import Drive, run
    map_, query, config = street
    config = replace(config, store=replace(config.store, database="/proc/map.db"))
    with pytest.raises(Ms2clError, match=r"submap_mapper ended with exit code 1.*proc/map\.db"):
        run(Drive("no map", map_, query), tmp_path, config, lambda text: None, lambda done, total: None)


def test_the_picture_of_a_run_is_drawn(street, offline, tmp_path):
    import cv2

    from ms2cl_ros.core.encoder import Encoder
    from ms2cl_ros.core.maps.database import open_map
    from ms2cl_ros.tools.offline import truth
    from ms2cl_ros.tools.report import draw, examples
    pytest.importorskip("matplotlib")
    map_, query, config = street
    config = replace(config, store=replace(config.store, database=str(map_.parent / "offline.db")))
    matches, motion = offline[1].matches, truth(query, config)
    truths = [motion.base(m.stamp_ns).T_map_base for m in matches]
    with open_map(config.store.database, Encoder.load(config.encoder).sidecar, write=False) as store:
        submaps = [T for _, _, T in store.poses()]
    shown = examples(query, config, [matches[0].stamp_ns, matches[7].stamp_ns])
    told = [matches[i].candidates[0].score for i in (0, 7)]
    assert shown[0].score == pytest.approx(told[0], abs=1e-5)
    # the run had learnt from the pictures between what this camera's have in common
    assert shown[1].score == pytest.approx(told[1], abs=0.05)
    draw(tmp_path / "report.png", "a small street", matches, truths, submaps, shown)
    assert cv2.imread(str(tmp_path / "report.png")).shape[0] > 500


def test_the_defaults_are_those_that_the_demo_starts_from(street):
    _, _, config = street
    assert replace(config, frames=Config().frames, store=Config().store, views=Config().views) == Config()
