"""`runstep audit` on real servers: what is accounted for, explained or lost, each by its exact offsets."""

import time
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from pipeline.cli import execute
from tests.servers.addresses import ClickHouseAddress, KafkaAddress
from tests.support.audit_rig import STAMP, Pipeline
from tests.support.check_rig import complete_pipeline
from tests.support.fakes.rows import step_row
from tests.support.transactions import open_transaction

OK, BAD_NEWS, AWAY, WRONG = 0, 1, 69, 78
WRONG_STEPS = ("seen_twice", "without_row", "behind", "without_account")


@pytest.fixture(autouse=True)
def _no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pipeline(
    kafka: KafkaAddress,
    clickhouse: ClickHouseAddress,
    topic: Callable[..., str],
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Pipeline:
    return Pipeline(complete_pipeline(kafka, clickhouse, topic, database, monkeypatch), clickhouse)


@pytest.fixture
def sound(pipeline: Pipeline) -> Pipeline:
    """Ten records in partition 0, three in partition 1, all accounted for, nothing in partition 2."""
    pipeline.produce(0, 10)
    pipeline.produce(1, 3)
    pipeline.store(0, range(7))
    pipeline.refuse(0, [7])
    pipeline.refuse(0, [8, 9], outcome="ignored")
    pipeline.store(1, range(3))
    pipeline.dead_letter(0, 7)
    pipeline.commit({0: 10, 1: 3})
    return pipeline


def part(answer: dict[str, Any], number: int) -> dict[str, Any]:
    return dict(answer["partitions"][number])


def gaps(answer: dict[str, Any], number: int = 0) -> list[tuple[int, int, str]]:
    return [(gap["first"], gap["last"], gap["cause"]) for gap in part(answer, number)["gaps"]]


def test_everything_is_accounted_for(sound: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = sound.audit()
    assert (code, answer["ok"], answer["problems"]) == (OK, True, [])
    assert part(answer, 0)["outcomes"] == {"stored": 7, "dead_lettered": 1, "ignored": 2}
    assert (part(answer, 0)["offsets"], part(answer, 0)["lag"], part(answer, 2)["committed"]) == (10, 0, None)
    assert [answer["steps"][name] for name in ("steps", *WRONG_STEPS)] == [10, 0, 0, 0, 0]
    assert answer["steps"]["examples"] == {name: [] for name in WRONG_STEPS}
    assert (answer["dead_letters"]["expected"], answer["dead_letters"]["found"]) == (1, 1)
    assert execute(["audit"]) == OK
    shown = capsys.readouterr().out
    assert "all 13 offsets are accounted for" in shown
    assert f"{sound.topic}/0" in shown


def test_a_record_that_the_ledger_does_not_have_is_lost_and_named(sound: Pipeline) -> None:
    sound.sql("DELETE FROM {db}.run_step_ledger WHERE kafka_partition = 0 AND kafka_offset IN (2, 3, 5)")
    sound.sql("DELETE FROM {db}.run_steps WHERE kafka_partition = 0 AND kafka_offset IN (2, 3, 5)")
    code, answer = sound.audit()
    assert code == BAD_NEWS
    assert gaps(answer) == [(2, 3, "lost"), (5, 5, "lost")]
    (problem,) = answer["problems"]
    assert problem.startswith(f"{sound.topic}/0: 3 offsets are lost: Kafka holds a record and the ledger has none")
    assert f"--reset-offsets --topic {sound.topic}:0 --to-offset 2`" in problem
    assert problem.endswith(": 2-3, 5")


def test_lost_records_at_both_ends_are_found(sound: Pipeline) -> None:
    sound.sql("DELETE FROM {db}.run_step_ledger WHERE kafka_partition = 1 AND kafka_offset != 1")
    code, answer = sound.audit()
    assert (code, gaps(answer, 1)) == (BAD_NEWS, [(0, 0, "lost"), (2, 2, "lost")])


def test_an_empty_ledger_below_a_committed_offset_is_a_loss(sound: Pipeline) -> None:
    sound.sql("TRUNCATE TABLE {db}.run_step_ledger")
    code, answer = sound.audit("--no-dead-letters")
    assert (code, gaps(answer, 0), gaps(answer, 1)) == (BAD_NEWS, [(0, 9, "lost")], [(0, 2, "lost")])
    assert answer["steps"]["without_account"] == 10


def test_markers_and_aborted_records_are_no_loss_wherever_they_are(pipeline: Pipeline) -> None:
    pipeline.transact(0, 2, abort=False)  # 0 1, marker 2
    pipeline.transact(0, 3, abort=True)  # 3 4 5, marker 6
    pipeline.produce(0, 1)  # 7
    pipeline.transact(0, 1, abort=False)  # 8, marker 9
    pipeline.store(0, [0, 1, 7, 8])
    pipeline.commit({0: 10})
    code, answer = pipeline.audit()
    assert (code, answer["problems"]) == (OK, [])
    assert gaps(answer) == [(2, 6, "transaction"), (9, 9, "transaction")]


def test_a_lost_record_between_markers_is_still_lost(pipeline: Pipeline) -> None:
    pipeline.transact(0, 2, abort=False)
    pipeline.transact(0, 2, abort=False)
    pipeline.store(0, [0, 1])
    pipeline.commit({0: 6})
    code, answer = pipeline.audit()
    assert (code, gaps(answer)) == (BAD_NEWS, [(2, 2, "transaction"), (3, 4, "lost"), (5, 5, "transaction")])


def test_what_kafka_dropped_unread_is_reported_and_can_be_left_out(pipeline: Pipeline) -> None:
    pipeline.produce(0, 10)
    pipeline.store(0, [0, 1, 2, 6, 7, 8, 9])
    pipeline.expire(0, below=6)
    pipeline.commit({0: 10})
    code, answer = pipeline.audit()
    assert (code, gaps(answer)) == (BAD_NEWS, [(3, 5, "expired")])
    assert pipeline.audit("--held")[0] == OK


def test_what_was_read_before_kafka_dropped_it_is_accounted_for(sound: Pipeline) -> None:
    sound.expire(0, below=8)
    assert sound.audit()[0] == OK


def test_a_step_without_its_row_is_found(sound: Pipeline) -> None:
    sound.sql("DELETE FROM {db}.run_steps WHERE step_id = 's0-4'")
    code, answer = sound.audit()
    assert (code, answer["steps"]["without_row"]) == (BAD_NEWS, 1)
    assert answer["steps"]["examples"]["without_row"] == [f"{sound.topic}/0:4"]


def test_a_step_that_lacks_its_latest_event_is_found(sound: Pipeline) -> None:
    began: dict[str, Any] = {"status": "in_progress", "ended_at": None, "completed_at": None, "occurred_at": STAMP}
    sound.produce(1, 4)
    sound.store(1, [3], step_id="early", **began, version=1)
    sound.store(1, [4], step_id="early")
    sound.store(1, [5], step_id="late", **began, version=1_000_000)  # as if the end had reached the ledger alone
    sound.store(1, [6], step_id="late")
    sound.commit({1: 7})
    code, answer = sound.audit()
    assert (code, answer["steps"]["behind"], answer["steps"]["without_row"]) == (BAD_NEWS, 1, 0)
    assert answer["steps"]["examples"]["behind"] == [f"{sound.topic}/1:6"]
    assert "lack their latest event" in answer["problems"][0]


def test_an_end_without_a_time_is_not_held_against_its_step(pipeline: Pipeline) -> None:
    pipeline.produce(0, 2)
    pipeline.store(0, [0], step_id="end")
    pipeline.store(0, [1], step_id="end", ended_at=None, completed_at=None, occurred_at=None, version=9_001)
    pipeline.commit({0: 2})
    code, answer = pipeline.audit()
    assert (code, answer["problems"], answer["steps"]["steps"]) == (OK, [], 1)


def test_a_step_without_its_account_is_found(sound: Pipeline) -> None:
    sound.sql("DELETE FROM {db}.run_step_ledger WHERE kafka_partition = 1 AND kafka_offset = 1")
    code, answer = sound.audit()
    assert (code, answer["steps"]["without_account"]) == (BAD_NEWS, 1)
    assert answer["steps"]["examples"]["without_account"] == [f"{sound.topic}/1:1"]


def test_a_step_that_is_seen_twice_is_found(sound: Pipeline) -> None:
    sound.sql(
        "INSERT INTO {db}.run_steps SELECT * REPLACE (created_at + INTERVAL 1 DAY AS created_at) FROM {db}.run_steps "
        "WHERE step_id = 's0-4'"
    )
    code, answer = sound.audit()
    assert (code, answer["steps"]["seen_twice"]) == (BAD_NEWS, 1)
    assert answer["steps"]["examples"]["seen_twice"] == ["thread_1 run_1 s0-4"]


def test_rows_written_twice_are_no_bad_news_as_nobody_sees_them(sound: Pipeline) -> None:
    sound.sql("SYSTEM STOP MERGES {db}.run_step_ledger")
    sound.sql("INSERT INTO {db}.run_step_ledger SELECT * FROM {db}.run_step_ledger WHERE kafka_partition = 1")
    code, answer = sound.audit()
    assert (code, part(answer, 1)["repeated_rows"], part(answer, 1)["offsets"]) == (OK, 3, 3)


def test_a_topic_that_was_recreated_is_named_and_is_no_fault(sound: Pipeline) -> None:
    sound.store(1, range(2), stamp=STAMP + 1_000)
    code, answer = sound.audit()
    assert (code, part(answer, 1)["recreated"], part(answer, 1)["repeated_rows"]) == (OK, 2, 0)


def test_rows_beyond_the_committed_offset_are_in_flight_and_not_judged(sound: Pipeline) -> None:
    sound.produce(1, 5)
    sound.store(1, [3, 4])
    code, answer = sound.audit()
    assert (code, part(answer, 1)["in_flight"], part(answer, 1)["lag"]) == (OK, 2, 5)


def test_a_dead_lettered_offset_without_its_dead_letter_is_found(sound: Pipeline) -> None:
    sound.produce(1, 1)
    sound.refuse(1, [3])
    sound.commit({1: 4})
    code, answer = sound.audit()
    assert (code, answer["dead_letters"]["missing"]) == (BAD_NEWS, [f"{sound.topic}/1:3"])
    assert sound.audit("--no-dead-letters")[0] == OK
    sound.expire(0, below=1, topic=sound.dead_letters)
    code, answer = sound.audit()
    assert (code, answer["dead_letters"]["expired"]) == (OK, 2)


def test_a_dead_letter_that_cannot_have_expired_is_missed(sound: Pipeline) -> None:
    sound.dead_letter(0, 100)
    sound.expire(0, below=1, topic=sound.dead_letters)
    tomorrow = 1_000 * int(time.time() + 86_400)
    sound.produce(1, 1)
    sound.refuse(1, [3], ingested_at=tomorrow)
    sound.commit({1: 4})
    code, answer = sound.audit()
    assert (code, answer["dead_letters"]["expired"]) == (BAD_NEWS, 1)
    assert answer["dead_letters"]["missing"] == [f"{sound.topic}/1:3"]


def test_a_group_that_has_committed_nothing_is_no_proof(
    sound: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNSTEP_KAFKA__GROUP_ID", "misspelt")
    code, answer = sound.audit()
    assert (code, len(answer["problems"])) == (BAD_NEWS, 2)
    assert "the ledger has 10 offsets" in answer["problems"][0]
    assert "correct kafka.group_id" in answer["problems"][0]
    sound.sql("TRUNCATE TABLE {db}.run_step_ledger")
    assert execute(["audit", "--no-dead-letters"]) == OK
    assert "the group has committed nothing yet" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["KAFKA__START", "CLICKHOUSE__RETENTION_DAYS"])
def test_what_was_never_read_or_has_been_kept_long_enough_is_not_missed(
    sound: Pipeline, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"RUNSTEP_{name}", "latest" if name.startswith("KAFKA") else "3")
    sound.sql("TRUNCATE TABLE {db}.run_steps")
    sound.sql("TRUNCATE TABLE {db}.run_step_ledger")
    assert sound.audit()[0] == OK


def test_a_hole_that_the_retention_has_made_is_not_missed(sound: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000 * int(time.time())
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__RETENTION_DAYS", "3")
    sound.sql("TRUNCATE TABLE {db}.run_steps")
    sound.sql("TRUNCATE TABLE {db}.run_step_ledger")
    sound.refuse(0, [0, 1], "ignored", ingested_at=now - 9 * 86_400_000)
    assert sound.audit()[0] == OK
    sound.refuse(0, [5, 6, 8, 9], "ignored", ingested_at=now)
    code, answer = sound.audit()
    assert (code, gaps(answer)) == (BAD_NEWS, [(7, 7, "lost")])


def test_what_was_not_looked_at_is_not_called_accounted_for(
    sound: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    sound.sql("DELETE FROM {db}.run_step_ledger WHERE kafka_partition = 0 AND kafka_offset IN (2, 8)")
    code, answer = sound.audit("--max-gaps", "1")
    assert (code, answer["ok"]) == (BAD_NEWS, False)
    assert part(answer, 0)["missing"] == {"lost": 1, "unverified": 1}
    assert answer["problems"][1].startswith(
        f"{sound.topic}/0: 1 offsets are not in the ledger, and whether Kafka holds a "
    )
    assert "they lie in more than 1 ranges" in answer["problems"][1]
    assert answer["problems"][1].endswith("run `runstep audit --max-gaps 2`")
    assert execute(["audit", "--max-gaps", "1"]) == BAD_NEWS
    assert "accounted for" not in capsys.readouterr().out
    code, answer = sound.audit("--max-gaps", "2")
    assert part(answer, 0)["missing"] == {"lost": 2}


def test_many_gaps_that_transactions_explain_can_all_be_looked_up(pipeline: Pipeline) -> None:
    for _ in range(3):
        pipeline.transact(0, 1, abort=False)
    pipeline.store(0, [0, 2, 4])
    pipeline.commit({0: 6})
    code, answer = pipeline.audit("--max-gaps", "2")
    assert (code, part(answer, 0)["missing"]) == (BAD_NEWS, {"transaction": 2, "unverified": 1})
    code, answer = pipeline.audit("--max-gaps", "3")
    assert (code, part(answer, 0)["missing"]) == (OK, {"transaction": 3})


def test_dead_letters_that_could_not_be_compared_are_not_called_found(
    sound: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(import_module("pipeline.tools.audit.kafka_side"), "MAX_DEAD_LETTERS", 0)
    code, answer = sound.audit()
    assert code == BAD_NEWS
    (problem,) = answer["problems"]
    assert "holds 1 records, too many to read; `runstep audit --no-dead-letters` leaves them out" in problem
    assert execute(["audit"]) == BAD_NEWS
    assert capsys.readouterr().out.count("were not compared") == 1
    assert sound.audit("--no-dead-letters")[0] == OK


def test_a_recreated_topic_without_new_records_is_no_alarm(sound: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    sound.recreate()
    code, answer = sound.audit()
    assert (code, answer["problems"]) == (OK, [])
    assert [part(answer, number)["foreign"] for number in range(3)] == [10, 3, 0]
    assert [part(answer, number)["in_flight"] for number in range(3)] == [0, 0, 0]
    assert execute(["audit"]) == OK
    shown = capsys.readouterr().out
    assert "13 offsets of the ledger are behind the end of the log: of an earlier topic, or of another cluster" in shown
    sound.produce(0, 2)
    sound.store(0, range(2), stamp=STAMP + 60_000, step_id="new")
    sound.commit({0: 2})
    code, answer = sound.audit()
    assert (code, answer["problems"]) == (OK, [])
    assert (part(answer, 0)["recreated"], part(answer, 0)["foreign"], part(answer, 1)["foreign"]) == (2, 8, 3)


def test_another_cluster_with_a_topic_of_that_name_is_no_alarm(
    sound: Pipeline, monkeypatch: pytest.MonkeyPatch, kafka_factory: Callable[..., Any]
) -> None:
    other = kafka_factory()
    with closing(KafkaAdminClient(bootstrap_servers=other.bootstrap)) as admin:
        admin.create_topics([NewTopic(sound.topic, 3, 1)], wait_for_metadata=True)
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", other.bootstrap)
    code, answer = sound.audit("--no-dead-letters")
    assert (code, answer["problems"]) == (OK, [])
    assert [part(answer, number)["foreign"] for number in range(3)] == [10, 3, 0]


def test_rows_written_while_the_audit_runs_are_not_called_foreign(
    sound: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = import_module("pipeline.tools.audit.kafka_side").KafkaSide.logs

    def and_meanwhile(side: Any) -> Any:
        found = logs(side)
        sound.produce(1, 1)
        sound.store(1, [3])
        return found

    monkeypatch.setattr("pipeline.tools.audit.kafka_side.KafkaSide.logs", and_meanwhile)
    code, answer = sound.audit()
    assert (code, part(answer, 1)["foreign"], part(answer, 1)["in_flight"]) == (OK, 0, 1)


def test_a_committed_offset_behind_the_end_of_the_log_is_bad_news(sound: Pipeline) -> None:
    sound.commit({1: 5})
    code, answer = sound.audit()
    assert (code, gaps(answer, 1)) == (BAD_NEWS, [])
    (problem,) = answer["problems"]
    assert "the committed offset is 5, but the log ends at 3" in problem


def test_a_page_of_steps_is_one_offset(pipeline: Pipeline) -> None:
    pipeline.produce(0, 1)
    named = {"kafka_topic": pipeline.topic, "kafka_timestamp": STAMP}
    pipeline.insert([step_row(0, step_id=f"page-{index}", step_index=index, **named) for index in range(3)])
    pipeline.commit({0: 1})
    code, answer = pipeline.audit()
    assert (code, part(answer, 0)["offsets"], part(answer, 0)["repeated_rows"]) == (OK, 1, 0)
    assert answer["steps"]["steps"] == 3


def test_what_hinders_it_is_one_line(sound: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    sound.sql("DROP VIEW {db}.run_steps_current")
    code, answer = sound.audit()
    assert code == AWAY
    assert "run_steps_current" in answer["error"]
    assert answer["error"].count("\n") == 1
    assert (answer["ok"], answer["error"]) == (False, f"runstep: {answer['problems'][0]}\n")
    monkeypatch.setenv("RUNSTEP_KAFKA__TOPICS", "no-such-topic")
    code, answer = sound.audit()
    assert (code, "no-such-topic" in answer["error"]) == (WRONG, True)


def test_records_behind_an_open_transaction_are_not_all_that_there_is(
    sound: Pipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_transaction(sound.bootstrap, sound.topic, b"{}"):
        sound.produce(0, 3)
        code, answer = sound.audit()
        assert (code, part(answer, 0)["unstable"], part(answer, 0)["lag"]) == (OK, 4, 0)
        assert (part(answer, 1)["unstable"], part(answer, 2)["unstable"]) == (0, 0)
        assert execute(["audit"]) == OK
        printed = " ".join(capsys.readouterr().out.split())
        assert "13 offsets are accounted for, 4 more wait behind a transaction that a producer has left open" in printed
        assert "all 13 offsets" not in printed
