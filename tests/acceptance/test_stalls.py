"""A thread of the daemon hangs for real: /healthz names it, the log says once where every thread stands.

What hangs is the reading of a token from a file that does not answer, as one on a network file system may: here a pipe
that no process writes to. The rest of the process continues, so it can report that.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.kafka import KafkaServer
from tests.servers.process import free_port
from tests.support.daemon import HTTP_OK, Daemon, running_daemon
from tests.support.oracle import place, until
from tests.support.token_issuer import unsecured_token

STUCK = 503
IMPATIENT: dict[str, Any] = {
    "http__stalled_after": 6,
    "clickhouse__insert_timeout": 1,
    "clickhouse__connect_timeout": 1,
    "dead_letter__delivery_timeout": 1,
    "kafka__bootstrap_timeout": 1,
    "retry__max_delay": 1,
}


class Hanging:
    """A file that hangs every thread that opens it, until it is fixed."""

    def __init__(self, path: Path, content: str) -> None:
        self.path = path
        self._content = content
        self._pipe = path.with_suffix(".pipe")
        path.write_text(content)
        os.mkfifo(self._pipe)

    def hang(self) -> None:
        """Let everybody wait who opens it from now on."""
        link = self.path.with_suffix(".link")
        link.symlink_to(self._pipe)
        link.rename(self.path)

    def fix(self) -> None:
        """Let those that hang continue, and those that open it from now on read at once."""
        fixed = self.path.with_suffix(".fixed")
        fixed.write_text(self._content)
        fixed.rename(self.path)
        self._pipe.write_text(self._content)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.chaos), 2])
def test_a_writer_that_hangs_is_named_with_all_stacks_once_and_again_when_it_moves(
    kafka: KafkaAddress, clickhouse: ClickHouseAddress, tmp_path: Path, workers: int
) -> None:
    file = Hanging(tmp_path / "token", "hunter2hunter2")
    with place(kafka, clickhouse) as there:
        # No server listens, so the writer connects again and again, with a token that it reads each time.
        away = there._replace(clickhouse=ClickHouseAddress(f"http://127.0.0.1:{free_port()}"))
        chosen = {**IMPATIENT, "clickhouse__access_token_file": file.path}
        with running_daemon(*away, wait=False, workers=workers, **chosen) as daemon:
            until(lambda: is_member(daemon, workers), daemon.log)
            file.hang()
            until(lambda: daemon.get("/healthz")[1].count("the writer has made no progress for") == workers, daemon.log)
            code, text = daemon.get("/healthz")
            assert code == STUCK
            assert "the loop" not in text
            assert workers == 1 or "worker 2: the writer" in text
            assert "the writer has made no progress" in daemon.get("/readyz")[1]
            for line in wait_for_lines(daemon, "thread_stalled", workers):
                assert any(" Processor.turn" in where for where in standing(line, "MainThread"))
                assert " Path.open" in standing(line, "runstep-writer")[-1]
            file.fix()
            until(lambda: daemon.get("/healthz")[0] == HTTP_OK, daemon.log)
            assert [line["what"] for line in wait_for_lines(daemon, "thread_recovered", workers)] == [
                "the writer"
            ] * workers
            assert len(lines(daemon, "thread_stalled")) == workers
            assert "hunter2" not in daemon.log(10_000)


def test_a_loop_that_hangs_is_named_and_goes_on_by_itself(
    kafka_factory: Callable[..., KafkaServer], clickhouse: ClickHouseAddress, tmp_path: Path
) -> None:
    broker = kafka_factory(secure=True)
    file = Hanging(tmp_path / "token", unsecured_token("admin"))
    login = {
        "kafka__bootstrap_servers": broker.addresses["SASL"],
        "kafka__security_protocol": "SASL_PLAINTEXT",
        "kafka__sasl_mechanism": "OAUTHBEARER",
        "kafka__sasl_oauth_token_file": file.path,
    }
    with place(broker.address, clickhouse) as there, running_daemon(*there, **IMPATIENT | login) as daemon:
        file.hang()
        # The daemon has to log in again.
        broker.kill()
        broker.start()
        until(lambda: "the loop has made no progress for" in daemon.get("/healthz")[1], daemon.log)
        (stalled,) = [line for line in wait_for_lines(daemon, "thread_stalled", 1) if "the loop" in line["cause"]]
        assert any(" Processor.turn" in where for where in standing(stalled, "MainThread"))
        assert any(" Path.open" in where for places in stalled["stacks"].values() for where in places)
        file.fix()
        daemon.wait_until_ready()
        assert daemon.get("/healthz")[0] == HTTP_OK
        assert "the loop" in [line["what"] for line in wait_for_lines(daemon, "thread_recovered", 1)]


def is_member(daemon: Daemon, workers: int) -> bool:
    """Return whether every process is in the group, by what keeps them from being ready."""
    text = daemon.get("/readyz")[1]
    return text.count("connection refused") == workers and "Kafka" not in text and "not yet a member" not in text


def lines(daemon: Daemon, event: str) -> list[dict[str, Any]]:
    """Return what the daemon and its workers have logged under this name."""
    said = (json.loads(line) for line in daemon.log(10_000).splitlines() if line.startswith("{"))
    return [line for line in said if line["event"] == event]


def wait_for_lines(daemon: Daemon, event: str, number: int) -> list[dict[str, Any]]:
    until(lambda: len(lines(daemon, event)) >= number, daemon.log)
    return lines(daemon, event)


def standing(line: dict[str, Any], thread: str) -> list[str]:
    """Return where a thread stood; thread names have a number behind them."""
    (places,) = [places for name, places in line["stacks"].items() if name.startswith(f"{thread} ")]
    return places
