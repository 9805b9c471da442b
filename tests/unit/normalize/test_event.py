"""What msgspec reads, pydantic would read, too, and as the same values: the quick way changes no row and no verdict."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, Final, Required, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import TypedDict, get_type_hints

from pipeline.normalize import decode as decoding
from pipeline.normalize import event as events_module
from pipeline.normalize.event import RunStepEvent, plain_event
from pipeline.normalize.normalize import Normalized, Rules, normalize
from pipeline.tools.simulation import Traffic, events
from schemas.wire import KNOWN_FIELDS, CamelRunStep, RunStep, Step
from tests.support.events import completed, step, wire
from tests.support.fakes.kafka import FakeRecord
from tests.support.mutations import mutated, values_of_examples
from tests.support.paths import REFERENCE
from tests.support.recorded import recorded_files

NOW: Final = 1_764_600_000_000
CAMEL: Final = {
    "id": "step_1",
    "runId": "run_1",
    "createdAt": "2025-11-24T10:00:00.000Z",
    "status": "completed",
    "completedAt": 1_764_000_000,
    "type": "tool_calls",
    "stepDetails": {"type": "tool_calls", "toolCalls": []},
}
FORMS: Final = (
    wire(step()),
    wire(completed(1)),
    wire(CAMEL),
    wire({"event": "thread.run.step.completed", "data": completed(2)}),
)


def by_both(value: bytes) -> RunStepEvent | None:
    """Return the event that the quick way reads, and pydantic has to read as well; None if it is left to pydantic."""
    form = decoding._form_of(value)
    event = tried(value, form) if form else None
    if event is not None:
        assert form is not None
        judged = decoding._common(value, form, decoding._JSON)
        assert judged is not None, value
        # Text tells apart what is equal: 1, 1.0 and True, and the order of keys.
        assert repr(msgspec.structs.asdict(event.step)) == repr(msgspec.structs.asdict(judged.step)), value
        assert event[1:] == judged[1:]
    return event


def tried(value: bytes, form: str) -> RunStepEvent | None:
    """Return what the quick way says, whatever came before."""
    events_module._odd[form] = 0
    return plain_event(value, form)


def become(values: Sequence[bytes | None], content: str = "full") -> Normalized:
    records = [FakeRecord("t", 0, offset, NOW, b"key", value) for offset, value in enumerate(values)]
    return normalize(records, Rules(content=content, max_text=200, max_event_bytes=100_000).at(NOW))


def assert_same_rows(values: Sequence[bytes | None], *contents: str) -> None:
    """Hold the rows and verdicts of both ways against each other."""
    for content in contents or ("full",):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoding, "plain_event", tried)
            quick = become(values, content)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoding, "plain_event", lambda *_: None)
            judged = become(values, content)
        # Not their sizes: pydantic leaves a copy in UTF-8 in texts that are not ASCII.
        assert repr(replace(quick, size=0)) == repr(replace(judged, size=0))


# --- the definitions


def camel(name: str) -> str:
    return re.sub(r"_(.)", lambda found: found[1].upper(), name)


@pytest.mark.parametrize("model", [RunStep, CamelRunStep])
def test_a_step_has_the_fields_of_the_wire_models_with_their_types(model: type[TypedDict]) -> None:  # type: ignore[valid-type]
    fields = {field.name: field for field in msgspec.structs.fields(Step)}
    hints = get_type_hints(model, include_extras=True)
    assert fields.keys() == hints.keys() == KNOWN_FIELDS
    assert {name for name, field in fields.items() if field.required} == model.__required_keys__  # type: ignore[attr-defined]
    for name, field in fields.items():
        sent = get_args(hints[name])[0] if get_origin(hints[name]) is Required else hints[name]
        if aliases := [each for each in getattr(sent, "__metadata__", ()) if hasattr(each, "validation_alias")]:
            assert aliases[0].validation_alias.choices == [camel(name), name]
            rest = [each for each in sent.__metadata__ if each is not aliases[0]]
            sent = Annotated[(sent.__origin__, *rest)] if rest else sent.__origin__
        assert sent == field.type, name


# --- what is plain


@pytest.mark.parametrize("value", FORMS)
def test_an_ordinary_event_needs_no_pydantic(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_common", None)
    monkeypatch.setattr(decoding, "plain_event", tried)
    assert isinstance(decoding.decode(value, 100_000), RunStepEvent)


def test_nearly_all_events_of_all_forms_are_plain() -> None:
    traffic = Traffic(seed=5, poison_ratio=0, foreign_ratio=0, page_ratio=0, deltas_per_step=0)
    values = [event.value for event in events(traffic, 2_000, NOW / 1000) if event.value]
    assert sum(by_both(value) is not None for value in values) > 0.95 * len(values)
    assert_same_rows(values)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


PIECES: Final = {
    "a number beyond 64 bits": b"18446744073709551617",
    "a number of 4,301 digits": b"1" * 4_301,
    "a float without a point": b"1e3",
    "a float of many digits": b"1.7976931348623158e308",
    "a float that is too large": b"1e400",
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "minus zero": b"-0",
    "true": b"true",
    "a leading zero": b"012",
    "a lone surrogate": b'"\\ud800"',
    "a pair of surrogates": b'"\\ud83d\\ude00"',
    "bytes that are no UTF-8": b'"\xff"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "a control character": b'"a\nb"',
    "NUL": b'"\\u0000"',
    "a key twice": b'{"a":1,"b":2,"a":3}',
    "a key that is no UTF-8": b'{"\xff":1}',
    "a comma too many": b"[1,]",
    "text that is too long for an id": b'"' + b"x" * 513 + b'"',
    "no text": b'""',
    "8 levels": b"[" * 8 + b"]" * 8,
    "199 levels": b"[" * 199 + b"]" * 199,
    "200 levels": b"[" * 200 + b"]" * 200,
    "500 levels": b'{"a":' * 500 + b"1" + b"}" * 500,
    "10,000 levels": b"[" * 10_000 + b"]" * 10_000,
    "an unknown word": b'"requires_action"',
    "null": b"null",
    "an object": b"{}",
    "nothing": b"",
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES.keys())
def test_no_odd_value_in_any_place_becomes_another_row_by_the_quick_way(piece: bytes) -> None:
    names = sorted(KNOWN_FIELDS)
    values = []
    for form in FORMS:
        for name in (*names, *map(camel, names), "event", "data", "surprise"):
            field = b'"%s":%s' % (name.encode(), piece)
            # In the place of the field, before it and behind it: one name twice is JSON, too.
            values.append(re.sub(rb'"%s": ?("[^"]*"|[^,{}\[\]]*)' % name.encode(), lambda _: field, form))  # noqa: B023
            values += [b"{%s,%s" % (field, form[1:]), b"%s,%s}" % (form[:-1], field)]
            values.append(form.replace(b'"data":', b'"data":{%s},"data":' % field))
        values += [form + piece, piece + form]
    for value in values:
        by_both(value)
    assert_same_rows(values)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(wire(step(surprise=1)), id="field of a step"),
        pytest.param(wire({"event": "x", "data": step(surprise=1)}), id="field of a step in an envelope"),
        pytest.param(wire({**CAMEL, "run_step": 1}), id="field of a camelCase step"),
    ],
)
def test_an_unknown_field_reaches_extra_fields(value: bytes) -> None:
    assert by_both(value) is None
    decoded = decoding.decode(value, 100_000)
    assert isinstance(decoded, RunStepEvent)
    assert decoded.unknown
    assert_same_rows([value])


def test_where_every_value_is_odd_few_are_tried_until_one_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[bytes] = []
    decoder = events_module._decoders["snake_case"]

    def noted(value: bytes) -> Any:
        tries.append(value)
        return decoder(value)

    monkeypatch.setitem(events_module._decoders, "snake_case", noted)
    monkeypatch.setitem(events_module._odd, "snake_case", 0)
    odd, plain = wire(step(surprise=1)), wire(step())
    assert all(isinstance(decoding.decode(odd, 100_000), RunStepEvent) for _ in range(6_400))
    assert 64 < len(tries) < 200
    tries.clear()
    assert all(isinstance(decoding.decode(plain, 100_000), RunStepEvent) for _ in range(100))
    assert len(tries) > 30
    tries.clear()
    decoding.decode(odd, 100_000)
    decoding.decode(plain, 100_000)
    assert tries == [odd, plain]


# --- any input

CONTENTS: Final = ("full", "structure", "none")
SCALARS: Final = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**25), 10**25)
    | st.integers(1_000_000_000, 2_000_000_000)
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["", "completed", "in_progress", "tool_calls", "thread.run.step", "2025-11-24T10:00:00Z"])
)
ANYTHING: Final = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*step(), "event", "data", "message", "code", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS: Final = st.dictionaries(st.sampled_from([*sorted(KNOWN_FIELDS), "surprise", "event"]), ANYTHING, max_size=5)


@settings(max_examples=400, deadline=None)
@given(FIELDS, st.sampled_from(["", "thread.run.step.failed", "thread.run.step.delta"]), st.booleans(), st.booleans())
def test_any_fields_become_the_same_row_by_both_ways(
    fields: dict[str, Any], name: str, is_camel: bool, is_ascii: bool
) -> None:
    event = step(**fields)
    if is_camel:
        event = {camel(key): value for key, value in event.items()}
    # With its NaN and Infinity, which are no JSON, and its lone surrogates.
    text = json.dumps({"event": name, "data": event} if name else event, ensure_ascii=is_ascii)
    value = text.encode(errors="surrogatepass")
    by_both(value)
    assert_same_rows([value], *CONTENTS)


@settings(max_examples=400, deadline=None)
@given(st.from_regex(r"\A-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?\Z"))
def test_any_number_is_the_same_by_both_ways(number: str) -> None:
    value = wire(step(metadata="#", usage="#")).replace(b'"#"', number.encode())
    by_both(value)
    assert_same_rows([value])


@pytest.mark.parametrize("seed", range(3))
def test_what_is_left_of_examples_becomes_the_same_rows_by_both_ways(seed: int) -> None:
    values = list(islice(mutated(values_of_examples(), seed), 1_000))
    plain = sum(by_both(value) is not None for value in values)
    assert plain > 30
    assert_same_rows(values, *CONTENTS)


def test_recorded_payloads_become_the_same_rows_by_both_ways() -> None:
    values = [*values_of_examples(), *((REFERENCE / name).read_bytes() for name in recorded_files())]
    assert [value for value in values if by_both(value)]
    assert_same_rows(values)
