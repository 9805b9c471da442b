"""The example files: no two share a step, and each shape of the recorded payloads has one."""

from collections import Counter

import pytest

from tests.support.expectations import example, examples
from tests.support.paths import REFERENCE
from tests.support.recorded import EXAMPLE_OF, recorded_files
from tests.support.wire_shapes import shape_of


def test_no_two_examples_have_a_step_in_common() -> None:
    files = Counter(
        step
        for one in examples()
        for step in {(row["run_id"], row["step_id"]) for row in one.verdicts if isinstance(row, dict)}
    )
    assert [step for step, count in files.items() if count > 1] == []


@pytest.mark.parametrize("own", sorted(set(EXAMPLE_OF.values())))
def test_the_example_exists_and_expects_something(own: str) -> None:
    assert example(own).verdicts


@pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="compares two lists of recorded payloads: only the workshop has them"
)
def test_every_recorded_payload_has_an_example_and_no_other_is_named() -> None:
    assert sorted(EXAMPLE_OF) == sorted(recorded_files())


@pytest.mark.parametrize("name", EXAMPLE_OF if REFERENCE.is_dir() else [])
def test_the_example_has_the_shape_of_the_recorded_payload(name: str) -> None:
    assert shape_of(example(EXAMPLE_OF[name]).value or b"") == shape_of((REFERENCE / name).read_bytes())
