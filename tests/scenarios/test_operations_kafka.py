"""The operations guide on Kafka: partitions, a backfill, dead letters, lost offsets, a new cluster, and the end."""

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from tests.servers.kafka import KafkaServer
from tests.support.daemon import running_daemon
from tests.support.guide import Shell, number
from tests.support.model import TERMINAL
from tests.support.oracle import Load, Truth, committed, place, repeating, status, traffic, until

pytestmark = pytest.mark.chaos

EVENTS = 3_000
STEPS = "SELECT count() FROM {db}.run_steps_current"


def some(seed: int, count: int = EVENTS, **more) -> Iterator:
    return islice(repeating(traffic(seed, **more), seed), count)


def ended_once(daemon) -> tuple[float, float]:
    """Return the steps that the daemon has counted, as news and as backfill."""
    samples = daemon.metrics()
    sums = (
        sum(value for (name, _), value in samples.items() if name == counter)
        for counter in ("runstep_steps_total", "runstep_backfilled_steps_total")
    )
    return next(sums), next(sums)


def read(daemon) -> int:
    return sum(status(daemon)["counts"].values())


def test_more_partitions_lose_nothing_and_count_no_more_than_the_ends_that_come_again(
    kafka, clickhouse, tmp_path: Path
):
    stream = repeating(traffic(80), 80)
    quick: dict[str, Any] = {"kafka__metadata_max_age": 1}
    with place(kafka, clickhouse) as there:
        shell = Shell(there, tmp_path)
        with running_daemon(*there, **quick) as daemon, running_daemon(*there, **quick) as second:
            with Load(there, islice(stream, EVENTS)) as before:
                before.finish()
            assert "error_code=0" in shell.run("more-partitions")

            def both() -> int:
                return sum(len(status(member)["partitions"]) for member in (daemon, second))

            until(lambda: both() == 8, lambda: f"{both()} partitions are owned")
            with Load(there, islice(stream, EVENTS)) as after:
                after.finish()
            daemon.wait_until_accounted()
            shell.run("audit")
            truth = Truth(there, before.produced + after.produced)
            until(lambda: read(daemon) + read(second) == truth.records, "not all was counted")
            counted = ended_once(daemon)[0] + ended_once(second)[0]
        truth.check_tables()
        ended = sum(row["status"] in TERMINAL for row in truth.model.current.values())
        print(f"{ended} steps ended, {counted:.0f} were counted: {counted / ended - 1:+.1%}")
        assert ended < counted < ended * 1.1, "an end that comes again in another partition counts again"


def test_a_backfill_is_stored_and_counted_apart_and_can_be_undone(kafka, clickhouse, tmp_path: Path):
    with place(kafka, clickhouse) as there, Load(there, some(81)) as load:
        topic = f"{there.topic}-backfill"
        old = there._replace(topic=topic)
        apart: dict[str, Any] = {"kafka__group_id": topic}
        shell = Shell(there, tmp_path)
        shell.run("backfill-prepare", BACKFILL=topic)
        with running_daemon(*there) as daemon, running_daemon(*old, **apart) as other:
            with Load(old, some(82, ago=40 * 86_400)) as history:
                history.finish()
            load.finish()
            daemon.wait_until_accounted()
            other.wait_until_accounted()
            until(lambda: ended_once(other)[1] > 0, "nothing was counted as a backfill")
            assert ended_once(other)[0] == 0, "a backfill is no news"
            assert ended_once(daemon)[1] == 0, "news are no backfill"
        said = shell.run("backfill-check", BACKFILL=topic)
        assert f"all {Truth(old, history.produced).records:,} offsets are accounted for" in said
        shell.run("backfill-undo", BACKFILL=topic)
        shell.run("audit")
        Truth(there, load.produced).check_tables()
        with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
            admin.delete_topics([topic, f"{topic}.dlq"])


