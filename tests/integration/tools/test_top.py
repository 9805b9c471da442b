"""`runstep top` and real endpoints: whom it asks, who does not answer, TLS, JSON and exit codes, and a real group."""

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from pipeline.cli import execute
from pipeline.config import HttpSettings, KafkaSettings, Settings
from pipeline.errors import SourceUnavailable
from pipeline.metrics import Metrics
from pipeline.metrics.counts import Counts
from pipeline.tools.top.addresses import Address, group_members, named_daemons
from pipeline.tools.top.sampling import Answer, Answered, Sampler, Unanswered, ask_over_http
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.servers.tls import Certificates
from tests.support.daemon import environment, running_daemon
from tests.support.endpoints_rig import SetHealth, registry_with_a_step, serving
from tests.support.oracle import Load, Place, place, status, traffic, until

UNREACHABLE = "127.0.0.1:1"


def health(**state: Any) -> SetHealth:
    printed = SetHealth()
    printed.state = {
        "state": "running",
        "partitions": {"steps/0": {"position": 7, "committed": 5, "lag": 1_200}},
    } | state
    return printed


@pytest.fixture
def address() -> Iterator[str]:
    """Endpoints with a partition and one step that has ended."""
    with serving(registry_with_a_step(), health()) as endpoints:
        yield "{}:{}".format(*endpoints.address)


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command, and return its exit code and what it says on standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNSTEP_HTTP__BIND", UNREACHABLE)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = execute(["top", "--interval", "0.2", *arguments])
        return code, *capsys.readouterr()

    return run


