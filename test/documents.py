# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The commands in the README and the documentation: where they stand, what a shell makes of them, what is marked."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")])
MARK = re.compile(r"<!-- (run|not run: .{8,}) -->")
PROGRAMS = frozenset({"ms2cl", "make", "python", "python3", "ros2", "pip", "git", "colcon", "cd", "export", "psql",
                      "rviz2", "torchrun", "createdb", "source", "."})
INLINE = re.compile(r"`((?:ms2cl|ros2 (?:run|launch) ms2cl_ros|python benchmarks/|python -m ms2cl_ros\.|make )[^`]*)`")


@dataclass(frozen=True)
class Block:
    """A fenced or indented block of commands. `mark`: the comment before it, None if there is none."""

    page: str
    line: int
    mark: str | None
    commands: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """The blocks of a page that have a command in them; blocks of another language are none."""
    lines, out, i = path.read_text().splitlines(), [], 0
    while i < len(lines):
        fence = re.match(r"( *)```(\w*)\s*$", lines[i])
        indented = lines[i].startswith("    ") and not lines[i].lstrip().startswith(("-", "*")) and (
            i == 0 or not lines[i - 1].strip())
        if not fence and not indented:
            i += 1
            continue
        begin = i
        i += 1
        if fence:
            while not re.match(r" *```\s*$", lines[i]):
                i += 1
            body = lines[begin + 1:i]
            i += 1
        else:
            while i < len(lines) and (lines[i].startswith("    ") or not lines[i].strip()):
                i += 1
            body = lines[begin:i]
        commands = tuple(c for c in map(words, joined(body)) if c and c[0] in PROGRAMS)
        if commands and not (fence and fence[2] not in ("", "sh", "bash", "console")):
            before = next((text for text in reversed(lines[:begin]) if text.strip()), "")
            mark = MARK.fullmatch(before.strip())
            out.append(Block(shown(path), begin + 1, mark[1] if mark else None, commands))
    return out


def shown(path: Path) -> str:
    """A page's name within the repository."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def joined(lines: list[str]) -> list[str]:
    """Lines with what follows a backslash put behind them."""
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def words(line: str) -> tuple[str, ...]:
    """The words of one command; of several in a line the first. Empty for a line that no shell would read."""
    try:
        found = shlex.split(line, comments=True)
    except ValueError:
        return ()
    while found and re.fullmatch(r"[A-Z_]+=\S*", found[0]):
        found = found[1:]
    stop = next((k for k, word in enumerate(found) if word in ("&&", "|", ";", ">")), len(found))
    return tuple(found[:stop])


def everywhere() -> list[tuple[str, tuple[str, ...], bool]]:
    """Every command of every page: where it stands, its words, and whether it is whole (in a block)."""
    out = []
    for path in PAGES:
        out += [(str(b), command, True) for b in blocks(path) for command in b.commands]
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
        out += [(shown(path), words(" ".join(found.split())), False) for found in INLINE.findall(text)]
    return [entry for entry in out if entry[1]]
