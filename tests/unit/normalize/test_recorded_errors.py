"""Errors in the shapes of those that were really seen: category, fault and fingerprint as judged by hand.

The judgements stand in `tests/examples/errors.toml`, with messages of the project's own. Where the recorded messages
stand beside the project, in its workshop, they are judged by the same table.
"""

import tomllib
from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from pipeline.normalize.rules import Rules
from pipeline.normalize.step_errors import StepError, read_error
from tests.support.paths import EXAMPLES, REFERENCE


class Fault(NamedTuple):
    """Errors that must share a fingerprint, as code and message, and the recorded ones of the same fault."""

    category: str
    errors: list[tuple[str, str]]
    recorded: list[int]


TABLE: Final = tomllib.loads((EXAMPLES / "errors.toml").read_text(encoding="utf-8"))
RETRYABLE: Final[dict[str, bool]] = TABLE.pop("retryable")
FAULTS: Final = [
    Fault(category, [(code, message) for code, message in fault["errors"]], fault["recorded"])
    for category, faults in TABLE.items()
    for fault in faults
]


def recorded_errors() -> list[tuple[str, str]]:
    """Return code and message of each recorded error; none where they are not beside the project."""
    path = REFERENCE / "errors.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()[1:] if path.is_file() else []
    fields = [line.replace("\\n", "\n").split("\t") for line in lines]
    return [(code, message) for code, message, *_ in fields]


RECORDED: Final = recorded_errors()


def own(fault: Fault) -> list[tuple[str, str]]:
    return fault.errors


def recorded(fault: Fault) -> list[tuple[str, str]]:
    return [RECORDED[number - 1] for number in fault.recorded]


SOURCES: Final = [own, recorded] if RECORDED else [own]
errors_of_each = pytest.mark.parametrize("errors_of", SOURCES)
ErrorsOf = Callable[[Fault], list[tuple[str, str]]]


def read(code: str, message: str) -> StepError:
    return read_error({"code": code, "message": message}, "failed", Rules(), [])


@errors_of_each
@pytest.mark.parametrize("category", TABLE)
def test_the_category(errors_of: ErrorsOf, category: str) -> None:
    errors = [error for fault in FAULTS if fault.category == category for error in errors_of(fault)]
    found = {error: (read(*error).category, read(*error).retryable) for error in errors}
    assert errors
    assert found == dict.fromkeys(errors, (category, RETRYABLE.get(category)))


@errors_of_each
def test_one_fingerprint_a_fault(errors_of: ErrorsOf) -> None:
    found = [{read(*error).fingerprint for error in errors_of(fault)} for fault in FAULTS]
    assert [len(fingerprints) for fingerprints in found] == [1] * len(FAULTS)
    assert len(set.union(*found)) == len(FAULTS)


@errors_of_each
def test_no_address_is_kept(errors_of: ErrorsOf) -> None:
    errors = [error for fault in FAULTS for error in errors_of(fault)]
    assert any("@" in message for _, message in errors)
    assert not [error for error in errors if "@" in read(*error).message]


@errors_of_each
def test_codes_are_kept_as_sent(errors_of: ErrorsOf) -> None:
    codes = [code for fault in FAULTS for code, _ in errors_of(fault)]
    assert [read(*error).code for fault in FAULTS for error in errors_of(fault)] == codes


def test_the_table_judges_each_recorded_error_once() -> None:
    numbers = sorted(number for fault in FAULTS for number in fault.recorded)
    assert numbers == list(range(1, 79))
    assert len(RECORDED) == (78 if REFERENCE.is_dir() else 0)
