"""Who comes after another: a later version, an earlier one again, a process whose group has lost its memory."""

from collections.abc import Callable
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError, NoError
from kafka.structs import OffsetAndMetadata

from pipeline.clickhouse.migrations.applied import TABLE
from tests.support.daemon import running_daemon
from tests.support.faulty_proxy import FaultyProxy, never_confirms
from tests.support.group_offsets import group_offsets
from tests.support.oracle import (
    Load,
    Place,
    Truth,
    committed,
    drained,
    place,
    repeating,
    summed,
    traffic,
    until,
    wait_until_counted,
)
from tests.support.scenario import Scenario, scenario

SHORT: dict[str, Any] = {"kafka__session_timeout": 2, "kafka__heartbeat_interval": 0.3}
"""The group misses a member that was killed after two seconds."""
QUICK: dict[str, Any] = {"batch__max_rows": 500, "retry__max_delay": 1, "http__final_scrape": 20}
LATER = (
    "ALTER TABLE {db}.run_step_ingest ADD COLUMN later LowCardinality(String) DEFAULT 'unknown'",
    "ALTER TABLE {db}.run_steps ADD COLUMN later LowCardinality(String) DEFAULT 'unknown'",
    "ALTER TABLE {db}.run_step_ledger ADD COLUMN later Nullable(UInt8)",
    f"INSERT INTO {{db}}.{TABLE} (version, name, checksum) VALUES (9999, '9999_later', 'none')",  # noqa: S608 - constants
)
"""What the migrations of a later version may do."""


@pytest.mark.chaos
def test_71_versions_finish_what_the_one_before_them_had_written_and_not_committed(kafka, clickhouse):
    with FaultyProxy(clickhouse) as proxy, scenario(kafka, clickhouse, clickhouse__url=proxy.url, **SHORT) as s:
        killed_before_its_commit(s, proxy, s.daemon)
        for statement in LATER:
            s.sql(statement)
        # Other batches, other tokens; and the commits of an earlier version may not say of which topic they are.
        set_offsets(s.there, s.daemon.group, lambda found: OffsetAndMetadata(found.offset, "", -1))
        later = s.join(batch__max_rows=170, batch__max_age=0.5, batch__max_bytes=300_000)
        killed_before_its_commit(s, proxy, later)
        set_offsets(
            s.there, s.daemon.group, lambda found: OffsetAndMetadata(found.offset, f"later=words {found.metadata}", -1)
        )
        s.daemon.start()
        s.load.go_on(1_000)
        s.judge()


def killed_before_its_commit(s, proxy, member) -> None:
    """Kill a member whose rows are in the tables and whose offsets are not committed."""
    s.load.go_on(1_000)
    until(lambda: bool(committed(s.there, s.daemon.group)), member.log)
    with proxy.faulty(never_confirms):
        until(lambda: rows_beyond(s) > 0, member.log)
        s.kill(member)


def rows_beyond(s: Scenario) -> int:
    """Return how many offsets the ledger has beyond what is committed."""
    known = int(s.sql("SELECT uniqExact(kafka_partition, kafka_offset) FROM {db}.run_step_ledger"))
    return known - sum(committed(s.there, s.daemon.group).values())


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (None, "group_start"),
        (
            lambda found: OffsetAndMetadata(found.offset, f"topic_id={32 * '0'}", found.leader_epoch),
            "topic_recreated",
        ),
        (lambda found: OffsetAndMetadata(1_000_000, found.metadata, -1), "log_diverged"),
    ],
    ids=["lost", "of another topic", "beyond the end"],
)
@pytest.mark.chaos
def test_72_offsets_that_are_lost_or_nonsense_cost_nothing_but_time(kafka, clickhouse, memory, said):
    events = islice(repeating(traffic(72), 72), 4_000)
    with place(kafka, clickhouse) as there, running_daemon(*there, **QUICK) as daemon:
        with Load(there, events, rate=2_000) as load:
            load.go_on(2_000)
            drained(daemon)
            forget(there, daemon.group) if memory is None else set_offsets(there, daemon.group, memory)
            daemon.start()
            load.finish()
        # Everything is counted again, as after a rewind.
        wait_until_counted(daemon, len(load.produced))
        daemon.wait_until_accounted()
        assert daemon.log(1_000).count(said) >= 4
        last = drained(daemon)
        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.difference(summed([last])) == ""


def forget(there: Place, group: str) -> None:
    """Have Kafka delete what it knows of a group."""
    with closing(KafkaAdminClient(bootstrap_servers=there.kafka.bootstrap)) as admin:
        admin.delete_groups([group])


def set_offsets(there: Place, group: str, change: Callable[[OffsetAndMetadata], OffsetAndMetadata]) -> None:
    """Change what the group has committed, as soon as it has no members any more."""

    def done() -> bool:
        found = group_offsets(admin, group)
        try:
            answers = admin.alter_group_offsets(group, {place: change(offset) for place, offset in found.items()})
        except KafkaError:
            return False
        return {str(answer) for answer in answers.values()} == {str(NoError)}

    with closing(KafkaAdminClient(bootstrap_servers=there.kafka.bootstrap)) as admin:
        until(done, "the group does not become empty")
