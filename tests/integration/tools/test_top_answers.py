"""`runstep top` and what it does not expect: answers that are damaged, names that cannot be, terminals that cannot."""

import os
import pty
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from pipeline.cli import execute
from pipeline.config import HttpSettings
from pipeline.tools.demo.embedded_broker import embedded_broker
from pipeline.tools.top.addresses import Address
from pipeline.tools.top.counters import labels
from pipeline.tools.top.sampling import Answer, Answered, Unanswered, ask_over_http, parsed
from tests.support.endpoints_rig import SetHealth, serving

UNREACHABLE = "127.0.0.1:1"
STATUS = b'{"state": "running"}'


class Failing(Collector):
    """Metrics that cannot be collected."""

    def collect(self) -> Iterable[Metric]:
        raise RuntimeError("no metrics")


def asked(name: str) -> Answer:
    return ask_over_http(HttpSettings())(Address(name, f"http://{name}", trusted=False))


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """Give one connection after the other these bytes, and close it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for each in answers:
                client, _ = listener.accept()
                with client:
                    client.recv(65_536)
                    client.sendall(each)

        thread = Thread(target=answer, daemon=True)
        thread.start()
        yield "{}:{}".format(*listener.getsockname())
        thread.join()


def page(body: bytes, length: int | None = None) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body) if length is None else length}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def test_metrics_that_fail_are_not_taken_for_counters_that_begin_anew() -> None:
    registry = CollectorRegistry(auto_describe=False)
    with serving(registry, SetHealth()) as endpoints:
        name = "{}:{}".format(*endpoints.address)
        assert isinstance(asked(name), Answered)
        registry.register(Failing())
        answer = asked(name)
    assert isinstance(answer, Unanswered)
    assert answer.cause == "/metrics failed (HTTP 500)"


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ((page(STATUS), page(b"a_total 1\n", 5_000)), "its answer is cut off"),
        ((page(STATUS), page(b'a_bucket{le="many"} 1\n')), "could not convert string to float: 'many'"),
        ((page(STATUS, 5_000),), "its answer is cut off"),
        (
            (page(b'{"state": "running", "partitions": {"a/0": {"lag": 1' + b"0" * 400 + b"}}}"),),
            "/status is not that of runstep",
        ),
        ((page(b'{"state": "running", "partitions": {"a/0": {"lag": -7}}}'),), "/status is not that of runstep"),
        ((page(b'{"state": "run'),), "/status is not that of runstep"),
        ((page(b"<html></html>"),), "/status is not that of runstep"),
        ((b"\x15\x03\x01",), "\u2415"),
    ],
)
def test_a_damaged_answer_is_none(answers: tuple[bytes, ...], cause: str) -> None:
    with answering(*answers) as name:
        answer = asked(name)
    assert isinstance(answer, Unanswered)
    assert cause in answer.cause


def test_what_is_no_number_does_not_count() -> None:
    samples = parsed('a_total{k="1"} 3\na_total{k="2"} NaN\na_total{k="3"} +Inf\na_bucket{le="+Inf"} 2\n')
    assert samples == {"a_total": {labels(k="1"): 3.0}, "a_bucket": {labels(le="+Inf"): 2.0}}


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Settings under which no service is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNSTEP_HTTP__BIND", UNREACHABLE)
    return monkeypatch


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("name", ["a..b:9464", f"{'x' * 70}.com"])
def test_a_name_that_no_host_can_have(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["top", "--once", name]) == 69
    assert "away: " in capsys.readouterr().out


def test_why_nobody_is_known_is_waited_for(nowhere: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", UNREACHABLE)
    nowhere.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "2.5")
    # Shorter than that, as the real one is shorter than the default.
    nowhere.setattr("pipeline.commands.top._ANSWER_TIMEOUT_S", 2.0)
    assert execute(["top", "--once", "--group"]) == 69
    assert "connection refused" in capsys.readouterr().out


def test_a_broker_whose_answer_is_not_understood(
    nowhere: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The embedded one says of a group that everything is allowed, also what our client has no name for."""
    with embedded_broker() as address:
        nowhere.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", address)
        nowhere.setenv("RUNSTEP_KAFKA__GROUP_ID", "some")
        code = execute(["top", "--once", "--group"])
    printed = capsys.readouterr()
    assert (code, printed.err) == (69, "")
    assert "group some: " in printed.out


def test_a_dumb_terminal_gets_text(nowhere: pytest.MonkeyPatch) -> None:
    nowhere.setenv("TERM", "dumb")
    own, theirs = pty.openpty()
    with open(own, "rb", buffering=0) as terminal, open(theirs, "rb", buffering=0):  # noqa: PTH123 - descriptors
        process = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "top"], stdin=theirs, stdout=theirs, timeout=60, check=False
        )
        printed = os.read(terminal.fileno(), 65_536).decode()
    assert process.returncode == 69
    assert "connection refused" in printed
    assert "\x1b" not in printed
