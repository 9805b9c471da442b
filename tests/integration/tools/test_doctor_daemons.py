"""`runstep doctor` and the daemons: what they say of themselves, whom it cannot reach, and over TLS."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from pipeline.cli import execute
from pipeline.clickhouse.migrations import connected, migrate
from pipeline.config import ClickHouseSettings, HttpSettings
from pipeline.tools.checks import Finding, daemon_findings
from schemas.ddl import shipped
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.tls import Certificates
from tests.support.daemon import Daemon, environment, running_daemon
from tests.support.doctor_rig import asking
from tests.support.endpoints_rig import SetHealth, serving
from tests.support.oracle import Load, Place, place, traffic, until

NOT_READY = 503
STATUS: dict[str, Any] = {
    "state": "running",
    "causes": [],
    "partitions": {"steps/0": {"position": 7, "committed": 5, "lag": 1_200}},
    "sink": {"available": True, "cause": None, "breaker": "closed", "failures_in_a_row": 0, "most_rows": None},
    "last_error": {},
}


@pytest.fixture
def health() -> SetHealth:
    health = SetHealth()
    health.state = dict(STATUS)
    return health


@pytest.fixture
def url(health: SetHealth) -> Iterator[str]:
    """Endpoints that say what the test lets them say."""
    with serving(CollectorRegistry(), health) as endpoints:
        yield "{}:{}".format(*endpoints.address)


@pytest.fixture
def babbler() -> Iterator[str]:
    """A server that does not speak HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.sendall(b"\x00\x01 who are you?\n\n")

        Thread(target=babble, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        # Closing alone would not wake the thread.
        listener.shutdown(socket.SHUT_RDWR)


def asked(*urls: str, **http: Any) -> list[Finding]:
    found = list(daemon_findings(HttpSettings(**http), urls))
    assert all(finding.fix for finding in found if finding.level != "ok")
    return found


def test_a_daemon_that_is_well(url: str) -> None:
    assert asked(url) == asked(f"http://{url}/") == asked(bind=url)
    (finding,) = asked(url)
    assert (finding.level, finding.subject) == ("ok", f"daemon http://{url}")
    assert finding.detail == "running, 1 partition, 1,200 records behind"


def test_each_cause_is_a_finding_with_its_own_fix(url: str, health: SetHealth) -> None:
    health.causes = [
        "runsteps.run_steps does not recognize an insert that is sent twice (x = 0); ALTER TABLE runsteps.run_steps",
        "steps/1 is halted: no codec can read it",
        (
            "steps/2 is halted: 1,001 records in a row were rejected: invalid_json 1,001; the latest at offset 7, "
            "with: EOF; look at them with `runstep dlq list --origin steps/2` and remove the cause, or raise a limit"
        ),
    ]
    health.state |= {"state": "waiting", "causes": health.causes}
    first, second, third = asked(url)
    assert (first.level, first.fix) == ("bad", "ALTER TABLE runsteps.run_steps")
    assert first.detail == "is not ready: runsteps.run_steps does not recognize an insert that is sent twice (x = 0)"
    assert (second.level, second.detail) == ("bad", "is not ready: steps/1 is halted: no codec can read it")
    assert third.detail.endswith("were rejected: invalid_json 1,001; the latest at offset 7, with: EOF")
    assert third.fix.startswith("look at them with `runstep dlq list --origin steps/2` and remove the cause, or raise")


def test_a_daemon_that_makes_no_progress(url: str, health: SetHealth) -> None:
    health.cause = "the loop has not turned for 70 s"
    health.causes = [health.cause]
    health.state |= {"state": "waiting", "causes": health.causes}
    (finding,) = asked(url)
    assert finding.detail == "makes no progress: the loop has not turned for 70 s"
    assert "restart" in finding.fix


def test_what_is_no_trouble_yet_is_shown_too(url: str, health: SetHealth) -> None:
    health.state |= {
        "partitions": {},
        "sink": STATUS["sink"] | {"breaker": "open", "failures_in_a_row": 4, "most_rows": 500},
        "last_error": {"transient": "ClickHouse error 202"},
    }
    found = asked(url)
    assert [finding.level for finding in found] == ["ok", "warning", "warning", "warning", "ok"]
    assert found[1].detail == "its breaker is open after 4 failures in a row"
    assert found[2].detail == "inserts of more than 500 rows do not pass"
    assert found[3].detail == "has no partitions"
    assert found[4].detail == "its last transient error: ClickHouse error 202"


def test_a_daemon_whose_status_fails(url: str, health: SetHealth) -> None:
    health.state = RuntimeError("no")
    (finding,) = asked(url)
    assert (finding.level, finding.unavailable) == ("bad", False)
    assert "HTTP 500" in finding.detail


def test_who_is_not_there_is_bad_news_only_if_it_was_named() -> None:
    (finding,) = asked(bind="127.0.0.1:1")
    assert (finding.level, finding.detail) == ("warning", "does not answer: connection refused; is it running here?")
    (finding,) = asked("127.0.0.1:1")
    assert (finding.level, finding.unavailable) == ("bad", True)
    for wrong in ("nonsense://x", "http://", "http://[", "host:port"):
        (finding,) = asked(wrong)
        assert finding.unavailable, wrong
    (finding,) = asked(bind="127.0.0.1:0")
    assert "--url" in finding.fix


def test_another_program_on_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, serving(CollectorRegistry(), SetHealth()) as endpoints:
        silent = f"127.0.0.1:{listener.getsockname()[1]}"
        listener.close()
        (gone,) = asked(silent)
        (other,) = asked("http://{}:{}/elsewhere".format(*endpoints.address))
    assert gone.unavailable
    assert "/status is not runstep's (HTTP 404)" in other.detail


def test_https_with_client_certificates(tmp_path: Path, health: SetHealth) -> None:
    own, others = Certificates(tmp_path / "own"), Certificates(tmp_path / "others")
    certificate = own.issue("daemon")
    files: dict[str, Any] = {
        "cert_file": certificate.cert_file,
        "key_file": certificate.key_file,
        "client_ca_file": own.ca_file,
    }
    with serving(CollectorRegistry(), health, **files) as endpoints:
        bind = "{}:{}".format(*endpoints.address)
        (finding,) = asked(bind=bind, **files)
        assert (finding.level, finding.subject) == ("ok", f"daemon https://{bind}")
        stranger = others.issue("daemon")
        (finding,) = asked(bind=bind, cert_file=stranger.cert_file, key_file=stranger.key_file)
        assert "certificate" in finding.detail
        (finding,) = asked(bind=bind, cert_file=tmp_path / "none.pem")
        assert "no such file" in finding.detail


@pytest.fixture
def there(kafka: KafkaAddress, clickhouse: ClickHouseAddress) -> Iterator[Place]:
    with place(kafka, clickhouse) as made:
        yield made


@pytest.fixture
def doctor(
    there: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Daemon], dict[str, Any]]:
    """Run the doctor with the settings of a daemon."""

    def run(daemon: Daemon) -> dict[str, Any]:
        monkeypatch.chdir(tmp_path)
        for name, value in environment(*there, http__bind=daemon.address).items():
            if name.startswith("RUNSTEP_"):
                monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = execute(["doctor", "--json"])
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed | {"code": code}

    return run


