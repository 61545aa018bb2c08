# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""benchmarks/protocols.py: who asks whom along made-up routes, cities asked alone and together."""

import importlib.util
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from compact_drives import RANGE_MAP, PlaceEmbedder, even_calibration

from ms2cl_ros.core.config import SubmapsConfig
from ms2cl_ros.core.errors import ConfigError
from ms2cl_ros.core.geometry import rotation_z, transform
from ms2cl_ros.tools.evaluate_drive import Asked, Mapped
from ms2cl_ros.tools.routes import Route, base_route
from ms2cl_ros.training.city.offsets import FIRST_SEED

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "protocols.py"
spec = importlib.util.spec_from_file_location("city_protocols", SCRIPT)
assert spec and spec.loader
protocols = importlib.util.module_from_spec(spec)
sys.modules["city_protocols"] = protocols
spec.loader.exec_module(protocols)

UNCALIBRATED = SimpleNamespace(sidecar=SimpleNamespace(calibration={}, name="toy", fingerprint="0" * 64))


def street(n: int = 8, step: float = 8.0, back: bool = False) -> Route:
    poses = [transform([step * i, 3.0 * back, 0.0]) @ rotation_z(np.pi * back) for i in range(n)]
    return base_route(np.stack(poses[::-1] if back else poses), np.arange(float(n)))


def city(name: str, looks: np.ndarray, away: np.ndarray | None = None) -> object:
    """Scans look like rows of `looks` (n, D); images of the other direction like `away`."""
    ahead, behind = street(len(looks)), street(len(looks), back=True)
    scans = Mapped(looks[:, None], ahead, np.zeros(1))
    same = Asked(looks, ahead, np.zeros(len(looks)))
    opposite = Asked(looks[::-1] if away is None else away, behind, np.zeros(len(looks)))
    return protocols.City(name, dict(zip(protocols.ASKS, (
        (same, scans), (same, scans), (opposite, scans), (same, scans), (opposite, scans)))))


def test_a_city_is_asked_in_all_ways_and_the_other_direction_is_told_apart():
    wrong = np.roll(np.eye(8), 4, 0)
    told = protocols.figures([city("00", np.eye(8), wrong)], UNCALIBRATED)
    first = {ask: told[ask]["00"]["descriptor"][5.0] for ask in protocols.ASKS}
    assert [first[ask].ranks["1"] for ask in protocols.ASKS] == [1.0, 1.0, 0.0, 1.0, 0.0]
    assert first["A"].database == 8 and first["A"].chance == pytest.approx(1 / 8)
    assert set(told["A"]) == {"00"} and set(told["A"]["00"]) == {"descriptor"}


def test_cities_that_look_alike_are_taken_for_each_other_only_as_one_map():
    told = protocols.figures([city("00", np.eye(8)), city("05", np.eye(8))], UNCALIBRATED)["E same"]
    assert told["00"]["descriptor"][10.0].ranks["1"] == told["05"]["descriptor"][10.0].ranks["1"] == 1.0
    together = told[protocols.ALL]["descriptor"][10.0]
    # of equal scores the first city's comes first, which for the second city's images is wrong
    assert (together.ranks["1"], together.database, together.asked) == (0.5, 16, 16)
    each = told[protocols.EACH]["descriptor"][10.0]
    assert (each.ranks["1"], each.database, each.asked) == (1.0, 8, 16)


def test_a_city_keeps_its_stretches_of_road_to_itself_in_the_interval():
    told = protocols.figures([city("00", np.eye(8)), city("05", np.eye(8))], UNCALIBRATED)["A"]
    assert told["00"]["descriptor"][5.0].segments == 1 and told["00"]["descriptor"][5.0].interval["1"] is None
    assert told[protocols.ALL]["descriptor"][5.0].segments == 2


def test_the_table_has_a_row_for_each_ask_and_city_and_a_dash_without_calibration():
    table = protocols.markdown(protocols.figures([city("00", np.eye(8)), city("05", np.eye(8))], UNCALIBRATED))
    rows = table.splitlines()
    assert len({row.count("|") for row in rows}) == 1
    assert [tuple(cell.strip() for cell in row.split("|")[1:3]) for row in rows[2:]] == [
        (ask, name) for ask in protocols.ASKS for name in ("00", "05", protocols.EACH, protocols.ALL)]
    assert rows[2] == "| A | 00 | 8 of 8 | 8 | 100.0 | - | 34.4 | 100.0 | - | 12.5 |"


def test_a_calibrated_model_is_told_by_ranges_too():
    encoder = PlaceEmbedder()
    sidecar = SimpleNamespace(calibration=even_calibration().to_mapping(), range_map=RANGE_MAP, name="toy",
                              fingerprint="0" * 64)
    places = np.arange(0, 24, 3)
    images = [encoder.embed_image(np.full((8, 20, 3), 10 + 3 * p, np.uint8), np.ones((8, 20), bool)) for p in places]
    looks, logits = np.stack([i for i, _ in images]), np.stack([r for _, r in images]).astype(np.float16)
    # the camera sees a fifth of the turn
    coarse = np.tile(logits.argmax(1).astype(np.uint8), (1, 1, 5))
    ahead = street(len(places))
    both = Asked(looks, ahead, np.zeros(len(places)), logits), Mapped(looks[:, None], ahead, np.zeros(1), coarse)
    told = protocols.figures([protocols.City("00", dict.fromkeys(protocols.ASKS, both))],
                             SimpleNamespace(sidecar=sidecar))
    assert told["A"]["00"]["both"][5.0].ranks["1"] == 1.0
    written = protocols.plain(told, SimpleNamespace(sidecar=sidecar, headings=1),
                              Namespace(length=400.0, map_step=2.5, ask_step=5.0, routes=["00"]))
    assert written["recall"]["A"]["00"]["both"]["5"]["recall"]["1"] == 1.0
    assert written["headings_per_scan"] == SubmapsConfig().headings
    assert min(written["seeds"].values()) >= FIRST_SEED


def test_a_drive_without_kittis_poses_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("MS2CL_DATA", raising=False)
    args = Namespace(length=400.0, map_step=2.5, ask_step=5.0, workers=1)
    with pytest.raises(ConfigError, match="kitti:06 needs KITTI's odometry poses"):
        protocols.make(tmp_path, "06", args)
    assert not list(tmp_path.glob("*/*/2011_09_26/*_sync"))


def test_drives_that_are_whole_are_not_made_again_but_those_of_other_arguments_are(tmp_path, monkeypatch):
    asked_for = []

    def synthesize(out: Path, recipe: object, *, step_m: float, **_: object) -> SimpleNamespace:
        out.mkdir(parents=True, exist_ok=True)
        asked_for.append((out.name, step_m))
        return SimpleNamespace(length=400.0, drives=())
    monkeypatch.setattr(protocols, "synthesize", synthesize)
    monkeypatch.setattr(protocols, "kitti_passes", lambda folder: [folder.name])
    args = Namespace(length=400.0, map_step=2.5, ask_step=5.0, workers=1)
    assert protocols.make(tmp_path, "08", args) == protocols.make(tmp_path, "08", args) == ("map", ["ask"])
    assert asked_for == [("map", 2.5), ("ask", 5.0)]
    protocols.make(tmp_path, "08", Namespace(**{**vars(args), "ask_step": 4.0}))
    assert asked_for[2:] == [("ask", 4.0)]
