# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of `trust.py` as tables: for the terminal, and for a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trust_cases import Tally

# How images are joined, and whether candidates are compared with ranges.
WAYS = {"one image": ("none", False), "one image, ranges compared": ("none", True),
        "fused with odometry, no ranges": ("odometry", False), "fused with odometry": ("odometry", True),
        "fused without odometry, no ranges": ("constant_velocity", False),
        "fused without odometry": ("constant_velocity", True)}
BEGIN, END = "<!-- trust: figures by benchmarks/trust.py -->", "<!-- trust: end -->"
ROW = ("told", "precision", "recall", "calibration error", "NEES (honest: 95 %)")


def written(rows: dict[str, dict[str, Tally]]) -> dict[str, dict[str, Any]]:
    """Rows as plain figures by target; of k of n, the n with the most recall at each target stands for all."""
    return {row: {target: one.plain() for target, one in by.items()} for row, by in rows.items()}


def cells(p: dict[str, Any]) -> list[str]:
    """One row's figures."""
    precision = "-" if p["precision"] is None else f"{p['precision']:.3f} ({p['right']}/{p['told']}, > {p['low']:.3f})"
    nees = "-" if p["nees"] is None else f"{p['nees']:.2f} ({p['nees_low']:.2f} to {p['nees_high']:.2f})"
    return [f"{p['told']} of {p['images']}", precision, number(p["recall"]), number(p["ece"]), nees]


def number(value: float | None) -> str:
    """Three places, or a dash."""
    return "-" if value is None else f"{value:.3f}"


def tables(out: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...], list[list[str]]]]:
    """(title, heads, rows) of everything."""
    heads = ("drive", "images", "seconds", "submaps", "best candidate right", "one of them right", "chance")
    yield "Drives", heads, [[name, str(d["images"]), f"{d['seconds']:.0f}", str(d["submaps"]), number(d["first_right"]),
                             number(d["any_right"]), f"{d['chance']:.4f}"] for name, d in out["drives"].items()]
    parts = [(f"{name} alone", d["rows"]) for name, d in out["drives"].items()]
    parts += [(f"All {kind} drives, each in its own map", rows) for kind, rows in out["pooled"].items()]
    parts += [(f"All {kind} drives, their maps as one", rows) for kind, rows in out["one_map"].items()]
    for title, rows in parts:
        yield title, ("way", "target", *ROW), [[row, target, *cells(p)] for row, by in rows.items()
                                               for target, p in by.items()]
    for name, cases in out["scenarios"].items():
        yield f"What may happen in the map of {name}, target 0.99", (
            "case", "way", "seconds", "told", "precision", "recall", "after the event"), [
            [case, way, f"{p['seconds']:.0f}", *cells(p)[:3], event(p)]
            for case, by in cases.items() for way, p in by.items()]


def event(p: dict[str, Any]) -> str:
    """What came after it, in words."""
    if "wrong_after" not in p:
        return ""
    again = p["seconds_to_right_again"]
    words = f"{p['wrong_after']} wrong, right again " + ("never" if again is None else f"after {again:.1f} s")
    return words + (f", {p['told_in_the_dark']} told in the dark" if p["told_in_the_dark"] else "")


def show(out: dict[str, Any]) -> None:
    """All tables to the terminal."""
    from rich.console import Console
    from rich.table import Table
    console = Console(width=180)
    console.print(headline(out))
    for title, heads, rows in tables(out):
        table = Table(title=title, title_justify="left")
        for i, head in enumerate(heads):
            table.add_column(head, justify="left" if i < 2 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)


def headline(out: dict[str, Any]) -> str:
    """What was measured with what."""
    return (f"Model {out['model']} ({out['fingerprint']}), {'calibrated' if out['calibrated'] else 'not calibrated'}, "
            f"{out['headings']} headings a view, {out['wall_s']:.0f} s.")


def markdown(out: dict[str, Any], path: Path) -> None:
    """Puts the tables between the two marks of a page; a page without them gets both at its end."""
    text = path.read_text() if path.exists() else ""
    if BEGIN not in text or END not in text:
        text = text.rstrip() + f"\n\n{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN, 1)
    parts = [headline(out)]
    for title, heads, rows in tables(out):
        lines = [f"**{title}**", "", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        parts.append("\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]))
    path.write_text(before + BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + END + rest.split(END, 1)[1])
