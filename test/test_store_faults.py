# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Damage of every kind ends in a StoreError or in a map that is right, never in another exception or a wrong answer."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_submaps import MODEL, rendered, submap

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.recovery import recover

PLACES = [float(x) for x in range(1, 13)]
TEST = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A map of twelve submaps with points and rendered views, all in the main file."""
    path = tmp_path_factory.mktemp("sound") / "m.db"
    with open_map(path, MODEL, write=True) as writer:
        for x in PLACES:
            writer.add_views(writer.add(submap(x, points=200)).id, [rendered(x, a) for a in (1.75, 3.5)])
    return path


def child(code: str, *args: object, **more) -> subprocess.CompletedProcess:
    """Runs Python code beside the test, with tiny_submaps at hand."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TEST), str(TEST.parent), *sys.path])}
    return subprocess.run([sys.executable, "-c", code, *map(str, args)], env=env, text=True, capture_output=True,
                          timeout=60, **more)


def answers_are_right(path: Path, write: bool) -> tuple[int, list[str]]:
    """Reads all that a map will give; returns how many views it gave, and its faults. Only StoreError may come."""
    wanted = {}
    for i, x in enumerate(PLACES):
        for j, view in enumerate((submap(x).views[0], rendered(x, 1.75), rendered(x, 3.5))):
            wanted[3 * i + j + 1] = (i + 1, view)
    with open_map(path, MODEL, write=write) as store:
        given = 0
        for read in (store.poses, store.unrendered, store.sessions, store.count, lambda: store.near(np.zeros(2), 50.0)):
            try:
                read()
            except StoreError:
                continue
        try:
            for key, _, view in store.views_after(0):
                owner, expected = wanted[view.id]
                assert key == owner
                np.testing.assert_array_equal(view.descriptors, expected.descriptors)
                np.testing.assert_allclose(view.T_map_base, expected.T_map_base, atol=1e-9)
                given += 1
        except StoreError:
            pass
        for i, x in enumerate(PLACES):
            try:
                back = store.submap(i + 1)
            except StoreError:
                continue
            assert back.stamp_ns == int(x * 1e9)
            np.testing.assert_array_equal(back.T_map_base, submap(x).T_map_base)
            assert np.abs(back.panorama.ranges - submap(x).panorama.ranges).max() <= 0.0051
        return given, store.check()


def test_the_sound_map_gives_every_view(sound):
    assert answers_are_right(sound, False) == (36, [])


@pytest.mark.parametrize("region", ["header", "pages"])
def test_flipped_bytes_end_in_an_error_or_in_right_answers(tmp_path, sound, region):
    rng, data = np.random.default_rng(7), sound.read_bytes()
    refused = 0
    for trial in range(60):
        damaged = bytearray(data)
        high = 100 if region == "header" else len(data)
        for at in rng.integers(0 if region == "header" else 100, high, 1 + trial % 4):
            damaged[at] ^= int(rng.integers(1, 256))
        path = tmp_path / f"{trial}.db"
        path.write_bytes(damaged)
        try:
            answers_are_right(path, write=bool(trial % 2))
        except StoreError:
            refused += 1
    assert refused < 60


def test_a_damaged_name_that_is_no_text_any_more_is_a_clear_error(tmp_path, sound):
    data = sound.read_bytes().replace(b"CREATE TABLE views (", b"CREATE TABLE v\xdcews )")
    (tmp_path / "m.db").write_bytes(data)
    for write in (True, False):
        with pytest.raises(StoreError, match="the file is damaged"):
            open_map(tmp_path / "m.db", MODEL, write=write)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_ends_in_an_error_or_in_right_answers(tmp_path, sound, share):
    data = sound.read_bytes()
    for write in (False, True):
        path = tmp_path / f"{write}.db"
        path.write_bytes(data[:int(len(data) * share)])
        try:
            given, faults = answers_are_right(path, write)
        except StoreError as e:
            assert str(path) in str(e)
        else:
            assert faults or not given


