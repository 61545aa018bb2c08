# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ablations: variants of one experiment, each trained for the same time and asked about the same pairs.

    ms2cl ablate config/training/ablation/ten.yaml -o runs/ablation --minutes 30 \\
        --shards 'city=shards/city_*.npz' --test 'city=unseen/city_*.npz'

Stopped and called again, it goes on.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ms2cl_ros.core.errors import ConfigError, DataError
from ms2cl_ros.training.experiment import Experiment, from_tree, overridden
from ms2cl_ros.training.shards import Shards, member

FIGURES = "figures.json"
DERIVED = ("tame", "bare", "few")


@dataclass(frozen=True)
class Variant:
    """A title, what is trained, and the names of the groups of shards that it is trained on."""

    title: str
    experiment: Experiment
    shards: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The title as the name of a folder."""
        return "".join(c if c.isalnum() else "_" for c in self.title)


def variants(path: Path, minutes: float = 0.0, steps: int = 0, seed: int = 0) -> list[Variant]:
    """The variants of a plan, each with the same budget; raises ConfigError naming what is wrong in it."""
    import yaml
    try:
        plan = yaml.safe_load(path.read_text())
        base = yaml.safe_load((path.parent / plan["base"]).read_text())
        listed, usual = plan["variants"], plan["shards"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as e:
        raise ConfigError(f"{path} is no plan of an ablation (base, shards, variants): {e}") from e
    budget = {"schedule": {"minutes": minutes, "steps": steps}, "seed": seed}
    common = overridden(overridden(base, plan.get("common") or {}), budget)
    out = []
    for title, asked in listed.items():
        if unknown := set(asked) - {"changes", "shards"}:
            raise ConfigError(f"{path}: {title} has {sorted(unknown)}; there are changes and shards")
        try:
            experiment = from_tree({**overridden(common, asked.get("changes") or {}), "name": title})
        except ConfigError as e:
            raise ConfigError(f"{path}: {title}: {e}") from e
        out.append(Variant(title, experiment, tuple(asked.get("shards") or usual)))
    return out


def with_derived(groups: Mapping[str, Sequence[Path]]) -> dict[str, list[Path]]:
    """The groups, and of the cities those without random colours, those without photographs and meshes, and as many
    of any kind as the smaller of these two, where they are not given."""
    out = {name: list(paths) for name, paths in groups.items()}
    if "city" in out and not set(DERIVED) <= set(out):
        from ms2cl_ros.training.city.pack import outing
        recipes = {p: outing(int(member(p, "scene")[0]), assets=("some",)).recipe for p in out["city"]}
        out.setdefault("tame", [p for p, recipe in recipes.items() if recipe.wildness == 0.0])
        out.setdefault("bare", [p for p, recipe in recipes.items() if not recipe.assets])
        out.setdefault("few", out["city"][:min(len(out["tame"]), len(out["bare"]))])
    return {name: paths for name, paths in out.items() if paths}


def ablate(plan: Sequence[Variant], folder: Path, groups: Mapping[str, Sequence[Path]],
           tests: Mapping[str, Sequence[Path]], say: Callable[[str], None] = print) -> dict[str, dict[str, Any]]:
    """Trains and asks each variant in a folder of its own, unless that was done before; returns figures by title.

    A variant that wants a group of shards that is not there is left out, which is said. Raises DataError without tests.
    """
    if not tests:
        raise DataError("nothing to test on: give shards that no variant is trained on, --test NAME=PATTERN")
    results: dict[str, dict[str, Any]] = {}
    for variant in plan:
        if lacking := [g for g in variant.shards if g not in groups]:
            say(f"{variant.title}: left out, there are no shards of {', '.join(lacking)}")
            continue
        paths = [p for g in variant.shards for p in groups[g]]
        results[variant.title] = _one(variant, folder / variant.folder, paths, tests, say)
        (folder / "table.md").write_text(table(results))
    return results


def _one(variant: Variant, folder: Path, paths: Sequence[Path], tests: Mapping[str, Sequence[Path]],
         say: Callable[[str], None]) -> dict[str, Any]:
    """The figures of one variant; of an earlier call, if that came so far."""
    from ms2cl_ros.training.train import CHECKPOINT, averaged, train
    if (folder / FIGURES).exists():
        done: dict[str, Any] = json.loads((folder / FIGURES).read_text())
        say(f"{variant.title}: done before")
        return done
    shards = Shards(paths, variant.experiment)
    run = train(variant.experiment, shards, folder, lambda line: say(f"{variant.title}: {line}"))
    model = averaged(folder / CHECKPOINT)[1]
    figures = {"steps": run.step, "minutes": round(run.seconds / 60, 1), "pairs": len(shards),
               "parameters": sum(p.numel() for n, p in model.named_parameters() if ".students." not in n),
               "tests": {name: asked(model, variant.experiment, files) for name, files in tests.items()}}
    unfinished = folder / (FIGURES + ".part")
    unfinished.write_text(json.dumps(figures, indent=1) + "\n")
    unfinished.rename(folder / FIGURES)
    return figures


def asked(model: Any, experiment: Experiment, paths: Sequence[Path]) -> dict[str, Any]:
    """Recall of all images of some shards among all their sweeps and views."""
    from ms2cl_ros.training.validate import embed, recall_figures
    shards = Shards(paths, experiment, training=False)
    rows = np.arange(len(shards))
    return {"pairs": len(rows), **recall_figures(embed(model, experiment, shards, rows), shards, rows)}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a line a variant; of each test R@1 and R@5 among own sweeps and among what a map holds nearby."""
    first = next(iter(results.values()))
    names = list(first["tests"])
    head = ["variant", "steps", "pairs", "parameters", *(f"{n}: {what}" for n in names for what in (
        "own sweep R@1 / R@5", "nearby view R@1 / R@5"))]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for title, r in results.items():
        cells = [title, str(r["steps"]), str(r["pairs"]), f"{r['parameters'] / 1e6:.2f} M"]
        for name in names:
            cells += [" / ".join(f"{100 * r['tests'][name][key][f'recall@{k}']:.1f}" for k in (1, 5))
                      for key in ("own", "nearby")]
        lines.append("| " + " | ".join(cells) + " |")
    tests = "; ".join(f"{n}: {t['pairs']} pairs, chance of R@1 {100 * t['chance']:.2f} %"
                      for n, t in first["tests"].items())
    return "\n".join([*lines, "", f"Per cent; a hit is within 5 m in the right street or drive. {tests}. "
                                  f"{first['minutes']:g} minutes each, one seed.", ""])


def groups_of(texts: Sequence[str]) -> dict[str, list[Path]]:
    """`NAME=PATTERN` texts as files by name; raises DataError where a pattern finds none."""
    out: dict[str, list[Path]] = {}
    for text in texts:
        name, sign, pattern = text.partition("=")
        found = sorted(glob.glob(pattern)) if sign else []
        if not found:
            raise DataError(f"{text}: expected NAME=PATTERN with shards that exist, such as city='shards/city_*.npz'")
        out.setdefault(name, []).extend(Path(p) for p in found)
    return out


def chosen(plan: Path, minutes: float, steps: int, seed: int, titles: Sequence[str] | None) -> list[Variant]:
    """The variants of a plan that have one of the titles, all without titles; raises ConfigError if there is none."""
    every = variants(plan, minutes, steps, seed)
    found = [v for v in every if not titles or v.title in titles]
    if not found:
        raise ConfigError(f"{plan} has no variant {titles}; there are {', '.join(v.title for v in every)}")
    return found
