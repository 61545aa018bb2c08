# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A catalogue of meshes and photographs that lie outside this repository: by class, with size and footprint.

Every city works without one. With it, `stock` puts a drawn selection on one city's shelves, see stock.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ms2cl_ros.core.errors import DataError
from ms2cl_ros.training.city import pictures
from ms2cl_ros.training.city.ac3d import Mesh, read_ac3d
from ms2cl_ros.training.city.asset_classes import KINDS, Kind, cuts, meshes
from ms2cl_ros.training.city.fitting import coarser, extent, fitted
from ms2cl_ros.training.city.pictures import CUTOUT, FRONT, LEAVES, SHEET, SKIN
from ms2cl_ros.training.city.soup import CAR, Soup
from ms2cl_ros.training.city.textures import TextureBook

VERSION = 7
LOOKED_FOR = ("flightgear/Scenery/Models", "flightgear/Textures", "torcs/cars", "torcs/tracks", "torcs/data/textures")
_PREFIXES = ("", "usr/share/games", "share/games", "games")
_PALE = 0.86


@dataclass(frozen=True)
class Entry:
    """A mesh or, with a `box`, a photograph. `size`: metres along x, y, z of its local frame (photographs: x, z);
    `triangles`: 0 for photographs; `storeys`: 0 for what is no front."""

    cls: str
    name: str
    path: str
    size: tuple[float, float, float]
    triangles: int = 0
    box: tuple[float, float, float, float] | None = None
    storeys: float = 0.0

    def soup(self, book: TextureBook) -> Soup:
        """The mesh in the local frame of soup.py (vehicles: front towards +x), its textures entered in `book`.

        Raises DataError for a photograph and for files that have become unreadable.
        """
        if self.box is not None:
            raise DataError(f"{self.name} is a photograph ({self.cls}); ask for its texture instead of a mesh")
        mesh = _fitted(self.path, self.cls)
        use = _use(KINDS[self.cls])
        numbers = [pictures.texture(book, str(Path(self.path).parent / name), use) for name in mesh.pictures]
        return _soup(mesh, np.array([*numbers, 0], np.int32), KINDS[self.cls])

    def texture(self, book: TextureBook) -> int:
        """The photograph's number in `book`. Raises DataError for a mesh."""
        if self.box is None:
            raise DataError(f"{self.name} is a mesh ({self.cls}); ask for its soup instead of a texture")
        use = FRONT if self.storeys else LEAVES if self.cls.startswith(("leaf", "needle")) else SHEET
        return pictures.texture(book, self.path, use, self.box)


