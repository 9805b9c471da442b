"""An OK is believed with proof only: false answers, and views that are gone, changed or on another shard."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.clickhouse import ClickHouseSink
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError, ErrorClass, SinkUnavailable
from pipeline.records import Partition
from schemas.row import INDEX
from tests.servers.addresses import ClickHouseAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.support.fakes.rows import columns_of, step_row, unstored_row
from tests.support.faulty_proxy import Claims, Exchange, FaultyProxy
from tests.support.sink_setup import ROWS, build, counts, failing, settings_for

VIEWS = ("run_steps_mv", "run_step_ledger_mv")
MIXED = columns_of([step_row(offset) if offset % 2 else unstored_row(offset) for offset in range(10)])


@pytest.fixture
def made(clickhouse: ClickHouseAddress, database: str) -> ClickHouseSettings:
    settings = settings_for(clickhouse, database)
    build(settings)
    return settings


@pytest.fixture
def sink(made: ClickHouseSettings) -> Iterator[ClickHouseSink]:
    with closing(ClickHouseSink(lambda: made)) as sink:
        yield sink


@pytest.fixture
def proxy(clickhouse: ClickHouseAddress) -> Iterator[FaultyProxy]:
    with FaultyProxy(clickhouse) as proxy:
        yield proxy


@pytest.fixture
def behind(made: ClickHouseSettings, proxy: FaultyProxy) -> Iterator[ClickHouseSink]:
    """A sink that finds the server through the proxy."""
    with closing(ClickHouseSink(lambda: made.model_copy(update={"url": SecretStr(proxy.url)}))) as sink:
        yield sink


@dataclass(frozen=True)
class MeetsNoView:
    """Drop a view while the insert is on its way, and make it again before the answer is."""

    clickhouse: ClickHouseAddress
    settings: ClickHouseSettings
    view: str

    def __call__(self, exchange: Exchange) -> None:
        self.clickhouse.query(f"DROP VIEW {self.settings.database}.{self.view} SYNC")
        answer = exchange.forward()
        build(self.settings)
        exchange.reply(*answer)


def lacking(sink: ClickHouseSink, what: str, fix: str) -> None:
    """Both the probe and an insert must name the lack and its fix, and wait."""
    with pytest.raises(SinkUnavailable) as probed:
        sink.probe()
    for error in (probed.value, failing(sink)):
        assert error.error_class is ErrorClass.ENVIRONMENT
        assert what in str(error)
        assert fix in str(error)


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (Claims(text, written_rows, is_done), said)
        for is_done in (False, True)
        for text, written_rows, said in (
            ("", None, "not as ClickHouse does"),
            ("", 9, "wrote 9 rows of an insert of 10"),
            ("Code: 241. DB::Exception: Memory limit: 'row-value' (MEMORY_LIMIT_EXCEEDED)", 30, "Memory limit"),
            ("abcdefghijklmnop\r\nCode: 252. DB::Exception: Too many parts", 30, "Too many parts"),
            ("back soon", 30, "9 bytes of text"),
        )
    ],
)
def test_a_false_answer_is_not_believed_and_the_same_insert_heals(
    clickhouse: ClickHouseAddress,
    made: ClickHouseSettings,
    proxy: FaultyProxy,
    behind: ClickHouseSink,
    claim: Claims,
    said: str,
) -> None:
    with proxy.faulty(claim):
        error = failing(behind)
    assert error.error_class is ErrorClass.AMBIGUOUS
    assert said in str(error)
    assert "row-value" not in str(error)
    behind.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (10, 10)


@pytest.mark.parametrize("text", ["", "back soon", "Code: 241. DB::Exception: Memory limit", "\0\0"])
def test_false_answers_to_questions_end_no_process_and_count_no_step_again(
    proxy: FaultyProxy, behind: ClickHouseSink, text: str
) -> None:
    behind.insert(ROWS, "token")
    calls = (behind.probe, lambda: behind.counted_steps(Partition("run-steps", 0), 9, 9))
    for call in calls:
        with proxy.faulty(Claims(text), everything=True), pytest.raises(SinkUnavailable):
            call()
        behind.probe()


def test_an_answer_that_leaves_out_copies_is_not_believed_after_one_that_counted_them(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, proxy: FaultyProxy, behind: ClickHouseSink
) -> None:
    behind.insert(columns_of([step_row(99)]), "counts")
    with proxy.faulty(Claims(written_rows=10)):
        assert failing(behind).error_class is ErrorClass.AMBIGUOUS
    behind.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (11, 11)


def test_a_server_that_never_counts_copies_does_not_stand_still(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, proxy: FaultyProxy, behind: ClickHouseSink
) -> None:
    """An older one may leave them out of its answers: its views are looked at instead."""
    with proxy.faulty(Claims(written_rows=10, is_done=True)):
        behind.insert(ROWS, "token")
        clickhouse.query(f"DROP VIEW {made.database}.run_step_ledger_mv SYNC")
        assert failing(behind).error_class is ErrorClass.ENVIRONMENT


@pytest.mark.parametrize("dropped", [VIEWS[:1], VIEWS[1:], VIEWS], ids=["steps", "ledger", "both"])
@pytest.mark.parametrize("rows", [ROWS, MIXED], ids=["all stored", "half stored"])
def test_a_dropped_view_swallows_nothing_and_migrate_heals(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink, dropped: Any, rows: Any
) -> None:
    sink.probe()
    for view in dropped:
        clickhouse.query(f"DROP VIEW {made.database}.{view} SYNC")
    for _ in range(2):
        error = failing(sink, rows)
        assert error.error_class is ErrorClass.ENVIRONMENT
        assert all(f"{made.database}.{view} is missing" in str(error) for view in dropped)
    lacking(sink, dropped[0], "; run `runstep migrate`")
    build(made)
    sink.insert(rows, "token")
    assert counts(clickhouse, made.database) == (rows[INDEX["outcome"]].count("stored"), 10)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_that_is_made_anew_while_rows_are_inserted_loses_none(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, proxy: FaultyProxy, behind: ClickHouseSink, view: str
) -> None:
    """A person changes a view by DROP and CREATE, and an insert comes in between."""
    for token in ("first", "second"):
        with proxy.faulty(MeetsNoView(clickhouse, made, view)), pytest.raises(SinkUnavailable) as caught:
            behind.insert(ROWS, token)
        assert caught.value.error_class is ErrorClass.AMBIGUOUS
        assert "was missing for a moment" in str(caught.value)
        behind.insert(ROWS, token)
        clickhouse.query(f"OPTIMIZE TABLE {made.database}.run_steps FINAL")
        clickhouse.query(f"OPTIMIZE TABLE {made.database}.run_step_ledger FINAL")
        assert counts(clickhouse, made.database) == (10, 10)


def test_a_view_that_reads_another_table_is_named_with_its_fix(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    name = f"{made.database}.run_steps_mv"
    definition = clickhouse.query(f"SHOW CREATE TABLE {name} FORMAT TSVRaw")
    clickhouse.query(f"CREATE TABLE {made.database}.other AS {made.database}.run_step_ingest")
    clickhouse.query(f"DROP VIEW {name} SYNC")
    clickhouse.query(definition.replace(f"FROM {made.database}.run_step_ingest", f"FROM {made.database}.other"))
    lacking(sink, f"{name} does not read {made.database}.run_step_ingest", f"`DROP VIEW {name} SYNC`")
    clickhouse.query(f"DROP VIEW {name} SYNC")
    build(made)
    sink.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (10, 10)


def test_a_view_that_writes_another_table_is_named_with_its_fix(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    name = f"{made.database}.run_step_ledger_mv"
    definition = clickhouse.query(f"SHOW CREATE TABLE {name} FORMAT TSVRaw")
    clickhouse.query(f"CREATE TABLE {made.database}.other AS {made.database}.run_step_ledger")
    clickhouse.query(f"DROP VIEW {name} SYNC")
    clickhouse.query(definition.replace(f"TO {made.database}.run_step_ledger", f"TO {made.database}.other"))
    lacking(sink, f"{name} does not write to {made.database}.run_step_ledger", f"`DROP VIEW {name} SYNC`")
    clickhouse.query(f"DROP VIEW {name} SYNC")
    build(made)
    sink.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (10, 10)


def test_a_target_that_was_exchanged_for_one_that_keeps_nothing_is_named_with_its_fix(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    steps = f"{made.database}.run_steps"
    clickhouse.query(f"CREATE TABLE {steps}_null (kafka_offset Int64) ENGINE = Null")
    clickhouse.query(f"EXCHANGE TABLES {steps} AND {steps}_null")
    lacking(sink, f"{steps} has the engine Null", f"`RENAME TABLE {steps} TO {steps}_aside`")
    clickhouse.query(f"RENAME TABLE {steps} TO {steps}_aside")
    build(made)
    sink.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (10, 10)


def test_migrate_says_what_heals_a_view_that_is_detached(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    """CREATE … IF NOT EXISTS says OK to it, and makes nothing."""
    name = f"{made.database}.run_steps_mv"
    clickhouse.query(f"DETACH VIEW {name} SYNC")
    lacking(sink, f"{name} is missing", "runstep migrate")
    with pytest.raises(ConfigError, match=rf"ATTACH TABLE {name}") as told:
        build(made)
    clickhouse.query(str(told.value).partition("run `")[2].partition("`")[0])
    build(made)
    sink.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (10, 10)


def test_rows_of_somebody_elses_view_stand_in_for_none_of_ours(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, proxy: FaultyProxy, behind: ClickHouseSink
) -> None:
    database = made.database
    clickhouse.query(f"CREATE TABLE {database}.own (n Int64) ENGINE = MergeTree ORDER BY n")
    select = f"SELECT kafka_offset AS n FROM {database}.run_step_ingest"  # noqa: S608 - a test's own
    clickhouse.query(f"CREATE MATERIALIZED VIEW {database}.own_mv TO {database}.own AS {select}")
    behind.insert(columns_of([step_row(99)]), "passes")
    with proxy.faulty(MeetsNoView(clickhouse, made, "run_step_ledger_mv")):
        assert failing(behind).error_class is ErrorClass.AMBIGUOUS
    behind.insert(ROWS, "token")
    assert counts(clickhouse, database) == (11, 11)


def test_a_user_who_is_not_shown_the_views_loses_nothing_either(clickhouse_factory: Callable[..., Any]) -> None:
    grants = "".join(
        f"<query>GRANT {right}</query>"
        for right in ("INSERT ON runsteps.run_step_ingest", "SELECT ON runsteps.run_step_ledger")
    )
    user = (
        f"<bare><password/><networks><ip>::/0</ip></networks><profile>default</profile><grants>{grants}</grants></bare>"
    )
    server: ClickHouseServer = clickhouse_factory(users=f"<clickhouse><users>{user}</users></clickhouse>")
    build(settings_for(server.address))
    bare = settings_for(server.address, username="bare")
    with closing(ClickHouseSink(lambda: bare)) as sink:
        sink.probe()
        sink.insert(columns_of([step_row(99)]), "passes")
        server.query("DROP VIEW runsteps.run_step_ledger_mv SYNC")
        assert "runsteps.run_step_ledger_mv is missing" in str(failing(sink))
        build(settings_for(server.address))
        sink.insert(ROWS, "token")
    assert counts(server.address) == (11, 11)


def test_an_embedded_server_that_lost_a_view_is_not_believed(tmp_path: Path) -> None:
    settings = ClickHouseSettings(url=SecretStr(f"chdb:{tmp_path / 'data'}"))
    build(settings)
    with closing(ClickHouseSink(lambda: settings)) as sink:
        sink.insert(ROWS, "token")
        sink._connected().command("DROP VIEW runsteps.run_steps_mv SYNC")
        assert failing(sink).error_class is ErrorClass.ENVIRONMENT
        build(settings)
        sink.insert(ROWS, "token")
