"""The operations guide on ClickHouse: backup and restore, dropped tables, retention, the move to a cluster."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.servers.clickhouse import ClickHouseServer
from tests.support.daemon import running_daemon
from tests.support.guide import Shell, number
from tests.support.oracle import Load, Truth, place, repeating, traffic, until

pytestmark = pytest.mark.chaos

EVENTS = 3_000
STEPS = "SELECT count() FROM {db}.run_steps_current"


def some(seed: int, count: int = EVENTS, **more) -> Iterator:
    return islice(repeating(traffic(seed, **more), seed), count)


def hour_before(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment - 3_600))


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def server(backups: Path, clickhouse_factory: Callable[..., ClickHouseServer]) -> Callable[[], ClickHouseServer]:
    """Start servers that may write backups."""
    return lambda: clickhouse_factory(config=f"<backups><allowed_path>{backups}</allowed_path></backups>")


def test_a_lost_clickhouse_comes_back_from_its_backup_and_from_kafka(kafka, server, backups: Path, tmp_path: Path):
    first, second, where = server(), server(), f"File('{backups}/one')"
    with place(kafka, first.address) as there, Load(there, repeating(traffic(92), 92), rate=300) as load:
        with running_daemon(*there) as daemon:
            load.go_on(EVENTS // 2)
            daemon.wait_until_accounted()
            shell, began = Shell(there, tmp_path), time.time()
            assert "BACKUP_CREATED" in shell.run("backup", BACKUP=where)
            load.go_on(EVENTS // 2)
            load.stop()
            daemon.wait_until_accounted()
        first.kill()
        restored = there._replace(clickhouse=second.address)
        shell = Shell(restored, tmp_path)
        assert "RESTORED" in shell.run("restore", BACKUP=where)
        assert "are lost" in shell.run("audit", fails=True)
        shell.run("rewind", SINCE=hour_before(began))
        with running_daemon(*restored) as daemon:
            daemon.wait_until_accounted()
        shell.run("audit")
        Truth(restored, load.produced).check_tables()
        first.start()


def test_a_dropped_table_is_undropped_and_the_daemon_goes_on_by_itself(kafka, server, tmp_path: Path):
    with place(kafka, server().address) as there, Load(there, some(93), rate=500) as load:
        shell = Shell(there, tmp_path)
        with running_daemon(*there, retry__max_delay=1) as daemon:
            load.go_on(EVENTS // 3)
            there.clickhouse.query(f"DROP TABLE {there.database}.run_steps")
            until(lambda: "run_steps" in daemon.get("/readyz")[1], lambda: str(daemon.get("/readyz")))
            load.go_on(EVENTS // 3)
            shell.run("undrop")
            load.finish()
            daemon.wait_until_accounted()
        shell.run("audit")
        Truth(there, load.produced).check_tables()


def test_a_dropped_table_is_made_again_and_filled_from_the_backup_and_from_kafka(
    kafka, server, backups: Path, tmp_path: Path
):
    where = f"File('{backups}/one')"
    with place(kafka, server().address) as there, Load(there, some(94)) as load:
        shell = Shell(there, tmp_path)
        with running_daemon(*there) as daemon:
            load.finish()
            daemon.wait_until_accounted()
            shell.run("backup", BACKUP=where)
            there.clickhouse.query(f"DROP TABLE {there.database}.run_steps SYNC")
            assert "run_steps" in shell.run("audit", fails=True)
            shell.run("make-tables")
            assert "not in run_steps" in shell.run("audit", fails=True)
            shell.run("restore-table", BACKUP=where)
            shell.run("audit")
            daemon.stop()
            there.clickhouse.query(f"TRUNCATE TABLE {there.database}.run_steps")
            shell.run("rewind-all")
            daemon.start()
            daemon.wait_until_accounted()
        shell.run("audit")
        Truth(there, load.produced).check_tables()


def test_retention_deletes_what_is_old_and_its_end_keeps_the_rest(kafka, server, tmp_path: Path):
    with place(kafka, server().address) as there:
        old = some(95, 500, ago=100 * 86_400)
        older_details = some(96, 500, ago=60 * 86_400)
        with Load(there, old) as first, Load(there, older_details) as second, Load(there, some(97, 500)) as third:
            shell = Shell(there, tmp_path)
            with running_daemon(*there) as daemon:
                for load in (first, second, third):
                    load.finish()
                daemon.wait_until_accounted()
            assert "'OK'" in shell.run("kafka-retention")
            steps = number(there, STEPS)
            assert "applied retention" in shell.run("retention")
            shell.run("retention-now")
            left = number(there, STEPS)
            assert 0 < left < steps
            assert number(there, f"{STEPS} WHERE created_at < now() - INTERVAL 90 DAY") == 0
            detailed = f"{STEPS} WHERE step_details != ''"
            assert number(there, f"{detailed} AND created_at < now() - INTERVAL 30 DAY") == 0
            assert number(there, detailed) > 0
            assert "applied retention" in shell.run("retention-off")
            there.clickhouse.query(f"OPTIMIZE TABLE {there.database}.run_steps FINAL")
            assert number(there, STEPS) == left


def test_the_move_to_a_cluster_loses_nothing_while_events_go_on(
    kafka, server, clickhouse_factory: Callable[..., ClickHouseServer], tmp_path: Path
):
    shards = [clickhouse_factory() for _ in range(2)]
    places = "".join(
        f"<shard><replica><host>127.0.0.1</host><port>{shard.tcp_port}</port></replica></shard>" for shard in shards
    )
    for shard in shards:
        shard.config = f"<remote_servers><runstep>{places}</runstep></remote_servers>"
        shard.restart()
    old = server()
    with place(kafka, old.address) as there, Load(there, repeating(traffic(98), 98), rate=300) as load:
        moved = there._replace(clickhouse=shards[0].address)
        names: dict[str, Any] = {
            "NEW": shards[0].url,
            "SHARDS": ",".join(shard.url for shard in shards),
            "SHARD_REPLICAS": "false",
        }
        names |= {"OLD": f"127.0.0.1:{old.tcp_port}", "OLD_USER": "default", "OLD_PASSWORD": ""}
        shell = Shell(there, tmp_path)
        with running_daemon(*there) as daemon:
            load.go_on(EVENTS // 3)
            assert shell.run("cluster-tables", **names).count("applied 0001_database") == 2
            began = time.time()
            shell.run("cluster-copy", **names)
            load.go_on(EVENTS // 3)
        since = hour_before(began).replace("T", " ")
        shell.run("cluster-copy", COPY_SINCE=since, **names)
        settings: dict[str, Any] = {"clickhouse__variant": "cluster", "clickhouse__shard_replicas": "false"}
        with running_daemon(*moved, **settings) as daemon:
            load.go_on(EVENTS // 3)
            load.stop()
            daemon.wait_until_accounted()
        shell.run("cluster-check", **names)
        Truth(moved, load.produced).check_tables()
        for shard in shards:
            on_one = number(
                there._replace(clickhouse=shard.address), "SELECT uniqExact(step_id) FROM {db}.run_steps_local"
            )
            assert 0 < on_one < number(moved, STEPS)
