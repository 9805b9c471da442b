"""Mutated events: what is left of an example after bytes, numbers and texts of it were replaced, from a seed.

python -m tests.support.mutations 100000        # so many events in each content mode; prints what became of them
"""

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipeline.normalize.normalize import Rules, normalize
from pipeline.redaction import redact
from schemas.row import INDEX, INGEST_COLUMNS
from tests.support.expectations import examples
from tests.support.fakes.kafka import FakeRecord

_NUMBER: Final = re.compile(rb"-?\d+(?:\.\d+)?")
_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NUMBERS: Final = (
    *(b"0", b"-1", b"1e400", b"-0.0", b"18446744073709551616", b"9223372036854775807", b"253402300799999", b"1e-400"),
    *(b"NaN", b"true", b"null", b'"12"', b"[]", b"4294967296", b"1764000000.9999999"),
)
_TEXTS: Final = (
    *(b'""', b"null", b"0", b"{}", b"[[]]", b'"\\u0000"', b'"\\ud800"', b'"\xff"', b'"2299-12-31T23:59:59Z"'),
    *(
        b'"in_progress"',
        b'"failed"',
        b'"tool_calls"',
        b'"thread.run.step"',
        b'"sk-' + b"a" * 48 + b'"',
        b'"' + b"x" * 600 + b'"',
    ),
)
_TEXT_COLUMNS: Final = ("error_message", "error_code", "step_details", "extra_fields", "message_id", "status", "type")
_LARGE: Final = 20_000
_MODES: Final = ("full", "structure", "none")


def values_of_examples() -> Sequence[bytes]:
    """Return the values of the example events, but for very large ones."""
    return [example.value for example in examples() if example.value and len(example.value) < _LARGE]


def mutated(values: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Yield mutated values without end."""
    chance = random.Random(seed)
    while True:
        value = chance.choice(values)
        for _ in range(chance.randint(1, 5)):
            value = chance.choice(_WAYS)(value, values, chance)
        yield value


def _replaced(pattern: re.Pattern[bytes], others: Sequence[bytes]) -> Any:
    def replace(value: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
        found = list(pattern.finditer(value))
        if not found:
            return value
        place = chance.choice(found)
        return value[: place.start()] + chance.choice(others) + value[place.end() :]

    return replace


def _flip(value: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    place = chance.randrange(len(value) + 1)
    return value[:place] + bytes([chance.randrange(256)]) + value[place + chance.randint(0, 1) :]


def _cut(value: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    start = chance.randrange(len(value) + 1)
    return value[:start] + value[start + chance.randrange(40) :]


def _splice(value: bytes, values: Sequence[bytes], chance: random.Random) -> bytes:
    other = chance.choice(values)
    return value[: chance.randrange(len(value) + 1)] + other[chance.randrange(len(other) + 1) :]


def _nest(value: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    return (
        chance.choice((b'{"data":%s}', b'{"event":"thread.run.step.failed","data":%s}', b"[%s]", b"data: %s\n\n"))
        % value
    )


_SENSIBLE: Final = (_replaced(_NUMBER, _NUMBERS), _replaced(_TEXT, _TEXTS))
_WAYS: Final = (*_SENSIBLE * 6, _nest, _nest, _flip, _cut, _splice)


def check(value: bytes, content: str) -> str:
    """Return what became of an event: its outcome, or why it has no row. Fails where a row cannot be true."""
    made = normalize([FakeRecord("t", 0, 7, 1_764_000_000_000, None, value)], Rules(content=content))
    assert len(made.columns) == len(INGEST_COLUMNS)
    for row in zip(*made.columns, strict=True):
        for name in _TEXT_COLUMNS:
            text = row[INDEX[name]]
            assert redact(text) == text, (name, text)
        for name in ("step_details", "extra_fields"):
            if text := row[INDEX[name]]:
                assert "text_truncated" in row[INDEX["anomalies"]] or json.loads(text) is not None
        assert 0 <= row[INDEX["version"]] < 1 << 64
        duration = row[INDEX["duration_ms"]]
        assert duration is None or 0 <= duration < 1 << 63
    return str(made.columns[INDEX["reason"]][0] or made.columns[INDEX["outcome"]][0])


def check_many(number: int, seed: int) -> Counter[str]:
    """Check so many events in each content mode; return what became of them."""
    became: Counter[str] = Counter()
    values = mutated(values_of_examples(), seed)
    for _, value in zip(range(number), values, strict=False):
        for content in _MODES:
            try:
                became[check(value, content)] += 1
            except Exception as error:
                error.add_note(f"content {content}: {value!r}")
                raise
    return became


if __name__ == "__main__":
    print(dict(check_many(int(sys.argv[1]), seed=1).most_common()))
