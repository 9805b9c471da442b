"""The process and who runs it: signals, settings, scrapers, backlogs, other versions, a group that lost its memory."""

import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.commands._exit_codes import CONFIGURATION, INTERRUPTED, OK
from tests.support.daemon import HTTP_OK, Daemon
from tests.support.faulty_proxy import Delays, FaultyProxy, does_nothing, never_confirms
from tests.support.oracle import committed, drained, status, summed, traffic, until
from tests.support.outside_view import MEGABYTE
from tests.support.scenario import SECRET, Scenario, scenario

ONE_MEMBER: dict[str, Any] = {"kafka__group_instance_id": "one"}
"""The next process of a static member has its partitions at once."""
BACKLOG, LARGE, ROWS = 60_000, 3_000, 5_000
"""Records, bytes of each, rows of a batch: more bytes than a process may take."""
UNFIT = (
    f"[clickhouse]\npasword = '{SECRET}'",
    "[normalize]\nbackfill_after = 'soon'",
    "[clickhouse]\npassword_file = '/nowhere'",
)
"""An unknown key, a value of the wrong kind, a secret that is not there."""
USERS = """
<clickhouse>
  <users><writer><password>{password}</password><networks><ip>::/0</ip></networks></writer></users>
</clickhouse>
"""


@pytest.fixture
def proxy(clickhouse):
    with FaultyProxy(clickhouse) as proxy:
        yield proxy


@pytest.mark.chaos
def test_62_signals_at_bad_moments_end_it_in_time_and_commit_nothing_unwritten(kafka, clickhouse, proxy):
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url, drain_timeout=3, **ONE_MEMBER) as s:
        # The insert ends within the time there is, or does not; or the test does not wait.
        for fault, end in ((Delays(1), s.drain), (does_nothing, s.drain), (never_confirms, abandon)):
            s.load.go_on(1_000)
            with proxy.faulty(fault):
                until(lambda: proxy.met > 0, s.daemon.log)
                end(s.daemon)
                assert unwritten(s) <= 0, "committed, and not in the ledger"
            s.daemon.start()
        assert s.daemon.log(10_000).count("drain_timed_out") == 1
        s.doubt()
        s.judge()


@pytest.mark.chaos
def test_63_members_that_are_ended_while_they_start_disturb_no_other(kafka, clickhouse):
    moments = random.Random(63)
    with scenario(kafka, clickhouse, http__final_scrape=0) as s:
        for _ in range(8):
            s.load.go_on(200)
            newcomer = s.join(wait=False)
            time.sleep(moments.uniform(0, 2.5))
            newcomer.send(signal.SIGTERM)
            # Python ends by the signal itself until a handler is set.
            assert newcomer.wait_until_ended() in {OK, -signal.SIGTERM}, newcomer.log()
        until(lambda: len(status(s.daemon)["partitions"]) == 4, s.daemon.log)
        s.load.go_on(500)
        s.doubt()
        s.judge()


@pytest.mark.chaos
def test_64_settings_that_cannot_be_read_again_leave_the_former_ones(kafka, clickhouse_factory, tmp_path):
    server, secret, file = clickhouse_factory(users=users("first")), tmp_path / "password", tmp_path / "runstep.toml"
    written = f'[clickhouse]\nusername = "writer"\npassword_file = "{secret}"\n'
    secret.write_text(f"{SECRET}-first")
    file.write_text(written)
    with scenario(kafka, server.address, config=file) as s:
        process = s.daemon.pid
        file.write_text(f'[clickhouse]\npassword = "{SECRET}')
        s.load.go_on(500)
        s.wait_until_ready()
        server.users = users("second")
        server.restart()
        s.wait_until_unready("clickhouse.password")
        secret.write_text(f"{SECRET}-second")
        for number, unfit in enumerate(UNFIT, 1):
            until(lambda number=number: logged(s, "settings_reload_failed") == number, s.daemon.log)  # type: ignore[misc]  # mypy infers no lambda with a default
            file.write_text(unfit)
        until(lambda: logged(s, "settings_reload_failed") == len(UNFIT) + 1, s.daemon.log)
        # What must not change half-way does not.
        file.write_text(f'{written}[kafka]\ntopics = "elsewhere"\n')
        s.wait_until_ready()
        s.load.go_on(500)
        assert s.daemon.pid == process
        s.judge()


