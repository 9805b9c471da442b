"""Every fault that can be made on a real server, and what the sink takes it for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.clickhouse import ClickHouseSink
from pipeline.config import ClickHouseSettings
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable
from pipeline.records import Partition
from tests.servers.addresses import ClickHouseAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.tls import Certificates, TlsProxy
from tests.support.fakes.rows import CREATED, columns_of, step_row
from tests.support.sink_setup import ROWS, build, counts, failing, settings_for

USERS = """
<clickhouse>
  <profiles>
    <small><max_memory_usage>1000000</max_memory_usage></small>
    <seeing><readonly>1</readonly></seeing>
    <contrary>
      <async_insert>1</async_insert><wait_for_async_insert>0</wait_for_async_insert>
      <insert_deduplicate>0</insert_deduplicate><deduplicate_insert>disable</deduplicate_insert>
      <deduplicate_blocks_in_dependent_materialized_views>0</deduplicate_blocks_in_dependent_materialized_views>
      <min_insert_block_size_rows>1000</min_insert_block_size_rows>
      <min_insert_block_size_bytes>1000000</min_insert_block_size_bytes>
      <max_insert_block_size_bytes>1000000</max_insert_block_size_bytes>
      <min_insert_block_size_rows_for_materialized_views>500</min_insert_block_size_rows_for_materialized_views>
      <max_partitions_per_insert_block>1</max_partitions_per_insert_block>
      <parallel_view_processing>1</parallel_view_processing>
      <materialized_views_ignore_errors>1</materialized_views_ignore_errors>
      <optimize_on_insert>1</optimize_on_insert>
    </contrary>
  </profiles>
  <users>
    <writer><password>right</password><networks><ip>::/0</ip></networks>
      <grants>
        <query>GRANT INSERT ON runsteps.run_step_ingest</query>
        <query>GRANT SELECT ON runsteps.run_step_ledger</query>
      </grants></writer>
    <small><password>right</password><networks><ip>::/0</ip></networks><profile>small</profile></small>
    <seeing><password>right</password><networks><ip>::/0</ip></networks><profile>seeing</profile></seeing>
    <contrary><password>right</password><networks><ip>::/0</ip></networks><profile>contrary</profile></contrary>
    <nobody><password>right</password><networks><ip>::/0</ip></networks>
      <grants><query>GRANT SELECT ON other.t</query></grants></nobody>
  </users>
