# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A map on a real PostgreSQL server keeps the same promises as one in a file, for many writers at once."""

import dataclasses
import logging
import threading
import traceback

import numpy as np
import postgres_server
import pytest
from tiny_submaps import MODEL, submap

from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.core.maps.store import Store
from ms2cl_ros.core.sidecar import Embedding

psycopg = pytest.importorskip("psycopg", reason="the extra [fleet] is not installed")
if postgres_server.programs() is None:
    pytest.skip(postgres_server.MISSING, allow_module_level=True)

OTHER = dataclasses.replace(MODEL, name="other", embedding=Embedding(4, 1, "cosine", 10.0))


def test_a_damaged_view_is_left_out_and_named_and_can_be_dropped(url):
    with open_map(url, MODEL, write=True) as store:
        kept = [store.add(submap(x, points=9)) for x in (1.0, 2.0, 3.0)]
        with psycopg.connect(url) as db:
            db.execute("UPDATE ms2cl.views SET descriptors = set_byte(descriptors, 9, get_byte(descriptors, 9) # 4) "
                       "WHERE id = %s", (kept[1].views[0].id,))
            db.execute("UPDATE ms2cl.scans SET points = points || 'x' WHERE submap = %s", (kept[2].id,))
        assert [k for k, _, _ in store.views_after(0)] == [kept[0].id, kept[2].id]
        assert store.damage() == [f"view {kept[1].views[0].id} of submap {kept[1].id} is damaged (checksum)"]
        assert len(store.check()) == 2
        assert len(store.drop_damaged()) == 2
        assert store.check() == []
        assert store.submap(kept[2].id).points is None


def test_ids_become_visible_in_order_when_many_write_at_once(url):
    """Without the writers' lock, a reader would see id 7 before a slower transaction commits id 6, and pass it over."""
    with open_map(url, MODEL, write=True) as store:
        store.add(submap(0.0))
    each, done = 25, threading.Event()

    def write(number: int) -> None:
        with open_map(url, MODEL, write=True) as robot:
            for i in range(each):
                robot.add(submap(100.0 * number + i))
    writers = [threading.Thread(target=write, args=(n,)) for n in range(1, 5)]
    seen: list[int] = []

    def follow() -> None:
        with open_map(url, MODEL, write=False) as reader:
            while True:
                last_round = done.is_set()
                seen.extend(v.id for _, _, v in reader.views_after(seen[-1] if seen else 0))
                if last_round:
                    return
    reader = threading.Thread(target=follow)
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert len(seen) == len(set(seen)) == 1 + 4 * each


def test_a_slow_writer_holds_back_the_ids_of_others_until_it_has_committed(url):
    with open_map(url, MODEL, write=True) as store, psycopg.connect(url) as slow:
        store.add(submap(1.0))
        slow.execute("SELECT pg_advisory_xact_lock(%s)", (0x4D53324C,))
        early, = slow.execute("SELECT nextval('ms2cl.view_ids')").fetchone()
        other = threading.Thread(target=lambda: store.add(submap(2.0)))
        other.start()
        with open_map(url, MODEL, write=False) as reader:
            other.join(0.3)
            assert other.is_alive()
            assert reader.last_view_id() < early
            slow.commit()
            other.join()
            assert reader.last_view_id() > early


