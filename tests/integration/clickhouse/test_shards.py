"""The cluster variant on two real servers that are its shards: names, promises, and a shard that is away."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.clickhouse import ClickHouseSink, connect
from pipeline.clickhouse.migrations import Client, check_schema, connected, migrate
from pipeline.commands import _exit_codes
from pipeline.config import ClickHouseSettings
from pipeline.errors import ErrorClass, SinkUnavailable
from pipeline.tools.checks import guarantee_findings
from pipeline.tools.html_report import Period
from pipeline.tools.html_report.page_queries import page_answers
from pipeline.tools.queries import reports
from tests.servers.clickhouse import ClickHouseServer
from tests.support.fakes.rows import columns_of, step_row
from tests.support.migration_rig import ENVIRONMENT, USERS, Run, as_user, command, write
from tests.support.sink_setup import ROWS, failing

Pair = tuple[ClickHouseServer, ClickHouseServer]


@pytest.fixture(scope="module", params=["", "<secret>between-shards</secret>"], ids=["as default", "with a secret"])
def shards(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Two servers that are the shards of one cluster, with the users of deploy/ and the grants for clusters."""
    users = re.sub(r'<!-- clickhouse.variant = "cluster":(.*?)-->', r"\1", USERS.read_text(), flags=re.DOTALL)
    first, second = (ClickHouseServer(users=users, environment=ENVIRONMENT) for _ in range(2))
    places = "".join(
        f"<shard><replica><host>127.0.0.1</host><port>{server.tcp_port}</port></replica></shard>"
        for server in (first, second)
    )
    for server in (first, second):
        server.config = f"<remote_servers><runstep>{request.param}{places}</runstep></remote_servers>"
    with first, second:
        yield first, second


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run `runstep migrate`."""
    monkeypatch.chdir(tmp_path)
    return command(monkeypatch, capsys)


def cluster(server: ClickHouseServer, role: str, **more: Any) -> ClickHouseSettings:
    return as_user(server, role, variant="cluster", shard_replicas=False, **more)


def first_answer(server: ClickHouseServer, role: str, sql: str) -> int:
    with connected(cluster(server, role)) as client:
        return int(client.query(sql).result_rows[0][0])


def test_two_shards_keep_the_names_and_the_promises(run: Run, shards: Pair) -> None:
    first, second = shards
    code, out, err = run(
        CLICKHOUSE__URL=cluster(first, "migrator").url.get_secret_value(),
        CLICKHOUSE__HOSTS=",".join(f"127.0.0.1:{server.http_port}" for server in shards),
        CLICKHOUSE__DATABASE="runsteps",
        CLICKHOUSE__VARIANT="cluster",
        CLICKHOUSE__SHARD_REPLICAS="false",
    )
    assert (code, err, out.count("applied 0001_database")) == (_exit_codes.OK, "", 2)
    for server in (first, second, first):
        write(cluster(server, "writer"), *range(100))  # the same token, over either shard
    write(cluster(second, "writer"), *range(50))  # the same rows, another token
    for server in shards:
        assert first_answer(server, "reader", "SELECT count() FROM runsteps.run_step_ledger FINAL") == 100
        assert first_answer(server, "reader", "SELECT count() FROM runsteps.run_steps_current") == 100
        assert first_answer(server, "reader", "SELECT sum(steps) FROM runsteps.runs WHERE run_id = 'run_1'") == 100
        assert first_answer(server, "reader", "SELECT count() FROM runsteps.tool_calls") == 100
        assert first_answer(server, "migrator", "SELECT uniqExact(step_id) FROM runsteps.run_steps_local") < 100
    with connected(cluster(first, "writer")) as client:
        assert check_schema(client, "runsteps") == []
    client = connect(cluster(second, "reader"), "runsteps")
    for report in reports().values():
        client.query(report.sql)
    assert page_answers(client, Period(0, 10**15))["longest_runs"][0]["steps"] == 100
    client.close()


def test_a_shard_that_is_away_stops_the_migration_before_it_begins(run: Run, shards: Pair) -> None:
    first, _ = shards
    database = f"away_{uuid.uuid4().hex[:8]}"
    code, out, err = run(
        CLICKHOUSE__URL=f"http://127.0.0.1:{first.http_port}",
        CLICKHOUSE__HOSTS=f"127.0.0.1:{first.http_port},127.0.0.1:1",
        CLICKHOUSE__DATABASE=database,
    )
    assert (code, out, "127.0.0.1:1" in err) == (_exit_codes.UNAVAILABLE, "", True)
    assert database not in first.query("SHOW DATABASES")


@pytest.fixture
def pair(clickhouse_factory: Callable[..., Any]) -> tuple[Pair, list[ClickHouseSettings]]:
    """Return two shards with their tables, to be broken, and the settings of each."""
    first, second = (clickhouse_factory() for _ in range(2))
    places = "".join(
        f"<shard><replica><host>127.0.0.1</host><port>{server.tcp_port}</port></replica></shard>"
        for server in (first, second)
    )
    settings = []
    for server in (first, second):
        server.config = f"<remote_servers><runstep>{places}</runstep></remote_servers>"
        server.restart()
        settings.append(ClickHouseSettings(url=SecretStr(server.url), variant="cluster", shard_replicas=False))
    for one in settings:
        with connected(one) as client:
            migrate(client, one)
    return (first, second), settings


def test_a_shard_that_lost_a_view_gets_no_rows_from_a_daemon_that_is_connected_to_it(
    pair: tuple[Pair, list[ClickHouseSettings]],
) -> None:
    """Views of the other shards cannot be seen with the daemon's rights: `runstep audit` tells."""
    (first, _), settings = pair
    first.query("DROP VIEW runsteps.run_steps_mv SYNC")
    with pytest.raises(SinkUnavailable, match=r"view runsteps\.run_steps_mv is missing") as caught:
        write(settings[0], *range(20))
    assert caught.value.error_class is ErrorClass.ENVIRONMENT
    with connected(settings[0]) as client:
        migrate(client, settings[0])
    write(settings[0], *range(20))
    with connected(settings[1]) as client:
        assert counts(client) == (20, 20)


