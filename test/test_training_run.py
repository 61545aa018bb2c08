# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed, that are shared by several processes, whose batches are larger than the memory."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is optional")
if importlib.util.find_spec("timm") is None:
    pytest.skip("timm is not installed: training is optional", allow_module_level=True)

from toy_training import changed, tiny, without_chance, write_experiment, write_shard  # noqa: E402

from ms2cl_ros.training.curves import CURVES, Curves  # noqa: E402
from ms2cl_ros.training.data import batches, draw_batch  # noqa: E402
from ms2cl_ros.training.experiment import Experiment  # noqa: E402
from ms2cl_ros.training.gradients import add_gradients  # noqa: E402
from ms2cl_ros.training.losses import Queue  # noqa: E402
from ms2cl_ros.training.model import CrossModalModel  # noqa: E402
from ms2cl_ros.training.objective import Strips, embedding_terms, encode, range_term  # noqa: E402
from ms2cl_ros.training.shards import Shards  # noqa: E402
from ms2cl_ros.training.train import CHECKPOINT, Run, train  # noqa: E402

HERE = Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write_shard(tmp_path / "part.npz")


def steps_in(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open())) if path.exists() else []


def wait_for(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came for two minutes"
        time.sleep(0.02)


def test_a_run_killed_with_signal_9_goes_on_as_if_nothing_had_been(shard: Path, tmp_path: Path) -> None:
    experiment = changed(tiny(steps=10_000), schedule={"checkpoint_seconds": 0.0}, loss={"queue": 30})
    folder, plan = tmp_path / "run", write_experiment(experiment, tmp_path / "plan.yaml")
    run = subprocess.Popen([sys.executable, "-m", "ms2cl_ros.training.train", plan, folder, shard], env=ENVIRONMENT,
                           stdout=subprocess.DEVNULL)
    wait_for(lambda: len(steps_in(folder / CURVES)) >= 3 or run.poll() is not None)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    told = steps_in(folder / CURVES)
    shards = Shards([shard], experiment)
    second = Run(experiment, shards, folder)
    assert second.resume() and second.step >= 2
    whole = Run(experiment, shards, tmp_path / "whole")
    terms = [whole.advance() for _ in range(second.step)]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert whole.queue is not None and torch.equal(whole.queue.windows, second.queue.windows)
    assert whole.advance() == second.advance()
    for row, found in zip(told, terms):
        assert float(row["contrast"]) == pytest.approx(found["contrast"], rel=1e-6)
    curves = Curves(folder, second.step - 1)
    curves.add(second.step, dict.fromkeys(list(told[0])[1:], 0.5))
    curves.close()
    assert [int(row["step"]) for row in steps_in(folder / CURVES)] == list(range(1, second.step + 1))


def test_curves_lose_what_a_kill_undid_and_half_a_line(tmp_path: Path) -> None:
    first = Curves(tmp_path, 0)
    for step in (1, 2, 3):
        first.add(step, {"contrast": step / 2, "range": 1.0})
    first.held_out(3, {"pairs": 9})
    first.close()
    with open(tmp_path / CURVES, "a") as f:
        f.write("4,2.0")
    again = Curves(tmp_path, 2)
    again.add(3, {"contrast": 7.0, "range": 1.0})
    again.close()
    assert [(row["step"], row["contrast"]) for row in steps_in(tmp_path / CURVES)] == [("1", "0.5"), ("2", "1"),
                                                                                       ("3", "7")]
    assert (tmp_path / "held_out.jsonl").read_text() == ""


def gradients(experiment: Experiment, shards: Shards) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The gradients and the terms of one batch, by name."""
    torch.manual_seed(0)
    model = CrossModalModel(experiment)
    rng = torch.Generator().manual_seed(1)
    further = torch.randn(8, experiment.model.embedding, generator=rng)
    queue = Queue(further / further.norm(dim=1, keepdim=True), torch.arange(8) + 100, torch.zeros(8))
    terms = add_gradients(model, draw_batch(shards, experiment, 0), experiment, queue=queue)
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, terms


def assert_alike(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    """Equal up to rounding: a ten-thousandth of the largest gradient of a parameter, or of all of them."""
    assert set(found) == set(wanted)
    largest = max(float(g.abs().max()) for g in wanted.values())
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5 * largest,
                                   msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("distance", ["cosine", "relational"])
def test_cached_gradients_are_those_of_one_pass(shard: Path, distance: str) -> None:
    experiment = changed(without_chance(tiny()), loss={"distance": distance})
    shards = Shards([shard], experiment)
    whole, terms = gradients(experiment, shards)
    chunked, same = gradients(changed(experiment, schedule={"chunk": 4}), shards)
    assert_alike(chunked, whole)
    for name in terms:
        assert same[name].item() == pytest.approx(terms[name].item(), rel=1e-5)


def test_both_passes_of_cached_gradients_draw_the_same_dropout(shard: Path) -> None:
    """The same as keeping the graphs of all chunks, drawn from the same seed."""
    experiment = changed(tiny(), schedule={"chunk": 4})
    batch = draw_batch(Shards([shard], experiment), experiment, 0)
    torch.manual_seed(0)
    model = CrossModalModel(experiment)
    torch.manual_seed(5)
    terms = add_gradients(model, batch, experiment)
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    torch.manual_seed(5)
    parts = [batch.rows(slice(i, i + 4)) for i in range(0, len(batch), 4)]
    made = [encode(model, part, experiment) for part in parts]
    strips = Strips.of([torch.cat(x) for x in zip(*(s.all() for s, _ in made))])
    want = embedding_terms(strips, batch, model.log_scale, experiment)
    want["range"] = range_term(torch.cat([logits for _, logits in made]), batch, experiment)
    torch.stack(list(want.values())).sum().backward()
    assert_alike(found, {n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert {k: v.item() for k, v in terms.items()} == pytest.approx({k: v.item() for k, v in want.items()}, rel=1e-5)


def test_accumulated_batches_are_averaged(shard: Path, tmp_path: Path) -> None:
    experiment = changed(without_chance(tiny()), schedule={"accumulate": 2})
    shards = Shards([shard], experiment)
    run = Run(experiment, shards, tmp_path)
    want = []
    for number in (0, 1):
        torch.manual_seed(experiment.seed)
        model = CrossModalModel(experiment)
        add_gradients(model, draw_batch(shards, experiment, number), experiment)
        want.append(model.camera.teacher.collapse.weight.grad)
    run.advance()
    found = run.model.camera.teacher.collapse.weight.grad
    mean = (want[0] + want[1]) / 2
    # clipping scales all gradients alike
    torch.testing.assert_close(found / found.norm(), mean / mean.norm(), atol=1e-5, rtol=1e-4)
    assert run.step == 1


def test_workers_prepare_the_batches_that_the_run_itself_would(shard: Path) -> None:
    experiment = tiny()
    shards = Shards([shard], experiment)
    prepared = batches(shards, changed(experiment, schedule={"workers": 1}), first=3)
    for number in (3, 4):
        found, want = next(prepared), draw_batch(shards, experiment, number)
        assert torch.equal(found.image, want.image) and torch.equal(found.ranges, want.ranges)
        assert found.windows == want.windows


def test_hardware_may_change_between_a_kill_and_the_resumed_run(shard: Path, tmp_path: Path) -> None:
    shards = Shards([shard], tiny())
    Run(tiny(), shards, tmp_path).save()
    other = changed(tiny(), schedule={"workers": 3, "chunk": 2, "checkpoint_seconds": 5.0})
    assert Run(other, shards, tmp_path).resume()


SHARED = """
import sys, torch
from pathlib import Path
from ms2cl_ros.training.data import draw_batch
from ms2cl_ros.training.experiment import load
from ms2cl_ros.training.gradients import add_gradients
from ms2cl_ros.training.parallel import join, leave
from ms2cl_ros.training.objective import Strips, embedding_terms, encode, range_term  # noqa: E402
from ms2cl_ros.training.shards import Shards
from ms2cl_ros.training.train import Run

folder, shard = map(Path, sys.argv[1:3])
for name in sys.argv[3:]:
    experiment = load(folder / f"{name}.yaml")
    run = Run(experiment, Shards([shard], experiment), folder / name, join("cpu"))
    terms = add_gradients(run.model, draw_batch(run.shards, experiment, 0), experiment, run.world)
    run.world.average_gradients(run.model.parameters())
    gradients = {n: p.grad.clone() for n, p in run.model.named_parameters() if p.grad is not None}
    losses = [run.advance() for _ in range(2)]
    queue = None if run.queue is None else run.queue.windows
    torch.save((gradients, terms, losses, queue, torch.rand(1)), folder / f"{name}_{run.world.rank}.pt")
    run.save()
leave()
"""


def test_two_processes_equal_one_up_to_rounding(shard: Path, tmp_path: Path) -> None:
    """As `torchrun` starts them: gradients, losses and the queue of a batch of which each has half the rows."""
    plans = {"plain": without_chance(tiny()),
             "chunks": changed(without_chance(tiny()), schedule={"chunk": 2}, loss={"queue": 40, "distance": "mse"})}
    for name, plan in plans.items():
        write_experiment(plan, tmp_path / f"{name}.yaml")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    world = {**ENVIRONMENT, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    both = [subprocess.Popen([sys.executable, script, tmp_path, shard, *plans],
                             env={**world, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in (0, 1)]
    assert [p.wait(timeout=300) for p in both] == [0, 0]
    for name, plan in plans.items():
        run = Run(plan, Shards([shard], plan), tmp_path / f"{name}_alone")
        terms = add_gradients(run.model, draw_batch(run.shards, plan, 0), plan)
        want = {n: p.grad.clone() for n, p in run.model.named_parameters() if p.grad is not None}
        losses = [run.advance() for _ in range(2)]
        drawn = []
        for rank in (0, 1):
            gradients, found, theirs, queue, random = torch.load(tmp_path / f"{name}_{rank}.pt")
            assert_alike(gradients, want)
            drawn.append(random)
            for key in terms:
                assert found[key].item() == pytest.approx(terms[key].item(), rel=1e-5)
                assert [x[key] for x in theirs] == pytest.approx([x[key] for x in losses], rel=2e-3)
            if queue is not None:
                torch.testing.assert_close(queue, run.queue.windows, atol=2e-3, rtol=0.0)
        assert drawn[0] != drawn[1], "their dropout differs"
        assert (tmp_path / name / CHECKPOINT).exists()


def test_a_run_trains_checkpoints_and_tells_its_curve(shard: Path, tmp_path: Path) -> None:
    said: list[str] = []
    experiment = dataclasses.replace(tiny(steps=3), seed=4)
    train(experiment, Shards([shard], experiment), tmp_path / "run", said.append)
    rows = steps_in(tmp_path / "run" / CURVES)
    assert [row["step"] for row in rows] == ["1", "2", "3"] and float(rows[0]["contrast"]) > 0
    assert "min left" in said[1] and "held out: pairs 3" in said[-1]
