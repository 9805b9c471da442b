"""The daemon writes nothing to tables that would store a repeated insert twice, and resumes as soon as they do not."""

from itertools import islice
from typing import Any

import pytest

from tests.support.daemon import HTTP_UNAVAILABLE, running_daemon
from tests.support.oracle import Load, Truth, committed, drained, place, summed, traffic, until
from tests.support.sink_setup import counts

QUICK: dict[str, Any] = {"retry__max_delay": 1, "http__final_scrape": 20}
WINDOW = "ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = {inserts}"


@pytest.mark.parametrize("target", ["run_steps", "run_step_ledger"])
def test_16_a_target_without_a_window_gets_nothing_until_it_has_one(kafka, clickhouse, target):
    with place(kafka, clickhouse) as there:
        table = f"{there.database}.{target}"
        clickhouse.query(WINDOW.format(table=table, inserts=0))
        with Load(there, islice(traffic(16), 1_000)) as load:
            load.finish()
        with running_daemon(*there, wait=False, **QUICK) as daemon:

            def named() -> bool:
                code, text = daemon.get("/readyz")
                return code == HTTP_UNAVAILABLE and table in text

            until(named, lambda: f"{daemon.get('/readyz')}\n{daemon.log()}")
            # It has read what there is and tried to write it.
            until(lambda: '"insert_retrying"' in daemon.log(), daemon.log)
            assert counts(clickhouse, there.database) == (0, 0)
            assert committed(there, daemon.group) == {}
            clickhouse.query(WINDOW.format(table=table, inserts=1000))
            daemon.wait_until_ready()
            daemon.wait_until_accounted()
            last = drained(daemon)
        truth = Truth(there, load.produced)
        truth.check_tables(written_once=True)
        truth.check_dead_letters(sent_once=True)
        assert truth.difference(summed([last])) == ""


def test_16_who_does_not_require_it_is_warned(kafka, clickhouse):
    with place(kafka, clickhouse) as there:
        clickhouse.query(WINDOW.format(table=f"{there.database}.run_steps", inserts=0))
        with running_daemon(*there, clickhouse__require_deduplication=False, **QUICK) as daemon:
            with Load(there, islice(traffic(17), 100)) as load:
                load.finish()
            daemon.wait_until_accounted()
            assert daemon.log(1_000).count("deduplication_unverified") == 1
