"""The same records once more, cut differently: after a failure half-way, a rewind, a lost window, a violent end."""

import time
from itertools import islice

import pytest

from tests.support.oracle import repeating, status, traffic, until
from tests.support.outside_view import MEGABYTE
from tests.support.scenario import scenario

MONTHS = 4
MONTH = 31 * 86_400
UNACCOUNTED = """
FROM {db}.run_steps
WHERE (kafka_partition, kafka_offset) NOT IN (SELECT kafka_partition, kafka_offset FROM {db}.run_step_ledger)
"""
"""Steps of which the ledger knows nothing: of an insert that failed half-way."""


@pytest.mark.chaos
def test_14_a_target_that_throws_and_then_heals_is_not_doubled(kafka, clickhouse):
    with scenario(kafka, clickhouse) as s:
        s.sql("SYSTEM STOP MERGES {db}.run_steps")
        s.load.go_on(1_000)
        with s.fault(
            "ALTER TABLE {db}.run_step_ledger ADD CONSTRAINT throws CHECK throwIf(1) = 0",
            "ALTER TABLE {db}.run_step_ledger DROP CONSTRAINT throws",
        ):
            s.wait_until_unready("395")
            assert int(s.sql(f"SELECT count() {UNACCOUNTED}")) > 0
            s.load.go_on(500)
        s.wait_until_ready()
        s.judge(written_once=True)


@pytest.mark.parametrize(
    "window", [2, pytest.param(1_000, marks=pytest.mark.chaos)], ids=["15: lost window", "18: rewind"]
)
def test_15_18_everything_again_in_other_batches_is_seen_once(kafka, clickhouse, window):
    with scenario(kafka, clickhouse, events=islice(repeating(traffic(15), 15), 4_000), rate=0) as s:
        for table in ("run_steps", "run_step_ledger"):
            s.sql(f"ALTER TABLE {{db}}.{table} MODIFY SETTING non_replicated_deduplication_window = {window}")
            s.sql(f"SYSTEM STOP MERGES {{db}}.{table}")
        s.load.finish()
        s.daemon.wait_until_accounted()
        s.drain(s.daemon)
        before = int(s.sql("SELECT count() FROM {db}.run_step_ledger"))
        s.rewind()
        s.join(batch__max_rows=700).wait_until_accounted()
        assert int(s.sql("SELECT count() FROM {db}.run_step_ledger")) > before, "nothing came twice"
        s.judge()


@pytest.mark.chaos
def test_20_a_batch_of_several_months_of_which_one_was_written_is_completed(kafka, clickhouse):
    with scenario(kafka, clickhouse, events=of_several_months(20)) as s:
        s.sql("SYSTEM STOP MERGES {db}.run_steps")
        s.load.go_on(1_000)
        # A batch's months are written one after the other, in the order in which they appear.
        long_ago = f"toDateTime64({int(time.time()) - (MONTHS - 2) * MONTH - 30_000}, 3)"
        with s.fault(
            f"ALTER TABLE {{db}}.run_steps ADD INDEX throws throwIf(created_at < {long_ago}) TYPE minmax",
            # Not to wait for the parts to be written without it: they are not merged either.
            "ALTER TABLE {db}.run_steps DROP INDEX throws SETTINGS alter_sync = 0",
        ):
            s.wait_until_unready("395")
            months = int(s.sql(f"SELECT uniqExact(toYYYYMM(created_at)) {UNACCOUNTED}"))
            assert 0 < months < MONTHS, "all of the batch was written, or nothing of it"
        s.wait_until_ready()
        s.load.go_on(500)
        s.judge(written_once=True)


@pytest.mark.chaos
def test_22_a_kill_at_the_peak_of_memory_is_survived_at_once(kafka, clickhouse_factory):
    server = clickhouse_factory()
    big = {"batch__max_rows": 5_000, "kafka__group_instance_id": "one"}
    with scenario(kafka, server.address, events=islice(traffic(22), 60_000), rate=0, **big) as s:
        for _ in range(2):
            server.pause()
            # Two batches are held, and more does not fit.
            until(lambda: status(s.daemon)["buffer"]["rows"] >= 5_000, s.daemon.log)
            s.kill(s.daemon)
            s.daemon.start(wait=False)
            s.wait_until_unready("ClickHouse was not reached yet")
            assert status(s.daemon)["buffer"]["rows"] == 0, "records were read before the rows had a place to go"
            server.resume()
            s.wait_until_ready()
        s.judge(more_memory=200 * MEGABYTE)


def of_several_months(seed):
    """Yield traffic of several months, the last of them so rare that it comes behind the others in any batch."""
    often = [traffic(seed + month, ago=month * MONTH + 3_600) for month in range(MONTHS - 1)]
    seldom = traffic(seed + MONTHS, ago=(MONTHS - 1) * MONTH + 3_600)
    while True:
        yield from (next(events) for events in often * 500)
        yield next(seldom)
