# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From shards to an exported model in one go; smaller files; variants at equal budget."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is optional")
if importlib.util.find_spec("timm") is None:
    pytest.skip("timm is not installed: training is optional", allow_module_level=True)
onnx = pytest.importorskip("onnx", reason="onnx is needed to export")

from toy_training import changed, tiny, write_experiment, write_shard  # noqa: E402

from ms2cl_ros.core.config import EncoderConfig  # noqa: E402
from ms2cl_ros.core.encoder import Encoder  # noqa: E402
from ms2cl_ros.core.errors import ConfigError, DataError  # noqa: E402
from ms2cl_ros.training.ablate import ablate, chosen, groups_of, table, variants, with_derived  # noqa: E402
from ms2cl_ros.training.experiment import Experiment  # noqa: E402
from ms2cl_ros.training.export import export, export_onnx  # noqa: E402
from ms2cl_ros.training.model import CrossModalModel  # noqa: E402
from ms2cl_ros.training.offline import CitiesPlan, pack_cities, train_and_export, with_budget  # noqa: E402
from ms2cl_ros.training.weights import read_model  # noqa: E402

COUNTERS = {"pairs": 1, "streets": 1, "step": 1, "seconds": 1.0}


@pytest.fixture
def model() -> CrossModalModel:
    torch.manual_seed(0)
    return CrossModalModel(tiny()).eval()


def size_of(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in ("camera.onnx", "lidar.onnx"))


def test_half_the_weights_are_half_the_file_nearly_the_same_model_and_can_be_trained_on(model: CrossModalModel,
                                                                                        tmp_path: Path) -> None:
    whole = export(tiny(), model, COUNTERS, tmp_path / "whole")
    half = export(tiny(), model, COUNTERS, tmp_path / "half", weights="float16")
    weights = sum(p.numel() for n, p in model.named_parameters() if ".students." not in n)
    assert size_of(tmp_path / "whole") - size_of(tmp_path / "half") > 1.9 * 0.9 * weights
    assert whole.training["weights"] == "float32" and half.training["weights"] == "float16"
    assert max(half.training["onnx_against_torch"].values()) < 0.01
    picture = np.random.default_rng(0).integers(0, 255, (32, 64, 3), dtype=np.uint8)
    seen = [Encoder.load(EncoderConfig(model=str(tmp_path / name))).embed_image(picture, np.ones((32, 64), bool))[0]
            for name in ("whole", "half")]
    assert seen[0] @ seen[1] > 0.9999
    names = {i.name: i.data_type for i in onnx.load(tmp_path / "half" / "lidar.onnx").graph.initializer}
    assert names["teacher.project.2.weight"] == onnx.TensorProto.FLOAT16, "constants keep the names of the modules"
    for folder, tolerance in (("whole", 0.0), ("half", 1e-3)):
        _, experiment, again = read_model(tmp_path / folder)
        assert experiment == tiny()
        for name, value in model.named_parameters():
            if ".students." not in name and name != "log_scale" and "lidar.trunk.norms" not in name:
                torch.testing.assert_close(again.get_parameter(name), value, rtol=tolerance, atol=tolerance, msg=name)


def test_int8_is_smaller_and_still_reads(model: CrossModalModel, tmp_path: Path) -> None:
    found = {w: export_onnx(model.lidar, tmp_path / f"{w}.onnx", "range_image", (2, 16, 320), w)
             for w in ("float32", "int8")}
    kinds = {n.op_type for n in onnx.load(tmp_path / "int8.onnx").graph.node}
    assert "MatMulInteger" in kinds and found["float32"] < 1e-4 < found["int8"] < 0.5


def test_one_call_trains_exports_and_tells_what_the_exported_files_score(tmp_path: Path) -> None:
    shard, said = write_shard(tmp_path / "part.npz"), []
    plan = with_budget(tiny(steps=900), 0.0, 2, "cpu")
    made = train_and_export(plan, [shard], tmp_path / "run", tmp_path / "made", "float16", say=said.append)
    assert made.training["steps"] == 2 and made.evaluation["held_out_streets"]["pairs"] == 3
    assert "| cities | what a map holds nearby |" in (tmp_path / "made" / "README.md").read_text()
    again = train_and_export(plan, [shard], tmp_path / "run", tmp_path / "made", "float16", say=said.append)
    assert again.fingerprint == made.fingerprint and any("resumed at step 2" in line for line in said)


