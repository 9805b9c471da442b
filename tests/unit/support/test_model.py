"""The truth model: its rules, on cases small enough to be seen through."""

from pipeline.tools.simulation import SimulatedEvent, Step
from tests.support.model import Model, difference, grouping_faults, read_samples

T0 = 1_760_000_000_000
KEY = ("thread_1", "run_1", "step_1")


def event_of(status: str, ended_after: int | None = None, **changes) -> SimulatedEvent:
    """Return an event of step_1 that ended so many milliseconds after its creation."""
    step = Step("thread_1", "run_1", "step_1", "asst_1", "tool_calls", status, "snake_case", T0)
    if ended_after is not None:
        step = step._replace(ended_at=T0 + ended_after)
    return SimulatedEvent(b"thread_1", b"{}", 0.0, status, "stored", "", (step._replace(**changes),))


def fed(*events: SimulatedEvent, **options) -> Model:
    model = Model(**options)
    for offset, event in enumerate(events):
        model.add(event, 0, offset)
    return model


def test_terminal_beats_whatever_comes_later():
    current = fed(event_of("completed", 5_000), event_of("in_progress")).current
    assert (current[KEY]["status"], current[KEY]["kafka_offset"], current[KEY]["duration_ms"]) == (
        "completed",
        0,
        5_000,
    )


def test_among_terminal_states_the_later_one_wins_then_the_higher_offset():
    current = fed(event_of("completed", 9_000), event_of("failed", 5_000), event_of("completed", 9_000)).current
    assert (current[KEY]["status"], current[KEY]["kafka_offset"]) == ("completed", 2)


def test_a_step_counts_once_by_the_first_end_that_was_read():
    model = Model()
    model.add(event_of("failed", 7_000, error_category="server"), 0, 9)
    model.add(event_of("completed", 2_000), 0, 4)
    assert model.samples["runstep_steps_total{status=completed,type=tool_calls}"] == 1
    assert not any("status=failed" in name for name in model.samples)


def test_a_step_in_progress_counts_as_a_record_only():
    assert fed(event_of("in_progress")).samples == {"runstep_records_total{outcome=stored,reason=}": 1}


def test_buckets_are_cumulative_and_include_their_bound():
    samples = fed(event_of("completed", 5_000)).samples
    prefix = "runstep_step_duration_seconds"
    assert f"{prefix}_bucket{{le=2.0,status=completed,type=tool_calls}}" not in samples
    assert samples[f"{prefix}_bucket{{le=5.0,status=completed,type=tool_calls}}"] == 1
    assert samples[f"{prefix}_bucket{{le=inf,status=completed,type=tool_calls}}"] == 1
    assert samples[f"{prefix}_sum{{status=completed,type=tool_calls}}"] == 5.0


def test_an_end_without_a_time_is_no_duration_and_a_negative_one_neither():
    for event in (event_of("expired"), event_of("completed", -5)):
        assert fed(event).current[KEY]["duration_ms"] is None
        assert not any("duration" in name for name in fed(event).samples)


def test_failures_count_failed_and_expired_but_not_cancelled():
    for status, counted in (("failed", True), ("expired", True), ("cancelled", False)):
        samples = fed(event_of(status, 1_000, error_category="server")).samples
        assert ("runstep_step_failures_total{error_category=server,type=tool_calls}" in samples) is counted


def test_old_steps_count_as_backfill_only():
    samples = fed(event_of("completed", 1_000, prompt_tokens=5), read_at=T0 + 90_000_000).samples
    assert samples["runstep_backfilled_steps_total{status=completed,type=tool_calls}"] == 1
    assert set(samples) == {
        "runstep_backfilled_steps_total{status=completed,type=tool_calls}",
        "runstep_records_total{outcome=stored,reason=}",
    }


def test_tokens_and_tools_of_unknown_types_are_counted_as_other():
    samples = fed(
        event_of("completed", 1, prompt_tokens=5, completion_tokens=7, tool_types=("function", "quark"))
    ).samples
    assert samples["runstep_tokens_total{token_type=input}"] == 5
    assert samples["runstep_tokens_total{token_type=output}"] == 7
    assert samples["runstep_tool_calls_total{tool_type=function}"] == 1
    assert samples["runstep_tool_calls_total{tool_type=other}"] == 1


def test_the_ledger_has_a_row_for_every_record_and_every_step_in_it():
    page = event_of("completed", 1)
    page = page._replace(steps=(page.steps[0], page.steps[0]._replace(step_id="step_2")))
    broken = SimulatedEvent(None, b"{", 0.0, "poison", "dead_lettered", "invalid_json")
    assert fed(page, broken).ledger == {
        (0, 0, 0): ("stored", "", "thread_1", "run_1", "step_1", "tool_calls", "completed"),
        (0, 0, 1): ("stored", "", "thread_1", "run_1", "step_2", "tool_calls", "completed"),
        (0, 1, 0): ("dead_lettered", "invalid_json"),
    }
    assert fed(page, broken).samples["runstep_records_total{outcome=stored,reason=}"] == 1


def test_samples_are_read_from_the_exposition_and_added_up_over_workers():
    text = (
        "# TYPE runstep_steps_total counter\n"
        'runstep_steps_total{type="tool_calls",status="completed",worker="0"} 2\n'
        'runstep_steps_total{type="tool_calls",status="completed",worker="1"} 3\n'
        'runstep_steps_total{type="tool_calls",status="failed"} 0\n'
        "# TYPE runstep_buffer_rows gauge\n"
        "runstep_buffer_rows 7\n"
    )
    assert read_samples(text) == {"runstep_steps_total{status=completed,type=tool_calls}": 5.0}


def test_the_difference_is_said_in_words():
    assert difference({"a": 1}, {"a": 1}) == ""
    assert difference({"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"x": 1, "y": 3}, "c": 1}).splitlines() == [
        "missing b: expected 1",
        "surplus c: 1",
        "wrong a: y expected 2, is 3",
    ]
    assert difference(dict.fromkeys(range(20)), {}).endswith("... and 12 more like these")


def test_fingerprints_must_neither_split_a_family_nor_merge_two():
    one, two = ("t", "r", "1"), ("t", "r", "2")
    assert grouping_faults({one: "busy", two: "busy"}, {one: "f", two: "f"}) == []
    assert grouping_faults({one: "busy", two: "busy"}, {one: "f", two: "g"}) == ["busy has 2 fingerprints"]
    assert grouping_faults({one: "busy", two: "rate"}, {one: "f", two: "f"}) == ["'f' is shared by ['busy', 'rate']"]
