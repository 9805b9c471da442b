"""The traffic generator: what it promises about shares, order, identity and bytes."""

import json
import re
from collections import Counter, defaultdict
from typing import Any

import pytest

from pipeline.records import Outcome, Reason
from pipeline.tools.simulation import SimulatedEvent, Traffic, beginning, events
from pipeline.tools.simulation.failures import FAMILIES, failure
from pipeline.tools.simulation.seeded_random import SeededRandom
from schemas.vocabulary import ERROR_CATEGORIES, RETRYABLE, STEP_TYPES, TERMINAL_STATUSES, TOOL_TYPES

START = 1_760_000_000.0
CLEAN = Traffic(
    seed=5, out_of_order_ratio=0, duplicate_ratio=0, poison_ratio=0, foreign_ratio=0, page_ratio=0, deltas_per_step=0
)


def made(traffic: Traffic, count: int = 4_000) -> list[SimulatedEvent]:
    return list(events(traffic, count, START))


@pytest.fixture(scope="module")
def usual() -> list[SimulatedEvent]:
    return made(Traffic(seed=1), 12_000)


def body(event: SimulatedEvent) -> dict:
    parsed = json.loads(event.value or b"null")
    return parsed["data"] if "event" in parsed else parsed


def test_the_same_seed_makes_the_same_bytes_and_another_seed_makes_others():
    assert made(Traffic(seed=3), 500) == made(Traffic(seed=3), 500)
    assert made(Traffic(seed=3), 500) != made(Traffic(seed=4), 500)


def test_makes_exactly_as_many_as_asked():
    assert len(made(Traffic(), 1)) == 1
    assert made(Traffic(), 0) == []


def test_without_a_number_it_goes_on():
    endless = events(Traffic(), None, START)
    assert len([next(endless) for _ in range(2_000)]) == 2_000


def test_every_outcome_status_dialect_and_type_occurs(usual):
    steps = [step for event in usual for step in event.steps]
    assert {event.outcome for event in usual} == set(Outcome)
    assert {step.status for step in steps} == TERMINAL_STATUSES | {"in_progress"}
    assert {step.dialect for step in steps} == {"snake_case", "camel_case", "envelope"}
    assert {step.type for step in steps} <= STEP_TYPES
    assert {tool for step in steps for tool in step.tool_types} >= {
        "function",
        "code_interpreter",
        "file_search",
        "mcp",
    }
    assert {tool for step in steps for tool in step.tool_types} <= TOOL_TYPES


def test_ids_look_as_on_the_wire(usual):
    for step in (step for event in usual for step in event.steps):
        assert re.fullmatch(r"step_[0-9A-Za-z]{24}", step.step_id)
        assert re.fullmatch(r"run_[0-9A-Za-z]{24}", step.run_id)
        assert re.fullmatch(r"thread_[0-9A-Za-z]{24}", step.thread_id)
        assert re.fullmatch(r"asst_[0-9A-Za-z]{24}", step.assistant_id)


def test_all_events_of_a_step_have_its_thread_as_key(usual):
    for event in usual:
        assert all(event.key == step.thread_id.encode() for step in event.steps)


def test_events_are_delivered_in_the_order_of_time(usual):
    times = [event.at for event in usual]
    assert times == sorted(times)


def test_a_given_number_ends_about_an_hour_after_its_beginning(usual):
    assert 0.8 * 3600 < usual[-1].at - usual[0].at < 1.2 * 3600


def test_the_time_line_lies_before_now():
    now = START
    first = beginning(Traffic(), 4_000, now)
    last = list(events(Traffic(), 4_000, first))[-1].at
    assert now - 2_000 < last < now


def test_a_rate_is_kept():
    paced = list(events(Traffic(rate=200), 20_000, START))
    assert 20_000 / (paced[-1].at - paced[0].at) == pytest.approx(200, rel=0.35)


def test_in_order_means_that_the_end_comes_last():
    seen: dict[str, list[str]] = defaultdict(list)
    for event in made(CLEAN):
        seen[event.steps[0].step_id].append(event.steps[0].status)
    assert all(status not in TERMINAL_STATUSES for statuses in seen.values() for status in statuses[:-1])


def test_out_of_order_means_that_something_follows_the_end():
    ended, late = set(), 0
    for event in made(Traffic(seed=2, out_of_order_ratio=0.5, duplicate_ratio=0, page_ratio=0)):
        for step in event.steps:
            late += step.status == "in_progress" and step.step_id in ended
            if step.status in TERMINAL_STATUSES:
                ended.add(step.step_id)
    assert late > 500


