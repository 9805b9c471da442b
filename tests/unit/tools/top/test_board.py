"""What daemons say, made into figures: rates over restarts, partitions that move, members that come and go."""

from typing import Any

import pytest

from pipeline.tools.top.board import Board
from pipeline.tools.top.counters import labels
from pipeline.tools.top.figures import PartitionFigures
from pipeline.tools.top.partition_owners import FORGET_AFTER_S, growth, trend
from pipeline.tools.top.watched_daemon import SEVERAL_DAEMONS
from tests.support.top_rig import FIRST, SECOND, WALL, daemon, shown, silent

LAST_READ = "runstep_consumer_position_timestamp_seconds"


def partition(board_rows: tuple[PartitionFigures, ...], name: str) -> PartitionFigures:
    return next(row for row in board_rows if row.name == name)


def test_rates_are_those_of_all_members_together() -> None:
    board = Board()
    first = shown(board, 0.0, daemon(0.0, records=5_000), daemon(0.0, SECOND, records=100))
    assert first.records is None
    figures = shown(board, 2.0, daemon(2.0, records=5_200), daemon(2.0, SECOND, records=140))
    assert figures.records == pytest.approx(120.0)
    assert [member.records for member in figures.members] == [pytest.approx(100.0), pytest.approx(20.0)]
    assert (figures.causes, figures.answering) == ((), 2)
    assert [(row.outcome, row.rate, row.total) for row in figures.outcomes] == [("stored", 120.0, 5_340.0)]


def test_a_member_that_is_killed_is_away_with_its_cause_and_comes_back_without_a_gap_in_the_sums() -> None:
    board = Board()
    for at in (0.0, 2.0):
        shown(board, at, daemon(at, records=1_000), daemon(at, SECOND, records=1_000))
    gone = shown(board, 4.0, daemon(4.0, records=1_000), silent(4.0))
    away = gone.members[1]
    assert (away.name, away.state, away.is_away, away.records) == (SECOND, "away", True, None)
    assert gone.causes == (f"{SECOND}: away: connection refused",)
    assert shown(board, 9.0, daemon(9.0, records=1_000), silent(9.0)).causes[0].startswith(f"{SECOND}: away for 5 s")
    back = shown(board, 14.0, daemon(14.0, records=1_000), daemon(14.0, SECOND, records=50, born=WALL + 13))
    assert back.causes == ()
    assert back.members[1].state == "running"
    assert back.outcomes[0].total == 2_050.0
    assert back.records == pytest.approx(50 / 12)


def test_several_daemons_behind_one_address_are_distinguished_and_named() -> None:
    board = Board()
    for at in range(0, 20, 2):
        turn = at // 2 % 2
        answer = daemon(at, records=100_000 * turn + 10 * at, born=WALL - 100 * turn - 100)
        figures = shown(board, float(at), answer, expected=[FIRST])
        assert figures.causes == ((SEVERAL_DAEMONS,) if at >= 4 else ())
    assert figures.outcomes[0].total == 100_000 + 10 * 16 + 10 * 18
    assert figures.records == pytest.approx(20.0)


def test_an_answer_that_is_late_leaves_the_member_as_it_was() -> None:
    board = Board()
    shown(board, 0.0, daemon(0.0), daemon(0.0, SECOND, partitions={"steps/0": (10, 10, 0)}))
    figures = shown(board, 2.0, daemon(2.0))
    assert [member.state for member in figures.members] == ["running", "running"]
    assert partition(figures.partitions, "steps/0").state == "read"


def test_who_is_no_longer_expected_is_not_shown_and_who_is_new_is() -> None:
    board = Board()
    shown(board, 0.0, daemon(0.0), daemon(0.0, SECOND))
    figures = shown(board, 2.0, daemon(2.0, SECOND), daemon(2.0, "three:9464"), expected=[SECOND, "three:9464"])
    assert [member.name for member in figures.members] == [SECOND, "three:9464"]