def test_damaged_records_are_left_out_listed_and_removed(tmp_path, sound):
    path = tmp_path / "m.db"
    shutil.copy(sound, path)
    db = sqlite3.connect(path)
    db.execute("UPDATE views SET submap = 2 WHERE id = 1")  # a wrong place, were it believed
    db.execute("UPDATE submaps SET T_map_base = zeroblob(128) WHERE id = 3")
    db.execute("UPDATE scans SET panorama = zeroblob(9) WHERE submap = 4")
    db.execute("UPDATE scans SET points = zeroblob(9) WHERE submap = 5")
    db.commit()
    db.close()
    lines = ["submap 3 is damaged (checksum)", "view 1 of submap 2 is damaged (checksum)",
             "panorama of submap 4 is damaged (checksum)", "points of submap 5 is damaged (checksum)"]
    with open_map(path, MODEL, write=True) as store:
        assert len(list(store.views_after(0))) == 36 - 1 - 3
        assert set(store.damage()) == set(lines[:2])
        assert [key for key, _, _ in store.poses()] == [1, 2, *range(4, 13)]
        with pytest.raises(StoreError, match="prune --damaged"):
            store.panorama(4)
        assert store.update_poses({2: submap(2.0).T_map_base, 3: np.eye(4)}) == 1
        assert set(store.check()) == set(lines)
        assert set(store.drop_damaged()) == set(lines)
        assert (store.check(), store.drop_damaged()) == ([], [])
        assert store.submap(5).points is None
        assert [key for key, _, _ in store.poses()] == [1, 2, *range(5, 13)]


@pytest.mark.parametrize("page", [12, 16, 19])  # the first eleven hold what leads to all the others
def test_what_is_readable_of_a_torn_map_is_recovered_into_a_new_one(tmp_path, sound, page):
    data = bytearray(sound.read_bytes())
    data[page * 4096 - 4096:page * 4096] = bytes(4096)
    (tmp_path / "torn.db").write_bytes(data)
    found = recover(tmp_path / "torn.db", tmp_path / "new.db")
    assert 0 < found.submaps <= 12
    assert (found.missing_submaps, found.missing_views) == (12 - found.submaps, 36 - found.views) != (0, 0)
    assert answers_are_right(tmp_path / "new.db", write=False) == (found.views, [])
    assert found.views > 0
    with open_map(tmp_path / "new.db", MODEL, write=True) as store:
        assert store.check() == []
        assert store.add(submap(50.0)).id > max(key for key, _, _ in store.poses()[:-1])
    with pytest.raises(StoreError, match="exists"):
        recover(tmp_path / "torn.db", tmp_path / "new.db")


def test_a_file_that_is_empty_is_taken_over_by_a_writer_and_refused_to_a_reader(tmp_path):
    path = tmp_path / "m.db"
    path.touch()
    with pytest.raises(StoreError, match="is empty"):
        open_map(path, MODEL, write=False)
    open_map(path, MODEL, write=True).close()
    open_map(path, MODEL, write=False).close()


@pytest.mark.parametrize("write", [True, False])
def test_a_folder_in_the_place_of_a_map_is_refused(tmp_path, write):
    with pytest.raises(StoreError, match="is a folder"):
        open_map(tmp_path, MODEL, write=write)


def test_another_programs_database_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "foreign.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t (x)")
    db.close()
    before = path.read_bytes()
    for write in (True, False):
        with pytest.raises(StoreError, match="no map of ms2cl_ros"):
            open_map(path, MODEL, write=write)
    assert path.read_bytes() == before


def test_a_map_whose_wal_was_deleted_after_a_crash_opens_with_what_was_in_the_file(tmp_path, sound):
    shutil.copy(sound, tmp_path / "m.db")
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        writer.add(submap(40.0))
        (tmp_path / "crashed").mkdir()
        shutil.copy(tmp_path / "m.db", tmp_path / "crashed" / "m.db")  # without the WAL
    assert answers_are_right(tmp_path / "crashed" / "m.db", write=True) == (36, [])


@pytest.mark.parametrize("write", [True, False])
def test_a_map_left_by_a_crash_is_whole_to_whoever_opens_it_first(tmp_path, sound, write):
    shutil.copy(sound, tmp_path / "m.db")
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        writer.add(submap(40.0))
        (tmp_path / "crashed").mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"m.db{suffix}", tmp_path / "crashed" / f"m.db{suffix}")
    with open_map(tmp_path / "crashed" / "m.db", MODEL, write=write) as store:
        assert (store.count(), store.check()) == (13, [])