def test_a_budget_is_minutes_or_steps() -> None:
    assert with_budget(tiny(), 3.0, 0, "").schedule.minutes == 3.0
    with pytest.raises(ConfigError, match="either minutes"):
        with_budget(tiny(), 3.0, 5, "")


def test_cities_are_packed_on_the_grids_of_the_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trimesh", reason="the city's trees need trimesh")
    pytest.importorskip("embreex", reason="tracing the city needs embreex")
    from ms2cl_ros.training.city import pack as packing
    asked = []
    monkeypatch.setattr(packing, "pack", lambda *a, **k: asked.append((a, k)))
    paths = pack_cities(CitiesPlan(2, 40, assets=("here",)), tiny(), tmp_path)
    assert [p.name for p in paths] == ["city_40.npz", "city_41.npz"]
    assert asked[0][0] == (tmp_path, 40, 2, tiny().camera.grid, tiny().lidar.grid)
    assert asked[0][1]["assets"] == ("here",) and asked[0][1]["workers"] is None
    whole = dataclasses.replace(changed(tiny(), camera={"grid": None, "size": (32, 64), "projection": "whole_image"}),
                                range_map=None)
    with pytest.raises(ConfigError, match="ms2cl pairs --experiment"):
        pack_cities(CitiesPlan(1), whole, tmp_path)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    write_experiment(tiny(), tmp_path / "base.yaml")
    tree = {"base": "base.yaml", "shards": ["some"], "common": {"data": {"turns": 1.0}}, "variants": {
        "complete": {}, "global pooling": {"changes": {"model": {"around": False, "columns": 1}}},
        "elsewhere": {"shards": ["nowhere"]}}}
    (tmp_path / "plan.yaml").write_text(json.dumps(tree))
    return tmp_path / "plan.yaml"


def test_an_ablation_trains_each_variant_once_and_prints_a_table(plan: Path, tmp_path: Path) -> None:
    shard, said = write_shard(tmp_path / "part.npz"), []
    groups = groups_of([f"some={tmp_path}/part*.npz"])
    results = ablate(variants(plan, steps=2), tmp_path / "out", groups, {"unseen": [shard]}, said.append)
    assert list(results) == ["complete", "global pooling"]
    assert any("elsewhere: left out" in line and "nowhere" in line for line in said)
    assert results["complete"]["steps"] == 2 and results["complete"]["tests"]["unseen"]["pairs"] == 60
    again = ablate(chosen(plan, 0.0, 2, 0, ["complete"]), tmp_path / "out", groups, {"unseen": [shard]}, said.append)
    assert again["complete"] == results["complete"] and said[-1] == "complete: done before"
    text = table(results)
    assert "| global pooling | 2 | 60 |" in text and "chance of R@1 1.67 %" in text


def test_a_plan_or_a_pattern_with_a_mistake_is_refused(plan: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no variant"):
        chosen(plan, 1.0, 0, 0, ["complet"])
    with pytest.raises(DataError, match="NAME=PATTERN"):
        groups_of([f"some={tmp_path}/nothing*.npz"])
    with pytest.raises(ConfigError, match="no plan"):
        variants(tmp_path / "base.yaml", 1.0)


def test_tame_and_bare_cities_are_told_by_their_seeds(tmp_path: Path) -> None:
    pytest.importorskip("trimesh", reason="the city's trees need trimesh")
    pytest.importorskip("embreex", reason="tracing the city needs embreex")
    from ms2cl_ros.training.city.pack import outing
    paths = [tmp_path / f"city_{seed}.npz" for seed in range(12)]
    for seed, path in enumerate(paths):
        np.savez(path, scene=np.array([seed]))
    found = with_derived({"city": paths})
    assert 0 < len(found["tame"]) < 12 and 0 < len(found["bare"]) < 12
    assert found["tame"] == [p for s, p in enumerate(paths) if outing(s).recipe.wildness == 0]
    assert found["bare"] == [p for s, p in enumerate(paths) if not outing(s, assets=("x",)).recipe.assets]
    assert len(found["few"]) == min(len(found["tame"]), len(found["bare"]))


def test_an_experiment_of_whole_pictures_says_so_in_its_contract(tmp_path: Path) -> None:
    plan: Experiment = dataclasses.replace(
        changed(tiny(), camera={"grid": None, "size": (32, 64), "projection": "whole_image"}), range_map=None)
    made = export(plan, CrossModalModel(plan).eval(), COUNTERS, tmp_path)
    assert made.camera.projection == "whole_image" and made.camera.grid is None and made.camera.size == (32, 64)
    assert "the whole picture at 32 x 64 pixels" in (tmp_path / "README.md").read_text()