def test_a_partition_moves_with_its_history_to_its_new_owner() -> None:
    board = Board()
    for second in range(5):
        shown(
            board, float(second), daemon(second, partitions={"steps/0": (100 * second, 0, 50)}), daemon(second, SECOND)
        )
    # For a moment both say that it is theirs, and the new one reads again what was not committed.
    both = shown(
        board,
        5.0,
        daemon(5.0, partitions={"steps/0": (500, 0, 50)}),
        daemon(5.0, SECOND, partitions={"steps/0": (0, 0, 400)}),
    )
    row = partition(both.partitions, "steps/0")
    assert (row.member, row.position, row.lag, row.lags) == (SECOND, 0, 400, (50, 50, 50, 50, 50, 400))
    assert row.rate == pytest.approx(80.0)
    after = shown(board, 6.0, daemon(6.0), daemon(6.0, SECOND, partitions={"steps/0": (100, 0, 300)}))
    assert partition(after.partitions, "steps/0").member == SECOND
    assert [member.partitions for member in after.members] == [0, 1]


def test_of_two_who_go_on_to_claim_a_partition_it_stays_with_the_new_one() -> None:
    board = Board()
    old = {"steps/0": (100, 100, 50)}
    shown(board, 0.0, daemon(0.0, partitions=old), daemon(0.0, SECOND))
    for second in range(1, 20):
        new = {"steps/0": (5_000 + 10 * second, 5_000, 7)}
        both = shown(board, float(second), daemon(second, partitions=old), daemon(second, SECOND, partitions=new))
        assert partition(both.partitions, "steps/0").member == SECOND
    assert partition(both.partitions, "steps/0").rate == pytest.approx(10.0)
    left = shown(board, 20.0, daemon(20.0, partitions=old), daemon(20.0, SECOND))
    assert partition(left.partitions, "steps/0").member == FIRST


def test_who_looks_seldom_sees_rates_and_trends_too() -> None:
    board = Board()
    for at in (0.0, 60.0, 120.0):
        figures = shown(board, at, daemon(at, partitions={"steps/0": (int(50 * at), 0, 10_000 + int(20 * at))}))
    row = partition(figures.partitions, "steps/0")
    assert (row.rate, row.lag_growth) == (pytest.approx(50.0), pytest.approx(20.0))
    assert (figures.lag_growth, figures.trend) == (pytest.approx(20.0), "growing")


def test_partitions_of_a_member_that_is_away_stay_until_somebody_has_them() -> None:
    board = Board()
    shown(board, 0.0, daemon(0.0), daemon(0.0, SECOND, partitions={"steps/1": (10, 10, 7)}))
    away = partition(shown(board, 300.0, daemon(300.0), silent(300.0)).partitions, "steps/1")
    assert (away.member, away.state, away.lag, away.rate) == (SECOND, "away", 7, None)
    assert shown(board, 301.0, silent(301.0, FIRST), silent(301.0)).trend == "unknown"
    taken = shown(board, 302.0, daemon(302.0, partitions={"steps/1": (10, 10, 9)}), silent(302.0))
    assert partition(taken.partitions, "steps/1").member == FIRST
    assert taken.lag == 9


def test_a_partition_that_nobody_has_is_gone_and_then_forgotten() -> None:
    board = Board()
    shown(board, 0.0, daemon(0.0, partitions={"steps/0": (1, 1, 5), "steps/1": (1, 1, 5)}))
    read_at = {LAST_READ: {labels(topic="steps", partition="1"): WALL - 900}}
    both = shown(board, 1.0, daemon(1.0, partitions={"steps/0": (1, 1, 5), "steps/1": (1, 1, 5)}, samples=read_at))
    assert both.backlog_age == pytest.approx(901.0)
    left = shown(board, 2.0, daemon(2.0, partitions={"steps/0": (1, 1, 5)}))
    assert partition(left.partitions, "steps/1").state == "gone"
    assert (left.lag, left.backlog_age) == (5, None)
    later = shown(board, FORGET_AFTER_S + 1, daemon(FORGET_AFTER_S + 1, partitions={"steps/0": (1, 1, 5)}))
    assert [row.name for row in later.partitions] == ["steps/0"]


