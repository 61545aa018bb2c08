# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The documentation: it builds, every command in it parses, and is run here or says why not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import documents
import launch_standin
import numpy as np
import pytest
import typer
from documents import PAGES, ROOT, blocks, everywhere
from kitti_folders import raw_drive

from ms2cl_ros.ros.launch_arguments import arguments, processes

COMMANDS = everywhere()
BLOCKS = [block for path in PAGES for block in blocks(path)]


def command_of(program):
    found = [(where, words, whole) for where, words, whole in COMMANDS if words[0] == program]
    assert found
    names = [f"{where} {' '.join(words)}"[:90] for where, words, _ in found]
    return pytest.mark.parametrize(("where", "words", "whole"), found, ids=names)


@pytest.fixture(scope="session")
def command_line():
    from ms2cl_ros.cli import app
    return typer.main.get_command(app)


@command_of("ms2cl")
def test_every_ms2cl_command_in_the_pages_parses(command_line, where, words, whole):
    # typer brings a click of its own, so that classes are not to be named here
    command, context, rest = command_line, command_line.context_class(command_line, info_name="ms2cl"), list(words[1:])
    while rest and not rest[0].startswith("-") and hasattr(command, "commands"):
        found = command.get_command(context, rest[0])
        assert found is not None or rest[0] in ("...", "…"), f"{where}: there is no `{' '.join(words)}`"
        if found is None:
            return
        command, rest = found, rest[1:]
    if whole:
        assert not hasattr(command, "commands"), f"{where}: `{' '.join(words)}` names no command"
        command.make_context(command.name, rest, parent=context)
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    unknown = [w for w in rest if re.match(r"--?[a-z]", w) and w.split("=")[0] not in known]
    assert not unknown, f"{where}: `{' '.join(words)}` has {unknown}, there are {sorted(known)}"


@command_of("python")
def test_every_script_in_the_pages_is_there_and_has_the_options(where, words, whole):
    name = words[1]
    path = ROOT / (words[2].replace(".", "/") + ".py" if name == "-m" else name)
    assert path.is_file(), f"{where}: {path} is not there"
    source = path.read_text()
    for word in words:
        if re.match(r"--[a-z]", word):
            option = word.split("=")[0]
            argument = option[2:].replace("-", "_")
            assert re.search(rf'"{option}"|\b{argument}: ', source), f"{where}: {path.name} has no {option}"


@command_of("make")
def test_every_make_target_and_variable_in_the_pages_is_there(where, words, whole):
    makefile = (ROOT / "Makefile").read_text()
    for word in words[1:]:
        name = word.split("=")[0]
        pattern = rf"^{name} \?=" if "=" in word else rf"^{name}:"
        assert re.search(pattern, makefile, re.M), f"{where}: the Makefile has no {name}"


@command_of("ros2")
def test_every_ros2_command_in_the_pages_names_what_there_is(where, words, whole):
    if words[1] == "run":
        assert words[3] in launch_standin.entry_points(), where
    elif words[1] == "launch":
        launch = words[3].removesuffix(".launch.py")
        given = dict(word.split(":=", 1) for word in words[4:] if ":=" in word)
        unknown = set(given) - {a.name for a in arguments(launch)}
        assert not unknown, f"{where}: {launch} has no argument {unknown}"
        if whole and "--show-args" not in words:
            assert processes(launch, **given)
    else:
        assert words[1] in ("topic", "lifecycle", "param", "service", "pkg", "bag", "node"), where


def test_every_command_in_the_pages_is_run_by_a_test_or_says_why_not():
    silent = [str(b) for b in BLOCKS if b.mark is None]
    assert not silent, "put `<!-- run -->` or `<!-- not run: why -->` on the line before these: " + ", ".join(silent)


def test_the_names_of_tests_in_the_marks_are_files():
    for block in BLOCKS:
        for name in re.findall(r"test/\w+\.py", block.mark or ""):
            assert (ROOT / name).is_file(), f"{block}: {name}"


@pytest.fixture
def world(tmp_path, monkeypatch, tiny_model):
    """A folder with what the pages call `drive1`, `drive2` and `scans/`; the shipped model's name means a tiny one."""
    from ms2cl_ros.core import encoder
    from ms2cl_ros.tools.convert import Options, convert_kitti_raw
    real = encoder.model_folder
    monkeypatch.setattr(encoder, "model_folder", lambda name: tiny_model if name == "ms2cl_city" else real(name))
    drive = raw_drive(tmp_path)
    convert_kitti_raw(drive, tmp_path / "drive1", Options())
    shutil.copytree(tmp_path / "drive1", tmp_path / "drive2")
    (tmp_path / "scans").mkdir()
    for scan in sorted((drive / "velodyne_points" / "data").glob("*.bin")):
        shutil.copy(scan, tmp_path / "scans")
    for name in ("traj_lidar.txt", "poses.txt"):
        rows = [np.eye(4)[:3] + np.eye(4)[3] * [[float(k)], [0.0], [0.0]] for k in range(4)]
        (tmp_path / name).write_text("".join(" ".join(f"{v:g}" for v in row.ravel()) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def maps_that_are_there(maps):
    """What the page on maps begins with: two days of one place."""
    for name, made in (("campus", "a"), ("monday", "a"), ("tuesday", "b")):
        shutil.copy(maps / f"{made}.db", f"{name}.db")


@pytest.mark.parametrize("page", sorted({b.page for b in BLOCKS if b.mark == "run"}))
def test_the_commands_of_a_page_run_one_after_the_other(world, ms2cl, page, request):
    if page == "docs/map.md":
        maps_that_are_there(request.getfixturevalue("maps"))
    for block in BLOCKS:
        if block.page == page and block.mark == "run":
            for words in block.commands:
                assert words[0] == "ms2cl", f"{block}: only ms2cl's commands are run"
                code, _, said = ms2cl(*words[1:])
                assert code == 0, f"{block}: {' '.join(words)}: {said}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the extra [docs] is not installed")
    out = tmp_path_factory.mktemp("site")
    built = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)], cwd=ROOT,
                           capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return out


def test_the_site_has_a_page_for_each_document_and_needs_no_network(site):
    assert {p.stem for p in (ROOT / "docs").glob("*.md")} <= {p.stem for p in site.glob("*.html")}
    for page in site.glob("*.html"):
        loaded = re.findall(r"""<(?:script|link|img)[^>]*(?:src|href)=["']([^"']+)""", page.read_text())
        assert loaded
        assert not [name for name in loaded if "//" in name], page.name


def test_the_readme_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    missing = [p.name for p in (ROOT / "docs").glob("*.md") if f"docs/{p.name}" not in text and p.name != "index.md"]
    assert not missing, f"the README does not mention {missing}"


def test_blocks_are_read_with_their_marks_as_a_shell_would(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("""Text.

<!-- run -->
```
ms2cl map drive1 \\
  -o a.db  # a comment
```
```python
import ms2cl
```
""")
    (block,) = documents.blocks(page)
    assert (block.mark, block.commands) == ("run", (("ms2cl", "map", "drive1", "-o", "a.db"),))
    assert documents.words("A=b ms2cl map d -o 'a b.db' && rm x") == ("ms2cl", "map", "d", "-o", "a b.db")


def test_an_option_that_there_is_not_is_found(command_line):
    with pytest.raises(Exception, match=r"[Nn]o such option"):
        test_every_ms2cl_command_in_the_pages_parses(command_line, "here", ("ms2cl", "map", "d", "--outptu", "x"), True)
