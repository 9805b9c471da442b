"""Limits of the server: a batch becomes as small as it must, and as large as it may, and nothing is dropped."""

from itertools import islice
from typing import Any

import pytest

from tests.support.oracle import status, traffic, until
from tests.support.outside_view import MEGABYTE
from tests.support.scenario import SECRET, scenario

BATCH = 12_000
LARGE_BATCHES: dict[str, Any] = {"batch__max_rows": BATCH, "batch__max_age": 20}
LARGE = 300 * MEGABYTE
"""What two batches of that size may take."""
USERS = """
<clickhouse>
  <profiles><writer>{limits}</writer></profiles>
  <users><writer><password>{password}</password><networks><ip>::/0</ip></networks><profile>writer</profile></writer></users>
</clickhouse>
"""
SMALL = "<max_memory_usage>24000000</max_memory_usage><max_untracked_memory>1</max_untracked_memory>"
"""Enough for an insert of 2,000 rows, not for one of a whole batch; the server itself takes 16 MB for each."""

CARELESS = """
<async_insert>1</async_insert><wait_for_async_insert>0</wait_for_async_insert>
<insert_deduplicate>0</insert_deduplicate><materialized_views_ignore_errors>1</materialized_views_ignore_errors>
"""


def users(profile=""):
    """Return a users.xml whose `writer` has these settings."""
    return USERS.format(limits=profile, password=SECRET)


@pytest.fixture
def small(clickhouse_factory):
    """A server whose memory limit inserts of a whole batch exceed."""
    return clickhouse_factory(users=users(SMALL))


@pytest.mark.chaos
def test_19_a_kill_in_the_middle_of_a_split_batch_leaves_no_trace(kafka, small):
    settings = {"clickhouse__url": login(small), **LARGE_BATCHES, "kafka__group_instance_id": "one"}
    with scenario(kafka, small.address, events=islice(traffic(19), 40_000), rate=0, **settings) as s:
        s.load.finish()
        until(lambda: most_rows(s) is not None and status(s.daemon)["buffer"]["writing"], s.daemon.log)
        until(lambda: int(s.sql("SELECT count() FROM {db}.run_step_ledger")) > 0, s.daemon.log)
        s.kill(s.daemon)
        # What was inserted in pieces may come again as a whole.
        small.users = users()
        small.restart()
        s.daemon.start()
        s.judge(more_memory=LARGE)


@pytest.mark.chaos
def test_21_a_profile_that_answers_before_rows_are_safe_is_overruled(kafka, clickhouse_factory):
    server = clickhouse_factory(users=users(CARELESS))
    with scenario(kafka, server.address, clickhouse__url=login(server)) as s:
        for _ in range(3):
            s.load.go_on(1_000)
            server.kill()
            server.start()
        s.wait_until_ready()
        s.judge()


@pytest.mark.chaos
def test_23_too_many_parts_are_waited_for(kafka, clickhouse):
    with scenario(kafka, clickhouse) as s:
        s.load.go_on(500)
        s.sql("SYSTEM STOP MERGES {db}.run_steps")
        with s.fault(
            "ALTER TABLE {db}.run_steps MODIFY SETTING parts_to_throw_insert = 2, parts_to_delay_insert = 0",
            "ALTER TABLE {db}.run_steps RESET SETTING parts_to_throw_insert, parts_to_delay_insert",
        ):
            s.wait_until_unready("252 (TOO_MANY_PARTS)")
            s.load.go_on(2_000)
        s.wait_until_ready()
        s.judge(written_once=True)


@pytest.mark.chaos
def test_24_a_batch_of_more_months_than_servers_allow_by_default_passes_whole(kafka, clickhouse):
    months = 130
    streams = [traffic(240 + month, ago=(month + 2) * 31 * 86_400) for month in range(months)]
    mixed = (event for events in zip(*streams, strict=True) for event in events)
    settings = {"batch__max_rows": 2_000, "batch__max_age": 2}
    with scenario(kafka, clickhouse, events=islice(mixed, 4_000), rate=0, **settings) as s:
        s.load.finish()
        s.daemon.wait_until_accounted()
        assert s.metric("runstep_inserts_total", outcome="failed") == 0
        assert int(s.sql("SELECT uniqExact(toYYYYMM(created_at)) FROM {db}.run_steps")) > 100
        s.judge(written_once=True)


@pytest.mark.chaos
def test_26_batches_shrink_below_the_memory_limit_and_grow_back(kafka, small):
    with scenario(kafka, small.address, rate=6_000, clickhouse__url=login(small), **LARGE_BATCHES) as s:
        until(lambda: most_rows(s) is not None, s.daemon.log)
        s.wait_until_ready()
        s.load.go_on(BATCH)
        shrunk = most_rows(s)
        assert shrunk is not None
        assert shrunk < BATCH
        small.users = users()
        small.restart()
        until(lambda: (most_rows(s) or BATCH) >= BATCH, s.daemon.log)
        s.judge(more_memory=LARGE)


def most_rows(s) -> int | None:
    """Return how many rows the daemon dares to insert at once, None where it has met no limit."""
    return status(s.daemon)["sink"]["most_rows"]


def login(server) -> str:
    """Return the url with the user whose profile is the test's."""
    return server.url.replace("http://", f"http://writer:{SECRET}@")