def test_partitions_are_in_the_order_of_their_numbers() -> None:
    figures = shown(Board(), 0.0, daemon(0.0, partitions={f"steps/{n}": (0, 0, 0) for n in (10, 9, 0, "9" * 5_000)}))
    assert [row.number for row in figures.partitions] == [-1, 0, 9, 10]
    assert figures.topics == ("steps",)


def test_lag_age_and_the_time_to_catch_up() -> None:
    board = Board()
    read_at = {LAST_READ: {labels(topic="steps", partition="0"): WALL - 40, labels(topic="steps", partition="1"): WALL}}
    for second in range(11):
        places = {"steps/0": (1_000 * second, 0, 50_000 - 1_000 * second), "steps/1": (7, 7, 0)}
        figures = shown(board, float(second), daemon(second, records=500 * second, partitions=places, samples=read_at))
    assert (figures.lag, figures.trend) == (40_000, "shrinking")
    assert figures.lag_growth == pytest.approx(-1_000.0)
    assert figures.catch_up == pytest.approx(40.0)
    assert [row.age for row in figures.partitions] == [pytest.approx(50.0), 0.0]
    assert figures.backlog_age == pytest.approx(50.0)
    assert figures.lags == tuple(50_000.0 - 1_000 * second for second in range(11))


def test_an_unknown_lag_keeps_the_last_known_one() -> None:
    board = Board()
    shown(board, 0.0, daemon(0.0, partitions={"steps/0": (5, 5, 30)}))
    assert shown(board, 2.0, daemon(2.0, partitions={"steps/0": (None, None, None)})).lag == 30


def test_a_lag_that_was_never_known_is_not_none_at_all() -> None:
    figures = shown(Board(), 0.0, daemon(0.0, partitions={"steps/0": (5, 5, None)}))
    assert (figures.lag, figures.backlog_age, figures.partitions[0].age) == (None, None, None)
    assert (figures.members[0].lag, figures.trend) == (None, "unknown")


@pytest.mark.parametrize(
    ("lag", "slope", "speed", "words"),
    [
        (None, None, None, "unknown"),
        (500.0, None, 10.0, "unknown"),
        (0.0, 0.0, 0.0, "caught up"),
        (900.0, 40.0, 500.0, "caught up"),
        (90_000.0, 40.0, 500.0, "steady"),
        (90_000.0, 400.0, 500.0, "growing"),
        (90_000.0, -400.0, 500.0, "shrinking"),
    ],
)
def test_where_a_lag_leads(lag: float | None, slope: float | None, speed: float | None, words: str) -> None:
    assert trend(lag, slope, speed) == words


def test_two_looks_at_one_moment_have_no_slope() -> None:
    assert growth([(1.0, 5.0), (1.0, 7.0)]) is None


def workers(records: int, **second: object) -> list[dict[str, object]]:
    one = {"worker": "1", "pid": 11, "state": "running", "partitions": {"steps/0": {"lag": 3}}}
    return [one | {"counts": {"stored": records}}, {"worker": "2", "pid": 12, "state": "running"} | second]


def test_workers_are_members_below_their_address() -> None:
    board = Board()
    gauges = {
        "process_resident_memory_bytes": {labels(worker="1"): 5e6, labels(worker="supervisor"): 1e6},
        "process_start_time_seconds": {labels(worker="1"): WALL - 9, labels(worker="supervisor"): WALL - 50},
        "runstep_source_available": {labels(worker="1"): 1.0, labels(worker="2"): 0.0},
        LAST_READ: {labels(topic="steps", partition="0", worker="1"): WALL},
    }
    places = {"steps/0": (None, None, 3)}
    shown(board, 0.0, daemon(0.0, partitions=places, samples=gauges, workers=workers(10)), expected=[FIRST])
    halted = workers(30, halted={"steps/1": "no"}, partitions={"steps/1": {"lag": 4}})
    figures = shown(board, 2.0, daemon(2.0, partitions=places, samples=gauges, workers=halted), expected=[FIRST])
    whole, one, two = figures.members
    assert (whole.worker, whole.memory, whole.source_available, whole.started_at) == (None, 6e6, False, WALL - 50)
    assert (one.name, one.worker, one.memory, one.lag, one.started_at) == (f"{FIRST}#1", "1", 5e6, 3, WALL - 9)
    assert (one.records, one.source_available, two.source_available) == (pytest.approx(10.0), True, False)
    assert [(row.name, row.member, row.state) for row in figures.partitions] == [
        ("steps/0", f"{FIRST}#1", "read"),
        ("steps/1", f"{FIRST}#2", "halted"),
    ]
    assert figures.answering == 1
    ended = [*workers(30)[:1], {"worker": "2", "pid": None, "state": "ended with exit code 70"}]
    third = shown(board, 4.0, daemon(4.0, samples=gauges, workers=ended), expected=[FIRST]).members[2]
    assert (third.is_away, third.causes) == (True, ("ended with exit code 70",))