def test_duplicates_repeat_bytes_seen_before_terminal_ones_too():
    seen: set[bytes | None] = set()
    repeated: Counter[str] = Counter()
    for event in made(Traffic(seed=2, duplicate_ratio=0.2, foreign_ratio=0, poison_ratio=0), 8_000):
        if event.repeated:
            repeated[event.kind] += event.value in seen
        seen.add(event.value)
    assert repeated["completed"] > 100
    assert repeated["in_progress"] > 100
    assert sum(repeated.values()) == pytest.approx(8_000 / 6, rel=0.15)


@pytest.mark.parametrize(("ratio", "kind"), [("poison_ratio", "poison"), ("foreign_ratio", "foreign")])
def test_a_share_of_records_is_noise(ratio, kind):
    noise: dict[str, Any] = {ratio: 0.1}
    kinds = Counter(event.kind for event in made(Traffic(**noise), 10_000))
    assert kinds[kind] == pytest.approx(1_000, rel=0.2)


def test_a_share_of_steps_ends_badly():
    ends = Counter(event.kind for event in made(Traffic(failure_ratio=0.3, duplicate_ratio=0, rate=5), 10_000))
    bad = ends["failed"] + ends["expired"] + ends["cancelled"]
    assert bad / (bad + ends["completed"]) == pytest.approx(0.3, abs=0.05)


def test_weights_choose_the_dialects():
    only_camel = made(Traffic(snake=0, camel=1, envelope=0), 500)
    assert {step.dialect for event in only_camel for step in event.steps} == {"camel_case"}


def test_the_truth_is_what_the_bytes_say(usual):
    for event in (event for event in usual if len(event.steps) == 1 and event.kind != "page"):
        step, said = event.steps[0], body(event)
        camel = step.dialect == "camel_case"
        error = said["lastError" if camel else "last_error"] or {"code": "", "message": ""}
        details = said["stepDetails" if camel else "step_details"]
        calls = details.get("toolCalls" if camel else "tool_calls", [])
        assert (said["id"], said["status"], said["type"]) == (step.step_id, step.status, step.type)
        assert (said["runId" if camel else "run_id"], details["type"]) == (step.run_id, step.type)
        assert (error["code"], error["message"]) == (step.error_code, step.error_message)
        assert [call["id"] for call in calls] == list(step.tool_call_ids)
        assert said.get("metadata") in (None, step.metadata)


def test_unless_repaired_a_step_ends_when_its_stamp_says(usual):
    stamps: Counter[bool] = Counter()
    for event in (event for event in usual if event.steps and event.kind in TERMINAL_STATUSES):
        step, said = event.steps[0], body(event)
        if step.dialect == "camel_case":
            assert said[f"{step.status}At"].endswith(".000Z")
        else:
            found = said.get(f"{step.status}_at")
            assert (None if found is None else found * 1000) == step.ended_at
            stamps[found is None] += 1
        assert (step.ended_at is None) == ("terminal_without_timestamp" in step.anomalies)
    assert stamps[True] > 0


def test_poison_is_as_broken_as_its_reason_says():
    by_reason: defaultdict[Any, list[Any]] = defaultdict(list)
    for event in made(Traffic(poison_ratio=0.5), 4_000):
        if event.kind == "poison":
            by_reason[event.reason].append(event.value)
    assert len(by_reason) == 8
    for value in by_reason[Reason.INVALID_JSON]:
        with pytest.raises(json.JSONDecodeError):
            json.loads(value.decode())
    for value in by_reason[Reason.NOT_UTF8]:
        with pytest.raises(UnicodeDecodeError):
            value.decode()
    assert not any(isinstance(json.loads(value), dict) for value in by_reason[Reason.NOT_AN_OBJECT])
    assert not any(json.loads(value).get("id") for value in by_reason[Reason.MISSING_STEP_ID])


def test_a_page_holds_the_ends_of_a_run_newest_first():
    pages = [event for event in made(Traffic(page_ratio=1), 6_000) if event.kind == "page"]
    assert any(len(page.steps) > 2 for page in pages)
    for page in pages:
        assert [item["id"] for item in json.loads(page.value or b"")["data"]] == [step.step_id for step in page.steps]
        assert {step.run_id for step in page.steps} == {page.steps[0].run_id}


def test_failures_vary_within_families_whose_category_is_known():
    rng = SeededRandom(1)
    drawn = [failure(rng) for _ in range(4_000)]
    messages = defaultdict(set)
    for error in drawn:
        messages[error.family].add(error.message)
        assert error.category in ERROR_CATEGORIES
        assert error.retryable is RETRYABLE.get(error.category)
        assert "{" not in error.message
    assert set(messages) == {family.name for family in FAMILIES}
    assert len(messages["busy"]) > 100
    assert len(messages["sorry"]) == 1