</clickhouse>
"""


@pytest.fixture
def made(clickhouse: ClickHouseAddress, database: str) -> ClickHouseSettings:
    settings = settings_for(clickhouse, database)
    build(settings)
    return settings


@pytest.fixture
def sink(made: ClickHouseSettings) -> Iterator[ClickHouseSink]:
    sink = ClickHouseSink(lambda: made)
    yield sink
    sink.close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[ClickHouseServer]:
    with ClickHouseServer(users=USERS) as server:
        build(settings_for(server.address))
        yield server


def test_wrong_password_is_for_a_human_and_a_new_one_is_found_without_restart(guarded: ClickHouseServer) -> None:
    current = settings_for(guarded.address, username="writer", password=SecretStr("wrong-hunter2"))
    sink = ClickHouseSink(lambda: current)
    with pytest.raises(SinkUnavailable) as probed:
        sink.probe()
    for error in (failing(sink), probed.value):
        assert (error.error_class, error.code) == (ErrorClass.ENVIRONMENT, 516)
        assert "clickhouse.password" in str(error)
        assert "hunter2" not in repr(error)
    current = settings_for(guarded.address, username="writer", password=SecretStr("right"))
    sink.probe()
    sink.insert(ROWS, "rotated")
    sink.close()


def test_least_privilege_is_enough_for_all_that_the_daemon_does(guarded: ClickHouseServer) -> None:
    sink = ClickHouseSink(lambda: settings_for(guarded.address, username="writer", password=SecretStr("right")))
    sink.probe()
    sink.insert(columns_of([step_row(100, kafka_partition=5)]), "least")
    assert sink.counted_steps(Partition("run-steps", 5), 101, 5) == [("thread_1", "run_1", "step_100")]
    sink.close()


def test_missing_grant_is_named_with_its_table(guarded: ClickHouseServer) -> None:
    sink = ClickHouseSink(lambda: settings_for(guarded.address, username="nobody", password=SecretStr("right")))
    error = failing(sink)
    assert (error.error_class, error.code) == (ErrorClass.ENVIRONMENT, 497)
    with pytest.raises(SinkUnavailable, match=r"may not INSERT runsteps\.run_step_ingest"):
        sink.probe()
    sink.close()


def test_a_read_only_profile_is_for_a_human(guarded: ClickHouseServer) -> None:
    sink = ClickHouseSink(lambda: settings_for(guarded.address, username="seeing", password=SecretStr("right")))
    assert failing(sink).error_class is ErrorClass.ENVIRONMENT
    sink.close()


def test_memory_limit_asks_for_fewer_rows_and_stores_none(guarded: ClickHouseServer) -> None:
    sink = ClickHouseSink(lambda: settings_for(guarded.address, username="small", password=SecretStr("right")))
    before = counts(guarded.address)
    large = columns_of([step_row(offset, step_details="x" * 500) for offset in range(5_000)])
    with pytest.raises(SinkRefused) as caught:
        sink.insert(large, "large")
    assert (caught.value.error_class, caught.value.code) == (ErrorClass.SHAPE, 241)
    assert counts(guarded.address) == before
    sink.close()


@pytest.mark.parametrize("table", ["run_step_ingest", "run_steps"])
def test_missing_table_is_named_and_the_same_insert_passes_once_it_is_back(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink, table: str
) -> None:
    name = f"`{made.database}`.{table}"
    clickhouse.query(f"RENAME TABLE {name} TO {name}_away")
    error = failing(sink)
    assert (error.error_class, error.code) == (ErrorClass.ENVIRONMENT, 60)
    assert f"{made.database}.{table}" in str(error)
    assert "runstep migrate" in str(error)
    clickhouse.query(f"RENAME TABLE {name}_away TO {name}")
    sink.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (10, 10)


def test_probe_says_what_is_missing_and_how_to_make_it(clickhouse: ClickHouseAddress, database: str) -> None:
    settings = settings_for(clickhouse, database)
    sink = ClickHouseSink(lambda: settings)
    with pytest.raises(
        SinkUnavailable, match=rf"{database}.run_step_ingest is missing; run `runstep migrate`"
    ) as caught:
        sink.probe()
    assert caught.value.error_class is ErrorClass.ENVIRONMENT
    build(settings)
    sink.probe()
    clickhouse.query(f"DROP TABLE `{database}`.run_step_ledger SYNC SETTINGS check_table_dependencies=0")
    with pytest.raises(SinkUnavailable, match="run_step_ledger is missing"):
        sink.probe()
    sink.close()


def test_missing_database_is_named(clickhouse: ClickHouseAddress, database: str) -> None:
    error = failing(ClickHouseSink(lambda: settings_for(clickhouse, database)))
    assert error.error_class is ErrorClass.ENVIRONMENT
    assert database in str(error)


def test_missing_column_is_for_a_human_not_for_the_rows(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    definition = clickhouse.query(f"SHOW CREATE TABLE `{made.database}`.run_step_ingest FORMAT TSVRaw")
    clickhouse.query(f"DROP TABLE `{made.database}`.run_step_ingest SYNC SETTINGS check_table_dependencies=0")
    clickhouse.query(definition.replace("    `version` UInt64,\n", "    `other` UInt64,\n"))
    error = failing(sink)
    assert (error.error_class, error.code) == (ErrorClass.ENVIRONMENT, 16)
    assert "version" in str(error)


def test_too_many_parts_passes_by_itself(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    steps = f"`{made.database}`.run_steps"
    clickhouse.query(f"SYSTEM STOP MERGES {steps}")
    clickhouse.query(f"ALTER TABLE {steps} MODIFY SETTING parts_to_throw_insert=2, parts_to_delay_insert=0")
    for offset in range(2):
        sink.insert(columns_of([step_row(offset)]), f"token {offset}")
    error = failing(sink)
    assert (error.error_class, error.code) == (ErrorClass.TRANSIENT, 252)
    clickhouse.query(f"ALTER TABLE {steps} RESET SETTING parts_to_throw_insert, parts_to_delay_insert")
    sink.insert(columns_of([step_row(9)]), "token")
    assert counts(clickhouse, made.database) == (3, 3)


def test_full_disk_is_for_a_human(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    steps = f"`{made.database}`.run_steps"
    clickhouse.query(f"ALTER TABLE {steps} MODIFY SETTING min_free_disk_bytes_to_perform_insert=100000000000000")
    error = failing(sink)
    assert (error.error_class, error.code) == (ErrorClass.ENVIRONMENT, 243)
    clickhouse.query(f"ALTER TABLE {steps} RESET SETTING min_free_disk_bytes_to_perform_insert")
    sink.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (10, 10)


def test_row_that_violates_a_constraint_is_refused_unquoted_and_leaves_no_account(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    clickhouse.query(f"ALTER TABLE `{made.database}`.run_steps ADD CONSTRAINT known CHECK status != 'secret-4711'")
    rows = [step_row(offset, status="secret-4711" if offset == 3 else "completed") for offset in range(10)]
    with pytest.raises(SinkRefused) as caught:
        sink.insert(columns_of(rows), "token")
    assert (caught.value.error_class, caught.value.code) == (ErrorClass.SCHEMA, 469)
    assert "4711" not in str(caught.value)
    assert counts(clickhouse, made.database) == (0, 0)


def test_bad_value_far_inside_a_large_insert_leaves_nothing(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    rows = [step_row(offset, step_details="x" * 2_000) for offset in range(6_000)]
    rows[5_500] = step_row(5_500, tool_call_count=70_000)
    with pytest.raises(SinkRefused, match="column tool_call_count"):
        sink.insert(columns_of(rows), "token")
    assert counts(clickhouse, made.database) == (0, 0)


def test_no_profile_can_cut_an_insert_up_or_make_the_server_forget_its_token(guarded: ClickHouseServer) -> None:
    sink = ClickHouseSink(lambda: settings_for(guarded.address, username="contrary", password=SecretStr("right")))
    month = 2_629_800_000
    rows = [
        step_row(offset, kafka_topic="cut", step_details="x" * 2_000, created_at=CREATED + offset % 2 * month)
        for offset in range(6_000)
    ]
    for table in ("run_steps", "run_step_ledger"):
        guarded.query(f"SYSTEM STOP MERGES runsteps.{table}")
    before = parts(guarded), counts(guarded.address)
    for _ in range(2):
        sink.insert(columns_of(rows), "cut")
    after = parts(guarded), counts(guarded.address)
    assert after[0] == (before[0][0] + 2, before[0][1] + 1)
    assert after[1] == (before[1][0] + 6_000, before[1][1] + 6_000)
    sink.insert(columns_of([step_row(offset, kafka_topic="small", step_id="step_0") for offset in range(2)]), "small")
    assert counts(guarded.address) == (after[1][0] + 2, after[1][1] + 2), "answered before the rows were there"
    sink.close()


def parts(server: ClickHouseServer) -> tuple[int, int]:
    """Parts of run_steps and of the ledger."""
    tables = ("run_steps", "run_step_ledger")
    counted = (
        server.query(f"SELECT count() FROM system.parts WHERE active AND database='runsteps' AND table='{table}'")  # noqa: S608 - a test's own
        for table in tables
    )
    steps, ledger = (int(count) for count in counted)
    return steps, ledger


def test_client_certificate_beside_a_password_is_for_the_proxy_not_the_login(
    guarded: ClickHouseServer, tmp_path: Path
) -> None:
    certificates = Certificates(tmp_path)
    with TlsProxy(guarded.http_port, certificates.server, client_ca=certificates.ca_file) as proxy:
        settings = ClickHouseSettings(
            url=SecretStr(f"https://writer:right@127.0.0.1:{proxy.port}"),
            ca_file=certificates.ca_file,
            cert_file=certificates.client.cert_file,
            key_file=certificates.client.key_file,
        )
        sink = ClickHouseSink(lambda: settings)
        sink.probe()
        sink.close()


def test_counted_steps_reads_backwards_and_stops_early(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    ledger = f"`{made.database}`.run_step_ledger"
    clickhouse.query(
        f"""INSERT INTO {ledger}
        (kafka_topic, kafka_partition, kafka_offset, outcome, thread_id, run_id, step_id, status)
        SELECT 'run-steps', number % 2, intDiv(number, 2), 'stored', 't', 'r', toString(number), 'completed'
        FROM numbers(400000)"""  # noqa: S608 - a test's own
    )
    keys = sink.counted_steps(Partition("run-steps", 1), 150_000, 1_000)
    assert [int(key[2]) for key in keys] == [2 * offset + 1 for offset in range(149_999, 148_999, -1)]
    plan = clickhouse.query(
        f"""EXPLAIN actions = 1 SELECT step_id FROM {ledger}
        WHERE kafka_topic = 'run-steps' AND kafka_partition = 1 AND kafka_offset < 150000
        ORDER BY kafka_offset DESC LIMIT 1 BY step_id LIMIT 1000"""  # noqa: S608 - a test's own
    )
    assert "InReverseOrder" in plan