@contextmanager
def stuck() -> Iterator[str]:
    """Listen and answer nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_json_has_what_the_screen_has(top: Callable[..., Any], address: str) -> None:
    code, out, _ = top("--json", address, UNREACHABLE)
    printed = json.loads(out)
    assert code == 0
    assert {"at", "records", "rows", "lag", "trend", "catch_up", "backlog_age", "delay_p95", "causes"} <= printed.keys()
    assert (printed["lag"], printed["topics"], printed["records"]) == (1_200, ["steps"], 0.0)
    (cause,) = printed["causes"]
    assert (cause.startswith(f"{UNREACHABLE}: away"), cause.endswith(": connection refused")) == (True, True)
    assert [(member["name"], member["state"]) for member in printed["members"]] == [
        (address, "running"),
        (UNREACHABLE, "away"),
    ]
    assert printed["partitions"][0] | {"name": "steps/0", "member": address, "lag": 1_200} == printed["partitions"][0]
    assert printed["outcomes"][0] == {"outcome": "stored", "reason": "", "rate": 0.0, "total": 0.0}
    assert {"troubles", "steps", "failures", "speeds", "lags"} <= printed.keys()


def test_once_is_text_and_so_is_what_is_not_on_a_terminal(top: Callable[..., Any], address: str) -> None:
    code, out, _ = top("--once", address)
    assert code == 0
    assert "all well   1 member" in out
    for title in ("MEMBERS", "PARTITIONS", "RECORDS", "ERRORS", "STEPS", "FAILURES"):
        assert title in out
    assert "\x1b" not in out
    assert top(address)[1].splitlines()[:1] == out.splitlines()[:1]


def test_the_daemon_of_the_settings_is_the_default(
    top: Callable[..., Any], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTEP_HTTP__BIND", address)
    monkeypatch.setenv("RUNSTEP_KAFKA__GROUP_ID", "mine")
    printed = json.loads(top("--json")[1])
    assert (printed["members"][0]["name"], printed["group"]) == (address, "mine")


def test_nobody_answers(top: Callable[..., Any]) -> None:
    code, out, err = top("--once")
    assert (code, err) == (69, "")
    assert "0 of 1 member" in out
    assert "connection refused" in out
    code, out, _ = top("--json")
    assert (code, json.loads(out)["causes"]) == (69, ["away: connection refused"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["host", "--group"], "not both"),
        (["nonsense://x"], "is not an address"),
        (["http://"], "is not an address"),
        (["host:port"], "is not an address"),
        (["user:secret@host:9464"], "is not an address"),
        (["host/path"], "is not an address"),
        (["host?query"], "is not an address"),
        (["a host:9464"], "is not an address"),
        (["--interval", "0"], "0.2"),
    ],
)
def test_a_wrong_command_line(top: Callable[..., Any], arguments: list[str], said: str) -> None:
    code, _, err = top("--once", *arguments)
    assert code == 64
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_daemon_on_any_free_port_has_to_be_named(top: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSTEP_HTTP__BIND", "127.0.0.1:0")
    for arguments in ([], ["host"], ["--group"]):
        code, _, err = top("--once", *arguments)
        assert (code, "any free" in err) == (64, True), err


def test_a_group_that_kafka_does_not_tell_of(top: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", UNREACHABLE)
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "0.5")
    code, out, err = top("--once", "--group")
    assert (code, err) == (69, "")
    assert "no daemon to ask" in out
    assert f"Kafka at {UNREACHABLE}" in out


def test_what_is_not_runstep_or_speaks_no_http_is_away_with_the_cause() -> None:
    alien = SetHealth()
    alien.state = {"state": "running", "partitions": 5}
    with serving(CollectorRegistry(), alien) as endpoints:
        name = "{}:{}".format(*endpoints.address)
        answer = ask_over_http(HttpSettings())(Address(name, f"http://{name}", trusted=False))
    assert isinstance(answer, Unanswered)
    assert answer.cause == "/status is not that of runstep (HTTP 200): is this the port of http.bind?"


def test_what_a_daemon_says_is_made_visible() -> None:
    with serving(CollectorRegistry(), health(causes=["\x1b[2Jgone"], last_error={"x\x07": "a\nb"})) as endpoints:
        name = "{}:{}".format(*endpoints.address)
        answer = ask_over_http(HttpSettings())(Address(name, f"http://{name}", trusted=False))
    assert isinstance(answer, Answered)
    assert answer.status.causes == ["␛[2Jgone"]
    assert answer.status.last_error == {"x␇": "a␊b"}


def test_who_is_stuck_keeps_nobody_waiting(address: str) -> None:
    with stuck() as silent:
        find, ask = named_daemons([address, silent], HttpSettings()), ask_over_http(HttpSettings())
        patient, impatient = Sampler(find, ask), Sampler(find, ask, answer_timeout_s=0.0)
        printed: dict[str, Answer] = {}

        def poll(sampler: Sampler) -> set[str]:
            found = sampler.sample(0.1)
            assert list(found.expected) == [address, silent]
            printed.update({answer.address: answer for answer in found.answers})
            return set(printed)

        until(lambda: poll(patient) == {address}, lambda: f"{printed}")
        assert isinstance(printed.pop(address), Answered)
        until(lambda: silent in poll(impatient) and isinstance(printed.get(address), Answered), lambda: f"{printed}")
        late = printed[silent]
        assert isinstance(late, Unanswered)
        assert late.cause.startswith("no answer for")


def test_members_come_and_go_and_trouble_with_finding_them_changes_nothing() -> None:
    there = [Address("one", "", trusted=True)]
    failing = Event()

    def find() -> list[Address]:
        if failing.is_set():
            raise SourceUnavailable("Kafka is \x1b away")
        return list(there)

    sampler = Sampler(find, lambda address: Unanswered(address.name, 0.0, "no"), find_interval_s=0.0)

    def becomes(expected: list[str], trouble: str) -> None:
        def state() -> tuple[list[str], str]:
            found = sampler.sample(1.0)
            return list(found.expected), found.search_error

        until(lambda: state() == (expected, trouble), lambda: f"{state()}")

    becomes(["one"], "")
    there.append(Address("two", "", trusted=True))
    becomes(["one", "two"], "")
    failing.set()
    becomes(["one", "two"], "Kafka is ␛ away")
    failing.clear()
    becomes(["one", "two"], "")


def test_a_name_stands_for_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, list[tuple[socket.AddressFamily, str]]] = {
        "both": [(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")],
        "service": [(socket.AF_INET, "10.0.0.2"), (socket.AF_INET, "10.0.0.1"), (socket.AF_INET6, "fd00::1")],
        "six": [(socket.AF_INET6, "fd00::2"), (socket.AF_INET6, "fd00::1")],
    }

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(kind, socket.SOCK_STREAM, 6, "", (found, port)) for kind, found in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    http = HttpSettings()

    def urls(*texts: str) -> list[str]:
        return [address.url for address in named_daemons(texts, http)()]

    assert urls("both") == ["http://both:9464"]
    assert urls("service:80") == ["http://10.0.0.1:80", "http://10.0.0.2:80"]
    assert urls("https://six") == ["https://[fd00::1]:9464", "https://[fd00::2]:9464"]
    assert urls("unknown", "unknown/") == ["http://unknown:9464"]
    assert [address.trusted for address in named_daemons(["both", "service"], http)()] == [False, True, True]


def test_https_with_client_certificates(tmp_path: Path) -> None:
    authority, others = Certificates(tmp_path / "authority"), Certificates(tmp_path / "others")
    certificate, stranger = authority.issue("daemon"), others.issue("daemon")
    http = HttpSettings(
        cert_file=certificate.cert_file,
        key_file=certificate.key_file,
        client_ca_file=authority.ca_file,
        bind="127.0.0.1:0",
    )
    with ExitStack() as stack:
        shown = http.model_dump(exclude={"bind"})
        endpoints = stack.enter_context(serving(CollectorRegistry(), health(), **shown))
        (own,) = named_daemons([], http.model_copy(update={"bind": "{}:{}".format(*endpoints.address)}))()
        assert own.url.startswith("https://")
        assert isinstance(ask_over_http(http)(own), Answered)
        wrong = HttpSettings(cert_file=stranger.cert_file, key_file=stranger.key_file)
        refused = ask_over_http(wrong)(own)
    assert isinstance(refused, Unanswered)
    assert "certificate" in refused.cause


def test_a_counter_that_gets_on_is_a_rate() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry, (1.0,))
    with serving(registry, health()) as endpoints:
        name = "{}:{}".format(*endpoints.address)
        ask = ask_over_http(HttpSettings())
        before = ask(Address(name, f"http://{name}", trusted=False))
        metrics.publish(Counts(records=Counter({("stored", ""): 5})))
        after = ask(Address(name, f"http://{name}", trusted=False))
    assert isinstance(before, Answered)
    assert isinstance(after, Answered)
    key = frozenset({("outcome", "stored"), ("reason", "")})
    grown = after.samples["runstep_records_total"][key] - before.samples["runstep_records_total"][key]
    assert grown == 5


@pytest.fixture
def there(kafka: KafkaAddress, clickhouse: ClickHouseAddress) -> Iterator[Place]:
    with place(kafka, clickhouse) as made:
        yield made


def test_a_real_group_with_workers(there: Place, top: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with Load(there, islice(traffic(7, poison_ratio=0.05), 400)) as load:
        load.finish()
    with running_daemon(*there, workers=2) as daemon:
        until(lambda: [len(worker["partitions"]) for worker in status(daemon)["workers"]] == [2, 2], daemon.log)
        daemon.wait_until_accounted()
        for name, value in environment(*there, http__bind=daemon.address).items():
            if name.startswith("RUNSTEP_"):
                monkeypatch.setenv(name, value)
        code, out, err = top("--json", "--group")
        found = group_members(
            Settings(kafka=KafkaSettings(bootstrap_servers=(there.kafka.bootstrap,), group_id="none"))
        )()
    printed = json.loads(out)
    assert (code, err, found) == (0, "", [])
    assert (printed["group"], printed["topics"], printed["causes"]) == (daemon.group, [there.topic], [])
    whole, *workers = printed["members"]
    assert (whole["name"], whole["state"], whole["breaker"]) == (daemon.address, "running", "closed")
    assert whole["insert_p95"] is None or whole["insert_p95"] > 0
    assert sorted(worker["worker"] for worker in workers) == ["1", "2"]
    assert [worker["partitions"] for worker in workers] == [2, 2]
    assert len(printed["partitions"]) == 4
    assert {row["member"] for row in printed["partitions"]} <= {worker["name"] for worker in workers}
    assert {row["state"] for row in printed["partitions"]} == {"read"}
    assert sum(row["total"] for row in printed["outcomes"]) == 400
    assert {row["outcome"] for row in printed["outcomes"]} == {"stored", "dead_lettered", "ignored"}
