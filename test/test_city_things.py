# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the city is furnished with from outside: AC3D meshes, the catalogue of assets, photographs on walls."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from ms2cl_ros.core.errors import DataError

pytest.importorskip("trimesh", reason="the city's shrubs need trimesh")
pytest.importorskip("PIL", reason="photographs are read with Pillow")

from soups import lowest, size, soup_bytes

from ms2cl_ros.training.city import fitting, fronts
from ms2cl_ros.training.city.ac3d import read_ac3d
from ms2cl_ros.training.city.asset_classes import ROW, SOLITARY, UPRIGHT, VEHICLE
from ms2cl_ros.training.city.catalogue import Catalogue, Entry
from ms2cl_ros.training.city.skins import Skins, paint_skins, with_assets
from ms2cl_ros.training.city.soup import CAR, box
from ms2cl_ros.training.city.stock import Photograph, Stock, mixed, stocked
from ms2cl_ros.training.city.textures import GLASS, SOLID, TextureBook

# A square of 2 m in the file's x and y, moved by (10, 0, 5) and turned a quarter about the file's y; inside it a kid.
SQUARE = """AC3Db
MATERIAL "red" rgb 0.8 0.1 0.1 amb 0 0 0 emis 0 0 0 spec 0 0 0 shi 10 trans 0
MATERIAL "glass" rgb 1 1 1 amb 0 0 0 emis 0 0 0 spec 0 0 0 shi 10 trans 0.6
OBJECT world
kids 1
OBJECT poly
name "square"
data 5
hello
texture "wall.png"
texrep 2 3
rot 0 0 -1 0 1 0 1 0 0
loc 10 0 5
numvert 4
0 0 0
2 0 0
2 2 0
0 2 0
numsurf 2
SURF 0x30
mat 1
refs 4
0 0 0
1 1 0
2 1 1
3 0 1
SURF 0x02
mat 0
refs 2
0 0 0
1 1 0
kids 1
OBJECT poly
loc 0 1 0
numvert 3
0 0 0
1 0 0
0 1 0
numsurf 1
SURF 0x20
mat 0
refs 3
0 0 0
1 0 0
2 0 0
kids 0
"""


@pytest.fixture(scope="module")
def skins() -> Skins:
    return paint_skins(np.random.default_rng(3))


def write(folder: Path, text: str, name: str = "mesh.ac") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path



def test_an_ac3d_file_gives_the_triangles_that_were_worked_out_by_hand(tmp_path: Path) -> None:
    """In the file (2, 2, 0) turns to (0, 2, -2), moves to (10, 2, 3); y up to z up makes that (10, -3, 2)."""
    mesh = read_ac3d(write(tmp_path, SQUARE))
    a, b, c, d = [10, -5, 0], [10, -3, 0], [10, -3, 2], [10, -5, 2]
    np.testing.assert_allclose(mesh.corners[:2], [[a, b, c], [a, c, d]], atol=1e-6)
    np.testing.assert_allclose(mesh.uv[0], [[0, 0], [2, 0], [2, 3]], atol=1e-6)
    np.testing.assert_allclose(mesh.corners[2], [[10, -5, 1], [10, -4, 1], [10, -5, 2]], atol=1e-6)
    assert mesh.pictures == ("wall.png",)
    assert mesh.picture.tolist() == [0, 0, -1]
    assert mesh.material.tolist() == [1, 1, 0]
    np.testing.assert_allclose(mesh.colours[0], [0.8, 0.1, 0.1], atol=1e-6)
    np.testing.assert_allclose(mesh.clear, [0.0, 0.6], atol=1e-6)


def test_a_triangle_strip_keeps_one_side_outwards(tmp_path: Path) -> None:
    strip = SQUARE.replace("SURF 0x30", "SURF 0x34").replace("2 1 1\n3 0 1", "3 0 1\n2 1 1")
    corners = read_ac3d(write(tmp_path, strip)).corners[:2].astype(float)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[0] * normals[1]).sum() > 0