def test_a_daemon_at_work_and_one_that_may_not_write(
    there: Place, doctor: Callable[[Daemon], dict[str, Any]], clickhouse: ClickHouseAddress
) -> None:
    with Load(there, islice(traffic(7), 100)) as load:
        load.finish()
    with running_daemon(*there, retry__max_delay=1) as daemon:
        daemon.wait_until_accounted()
        printed = doctor(daemon)
        details = {check["subject"]: check["detail"] for check in printed["checks"]}
        assert (printed["code"], printed["ok"]) == (0, True), printed
        assert details[f"daemon http://{daemon.address}"].startswith("running, 4 partitions")
        assert f"has {there.topic} 0, 1, 2, 3" in json.dumps(printed)
        clickhouse.query(
            f"ALTER TABLE {there.database}.run_steps MODIFY SETTING non_replicated_deduplication_window = 0"
        )
        until(lambda: daemon.get("/readyz")[0] == NOT_READY, lambda: f"{daemon.get('/readyz')}")
        printed = doctor(daemon)
    assert printed["code"] == 1
    assert printed["cause"] == "tables"
    (waiting,) = [check for check in printed["checks"] if check["subject"].startswith("daemon") and not check["ok"]]
    assert f"{there.database}.run_steps does not recognize an insert that is sent twice" in waiting["detail"]
    assert waiting["fix"].startswith("ALTER TABLE")


def test_it_finds_no_wrong_daemon_through_a_proxy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        (finding,) = asked(url)
    assert finding.ok


def test_a_port_that_speaks_something_else(babbler: str) -> None:
    (finding,) = asked(babbler)
    assert finding.unavailable
    assert finding.detail.startswith("does not answer")


def test_migrations_that_are_pending_are_said_by_the_daemon_and_by_doctor(
    kafka: KafkaAddress,
    clickhouse: ClickHouseAddress,
    topic: Callable[..., str],
    database: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = ClickHouseSettings(url=SecretStr(clickhouse.url), database=database)
    with connected(settings) as client:
        migrate(client, settings, [each for each in shipped() if each.version <= 9])
    pending = [each.name for each in shipped() if each.version > 9 and each.only is None]
    there = (kafka, clickhouse, topic(), database)
    with running_daemon(*there) as daemon:
        assert json.loads(daemon.get("/status")[1])["sink"]["pending_migrations"] == pending
        assert "migrations_pending" in daemon.log()
        for name, value in environment(*there, http__bind=daemon.address).items():
            monkeypatch.setenv(name, value)
        answer = asking(capsys)("--url", daemon.address)
        (said,) = answer.about("daemon", "warning")
        assert said == f"its migrations {', '.join(pending)} are pending -> runstep migrate"
        assert answer.about("migrations") == [f"{', '.join(pending)} are pending -> runstep migrate"]
