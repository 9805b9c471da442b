"""`runstep run --workers N`: several processes behind one address, and what becomes of them."""

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from pipeline.cli import execute
from pipeline.config import ClickHouseSettings, HttpSettings, KafkaSettings, Settings
from pipeline.errors import ConfigError
from pipeline.workers import supervisor as supervisor_module
from pipeline.workers.process import END_TIMEOUT_S
from pipeline.workers.supervisor import Supervisor, member_settings
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.support.daemon import Samples, running_daemon
from tests.support.oracle import Load, Place, Truth, drained, status, summed, traffic, until
from tests.support.workers_rig import ends, pids, reporting, wait_for_workers

SUMMED = ("_total", "_bucket", "_count", "_sum")
"""How the samples of counters and histograms end."""


@pytest.fixture
def nowhere() -> Place:
    """A Kafka and a ClickHouse that do not run: enough where only processes matter."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return Place(KafkaAddress(f"127.0.0.1:{port}"), ClickHouseAddress(f"http://127.0.0.1:{port}"), "steps", "steps")


def settings(**given: Any) -> Settings:
    """Return settings of services that do not run."""
    kafka = KafkaSettings(bootstrap_servers=("127.0.0.1:1",), bootstrap_timeout=0.5)
    clickhouse = ClickHouseSettings(url=SecretStr("http://127.0.0.1:1"))
    return Settings(**{"kafka": kafka, "clickhouse": clickhouse, "http": HttpSettings(bind="127.0.0.1:0")} | given)


@contextmanager
def supervising(given: Settings, *, end_timeout: float = END_TIMEOUT_S) -> Iterator[Supervisor]:
    """Run two workers whose supervisor is in this process, and see them end."""
    supervisor = Supervisor(given, 2, end_timeout=end_timeout)
    running = threading.Thread(target=supervisor.run)
    running.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
        running.join()


def test_two_workers_share_the_partitions_and_account_for_all_of_them(
    there: Place, promtool: Callable[..., Any]
) -> None:
    stream = islice(traffic(1, poison_ratio=0.02), 4_000)
    chosen: dict[str, Any] = {"http__final_scrape": 10, "kafka__group_instance_id": "static"}
    with (
        Load(there, stream) as load,
        running_daemon(*there, workers=2, **chosen) as daemon,
    ):
        until(lambda: [len(worker["partitions"]) for worker in status(daemon)["workers"]] == [2, 2], daemon.log)
        load.finish()
        daemon.wait_until_accounted()
        shown = status(daemon)
        assert shown["state"] == "running"
        assert len(shown["partitions"]) == 4
        assert all({"position", "committed", "lag", "unstable"} == set(place) for place in shown["partitions"].values())
        assert (shown["sink"]["available"], shown["sink"]["cause"], shown["sink"]["breaker"]) == (True, None, "closed")
        assert shown["halted"] == {}
        assert shown["buffer"]["rows"] == 0
        check_labels(daemon.metrics())
        checked = promtool("check", "metrics", stdin=daemon.scrape())
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
        workers = [ends(pid) for pid in pids(daemon).values()]
        last = drained(daemon)
        assert all(ended() for ended in workers)
        spoken = [json.loads(line) for line in daemon.log(1_000).splitlines()]
    truth = Truth(there, load.produced)
    truth.check_tables()
    truth.check_dead_letters()
    assert truth.difference(summed([last])) == ""
    assert {line["worker"] for line in spoken if line["logger"] == "pipeline.daemon.assignments"} == {"1", "2"}


def check_labels(samples: Samples) -> None:
    """See that gauges say whose they are, and that sums do not."""
    whose: dict[str, set[str | None]] = {}
    for name, labels in samples:
        whose.setdefault(name, set()).add(dict(labels).get("worker"))
    for gauge in ("runstep_assigned_partitions", "runstep_consumer_position_timestamp_seconds", "runstep_build_info"):
        assert whose[gauge] == {"1", "2"}
    assert whose["process_resident_memory_bytes"] == {"1", "2", "supervisor"}
    assert all(
        names == {None} for sample, names in whose.items() if sample.startswith("runstep_") and sample.endswith(SUMMED)
    )


def test_a_killed_worker_is_started_again_and_no_counter_falls_or_is_above_the_truth(there: Place) -> None:
    fallen: list[Any] = []
    with (
        Load(there, traffic(2), rate=1_500) as load,
        running_daemon(*there, workers=2, http__final_scrape=10) as daemon,
    ):
        load.go_on(1_500)
        before = daemon.metrics()
        for name in ("1", "2"):
            victim = pids(daemon)[name]
            os.kill(victim, signal.SIGKILL)

            def is_back(name: str = name, victim: int = victim) -> bool:
                nonlocal before
                now = daemon.metrics()
                fallen.extend(
                    (key, now.get(key)) for key in before if key[0].endswith(SUMMED) and now.get(key, 0) < before[key]
                )
                before = now
                return pids(daemon).get(name, victim) != victim

            until(is_back, daemon.log)
        load.go_on(1_500)
        daemon.wait_until_ready()
        load.stop()
        daemon.wait_until_accounted()
        last = drained(daemon)
        logged = daemon.log(1_000)
    truth = Truth(there, load.produced)
    truth.check_tables()
    assert truth.excess(summed([last])) == ""
    assert fallen == []
    assert "ended with signal 9 (Killed)" in logged


def test_workers_end_by_themselves_when_the_supervisor_is_killed(there: Place) -> None:
    with running_daemon(*there, workers=2) as daemon:
        workers = [ends(pid) for pid in wait_for_workers(daemon).values()]
        daemon.kill()
        until(lambda: all(ended() for ended in workers), "workers are left behind")
        until(lambda: daemon.log(1_000).count('"event": "drained"') == 2, daemon.log)


def test_a_worker_that_hangs_holds_up_no_scrape_and_is_named(nowhere: Place) -> None:
    with running_daemon(*nowhere, wait=False, workers=2, http__stalled_after=3) as daemon:
        stuck = wait_for_workers(daemon)["2"]
        assert any(cause.startswith("worker 2: ") for cause in daemon.get("/readyz")[1].splitlines())
        os.kill(stuck, signal.SIGSTOP)
        until(lambda: "worker 2: has not answered for " in daemon.get("/healthz")[1], daemon.log)
        assert daemon.get("/healthz")[0] == 503
        shown = daemon.metrics()
        for gauge in ("runstep_sink_available", "runstep_source_available"):
            assert shown[gauge, frozenset({("worker", "2")})] == 0
        os.kill(stuck, signal.SIGCONT)
        until(lambda: "worker 2: has not" not in daemon.get("/healthz")[1], daemon.log)
        daemon.send(signal.SIGTERM)
        daemon.send(signal.SIGTERM)
        daemon.wait_until_ended()


def test_a_second_signal_ends_everything_at_once(nowhere: Place) -> None:
    with running_daemon(*nowhere, wait=False, workers=2) as daemon:
        workers = wait_for_workers(daemon)
        ended = [ends(pid) for pid in workers.values()]
        os.kill(workers["1"], signal.SIGSTOP)  # it cannot drain
        daemon.send(signal.SIGTERM)
        until(lambda: status(daemon)["state"] == "draining", daemon.log)
        assert "the daemon is draining" in daemon.get("/readyz")[1]
        daemon.send(signal.SIGINT)
        assert daemon.wait_until_ended() == 130
        until(lambda: all(gone() for gone in ended), "workers are left behind")


def test_a_worker_that_does_not_drain_in_time_is_killed() -> None:
    with supervising(settings(drain_timeout=0.5), end_timeout=0.5) as supervisor:
        workers = reporting(lambda: json.loads(supervisor.status().json_text()))
        ended = [ends(pid) for pid in workers.values()]
        os.kill(workers["2"], signal.SIGSTOP)
    assert all(gone() for gone in ended)
    assert supervisor.status().state == "drained"


def test_workers_that_die_again_and_again_end_the_daemon(nowhere: Place) -> None:
    with running_daemon(*nowhere, wait=False, workers=2, kafka__bootstrap_timeout=0.5) as daemon:
        killed: set[int] = set()
        while daemon.running:
            try:
                new = set(pids(daemon).values()) - killed
            except (json.JSONDecodeError, KeyError):
                continue  # not there yet, or not any more
            for pid in sorted(new)[: 5 - len(killed)]:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        assert daemon.wait_until_ended() == 70
        said = daemon.log(3)
    assert "runstep: 5 times within 60 s a worker died right after its start; worker " in said
    assert "ended with signal 9 (Killed)" in said
    assert "Traceback" not in said


def test_a_worker_that_dies_long_after_its_start_is_restarted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "EARLY_DEATH_S", 0.0)
    with capture_logs() as lines, supervising(settings()) as supervisor:
        shown = partial(reporting, lambda: json.loads(supervisor.status().json_text()))
        victim = shown()["1"]
        os.kill(victim, signal.SIGKILL)
        until(lambda: shown()["1"] != victim, "it is not restarted")
    assert [line["restarted_in_s"] for line in lines if line["event"] == "worker_died"] == [0.0]


def test_a_setting_that_a_worker_finds_wrong_ends_all_of_them() -> None:
    wrong = settings(clickhouse=ClickHouseSettings(url=SecretStr("ftp://user:hunter2hunter2@nowhere")))
    with pytest.raises(ConfigError, match=r"^clickhouse.url is not http") as caught:
        Supervisor(wrong, 2).run()
    assert "hunter2" not in str(caught.value)


def test_secrets_are_in_no_argument_and_no_variable_of_a_worker() -> None:
    secret = settings(clickhouse=ClickHouseSettings(url=SecretStr("http://user:hunter2hunter2@127.0.0.1:1")))
    with supervising(secret) as supervisor:
        for pid in reporting(lambda: json.loads(supervisor.status().json_text())).values():
            assert b"hunter2" not in Path(f"/proc/{pid}/cmdline").read_bytes()
            variables = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"hunter2" not in variables
            assert {variable.split(b"=")[0] for variable in variables.split(b"\0") if variable} <= {
                *map(os.fsencode, os.environ),
                b"PYTHONPATH",
            }
        assert "hunter2" not in supervisor.status().json_text()
        supervisor.kill()


def test_each_worker_has_names_of_its_own_in_kafka() -> None:
    given = settings(kafka=KafkaSettings(client_id="steps", group_instance_id="host"))
    own = [member_settings(given, name).kafka for name in ("1", "2")]
    assert [(kafka.client_id, kafka.group_instance_id) for kafka in own] == [
        ("steps-1", "host-1"),
        ("steps-2", "host-2"),
    ]
    assert member_settings(settings(), "1").kafka.group_instance_id is None


@pytest.mark.parametrize(
    ("arguments", "url", "code", "line"),
    [
        (["--workers", "0"], "http://localhost", 64, "'--workers'"),
        (["--workers", "65"], "http://localhost", 64, "'--workers'"),
        (["--workers", "2"], "chdb:/nowhere", 78, "chdb: is for one process alone"),
    ],
)
def test_a_number_of_workers_that_cannot_be_is_refused(
    arguments: list[str], url: str, code: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", url)
    assert execute(["run", *arguments]) == code
    assert line in capsys.readouterr().err


def test_stacks_of_all_workers_are_logged_on_demand_and_all_go_on(nowhere: Place) -> None:
    with running_daemon(*nowhere, wait=False, workers=2) as daemon:
        workers = wait_for_workers(daemon)
        daemon.send(signal.SIGUSR1)
        until(lambda: daemon.log(1_000).count('"event": "stacks_logged"') == 3, daemon.log)
        os.kill(workers["2"], signal.SIGUSR1)
        until(lambda: daemon.log(1_000).count('"event": "stacks_logged"') == 4, daemon.log)
        assert wait_for_workers(daemon) == workers
        lines = [json.loads(line) for line in daemon.log(1_000).splitlines() if '"stacks_logged"' in line]
        assert sorted(line.get("worker", "supervisor") for line in lines) == ["1", "2", "2", "supervisor"]
        for line in lines:
            assert any(name.startswith("MainThread ") for name in line["stacks"])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_closed_terminal_drains_all_workers_and_a_worker_that_drains_by_itself_is_restarted(
    nowhere: Place, number: signal.Signals
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the daemon inherits what is ignored
    with running_daemon(*nowhere, wait=False, workers=2) as daemon:
        signal.signal(signal.SIGHUP, before)
        first = wait_for_workers(daemon)
        os.kill(first["1"], number)
        until(lambda: pids(daemon).get("1") not in {None, first["1"]}, daemon.log)
        ended = [ends(pid) for pid in wait_for_workers(daemon).values()]
        daemon.send(number)
        assert daemon.wait_until_ended() == 0
        assert daemon.log(1_000).count('"event": "drained"') == 4
        assert all(gone() for gone in ended)
