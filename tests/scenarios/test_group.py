"""Members that come, go and freeze while the others work: a partition has one owner, and what it wrote counts once."""

import signal
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions

from tests.support.daemon import running_daemon
from tests.support.faulty_proxy import Delays, FaultyProxy
from tests.support.oracle import repeating, status, traffic, until
from tests.support.scenario import scenario

SHORT: dict[str, Any] = {"kafka__session_timeout": 2, "kafka__heartbeat_interval": 0.3}
"""The group misses a member that froze after two seconds."""


def partitions(member) -> set[str]:
    return set(status(member)["partitions"])


def share(*members) -> bool:
    return sorted(len(partitions(member)) for member in members) == sorted([4 // len(members)] * len(members))


def test_01_a_member_that_joins_in_the_middle_of_a_batch(kafka, clickhouse):
    with scenario(kafka, clickhouse, batch__max_rows=5_000, batch__max_age=2) as s:
        s.load.go_on(1_500)
        second = s.join()
        until(lambda: share(s.daemon, second), s.daemon.log)
        s.load.go_on(1_500)
        s.drain(second)
        until(lambda: len(partitions(s.daemon)) == 4, s.daemon.log)
        s.load.go_on(500)
        s.judge()


@pytest.mark.chaos
def test_02_partitions_that_are_taken_away_while_their_insert_is_on_its_way(kafka, clickhouse):
    with FaultyProxy(clickhouse) as proxy, scenario(kafka, clickhouse, clickhouse__url=proxy.url) as s:
        s.load.go_on(1_000)
        with proxy.faulty(Delays(4)):
            until(lambda: proxy.met > 0, "no insert came")
            second = s.join(clickhouse__url=clickhouse.url)
            until(lambda: share(s.daemon, second), s.daemon.log)
        s.load.go_on(1_000)
        s.judge()


@pytest.mark.chaos
def test_03_04_a_frozen_member_wakes_up_when_another_has_its_partitions(kafka, clickhouse):
    with scenario(kafka, clickhouse, **SHORT) as s:
        second = s.join()
        until(lambda: share(s.daemon, second), s.daemon.log)
        for _ in range(2):
            s.load.go_on(1_000)
            s.daemon.send(signal.SIGSTOP)
            until(lambda: len(partitions(second)) == 4, second.log)
            s.load.go_on(1_000)
            s.daemon.send(signal.SIGCONT)
            until(lambda: share(s.daemon, second), s.daemon.log)
        assert s.metric("runstep_rebalances_total", kind="lost") > 0
        s.load.go_on(500)
        s.doubt()
        s.judge()


@pytest.mark.chaos
@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
def test_05_rolling_restarts(kafka, clickhouse, static):
    def name(number: int) -> dict[str, Any]:
        return {"kafka__group_instance_id": f"member-{number}"} if static else {}

    with scenario(kafka, clickhouse, **name(0)) as s:
        members = [s.daemon, s.join(**name(1))]
        for turn in range(10):
            s.load.go_on(300)
            leaving = members[turn % 2]
            s.drain(leaving)
            leaving.start()
            until(lambda: share(*members), leaving.log)
        s.judge()


def test_06_partitions_that_stay_flow_on_while_others_move(kafka, clickhouse):
    with scenario(kafka, clickhouse) as s:
        until(lambda: len(partitions(s.daemon)) == 4, s.daemon.log)
        second = s.join()
        until(lambda: share(s.daemon, second), s.daemon.log)
        s.load.go_on(500)
        # Had it given up all of them and got two back, it would be four and six.
        assert s.metric("runstep_rebalances_total", kind="revoked") == 2
        assert s.metric("runstep_rebalances_total", kind="assigned") == 4
        s.judge()


@pytest.mark.chaos
def test_07_partitions_that_are_added_are_read_from_their_first_record(kafka, clickhouse):
    with (
        scenario(kafka, clickhouse, kafka__metadata_max_age=1) as s,
        closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin,
    ):
        s.load.go_on(1_000)
        admin.create_partitions({s.there.topic: NewPartitions(total_count=8)})
        s.load.go_on(4_000)
        until(lambda: len(partitions(s.daemon)) == 8, s.daemon.log)
        s.load.go_on(1_000)
        s.judge()


@pytest.mark.chaos
def test_70_another_group_on_the_same_tables_disturbs_nothing(kafka, clickhouse):
    with scenario(kafka, clickhouse, events=islice(repeating(traffic(70), 70), 3_000), rate=0) as s:
        s.load.finish()
        s.daemon.wait_until_accounted()
        with running_daemon(*s.there, kafka__group_id=f"shadow-{s.there.topic}", batch__max_rows=333) as shadow:
            shadow.wait_until_accounted()
        s.judge()