def test_dead_letters_come_back_when_their_cause_is_fixed(kafka, clickhouse, tmp_path: Path):
    with place(kafka, clickhouse) as there, Load(there, some(83, poison_ratio=0.0)) as load:
        shell = Shell(there, tmp_path)
        limits: dict[str, Any] = {"dead_letter__max_consecutive": 0, "dead_letter__max_ratio": 1}
        with running_daemon(*there, normalize__max_event_bytes=1_024, **limits) as daemon:
            load.finish()
            daemon.wait_until_accounted()
        with running_daemon(*there, **limits) as daemon:
            assert "too_large" in shell.run("dead-letters")
            daemon.wait_until_accounted()
        shell.run("audit")
        steps = {(step.thread_id, step.run_id, step.step_id) for event in load.produced for step in event.steps}
        assert number(there, STEPS) == len(steps)


def test_lost_offsets_of_the_group_are_taken_from_the_ledger(kafka, clickhouse, tmp_path: Path):
    with place(kafka, clickhouse) as there, Load(there, some(84)) as load:
        shell = Shell(there, tmp_path)
        with running_daemon(*there) as daemon:
            load.finish()
            daemon.wait_until_accounted()
            before = committed(there, daemon.group)
            daemon.stop()
            with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
                admin.delete_groups([daemon.group])
            shell.run("offsets-from-ledger", MARGIN="100")
            after = committed(there, daemon.group)
            assert {number: offset + 101 for number, offset in after.items()} == before
            daemon.start()
            daemon.wait_until_accounted()
            until(lambda: read(daemon) == 404, "the margin is read again, and no more")
        shell.run("audit")
        Truth(there, load.produced).check_tables()


def test_a_missing_dead_letter_topic_stops_the_pipeline_until_it_is_made(kafka, clickhouse, tmp_path: Path):
    with place(kafka, clickhouse) as there, Load(there, some(85), rate=1_000) as load:
        shell = Shell(there, tmp_path)
        with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
            admin.delete_topics([f"{there.topic}.dlq"])
        with running_daemon(*there, wait=False, dead_letter__delivery_timeout=2, retry__max_delay=1) as daemon:
            until(lambda: "dead-letter topic" in daemon.get("/readyz")[1], lambda: str(daemon.get("/readyz")))
            assert "created" in shell.run("make-topics")
            load.finish()
            daemon.wait_until_accounted(120)
        shell.run("audit")
        Truth(there, load.produced).check_dead_letters()


def test_a_new_kafka_cluster_is_read_from_its_beginning_into_the_same_tables(
    kafka_factory: Callable[..., KafkaServer], clickhouse, tmp_path: Path
):
    first, second = kafka_factory(), kafka_factory()
    with place(first.address, clickhouse) as there, Load(there, some(86)) as load:
        with running_daemon(*there) as daemon:
            load.finish()
            daemon.wait_until_accounted()
            group: dict[str, Any] = {"kafka__group_id": daemon.group}
        before = number(there, STEPS)
        moved = there._replace(kafka=second.address)
        shell = Shell(moved, tmp_path)
        shell.run("set-old-accounts-aside")
        shell.run("make-topics")
        with running_daemon(*moved, **group) as daemon, Load(moved, some(87, 2 * EVENTS)) as more:
            more.finish()
            daemon.wait_until_accounted()
            truth = Truth(moved, more.produced)
            assert f"all {truth.records:,} offsets are accounted for" in shell.run("audit")
        accounts = len(truth.model.ledger) + len(Truth(there, load.produced).model.ledger)
        assert number(moved, "SELECT count() FROM {db}.run_step_ledger FINAL") == accounts
        assert number(moved, STEPS) == before + len(truth.model.current)


def test_the_pipeline_is_removed_and_leaves_nothing(kafka, clickhouse, tmp_path: Path):
    with place(kafka, clickhouse) as there, Load(there, some(88, 200)) as load:
        shell = Shell(there, tmp_path)
        with running_daemon(*there) as daemon:
            load.finish()
            daemon.wait_until_accounted()
        shell.run("remove")
        with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
            assert f"{there.topic}.dlq" not in admin.list_topics()
            assert daemon.group not in {found["group_id"] for found in admin.list_groups()}
            admin.create_topics({f"{there.topic}.dlq": {"num_partitions": 1, "replication_factor": 1}})
        assert there.database not in clickhouse.query("SHOW DATABASES").split()