@pytest.mark.parametrize(
    ("what", "was", "becomes", "line"),
    [
        ("no AC3D", "AC3Db", "P6", 1),
        ("no colour", " rgb 1 1 1", " png 1 1 1", 3),
        ("a word for a number", "2 2 0", "2 two 0", 17),
        ("a vertex too few", "numvert 4", "numvert 3", 20),
        ("a vertex outside", "2 1 1", "7 1 1", 20),
        ("a material outside", "mat 1", "mat 5", 20),
        ("no count", "refs 4", "refs", 22),
        ("a kid too many", "kids 0", "kids 1", 33),
    ],
)
def test_a_malformed_ac3d_file_is_refused_with_the_line(
    tmp_path: Path, what: str, was: str, becomes: str, line: int
) -> None:
    path = write(tmp_path, SQUARE.replace(was, becomes, 1))
    with pytest.raises(DataError, match=rf"mesh\.ac:{line}: "):
        read_ac3d(path)


def test_a_cut_off_ac3d_file_is_refused_and_so_is_a_missing_one(tmp_path: Path) -> None:
    lines = SQUARE.splitlines()
    for kept in range(5, len(lines)):
        with pytest.raises(DataError, match=r"mesh\.ac:\d+: "):
            read_ac3d(write(tmp_path, "\n".join(lines[:kept])))
    with pytest.raises(DataError, match="cannot read the mesh"):
        read_ac3d(tmp_path / "none.ac")



def wedge(tmp_path: Path) -> Path:
    """A car of 4 m along the file's z: a low bonnet at z > 0.5, a high cabin behind it."""
    parts = []
    for x0, x1, z0, z1, top in ((-0.9, 0.9, -2.0, 2.0, 0.8), (-0.8, 0.8, -1.8, 0.3, 1.5)):
        corners = [(x, y, z) for y in (0.2, top) for x, z in ((x0, z0), (x1, z0), (x1, z1), (x0, z1))]
        faces = [(0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7)]
        parts.append("OBJECT poly\nnumvert 8\n" + "".join(f"{x} {y} {z}\n" for x, y, z in corners) + "numsurf 5\n")
        for face in faces:
            parts[-1] += "SURF 0x10\nmat 0\nrefs 4\n" + "".join(f"{i} 0 0\n" for i in face)
        parts[-1] += "kids 0\n"
    head = 'AC3Db\nMATERIAL "m" rgb 0.3 0.3 0.3 amb 0 0 0 emis 0 0 0 spec 0 0 0 shi 0 trans 0\nOBJECT world\nkids 2\n'
    return write(tmp_path, head + "".join(parts), "wedge.ac")


def test_a_vehicle_is_turned_with_its_bonnet_to_the_front_and_put_on_its_wheels(tmp_path: Path) -> None:
    mesh = fitting.fitted(read_ac3d(wedge(tmp_path)), VEHICLE)
    points = mesh.corners.reshape(-1, 3)
    np.testing.assert_allclose(fitting.extent(mesh), (4.0, 1.8, 1.3), atol=1e-3)
    np.testing.assert_allclose(points.min(0), [-2, -0.9, 0], atol=1e-6)
    assert points[points[:, 2] > 1.0, 0].mean() < 0 < points[points[:, 2] < 0.7, 0].max()


def test_fitting_turns_a_mesh_without_mirroring_it(tmp_path: Path) -> None:
    mesh = read_ac3d(wedge(tmp_path))

    def volume(corners: np.ndarray) -> float:
        c = corners.astype(float)
        return float(np.einsum("ni,ni->n", c[:, 0], np.cross(c[:, 1], c[:, 2])).sum() / 6)

    top = mesh.corners[(mesh.corners[..., 2] > 1.4).all(1)].astype(float)
    want = np.sign(np.cross(top[:, 1] - top[:, 0], top[:, 2] - top[:, 0])[:, 2])
    for stance in (VEHICLE, ROW, SOLITARY, UPRIGHT):
        turned = fitting.fitted(mesh, stance)
        up = turned.corners[(mesh.corners[..., 2] > 1.4).all(1)].astype(float)
        np.testing.assert_array_equal(np.sign(np.cross(up[:, 1] - up[:, 0], up[:, 2] - up[:, 0])[:, 2]), want)


def test_a_coarser_mesh_keeps_its_size_to_the_cell(tmp_path: Path) -> None:
    mesh = fitting.fitted(read_ac3d(wedge(tmp_path)), VEHICLE)
    coarse = fitting.coarser(mesh, 0.1)
    assert len(coarse.corners) <= len(mesh.corners)
    np.testing.assert_allclose(fitting.extent(coarse), fitting.extent(mesh), atol=0.1)