@pytest.mark.chaos
def test_65_scrapes_that_hang_and_a_port_that_is_taken_cost_no_record(kafka, clickhouse):
    with scenario(kafka, clickhouse) as s:
        for _ in range(3):
            with hanging_scrapes(s.daemon.address, 60):
                s.load.go_on(700)
                assert s.daemon.get("/metrics")[0] == HTTP_OK
        late = s.join(wait=False, http__bind=s.daemon.address)
        assert late.wait_until_ended() == CONFIGURATION
        assert s.daemon.get("/readyz")[0] == HTTP_OK
        s.judge(written_once=True)


@pytest.mark.chaos
def test_67_a_step_whose_process_was_killed_before_it_could_count_it_is_counted_once(kafka, clickhouse, proxy):
    with scenario(kafka, clickhouse, clickhouse__url=proxy.url, **ONE_MEMBER) as s:
        counted: list[Any] = []
        for _ in range(4):
            s.load.go_on(700)
            with proxy.faulty(never_confirms):
                # An insert that began before has been committed by now.
                until(lambda: proxy.met > 0 and unwritten(s) < 0, s.daemon.log)
                until(lambda: sum(status(s.daemon)["counts"].values()) == new(s, counted), s.daemon.log)
                counted.append(s.daemon.scrape())
                s.kill(s.daemon)
            s.daemon.start()
        s.load.stop()
        s.daemon.wait_until_accounted()
        counted.append(drained(s.daemon))
        s.daemon.start()
        true = s.judge()
        assert true.difference(summed(counted)) == ""


@pytest.mark.chaos
def test_69_a_backlog_larger_than_memory_is_read_in_large_batches(kafka, clickhouse_factory):
    server = clickhouse_factory()
    bulky = (event._replace(value=event.value and event.value.ljust(LARGE)) for event in traffic(69))
    with scenario(kafka, server.address, events=bulky, rate=0, batch__max_rows=ROWS) as s:
        s.load.go_on(5_000)
        with s.fault(server.kill, server.start):
            s.load.go_on(BACKLOG)
            s.load.stop()
            until(lambda: lag(s) > BACKLOG / 2, s.daemon.log)
        before = s.metric("runstep_inserts_total", outcome="ok")
        s.daemon.wait_until_accounted()
        until(lambda: lag(s) == 0, s.daemon.log)
        assert s.metric("runstep_inserts_total", outcome="ok") - before < 2 * BACKLOG / ROWS
        assert "TOO_MANY_PARTS" not in s.daemon.log(10_000)
        s.judge(more_memory=150 * MEGABYTE)


def abandon(member: Daemon) -> None:
    """End a member by two signals, of which the second is an order."""
    member.send(signal.SIGTERM)
    until(lambda: status(member)["state"] == "draining", member.log)
    member.send(signal.SIGTERM)
    assert member.wait_until_ended() == INTERRUPTED


def unwritten(s: Scenario) -> int:
    """Return how many offsets are committed beyond what the ledger has."""
    known = int(s.sql("SELECT uniqExact(kafka_partition, kafka_offset) FROM {db}.run_step_ledger"))
    return sum(committed(s.there, s.daemon.group).values()) - known


def logged(s: Scenario, event: str) -> int:
    """Return how often the first member's log has an event that begins so."""
    return s.daemon.log(100_000).count(f'"event": "{event}')


def lag(s: Scenario) -> float:
    """Return how many records wait in Kafka, as Prometheus sees it."""
    return sum(value for (name, _), value in s.daemon.metrics().items() if name == "runstep_consumer_lag_records")


def new(s: Scenario, before: list[str]) -> float:
    """Return how many committed records the processes before this one have not counted."""
    was = sum(value for name, value in summed(before).items() if name.startswith("runstep_records_total"))
    return sum(committed(s.there, s.daemon.group).values()) - was


def users(name: str) -> str:
    return USERS.format(password=f"{SECRET}-{name}")


@contextmanager
def hanging_scrapes(address: str, number: int) -> Iterator[None]:
    """Open connections of which half say nothing, and half ask for the metrics and do not read them."""
    host, port = address.split(":")
    clients = []
    for turn in range(number):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.connect((host, int(port)))
        if turn % 2:
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        clients.append(client)
    yield
    for client in clients:
        client.close()