def test_doctor_names_a_view_that_another_shard_lost(pair: tuple[Pair, list[ClickHouseSettings]]) -> None:
    (first, second), settings = pair
    second.query("DROP VIEW runsteps.run_steps_mv SYNC")
    hosts = tuple(f"127.0.0.1:{server.http_port}" for server in (first, second))
    found = list(guarantee_findings(settings[0].model_copy(update={"hosts": hosts})))
    (finding,) = [finding for finding in found if finding.level == "bad"]
    assert finding.subject == f"views at {second.url}"
    assert "view runsteps.run_steps_mv is missing" in finding.detail
    assert finding.fix == "run `runstep migrate`"


def test_a_view_that_is_lost_under_way_costs_no_row_on_the_connected_shard(
    pair: tuple[Pair, list[ClickHouseSettings]],
) -> None:
    (first, _), settings = pair
    with closing(ClickHouseSink(lambda: settings[0])) as sink:
        sink.insert(columns_of([step_row(99)]), "passes")
        first.query("DROP VIEW runsteps.run_step_ledger_mv SYNC")
        assert failing(sink).error_class is ErrorClass.ENVIRONMENT
        with connected(settings[0]) as client:
            migrate(client, settings[0])
        sink.insert(ROWS, "token")
    with connected(settings[1]) as client:
        assert counts(client) == (11, 11)


def test_a_dead_shard_refuses_the_insert_and_the_same_insert_heals(
    pair: tuple[Pair, list[ClickHouseSettings]],
) -> None:
    (_, second), settings = pair
    second.kill()
    with pytest.raises(SinkUnavailable):
        write(settings[0], *range(20))
    second.start()
    write(settings[0], *range(20))
    with connected(settings[1]) as client:
        assert counts(client) == (20, 20)


def counts(client: Client) -> tuple[int, int]:
    """Return the physical rows of the steps and of the ledger, over all shards."""
    ((steps, ledger),) = client.query(
        "SELECT (SELECT count() FROM runsteps.run_steps), (SELECT count() FROM runsteps.run_step_ledger)"
    ).result_rows
    return steps, ledger