@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one good car, one far too long, one broken, and an atlas of fronts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    transport = tmp_path / "data/flightgear/Scenery/Models/Transport"
    text = wedge(tmp_path).read_text().replace("OBJECT poly\n", 'OBJECT poly\ntexture "skin.png"\n')
    write(transport, text, "tcamryred.ac")
    write(transport, text.replace("-2.0", "-9.0"), "tcamryblue.ac")
    write(transport, text.replace("refs 4", "refs"), "vwgolfsilver.ac")
    skin = np.full((1024, 16, 4), (20, 40, 160, 255), np.uint8)
    skin[:512, :, 3] = 150
    cv2.imwrite(str(transport / "skin.png"), skin)
    atlas = np.full((16384, 256, 3), 180, np.uint8)
    atlas[::8, ::2] = 30
    (tmp_path / "data/flightgear/Textures/osm2city").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "data/flightgear/Textures/osm2city/atlas_facades.png"), atlas)
    return tmp_path / "data"


def test_without_folders_the_catalogue_is_empty_and_everything_is_procedural() -> None:
    catalogue = Catalogue.load(())
    stock = stocked(np.random.default_rng(0), catalogue, TextureBook())
    assert len(catalogue) == 0
    assert stock.pick(np.random.default_rng(0), "car") is None
    assert stock.photograph(np.random.default_rng(0), "facade") is None
    own = box(0, 1, 0, 1, 0, 1, 0)
    assert mixed(np.random.default_rng(0), stock, "car", lambda: own, share=1.0) is own


def test_a_folder_without_known_data_is_refused_naming_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"flightgear/Scenery/Models.*torcs/data/textures.*dpkg -x"):
        Catalogue.load((str(tmp_path),))


def test_the_catalogue_knows_class_and_size_and_says_what_it_left_out(assets: Path) -> None:
    catalogue = Catalogue.load((str(assets),))
    (car,) = catalogue.of("car")
    assert car.name == "tcamryred"
    np.testing.assert_allclose(car.size, (4.0, 1.8, 1.3), atol=1e-3)
    reasons = {Path(path).stem: reason for path, reason in catalogue.refused}
    assert "its size" in reasons["tcamryblue"]
    assert "vwgolfsilver.ac:" in reasons["vwgolfsilver"]
    assert len(catalogue.of("facade")) > 20
    assert all(2.0 < e.size[0] < 40 and 4.5 < e.size[2] < 32 for e in catalogue.of("facade"))


def test_the_index_is_read_from_the_cache_and_a_damaged_one_is_made_again(assets: Path) -> None:
    first = Catalogue.load((str(assets),))
    (index,) = (assets.parent / "cache/ms2cl_ros").glob("assets-*.json")
    assert Catalogue.load((str(assets / "flightgear"),)) == first
    index.write_text("{")
    with pytest.warns(UserWarning, match="made again"):
        assert Catalogue.load((str(assets),)) == first
    assert Catalogue.load((str(assets),)) == first


def test_a_catalogued_mesh_comes_with_its_texture_bounded_and_entered_once(assets: Path) -> None:
    (car,) = Catalogue.load((str(assets),)).of("car")
    book = TextureBook()
    soup, again = car.soup(book), car.soup(book)
    assert set(soup.texture.tolist()) == set(again.texture.tolist()) == {1}
    assert set(soup.material.tolist()) == {CAR}
    textures = book.bind()
    assert max(textures.width[1, 0], textures.height[1, 0]) <= 384
    texels = textures.texels[textures.offset[1, 0] : textures.offset[1, 1]]
    np.testing.assert_array_equal(texels[0, :3], [160, 40, 20])
    assert set(np.unique(texels[:, 3])) == {GLASS, SOLID}
    with pytest.raises(DataError, match="is a mesh"):
        car.texture(book)


def test_dark_panes_of_a_photographed_front_are_glass(assets: Path) -> None:
    front = Catalogue.load((str(assets),)).of("facade")[0]
    book = TextureBook()
    number = front.texture(book)
    alpha = book.bind().texels[1:, 3]
    assert number == 1
    assert 0 <= (alpha == GLASS).mean() < 0.5
    assert (alpha == SOLID).mean() > 0.5
    with pytest.raises(DataError, match="is a photograph"):
        front.soup(book)


