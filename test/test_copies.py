# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`Store.save`: a copy is a whole map of its own, and is put over nothing but an earlier copy."""

import pytest
from tiny_submaps import MODEL, rendered, submap

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.database import open_map


def test_a_saved_copy_is_a_map_of_its_own_while_the_first_goes_on(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        writer.add(submap(1.0, points=5))
        writer.save(tmp_path / "copy.db")
        writer.add(submap(2.0))
        assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(("copy", ".copy"))) == \
            ["copy.db", "copy.db.lock"]
        with open_map(tmp_path / "copy.db", MODEL, write=True) as copy:
            assert (copy.count(), copy.check()) == (1, [])
            copy.add(submap(9.0))
            with pytest.raises(StoreError, match="another process"):
                writer.save(tmp_path / "copy.db")
        writer.save(tmp_path / "copy.db")  # over an earlier copy
        with open_map(tmp_path / "copy.db", MODEL, write=False) as copy:
            assert [stamp for _, stamp, _ in copy.poses()] == [10**9, 2 * 10**9]


def test_a_copy_has_none_of_the_room_that_removed_submaps_have_left(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        kept = [writer.add(submap(float(x), points=3000)).id for x in range(20)]
        writer.add_views(kept[19], [rendered(19.0, 1.0)])
        writer.remove(kept[:18])
        writer.save(tmp_path / "copy.db")
        with open_map(tmp_path / "copy.db", MODEL, write=True) as copy:
            assert copy.check() == []
            assert [key for key, _, _ in copy.poses()] == kept[18:]
            assert (copy.sessions(), copy.unrendered()) == (writer.sessions(), [kept[18]])
            assert copy.add(submap(30.0)).id == 21, "ids of removed submaps are not given again"
    assert (tmp_path / "copy.db").stat().st_size < 0.4 * (tmp_path / "m.db").stat().st_size


def test_a_copy_is_never_put_over_the_map_itself_or_over_what_is_no_map(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work " * 100)
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        writer.add(submap(1.0))
        with pytest.raises(StoreError, match="not overwritten"):
            writer.save(tmp_path / "thesis.txt")
        for target in (tmp_path / "m.db", tmp_path):
            with pytest.raises(StoreError, match="name another file"):
                writer.save(target)
    assert (tmp_path / "thesis.txt").read_text() == "years of work " * 100
