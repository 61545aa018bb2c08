# SPDX-FileCopyrightText: 2026 The ms2cl_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`ms2cl database share`: a file becomes part of a shared map, once; and how a fleet gets a new model."""

import sqlite3

import postgres_server
import pytest
from small_maps import config_of, damage

from ms2cl_ros.core.encoder import Encoder
from ms2cl_ros.core.errors import StoreError
from ms2cl_ros.core.maps.database import open_map
from ms2cl_ros.tools.database import check, info, prune
from ms2cl_ros.tools.merge import merge
from ms2cl_ros.tools.reembed import reembed
from ms2cl_ros.tools.sharing import share

psycopg = pytest.importorskip("psycopg", reason="the extra [fleet] is not installed")
if postgres_server.programs() is None:
    pytest.skip(postgres_server.MISSING, allow_module_level=True)


def test_a_file_is_shared_whole_and_once_however_often_it_is_sent(copy, url, config):
    sent = share(copy, url, config, 60.0)
    assert (sent.submaps, sent.total) == (35, 35)
    assert share(copy, url, config, 60.0).total == 35
    found = info(url)
    assert (found.submaps, found.views, [s.name for s in found.sessions]) == (35, 35, ["monday"])
    assert postgres_server.PASSWORD not in sent.name + found.name


def test_what_is_shared_keeps_its_order_and_can_be_joined_with_a_file(maps, copy, url, config, tmp_path):
    share(copy, url, config, 60.0)
    with open_map(url, None, write=False) as shared, open_map(maps / "a.db", None, write=False) as file:
        assert [stamp for _, stamp, _ in shared.poses()] == [stamp for _, stamp, _ in file.poses()]
    apart = config_of(config.encoder.model, submaps={"distance": 0.5})
    assert merge(url, maps / "b.db", tmp_path / "both.db", apart).submaps == 70
    assert merge(copy, maps / "b.db", tmp_path / "again.db", apart).submaps == 70
    with sqlite3.connect(tmp_path / "again.db") as db:
        assert db.execute("SELECT name FROM sqlite_master WHERE name LIKE 'fleet%'").fetchall() == []


def test_damage_in_a_cache_is_removed_there_and_nothing_that_the_fleet_has(copy, url, config):
    share(copy, url, config, 60.0)
    damage(copy, 5)
    assert prune(copy, config, damaged=True).gone == {"damaged records": 1}
    assert share(copy, url, config, 60.0).total == 35, "it was fetched again"
    assert check(copy) == check(url) == []
    assert info(url).submaps == 35
    with pytest.raises(StoreError, match="cache of a shared map"):
        prune(copy, config, twins=True)


def test_two_maps_shared_by_one_server_are_one_map(maps, copy, url, config, tmp_path):
    share(copy, url, config, 60.0)
    with open_map(maps / "b.db", None, write=False) as other:
        other.save(tmp_path / "b.db")
    sent = share(tmp_path / "b.db", url, config, 60.0)
    assert (sent.submaps, sent.total) == (35, 70)


def test_a_fleet_gets_a_new_model_beside_the_old_one(server, copy, url, config, other_model, tmp_path):
    share(copy, url, config, 60.0)
    new = config_of(other_model, views={"spacing": 0.0})
    assert reembed(url, tmp_path / "new.db", new).submaps == 35
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("DROP DATABASE IF EXISTS next")
        db.execute("CREATE DATABASE next")
    share(tmp_path / "new.db", server.url("next"), new, 60.0)
    with open_map(server.url("next"), Encoder.load(new.encoder).sidecar, write=False) as store:
        assert (store.count(), store.check()) == (35, [])
    with open_map(url, Encoder.load(config.encoder).sidecar, write=False) as store:
        assert store.count() == 35, "robots with the former model go on"


def test_what_cannot_be_shared_is_refused(server, copy, url, config, other_model, tmp_path):
    for map_, where, settings, says in (
            (copy, "other.db", config, "no shared map"),
            (tmp_path / "none.db", url, config, "no map at"),
            (copy, url, config_of(other_model), "'tiny'.*'wider'"),
            (copy, "postgresql://robot@127.0.0.1:1/fleet", config, "35 submaps of .* run it again")):
        with pytest.raises(StoreError, match=says):
            share(map_, where, settings, 2.0)