def test_two_robots_that_open_an_empty_database_at_once_make_one_map(url):
    stores: list[Store] = []
    threads = [threading.Thread(target=lambda: stores.append(open_map(url, MODEL, write=True))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({s.uid for s in stores}) == 1
    assert [s.add(submap(float(i))).id for i, s in enumerate(stores)] == [1, 2, 3, 4]
    for store in stores:
        store.close()


def test_a_write_whose_answer_was_lost_is_not_carried_out_twice(server, url, monkeypatch):
    with open_map(url, MODEL, write=True) as store:
        commit, calls = psycopg.Connection.transaction, []

        class Cut:
            """Commits, and cuts the connection before anybody hears of it."""

            def __init__(self, db):
                self._db, self._inner = db, commit(db)

            def __enter__(self):
                return self._inner.__enter__()

            def __exit__(self, *error):
                out = self._inner.__exit__(*error)
                calls.append(1)
                if len(calls) == 1:
                    self._db.close()
                    raise psycopg.OperationalError("server closed the connection unexpectedly")
                return out
        monkeypatch.setattr(psycopg.Connection, "transaction", lambda db: Cut(db))
        stored = store.add(submap(1.0))
        assert len(calls) > 1
        assert (store.count(), stored.id) == (1, store.poses()[0][0])


def test_the_same_submap_added_again_after_the_server_went_away_is_stored_once():
    server = postgres_server.Server()
    try:
        with open_map(server.database(), MODEL, write=True) as store:
            store.add(submap(0.0))
            server.kill()
            with pytest.raises(StoreError, match=r"does not answer.*check host and port"):
                store.add(submap(1.0))
            server.start()
            again = store.add(submap(1.0))
            assert [k for k, _, _ in store.poses()] == [1, again.id]
    finally:
        server.stop()


def test_a_map_of_another_model_is_refused_with_both_names(url):
    open_map(url, MODEL, write=True).close()
    for write in (True, False):
        with pytest.raises(StoreError, match=r"'tiny'.*'other'.*reembed"):
            open_map(url, OTHER, write=write)
    open_map(url, None, write=False).close()


def test_a_map_replaced_by_one_of_another_model_is_told_to_those_who_have_it_open(server, url):
    with open_map(url, MODEL, write=True) as former:
        former.add(submap(1.0))
        open_map(server.database(), OTHER, write=True).close()
        with pytest.raises(StoreError, match="another model"):
            former.add(submap(2.0))
        with pytest.raises(StoreError, match="another model"):
            former.revision()


def test_a_map_of_a_later_schema_is_refused_and_one_of_an_earlier_is_brought_up_to_date_by_a_writer(url, monkeypatch):
    from ms2cl_ros.core.maps import server_tables
    with open_map(url, MODEL, write=True) as store:
        store.add(submap(1.0))
    steps = server_tables.STEPS
    monkeypatch.setattr(server_tables, "STEPS", (*steps, lambda db: db.execute("ALTER TABLE submaps ADD weather text")))
    with pytest.raises(StoreError, match="open it once for writing"):
        open_map(url, MODEL, write=False)
    with open_map(url, MODEL, write=True) as store:
        assert store.count() == 1
    open_map(url, MODEL, write=False).close()
    monkeypatch.setattr(server_tables, "STEPS", steps)
    with pytest.raises(StoreError, match=r"schema 3, this version reads 2"):
        open_map(url, MODEL, write=True)


def to_schema_1(url: str) -> None:
    """Makes a map what the first version kept: a row of pgvector's type for each heading."""
    with psycopg.connect(url) as db:
        db.execute("CREATE EXTENSION vector")
        db.execute("SET search_path = ms2cl, public")
        db.execute("CREATE TABLE descriptors (view bigint NOT NULL REFERENCES views (id) ON DELETE CASCADE, "
                   "number smallint NOT NULL, descriptor vector NOT NULL, PRIMARY KEY (view, number))")
        for key, blob in db.execute("SELECT id, descriptors FROM views").fetchall():
            for number, numbers in enumerate(np.frombuffer(blob, "<f4").reshape(-1, 3).tolist()):
                db.execute("INSERT INTO descriptors VALUES (%s, %s, %s::real[]::vector)", (key, number, numbers))
        db.execute("ALTER TABLE views DROP descriptors, DROP strip")
        db.execute("UPDATE meta SET value = '1' WHERE key = 'schema'")


def test_a_map_of_the_first_schema_keeps_its_views_and_what_was_damaged_stays_so(url, monkeypatch):
    from ms2cl_ros.core.maps import server_tables
    monkeypatch.setattr(server_tables, "PAGE", 2)
    with open_map(url, MODEL, write=True) as store:
        kept = [store.add(submap(float(x), headings=x)) for x in range(1, 6)]
    to_schema_1(url)
    with psycopg.connect(url) as db:
        db.execute("DELETE FROM ms2cl.descriptors WHERE view = %s AND number = 2", (kept[3].views[0].id,))
    with pytest.raises(StoreError, match="open it once for writing"):
        open_map(url, MODEL, write=False)
    with open_map(url, MODEL, write=True) as store:
        whole = {key: view for key, _, view in store.views_after(0)}
        assert list(whole) == [1, 2, 3, 5]
        for given in kept[:3]:
            np.testing.assert_array_equal(whole[given.id].descriptors, given.views[0].descriptors)
        assert store.check() == ["view 4 of submap 4 is damaged (checksum)"]
        assert store.add(submap(9.0)).id == 6
    with psycopg.connect(url) as db:
        assert db.execute("SELECT to_regclass('ms2cl.descriptors')").fetchone() == (None,)


def test_a_map_of_the_first_schema_whose_extension_was_dropped_is_refused_and_left_as_it_was(url):
    with open_map(url, MODEL, write=True) as store:
        store.add(submap(1.0))
    to_schema_1(url)
    with psycopg.connect(url) as db:
        db.execute("DROP EXTENSION vector CASCADE")
    with pytest.raises(StoreError, match="extension vector"):
        open_map(url, MODEL, write=True)
    with psycopg.connect(url) as db:
        assert db.execute("SELECT value FROM ms2cl.meta WHERE key = 'schema'").fetchone() == ("1",)


def test_a_map_needs_no_extension_of_the_server(url):
    with open_map(url, MODEL, write=True) as store:
        store.add(submap(1.0))
    with psycopg.connect(url) as db:
        assert db.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'").fetchall() == []


def test_a_database_without_a_map_is_refused_with_the_remedy(url):
    with pytest.raises(StoreError, match="holds no map"):
        open_map(url, MODEL, write=False)


@pytest.mark.parametrize("change", [
    lambda u: u.replace(postgres_server.PASSWORD, "wr0ng-secret"),
    lambda u: u.rsplit("/", 1)[0] + "/not_there",
    lambda u: u.replace("127.0.0.1", "127.0.0.1:1/"),
    lambda u: u.replace(postgres_server.PASSWORD, "wr0ng-secret@with/slashes"),
    lambda u: u.replace(postgres_server.PASSWORD, "wr0ng-secret with space"),
    lambda u: u + "?nonsense=wr0ng-secret",
    lambda u: u.replace("127.0.0.1", "no.such.host.invalid"),
], ids=["password", "database", "port", "slash", "space", "option", "host"])
def test_no_password_is_ever_in_a_message_a_traceback_or_a_log(server, url, change, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreError) as caught:
        open_map(change(url), MODEL, write=True)
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + "".join(capfd.readouterr())
    assert postgres_server.PASSWORD not in told
    assert "wr0ng-secret" not in told
    assert "slashes" not in told


def test_the_password_may_come_from_the_environment_or_a_file(server, url, tmp_path, monkeypatch):
    open_map(url, MODEL, write=True).close()
    bare = url.replace(f":{postgres_server.PASSWORD}", "")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="password"):
        open_map(bare, MODEL, write=False)
    monkeypatch.setenv("PGPASSWORD", postgres_server.PASSWORD)
    with open_map(bare, MODEL, write=False) as store:
        assert store.name == bare
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{server.port}:*:{postgres_server.USER}:{postgres_server.PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    open_map(bare, MODEL, write=False).close()
    assert postgres_server.PASSWORD not in server.log()