@dataclass(frozen=True)
class Catalogue:
    """All entries, and why files were left out: (path, reason)."""

    entries: tuple[Entry, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def load(folders: tuple[str, ...]) -> Catalogue:
        """What the folders hold; empty without folders. Raises DataError for a folder without known data.

        The result is kept in the user's cache folder and read from there while the folders stay as they are.
        """
        return Catalogue(*(sum(parts, ()) for parts in zip(*(_folder(f) for f in folders)))) if folders else Catalogue()

    def of(self, cls: str) -> list[Entry]:
        """All entries of a class."""
        return [e for e in self.entries if e.cls == cls]

    def __len__(self) -> int:
        return len(self.entries)


@lru_cache(maxsize=8)
def catalogue_of(folders: tuple[str, ...]) -> Catalogue:
    """`Catalogue.load`, once per process."""
    return Catalogue.load(folders)


def _folder(folder: str) -> tuple[tuple[Entry, ...], tuple[tuple[str, str], ...]]:
    """Entries and refusals of one folder, from the cache where it still holds."""
    root = _root(Path(folder).expanduser())
    kept = _cache_file(root)
    if kept is not None and kept.is_file():
        try:
            found = json.loads(kept.read_text())
            return tuple(_entry(e) for e in found["entries"]), tuple((p, r) for p, r in found["refused"])
        except (ValueError, KeyError, TypeError) as e:
            warnings.warn(f"the asset index {kept} is unreadable ({e}) and is made again", stacklevel=2)
    entries, refused = _scan(root)
    if kept is not None:
        _keep(kept, entries, refused)
    return tuple(entries), tuple(refused)


def _root(folder: Path) -> Path:
    """The folder that holds flightgear/ or torcs/; an unpacked package's top folder and these two will do as well."""
    candidates = [folder / p for p in _PREFIXES] + ([folder.parent] if folder.name in ("flightgear", "torcs") else [])
    for candidate in candidates:
        if any((candidate / known).is_dir() for known in LOOKED_FOR):
            return candidate.resolve()
    raise DataError(
        f"{folder} was given as a folder of assets and holds none of {', '.join(LOOKED_FOR)} (nor below "
        "usr/share/games); unpack the Debian packages flightgear-data-base or torcs-data there: dpkg -x PACKAGE.deb DIR"
    )


def _cache_file(root: Path) -> Path | None:
    """Where this folder's index is kept; None where no cache folder is known."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    stamps = [(known, (root / known).stat().st_mtime_ns) for known in LOOKED_FOR if (root / known).is_dir()]
    listed = repr((VERSION, str(root), stamps, meshes(), cuts(), sorted(KINDS.items())))
    return base / "ms2cl_ros" / f"assets-{hashlib.sha256(listed.encode()).hexdigest()[:16]}.json"


def _keep(path: Path, entries: list[Entry], refused: list[tuple[str, str]]) -> None:
    """Written aside and renamed, since several processes may do so at once."""
    aside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps({"entries": [asdict(e) for e in entries], "refused": refused}))
        aside.replace(path)
    except OSError as e:
        warnings.warn(f"the asset index cannot be kept ({e}); every start will read all meshes again", stacklevel=2)


def _entry(fields: dict) -> Entry:
    box = fields["box"]
    return Entry(**{**fields, "size": tuple(fields["size"]), "box": None if box is None else tuple(box)})


def _scan(root: Path) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Reads every listed file that is there."""
    entries: list[Entry] = []
    refused: list[tuple[str, str]] = []
    for cls, below in meshes():
        path = root / below
        if not path.is_file():
            continue
        try:
            mesh = _fitted(str(path), cls)
            size = extent(mesh)
            reason = _unsuitable(mesh, size, KINDS[cls], path)
        except DataError as e:
            reason = str(e)
        if reason:
            refused.append((str(path), reason))
        else:
            entries.append(Entry(cls, path.stem, str(path), size, len(mesh.corners)))
    for i, cut in enumerate(cuts()):
        path = root / cut.path
        if path.is_file():
            size = (cut.size[0], 0.0, cut.size[1])
            entries.append(Entry(cut.cls, f"{path.stem}-{i}", str(path), size, 0, cut.box, cut.storeys))
    return entries, refused


@lru_cache(maxsize=256)
def _fitted(path: str, cls: str) -> Mesh:
    kind = KINDS[cls]
    mesh = fitted(read_ac3d(path), kind.stance, Path(path).stem)
    return coarser(mesh, kind.cell) if kind.cell and len(mesh.corners) > 700 else mesh


def _use(kind: Kind) -> str:
    return CUTOUT if kind.cutout else SKIN if kind.material == CAR else SHEET


def _unsuitable(mesh: Mesh, size: tuple[float, float, float], kind: Kind, path: Path) -> str:
    """Why a mesh is left out, or nothing."""
    if not all(low <= s <= high for low, s, high in zip(kind.low, size, kind.high, strict=True)):
        return f"its size {size} m is not that of its class ({kind.low} to {kind.high})"
    if len(mesh.corners) > kind.triangles:
        return f"its {len(mesh.corners)} triangles are more than {kind.triangles}"
    if _brightness(mesh, path) > _PALE:
        return "it is nearly white"
    return ""


def _brightness(mesh: Mesh, path: Path) -> float:
    """Mean sRGB value, 0 to 1, of what covers the mesh, weighted by area."""
    a, b = mesh.corners[:, 1] - mesh.corners[:, 0], mesh.corners[:, 2] - mesh.corners[:, 0]
    area = np.linalg.norm(np.cross(a, b), axis=1) + 1e-9
    sheets = [pictures.picture(str(path.parent / name), CUTOUT) for name in mesh.pictures]
    shown = [float(s[s[..., 3] > 0, :3].mean() / 255) if (s[..., 3] > 0).any() else 1.0 for s in sheets]
    value = np.where(mesh.picture >= 0, np.array([*shown, 0.0])[mesh.picture], mesh.colours[mesh.material].mean(1))
    return float((value * area).sum() / area.sum())


def _soup(mesh: Mesh, numbers: np.ndarray, kind: Kind) -> Soup:
    """`numbers`: texture numbers of the mesh's pictures, then 0 for what is plain."""
    plain = mesh.picture < 0
    tint = np.where(plain[:, None], np.clip(mesh.colours[mesh.material], 0, 1) ** 2.2, 1.0)
    material = np.full(len(plain), kind.material, np.uint8)
    return Soup(mesh.corners, mesh.uv, numbers[mesh.picture], tint.astype(np.float32), material)
