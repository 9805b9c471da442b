"""Every fault that can be made on a real server, and what the sink takes it for."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.config import ClickHouseSettings
from pipeline.errors import ErrorClass, SinkRefused, SinkUnavailable
from pipeline.migrations import migrate
from pipeline.records import Partition
from pipeline.sink import ClickHouseSink, connect
from tests.fakes.rows import columns_of, step_row
from tests.servers.addresses import ClickHouseAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.servers.tls import Certificates, TlsProxy

USERS = """
<clickhouse>
  <profiles>
    <small><max_memory_usage>1000000</max_memory_usage></small>
    <seeing><readonly>1</readonly></seeing>
  </profiles>
  <users>
    <writer><password>right</password><networks><ip>::/0</ip></networks>
      <grants>
        <query>GRANT INSERT ON runsteps.run_step_ingest</query>
        <query>GRANT SELECT ON runsteps.run_step_ledger</query>
      </grants></writer>
    <small><password>right</password><networks><ip>::/0</ip></networks><profile>small</profile></small>
    <seeing><password>right</password><networks><ip>::/0</ip></networks><profile>seeing</profile></seeing>
    <nobody><password>right</password><networks><ip>::/0</ip></networks>
      <grants><query>GRANT SELECT ON other.t</query></grants></nobody>
  </users>
</clickhouse>
"""
ROWS = columns_of([step_row(offset) for offset in range(10)])


def settings_for(server: ClickHouseAddress, database: str = "runsteps", **changes: Any) -> ClickHouseSettings:
    return ClickHouseSettings(url=SecretStr(server.url), database=database, **changes)


def build(settings: ClickHouseSettings) -> None:
    client = connect(settings)
    migrate(client, settings)
    client.close()


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


def counts(server: ClickHouseAddress, database: str = "runsteps") -> tuple[int, int]:
    """Rows that lie in run_steps and in the ledger, doubles included."""
    steps, ledger = (server.query(f"SELECT count() FROM `{database}`.{t}") for t in ("run_steps", "run_step_ledger"))  # noqa: S608 - a test's own
    return int(steps), int(ledger)


def failing(sink: ClickHouseSink, columns: list[list[Any]] = ROWS) -> SinkUnavailable:
    with pytest.raises(SinkUnavailable) as caught:
        sink.insert(columns, "token")
    return caught.value


def test_wrong_password_is_for_a_human_and_a_new_one_is_found_without_restart(guarded: ClickHouseServer) -> None:
    current = settings_for(guarded.address, username="writer", password=SecretStr("wrong-hunter2"))
    sink = ClickHouseSink(lambda: current)
    for call in (lambda: sink.insert(ROWS, "rotated"), sink.probe):
        with pytest.raises(SinkUnavailable) as caught:
            call()
        assert (caught.value.error_class, caught.value.code) == (ErrorClass.ENVIRONMENT, 516)
        assert "clickhouse.password" in str(caught.value)
        assert "hunter2" not in repr(caught.value)
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
    with pytest.raises(SinkUnavailable, match="may not INSERT runsteps.run_step_ingest"):
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
    clickhouse.query(definition.replace("    `version` UInt64\n", "    `other` UInt64\n"))
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


def test_a_large_insert_is_one_block_so_that_its_token_covers_all_of_it(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, sink: ClickHouseSink
) -> None:
    columns = columns_of([step_row(offset, step_details="x" * 2_000) for offset in range(6_000)])
    for table in ("run_steps", "run_step_ledger"):
        clickhouse.query(f"SYSTEM STOP MERGES `{made.database}`.{table}")
    for _ in range(2):
        sink.insert(columns, "token")
    parts = clickhouse.query(
        f"SELECT table, count() FROM system.parts WHERE active AND database='{made.database}' AND table LIKE 'run_%' GROUP BY table ORDER BY table"
    )  # noqa: E501, S608 - a test's own
    assert parts == "run_step_ledger\t1\nrun_steps\t1\n"
    assert counts(clickhouse, made.database) == (6_000, 6_000)


def test_server_that_dies_and_comes_back_has_everything_once(
    clickhouse_factory: Callable[..., ClickHouseServer],
) -> None:
    server = clickhouse_factory()
    settings = settings_for(server.address)
    build(settings)
    sink = ClickHouseSink(lambda: settings)
    sink.insert(ROWS, "token")
    server.kill()
    error = failing(sink)
    assert error.error_class in {ErrorClass.TRANSIENT, ErrorClass.AMBIGUOUS}
    server.start()
    sink.insert(ROWS, "token")
    assert counts(server.address) == (10, 10)
    sink.close()


def test_server_that_does_not_answer_is_ambiguous_and_what_it_stored_is_not_doubled(
    clickhouse_factory: Callable[..., ClickHouseServer],
) -> None:
    server = clickhouse_factory()
    settings = settings_for(server.address, insert_timeout=1.0)
    build(settings)
    sink = ClickHouseSink(lambda: settings)
    sink.probe()
    server.pause()
    error = failing(sink)
    assert error.error_class is ErrorClass.AMBIGUOUS
    assert "did not answer in time" in str(error)
    server.resume()
    sink.insert(ROWS, "token")
    assert counts(server.address) == (10, 10)
    sink.close()


class CuttingProxy:
    """Hands everything to a server, but resets the client's connection when the answer to an INSERT is there."""

    def __init__(self, target_port: int, cuts: int) -> None:
        self._target_port, self.cuts, self.inserts = target_port, cuts, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target_port)) as server, suppress(OSError):
            state = {"insert": False}
            threading.Thread(target=self._forward, args=(client, server, state), daemon=True).start()
            while answer := server.recv(65_536):
                if state["insert"] and self.cuts:
                    self.cuts -= 1
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                client.sendall(answer)

    def _forward(self, client: socket.socket, server: socket.socket, state: dict[str, bool]) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                if b"INSERT INTO" in data:
                    self.inserts += 1
                    state["insert"] = True
                server.sendall(data)


