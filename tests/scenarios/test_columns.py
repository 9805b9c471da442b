"""Tables that change under a running daemon: if no row passes it waits, else only rejected rows become dead letters."""

import threading

import pytest

from tests.support.model import TERMINAL
from tests.support.oracle import read_topic, repeating, traffic
from tests.support.scenario import scenario

REJECTED = "asst_rejected"


@pytest.mark.parametrize(
    ("begin", "lift"),
    [
        (
            "ALTER TABLE {db}.run_step_ingest MODIFY COLUMN message_id DateTime",
            "ALTER TABLE {db}.run_step_ingest MODIFY COLUMN message_id String",
        ),
        (
            "ALTER TABLE {db}.run_steps ADD CONSTRAINT none CHECK length(step_id) = 0",
            "ALTER TABLE {db}.run_steps DROP CONSTRAINT none",
        ),
    ],
    ids=["another type", "a constraint"],
)
@pytest.mark.chaos
def test_29_a_table_that_takes_no_row_any_more_floods_no_dead_letters(kafka, clickhouse, begin, lift):
    with scenario(kafka, clickhouse, events=repeating(traffic(29, poison_ratio=0.0), 29)) as s:
        s.load.go_on(1_000)
        with s.fault(begin, lift):
            s.wait_until_unready("no row passes")
            s.load.go_on(500)
        s.wait_until_ready()
        s.judge()
        assert read_topic(kafka, f"{s.there.topic}.dlq") == []


@pytest.mark.chaos
def test_29_a_new_column_changes_nothing(kafka, clickhouse):
    with scenario(kafka, clickhouse) as s:
        for table in ("run_step_ingest", "run_steps", "run_step_ledger"):
            s.load.go_on(500)
            s.sql(f"ALTER TABLE {{db}}.{table} ADD COLUMN team String")
        s.load.go_on(500)
        s.judge(written_once=True)


def test_29_only_the_rows_that_a_table_refuses_become_dead_letters(kafka, clickhouse):
    rejecting = threading.Event()
    with scenario(kafka, clickhouse, events=some_rejected(30, rejecting)) as s:
        s.sql("ALTER TABLE {db}.run_steps ADD CONSTRAINT known CHECK assistant_id != 'asst_rejected'")
        rejecting.set()
        s.load.go_on(1_500)
        s.judge()
        dead_letters = read_topic(kafka, f"{s.there.topic}.dlq")
        assert (
            sum(dict(dead_letter.headers)["runstep-reason"] == b"refused_by_sink" for dead_letter in dead_letters) > 1
        )


def some_rejected(seed, rejecting):
    """Yield traffic in which a few ends are of an assistant that the table does not want, once it does not.

    Ends only: a row that a newer one of its step replaces in the same insert does not reach that table.
    """
    due = 0
    for number, event in enumerate(traffic(seed, duplicate_ratio=0.0, page_ratio=0.0)):
        due += number % 400 < 2
        name = event.steps[0].assistant_id.encode() if len(event.steps) == 1 else b""
        if rejecting.is_set() and due and event.kind in TERMINAL and name and event.value and name in event.value:
            due -= 1
            value = event.value.replace(name, REJECTED.encode())
            yield event._replace(value=value, outcome="dead_lettered", reason="refused_by_sink", steps=())
        else:
            yield event
