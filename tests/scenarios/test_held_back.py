"""Kafka is well and hands out less than it holds: behind a producer's open transaction, and under a quota."""

import json
from itertools import islice
from typing import Any

import pytest

from pipeline.cli import execute
from tests.support.kafka_logs import LogTruth, further, sent_once
from tests.support.oracle import status, until
from tests.support.scenario import Scenario, scenario
from tests.support.transactions import open_transaction


class Asked:
    """The tools, asked about a scenario as an operator asks them."""

    def __init__(self, s: Scenario, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", s.there.kafka.bootstrap)
        monkeypatch.setenv("RUNSTEP_KAFKA__TOPICS", s.there.topic)
        monkeypatch.setenv("RUNSTEP_KAFKA__GROUP_ID", s.daemon.group)
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", s.there.clickhouse.url)
        monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", s.there.database)
        self._address = s.daemon.address

    def text(self, *arguments: str) -> str:
        """Return what a command prints, on one line."""
        self._capsys.readouterr()
        execute(list(arguments))
        return " ".join(self._capsys.readouterr().out.split())

    def doctor(self) -> list[dict[str, Any]]:
        """Return what the doctor found."""
        found: list[dict[str, Any]] = json.loads(self.text("doctor", "--json", "--url", self._address))["checks"]
        return found


def test_79_a_transaction_that_hangs_is_named_by_all_and_what_waits_behind_it_flows_after_its_abort(
    kafka, clickhouse, capsys, monkeypatch
):
    events = sent_once(79)
    settings = {"kafka__max_open_transaction": 2}
    with scenario(kafka, clickhouse, events=islice(events, 500), rate=0, **settings) as s:
        s.load.finish()
        s.daemon.wait_until_accounted()
        start = status(s.daemon)["partitions"][f"{s.there.topic}/0"]["position"]
        held_back = {"topic": s.there.topic, "partition": "0"}
        with open_transaction(kafka.bootstrap, s.there.topic, b"{}") as producer:
            further(s, s.there, islice(events, 1_000))
            s.wait_until_unready(f"behind a transaction that a producer has left open at offset {start} for")
            place = status(s.daemon)["partitions"][f"{s.there.topic}/0"]
            assert (place["position"], place["lag"]) == (start, 0)
            assert place["unstable"] == s.metric("runstep_unstable_records", **held_back) > 1
            assert s.metric("runstep_consumer_lag_records", **held_back) == 0
            assert s.metric("runstep_source_available") == 1
            asked = Asked(s, capsys, monkeypatch)
            monkeypatch.setenv("RUNSTEP_KAFKA__MAX_OPEN_TRANSACTION", "2")
            (said,) = [each for each in asked.doctor() if each["subject"] == f"partition {s.there.topic}/0"]
            assert said["level"] == "bad"
            assert f"abort --topic {s.there.topic} --partition 0 --start-offset {start}`" in said["fix"]
            assert f"{place['unstable']} more wait behind a transaction" in asked.text("audit")
            producer.abort_transaction()
        s.wait_until_ready()
        until(lambda: s.metric("runstep_unstable_records", **held_back) == 0, "the gauge does not fall")
        further(s, s.there, islice(events, 200))
        s.judge(truth=LogTruth)