@pytest.mark.parametrize(("cuts", "passes"), [(1, True), (2, False)])
def test_the_drivers_own_replay_after_a_reset_stores_once(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, cuts: int, *, passes: bool
) -> None:
    proxy = CuttingProxy(clickhouse.http_port, cuts)
    sink = ClickHouseSink(lambda: made.model_copy(update={"url": SecretStr(f"http://127.0.0.1:{proxy.port}")}))
    if passes:
        sink.insert(ROWS, "token")
    else:
        assert failing(sink).error_class is ErrorClass.AMBIGUOUS
    assert proxy.inserts == 2
    assert counts(clickhouse, made.database) == (10, 10)
    sink.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (10, 10)
    sink.close()
    proxy.close()


def test_tls_is_checked_against_our_authority_and_trouble_with_it_is_for_a_human(
    clickhouse: ClickHouseAddress, made: ClickHouseSettings, tmp_path: Path
) -> None:
    ours, other = Certificates(tmp_path / "ours"), Certificates(tmp_path / "other")
    with TlsProxy(clickhouse.http_port, ours.server, client_ca=ours.ca_file) as proxy:
        right = {
            "url": SecretStr(f"https://127.0.0.1:{proxy.port}"),
            "ca_file": ours.ca_file,
            "cert_file": ours.client.cert_file,
            "key_file": ours.client.key_file,
        }
        wrong: list[dict[str, Any]] = [
            {"ca_file": None},
            {"ca_file": other.ca_file},
            {"ca_file": tmp_path / "missing.pem"},
            {"server_host_name": "elsewhere.example"},
            {"url": SecretStr(f"https://127.0.0.1:{clickhouse.http_port}")},
        ]
        for change in wrong:
            error = failing(ClickHouseSink(lambda change=change: made.model_copy(update=right | change)))
            assert error.error_class is ErrorClass.ENVIRONMENT, (change, str(error))
        sink = ClickHouseSink(lambda: made.model_copy(update=right))
        sink.insert(ROWS, "token")
        sink.close()
    assert counts(clickhouse, made.database) == (10, 10)


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
    clickhouse.query(
        f"INSERT INTO `{made.database}`.run_step_ledger "
        "(kafka_topic, kafka_partition, kafka_offset, outcome, thread_id, run_id, step_id, status) "
        "SELECT 'run-steps', number % 2, intDiv(number, 2), 'stored', 't', 'r', toString(number), 'completed' "
        "FROM numbers(400000)"
    )
    keys = sink.counted_steps(Partition("run-steps", 1), 150_000, 1_000)
    assert [int(key[2]) for key in keys] == [2 * offset + 1 for offset in range(149_999, 148_999, -1)]
    plan = clickhouse.query(
        f"EXPLAIN actions=1 SELECT step_id FROM `{made.database}`.run_step_ledger WHERE kafka_topic = 'run-steps' "
        "AND kafka_partition = 1 AND kafka_offset < 150000 ORDER BY kafka_offset DESC LIMIT 1 BY step_id LIMIT 1000"
    )
    assert "InReverseOrder" in plan