def test_picks_fit_the_room_and_photographs_the_height() -> None:
    small, large = box(0, 3, 0, 1, 0, 1, 0), box(0, 9, 0, 2, 0, 3, 0)
    stock = Stock({"car": [small, large]}, {"facade": [Photograph(4, 9.0, 6.0, 2), Photograph(5, 9.0, 15.0, 5)]})
    rng = np.random.default_rng(1)
    assert {id(stock.pick(rng, "car", max_length=5.0)) for _ in range(20)} == {id(small)}
    assert {id(stock.pick(rng, "car")) for _ in range(40)} == {id(small), id(large)}
    assert stock.pick(rng, "car", max_height=0.5) is None
    found = stock.photograph(rng, "facade", height=14.0)
    assert found is not None and found.texture == 5
    assert stock.photograph(rng, "facade", height=60.0) is None


def test_the_share_of_assets_is_the_share_asked_for() -> None:
    asset, own = box(0, 3, 0, 1, 0, 1, 0), box(0, 4, 0, 1, 0, 1, 0)
    rng, stock = np.random.default_rng(5), Stock({"car": [asset]})
    taken = np.mean([mixed(rng, stock, "car", lambda: own, share=0.6) is asset for _ in range(2000)])
    assert abs(taken - 0.6) < 0.04


def test_the_same_seed_stocks_the_same_shelves(assets: Path) -> None:
    catalogue = Catalogue.load((str(assets),))
    one, two = (stocked(np.random.default_rng(2), catalogue, TextureBook()) for _ in range(2))
    assert one.photographs == two.photographs
    assert soup_bytes(one.meshes["car"][0]) == soup_bytes(two.meshes["car"][0])


def test_the_real_packages_hold_cars_houses_and_trees_of_believable_size() -> None:
    folder = os.environ.get("MS2CL_ASSETS")
    if not folder:
        pytest.skip("MS2CL_ASSETS does not name a folder with FlightGear's or TORCS's data")
    catalogue = Catalogue.load((folder,))
    book = TextureBook()
    stock = stocked(np.random.default_rng(0), catalogue, book)
    for cls in ("car", "van", "lorry", "house", "hall", "fence", "tree", "lamp", "person"):
        for soup in stock.meshes[cls]:
            assert lowest(soup) > -fitting.ROOT
            assert soup.corners[..., 2].max() > 0.3
    assert all(3.4 <= size(s)[0] <= 5.2 for s in stock.meshes["car"])
    assert book.bind().texels.nbytes < 100e6


def test_without_assets_a_front_is_painted_and_the_skins_stay(skins: Skins) -> None:
    one, two = np.random.default_rng(8), np.random.default_rng(8)
    grey = np.full(3, 150.0)
    painted = fronts.front(one, skins, 12.0, 9.0, grey)
    np.testing.assert_array_equal(painted.image, fronts.facade(two, 12.0, 9.0, grey).image)
    assert one.random() == two.random()
    assert with_assets(skins, (), one) is skins


def test_a_photographed_front_fills_the_wall_and_knows_its_window_axes() -> None:
    """A photograph of 6 x 6 m with panes centred at 1.5 and 4.5 m, on a wall of 12 x 6 m: twice, at 1.5, 4.5, ..."""
    image = np.full((120, 120, 4), (200, 180, 150, SOLID), np.uint8)
    for left in (20, 80):
        image[30:90, left : left + 20] = (40, 40, 60, GLASS)
    front = fronts.photographed(image, 6.0, 6.0, 12.0, 6.0)
    assert front.image.shape == (96, 192, 4) and front.storeys == 2
    np.testing.assert_allclose(front.columns, [1.5, 4.5, 7.5, 10.5], atol=0.1)
    np.testing.assert_array_equal(fronts.tone(front.image), [200, 180, 150])


def test_assets_take_the_place_of_some_painted_skins(assets: Path) -> None:
    painted = paint_skins(np.random.default_rng(3))
    mixed_skins = with_assets(painted, (str(assets),), np.random.default_rng(1))
    assert len(mixed_skins.roof) == len(painted.roof)
    assert 0 < len(set(mixed_skins.roof) - set(painted.roof)) < len(painted.roof)
    assert mixed_skins.leaf == painted.leaf
    assert mixed_skins.stock.pick(np.random.default_rng(0), "car") is not None


def test_an_entry_of_a_lost_file_says_so(tmp_path: Path) -> None:
    lost = Entry("car", "lost", str(tmp_path / "lost.ac"), (4.0, 1.8, 1.4), 10)
    with pytest.raises(DataError, match="cannot read the mesh"):
        lost.soup(TextureBook())