def test_a_wal_deleted_under_the_writer_costs_nothing(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer, \
            open_map(tmp_path / "m.db", MODEL, write=False) as reader:
        writer.add(submap(1.0))
        assert reader.count() == 1
        (tmp_path / "m.db-wal").unlink()
        for x in (2.0, 3.0):
            writer.add(submap(x))
            assert len(list(reader.views_after(0))) == x
            shutil.copy(tmp_path / "m.db", tmp_path / "crashed.db")
            with open_map(tmp_path / "crashed.db", MODEL, write=False) as crashed:
                assert (crashed.count(), crashed.check()) == (x, [])
            (tmp_path / "crashed.db").unlink()
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        assert (writer.count(), writer.check()) == (3, [])


def test_a_map_deleted_under_the_writer_is_noticed_at_the_next_submap(tmp_path):
    with open_map(tmp_path / "m.db", MODEL, write=True) as writer:
        writer.add(submap(1.0))
        (tmp_path / "m.db").unlink()
        with pytest.raises(StoreError, match="deleted or replaced"):
            writer.add(submap(2.0))


HOLD = """
import sys
from tiny_submaps import MODEL
from ms2cl_ros.core.maps.database import open_map
store = open_map(sys.argv[1], MODEL, write=True)
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_who_writes_and_may_read(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TEST), str(TEST.parent), *sys.path])}
    (tmp_path / "link.db").symlink_to(tmp_path / "m.db")
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "m.db"], stdin=subprocess.PIPE, text=True,
                          stdout=subprocess.PIPE, env=env) as first:
        assert first.stdout.readline() == "open\n"
        for name in ("m.db", "link.db"):
            with pytest.raises(StoreError, match=rf"another process is writing .* \(process {first.pid} on "):
                open_map(tmp_path / name, MODEL, write=True)
        open_map(tmp_path / "m.db", MODEL, write=False).close()
        first.kill()
    open_map(tmp_path / "m.db", MODEL, write=True).close()


FILL = """
import resource, sys
from tiny_submaps import MODEL, submap
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.errors import StoreError
limit = int(sys.argv[2])
with open_map(sys.argv[1], MODEL, write=True) as store:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    stored, refused = [], 0
    for x in range(1, 400):
        try:
            stored.append(store.add(submap(float(x), points=300)).id)
        except StoreError as e:
            refused += 1
            last = str(e)
            if refused == 3:
                break
    assert refused == 3, "it never became full"
    assert "not stored" in last and "space" in last, last
    assert [key for key, _, _ in store.poses()] == stored
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    stored.append(store.add(submap(1000.0)).id)
    assert [key for key, _, _ in store.poses()] == stored
    assert store.check() == []
print(len(stored))
"""


@pytest.mark.parametrize("limit", [40_000, 400_000, 1_500_000])
def test_a_full_disk_refuses_submaps_and_the_next_one_goes_in_once_there_is_room(tmp_path, limit):
    done = child(FILL, tmp_path / "m.db", limit)
    assert done.returncode == 0, done.stderr
    with open_map(tmp_path / "m.db", MODEL, write=True) as store:
        assert (store.count(), store.check()) == (int(done.stdout), [])


def test_a_full_file_system_refuses_submaps_and_the_next_one_goes_in_once_there_is_room(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", disk],
                                      capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        (disk / "ballast").write_bytes(bytes(200_000))
        with open_map(disk / "m.db", MODEL, write=True) as store:
            stored = []
            with pytest.raises(StoreError, match=r"full.*not stored.*free some space"):
                stored += [store.add(submap(float(x), points=300)).id for x in range(1, 400)]
            before = store.count()
            with pytest.raises(StoreError, match="full"):
                store.save(disk / "copy.db")
            assert sorted(p.name for p in disk.glob("*copy*")) == ["copy.db.lock"]
            (disk / "ballast").unlink()
            store.add(submap(1000.0))
            assert (store.count(), store.check()) == (before + 1, [])
    finally:
        subprocess.run(["umount", disk], check=True)


READ_ONLY = """
import os, sys
from tiny_submaps import MODEL
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.errors import StoreError
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
with open_map(sys.argv[1], MODEL, write=False) as store:
    print(store.count(), len(list(store.views_after(0))), len(store.check()))
try:
    open_map(sys.argv[1], MODEL, write=True)
except StoreError as e:
    print(e)
"""


def test_a_map_in_a_folder_that_cannot_be_written_is_read_and_refused_to_writers(sound):
    folder = Path("/tmp") / f"ms2cl_read_only_{os.getpid()}"  # pytest's own folders are closed to other users
    folder.mkdir()
    try:
        shutil.copy(sound, folder / "m.db")
        (folder / "m.db").chmod(0o444)
        folder.chmod(0o555)
        done = child(READ_ONLY, folder / "m.db", cwd="/")
        assert done.returncode == 0, done.stderr
        counts, error = done.stdout.splitlines()
        assert counts == "12 36 0"
        assert "cannot write next to the map" in error
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_the_limits_of_this_process_were_not_touched():
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
