"""Kafka is well and hands out less than it holds: behind a producer's open transaction, and under a quota."""

import json
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
from kafka import KafkaAdminClient

from pipeline.cli import execute
from tests.support.kafka_logs import LogTruth, further, sent_once
from tests.support.oracle import status, traffic, until
from tests.support.quotas import set_quota
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


def test_80_a_daemon_that_a_quota_slows_down_is_ready_while_data_flows(kafka_factory, clickhouse, capsys, monkeypatch):
    broker = kafka_factory()
    slow = {"kafka__client_id": "slow", "kafka__fetch_max_bytes": 65_536, "kafka__max_partition_fetch_bytes": 65_536}
    with (
        scenario(broker.address, clickhouse, events=islice(traffic(80), 3_000), rate=0, **slow) as s,
        closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin,
    ):
        s.load.finish()
        s.daemon.wait_until_accounted()
        places = [{"topic": s.there.topic, "partition": str(number)} for number in range(4)]
        lags = {("runstep_consumer_lag_records", frozenset(place.items())) for place in places}
        until(lambda: lags <= s.daemon.metrics().keys(), "a lag is not known")
        set_quota(admin, "slow", consumer_byte_rate=15_000)
        further(s, s.there, islice(traffic(801), 2_000))
        answers: set[tuple[int, str]] = set()

        def done() -> bool:
            answers.add(s.daemon.get("/readyz"))
            assert s.metric("runstep_source_available") == 1
            assert lags <= s.daemon.metrics().keys()
            return sum(status(s.daemon)["counts"].values()) == len(s.load.produced)

        until(done, s.daemon.log)
        assert answers == {(200, "ok\n")}
        assert s.metric("runstep_throttled_seconds_total") > 1
        (remark,) = status(s.daemon)["remarks"]
        assert "a broker's quota slows reading" in remark
        asked = Asked(s, capsys, monkeypatch)
        monkeypatch.setenv("RUNSTEP_KAFKA__CLIENT_ID", "slow")
        checks = asked.doctor()
        assert [each["detail"] for each in checks if each["subject"] == "quota of slow"] == [
            "set to consumer_byte_rate 15,000"
        ]
        (warned,) = [each for each in checks if "a broker's quota slows reading" in each["detail"]]
        assert warned["level"] == "warning"
        assert warned["fix"].startswith("raise consumer_byte_rate or request_percentage for client id 'slow'")
        set_quota(admin, "slow", consumer_byte_rate=None)
        s.judge()