def test_a_worker_that_is_silent_is_away_long_before_its_supervisor_gives_it_up() -> None:
    silent_one = workers(30, heard_seconds_ago=7.2, counts={"stored": 5})
    figures = shown(Board(), 0.0, daemon(0.0, workers=silent_one), expected=[FIRST])
    assert (figures.members[2].is_away, figures.members[2].causes) == (True, ("no answer for 7 s",))
    assert figures.causes == ("worker 2: no answer for 7 s",)
    beginning = workers(30, heard_seconds_ago=7.2, state="starting")
    figures = shown(Board(), 0.0, daemon(0.0, workers=beginning), expected=[FIRST])
    assert (figures.members[2].state, figures.causes) == ("starting", ())


def test_errors_have_the_time_at_which_they_came() -> None:
    board = Board()
    retries = {"runstep_insert_retries_total": {labels(error_class="transient"): 2.0}}
    old = shown(board, 0.0, daemon(0.0, samples=retries, last_error={"transient": "down"})).troubles
    assert [(row.error_class, row.text, row.seen_at, row.total) for row in old] == [("transient", "down", None, 2.0)]
    same = shown(board, 2.0, daemon(2.0, samples=retries, last_error={"transient": "down"})).troubles
    assert same[0].seen_at is None
    more = {"runstep_insert_retries_total": {labels(error_class="transient"): 3.0}}
    again = shown(board, 4.0, daemon(4.0, samples=more, last_error={"transient": "down", "shape": "big"})).troubles
    assert [(row.error_class, row.member, row.seen_at) for row in again] == [
        ("shape", FIRST, WALL + 4),
        ("transient", FIRST, WALL + 4),
    ]


def test_steps_and_why_they_fail() -> None:
    board = Board()

    def ended(completed: float, failed: float) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
        return {
            "runstep_steps_total": {
                labels(type="tool_calls", status="completed"): completed,
                labels(type="tool_calls", status="failed"): failed,
                labels(type="other", status="failed"): 0.0,
            },
            "runstep_step_failures_total": {labels(type="tool_calls", error_category="quota"): failed},
            "runstep_step_duration_seconds_bucket": {
                labels(type="tool_calls", status="completed", le="1.0"): completed,
                labels(type="tool_calls", status="completed", le="+Inf"): completed,
            },
        }

    shown(board, 0.0, daemon(0.0, samples=ended(100, 0)))
    figures = shown(board, 2.0, daemon(2.0, samples=ended(190, 10)))
    (steps,) = figures.steps
    assert (steps.type, steps.rate, steps.success, steps.total) == ("tool_calls", 50.0, pytest.approx(0.9), 200.0)
    assert steps.p95 == pytest.approx(0.95)
    assert [(row.category, row.rate, row.total) for row in figures.failures] == [("quota", 5.0, 10.0)]


def test_a_cause_that_all_have_is_shown_once_and_who_cannot_be_found_first() -> None:
    sick: dict[str, Any] = {"causes": ["ClickHouse is away"], "state": "waiting"}
    figures = shown(Board(), 0.0, daemon(0.0, **sick), daemon(0.0, SECOND, **sick), trouble="Kafka: no broker")
    assert figures.causes == ("Kafka: no broker", "all members: ClickHouse is away")
