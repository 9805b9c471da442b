"""A server that is too old is refused by all that connect: it is named, nothing is written, nothing crashes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from pipeline.cli import execute
from pipeline.clickhouse.server_version import OLDEST
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.support.check_rig import complete_pipeline
from tests.support.daemon import running_daemon
from tests.support.faulty_proxy import FaultyProxy, IsOfVersion

TOO_OLD = f"and runstep needs {OLDEST} or later"


@pytest.fixture
def environ(
    kafka: KafkaAddress,
    clickhouse: ClickHouseAddress,
    topic: Callable[..., str],
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return complete_pipeline(kafka, clickhouse, topic, database, monkeypatch)


@pytest.fixture
def old(
    clickhouse: ClickHouseAddress, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> Iterator[FaultyProxy]:
    """The run's server as one of version 24.8, by the settings too."""
    assert environ
    own = clickhouse.query("SELECT version()").strip()
    said = "24.8." + "1" * (len(own) - len("24.8."))
    with FaultyProxy(clickhouse) as proxy, proxy.faulty(IsOfVersion(own, said), everything=True):
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", proxy.url)
        yield proxy


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["check", "--live"], 1),
        (["doctor"], 1),
        (["migrate"], 69),
        (["query", "SELECT 1"], 69),
        (["audit"], 69),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("old")
def test_no_command_works_on_a_server_that_is_too_old(
    capsys: pytest.CaptureFixture[str], command: list[str], code: int
) -> None:
    assert execute(command) == code
    out, err = capsys.readouterr()
    assert TOO_OLD in out + err
    assert f"upgrade the server to {OLDEST} or later" in out + err
    assert "Traceback" not in out + err


@pytest.mark.usefixtures("old")
def test_the_check_names_the_version_as_a_fault_and_not_as_an_outage(capsys: pytest.CaptureFixture[str]) -> None:
    execute(["check", "--live", "--json"])
    findings = json.loads(capsys.readouterr().out)["checks"]
    (finding,) = [each for each in findings if each["subject"].startswith("clickhouse ")]
    assert not finding["ok"]
    assert "is ClickHouse 24.8." in finding["detail"]


def test_the_daemon_writes_nothing_to_a_server_that_is_too_old_and_goes_on_after_its_upgrade(
    kafka: KafkaAddress, clickhouse: ClickHouseAddress, environ: dict[str, str], old: FaultyProxy
) -> None:
    topic, database = environ["RUNSTEP_KAFKA__TOPICS"], environ["RUNSTEP_CLICKHOUSE__DATABASE"]
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    step = {"id": "step_1", "object": "thread.run.step", "run_id": "run_1", "created_at": 1_750_000_000}
    producer.send(topic, json.dumps(step).encode()).get(30)
    producer.close()
    settings: dict[str, Any] = {"clickhouse__url": old.url, "dead_letter__topic": environ["RUNSTEP_DEAD_LETTER__TOPIC"]}
    with running_daemon(kafka, clickhouse, topic, database, wait=False, **settings) as daemon:
        daemon.wait_until_unready(TOO_OLD)
        assert TOO_OLD in daemon.log(1_000)
        assert clickhouse.query(f"SELECT count() FROM {database}.run_step_ledger") == "0\n"  # noqa: S608 - a fixture's name
        assert old.inserts == 0
        old.lift()
        daemon.wait_until_accounted()
        assert clickhouse.query(f"SELECT count() FROM {database}.run_step_ledger") == "1\n"  # noqa: S608 - as above
