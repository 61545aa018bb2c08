# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""AC3D meshes, as FlightGear and TORCS keep them: a text file of nested objects, turned into triangles, z up.

AC3D has y up; a vertex (x, y, z) of the file becomes (x, -z, y), which is a rotation, so nothing is mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ms2cl_ros.core.errors import DataError

POLYGON, STRIP = 0, 4
_Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


@dataclass(frozen=True)
class Mesh:
    """n triangles. `corners`: (n, 3, 3) float32, metres, z up; `uv`: (n, 3, 2) float32, v up; `picture`: (n,) int32
    into `pictures`, the names of the texture files, -1 for none; `material`: (n,) int32 into `colours` (m, 3) float32
    sRGB and `clear` (m,) float32, 0 opaque to 1 invisible."""

    corners: np.ndarray
    uv: np.ndarray
    picture: np.ndarray
    material: np.ndarray
    pictures: tuple[str, ...]
    colours: np.ndarray
    clear: np.ndarray


def read_ac3d(path: str | Path) -> Mesh:
    """Reads one file. Raises DataError, with the line number, for a file that is no AC3D or breaks its own counts."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as e:
        raise DataError(f"cannot read the mesh {path} ({e.strerror}); name a readable AC3D file (.ac, .acc)") from e
    if not lines or not lines[0].startswith("AC3D"):
        raise DataError(f"{path}:1: an AC3D mesh starts with 'AC3Db'; this file has {(lines or [''])[0][:20]!r}")
    reader = _Reader(str(path), lines)
    reader.read()
    return reader.mesh()


@dataclass
class _Object:
    """What an OBJECT block says before its kids."""

    picture: int = -1
    repeat: np.ndarray = field(default_factory=lambda: np.ones(2))
    offset: np.ndarray = field(default_factory=lambda: np.zeros(2))
    loc: np.ndarray = field(default_factory=lambda: np.zeros(3))
    rot: np.ndarray = field(default_factory=lambda: np.eye(3))
    vertices: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    fans: list[tuple[int, np.ndarray, np.ndarray]] = field(default_factory=list)


class _Reader:
    """A cursor over the lines; every complaint names the line it stands on."""

    def __init__(self, path: str, lines: list[str]) -> None:
        self.path, self.lines, self.at = path, lines, 1
        self.pictures: list[str] = []
        self.colours: list[list[float]] = []
        self.clear: list[float] = []
        self.parts: list[tuple[np.ndarray, np.ndarray, int, int]] = []

    def read(self) -> None:
        """The whole file: materials, then objects."""
        while self.at < len(self.lines):
            word = self._peek()
            if word == "MATERIAL":
                self._material()
            elif word == "OBJECT":
                self._object(np.eye(3), np.zeros(3))
            else:
                self.at += 1

    def mesh(self) -> Mesh:
        """All triangles that were read."""
        count = [len(p[0]) for p in self.parts]
        corners = np.concatenate([p[0] for p in self.parts]) if count else np.zeros((0, 3, 3))
        return Mesh(
            (corners @ _Z_UP.T).astype(np.float32),
            (np.concatenate([p[1] for p in self.parts]) if count else np.zeros((0, 3, 2))).astype(np.float32),
            np.repeat([p[2] for p in self.parts], count).astype(np.int32),
            np.repeat([p[3] for p in self.parts], count).astype(np.int32),
            tuple(self.pictures),
            np.array(self.colours or [[1.0, 1.0, 1.0]], np.float32),
            np.array(self.clear or [0.0], np.float32),
        )

    def _fail(self, what: str, at: int | None = None) -> DataError:
        line = min(self.at if at is None else at, len(self.lines) - 1)
        return DataError(f"{self.path}:{line + 1}: {what}; found {self.lines[line][:60]!r}. Mend or leave out the file")

    def _peek(self) -> str:
        words = self.lines[self.at].split(maxsplit=1) if self.at < len(self.lines) else []
        return words[0] if words else ""

    def _numbers(self, words: list[str], n: int, what: str) -> list[float]:
        try:
            if len(words) < n:
                raise ValueError
            return [float(w) for w in words[:n]]
        except ValueError:
            raise self._fail(f"{what} needs {n} numbers") from None

    def _count(self, what: str) -> int:
        words = self.lines[self.at].split()
        if len(words) < 2 or not words[1].isdigit():
            raise self._fail(f"{what} needs a count")
        return int(words[1])

    def _block(self, n: int, what: str) -> list[str]:
        """The n lines after this one."""
        start = self.at + 1
        if start + n > len(self.lines):
            raise self._fail(f"the file ends within {what}: {n} lines were announced", len(self.lines) - 1)
        self.at = start + n
        return self.lines[start : start + n]

    def _rows(self, n: int, what: str) -> np.ndarray:
        """(n, 3) float64 from the first three words of the n lines after this one."""
        start = self.at + 1
        block = self._block(n, what)
        try:
            return np.array([line.split()[:3] for line in block], float).reshape(n, 3)
        except ValueError:
            for i, line in enumerate(block):
                self.at = start + i
                self._numbers(line.split(), 3, f"each line of {what}")
            raise

    def _material(self) -> None:
        words = self.lines[self.at].rpartition('"')[2].split()
        if "rgb" not in words:
            raise self._fail("MATERIAL needs 'rgb' and 3 numbers")
        self.colours.append(self._numbers(words[words.index("rgb") + 1 :], 3, "MATERIAL rgb"))
        clear = words[words.index("trans") + 1 :] if "trans" in words else ["0"]
        self.clear.append(self._numbers(clear, 1, "MATERIAL trans")[0])
        self.at += 1

    def _object(self, turn: np.ndarray, shift: np.ndarray) -> None:
        """One OBJECT block and its kids, in the frame of its parent."""
        thing, opened = _Object(), self.at
        self.at += 1
        while (word := self._peek()) != "kids":
            if self.at >= len(self.lines) or word == "OBJECT":
                raise self._fail("an OBJECT ends without 'kids'", opened)
            self._attribute(thing, word)
        kids = self._count("kids")
        self.at += 1
        turn, shift = turn @ thing.rot.T, turn @ thing.loc + shift
        self._triangles(thing, thing.vertices @ turn.T + shift)
        for _ in range(kids):
            while self.at < len(self.lines) and self._peek() != "OBJECT":
                self.at += 1
            if self.at >= len(self.lines):
                raise self._fail(f"an OBJECT announces {kids} kids and the file ends before them", opened)
            self._object(turn, shift)

    def _attribute(self, thing: _Object, word: str) -> None:
        """One attribute of an object; what a mesh does not need (names, creases, links) is passed over."""
        words = self.lines[self.at].split()
        if word == "numvert":
            thing.vertices = self._rows(self._count("numvert"), "numvert")
            return
        if word == "SURF":
            self._surface(thing)
            return
        if word == "texture":
            self._texture(thing)
        elif word in ("texrep", "texoff"):
            pair = np.array(self._numbers(words[1:], 2, word))
            thing.repeat, thing.offset = (pair, thing.offset) if word == "texrep" else (thing.repeat, pair)
        elif word == "loc":
            thing.loc = np.array(self._numbers(words[1:], 3, "loc"))
        elif word == "rot":
            thing.rot = np.array(self._numbers(words[1:], 9, "rot")).reshape(3, 3)
        elif word == "data":
            self.at += 1
        self.at += 1

    def _texture(self, thing: _Object) -> None:
        """`texture "FILE"`; of TORCS's layers (base, tiled, skids, shad) only the first counts."""
        line = self.lines[self.at]
        name = line.split('"')[1] if line.count('"') >= 2 else [*line.split(), ""][1]
        if not name:
            raise self._fail("texture needs a file name")
        if thing.picture < 0 and name != "empty_texture_no_mapping":
            if name not in self.pictures:
                self.pictures.append(name)
            thing.picture = self.pictures.index(name)

    def _surface(self, thing: _Object) -> None:
        """SURF, mat, refs: a polygon as a fan, a triangle strip as triangles; lines are passed over."""
        opened, words = self.at, self.lines[self.at].split()
        try:
            kind = int(words[1], 16) & 0xF
        except (IndexError, ValueError):
            raise self._fail("SURF needs flags such as 0x30") from None
        self.at += 1
        material = 0
        if self._peek() == "mat":
            material = self._count("mat")
            self.at += 1
        if self._peek() != "refs":
            raise self._fail("SURF needs 'refs'")
        rows = self._rows(self._count("refs"), "refs")
        index = rows[:, 0].astype(int)
        if len(index) and not 0 <= index.min() <= index.max() < len(thing.vertices):
            raise self._fail(f"refs name a vertex outside 0..{len(thing.vertices) - 1}", opened)
        if material >= max(1, len(self.colours)):
            raise self._fail(f"mat {material} was given and the file has {len(self.colours)} materials", opened)
        if kind in (POLYGON, STRIP) and len(rows) >= 3:
            corner = _strip(len(rows)) if kind == STRIP else _fan(len(rows))
            thing.fans.append((material, index[corner], rows[corner, 1:]))

    def _triangles(self, thing: _Object, vertices: np.ndarray) -> None:
        for material, index, uv in thing.fans:
            self.parts.append((vertices[index], uv * thing.repeat + thing.offset, thing.picture, material))


def _fan(n: int) -> np.ndarray:
    """(n - 2, 3) corners of a convex polygon's triangles."""
    k = np.arange(1, n - 1)
    return np.stack([np.zeros_like(k), k, k + 1], 1)


def _strip(n: int) -> np.ndarray:
    """(n - 2, 3) corners of a strip's triangles, every second one turned round."""
    k = np.arange(n - 2)
    odd = k % 2
    return np.stack([k, k + 1 + odd, k + 2 - odd], 1)
