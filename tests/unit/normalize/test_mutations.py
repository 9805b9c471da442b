"""Mutated examples: whatever arrives, there is a row for it, without secrets, within its columns, and no exception."""

from tests.support.mutations import check_many


def test_no_mutated_event_raises_or_makes_a_row_that_cannot_be_true() -> None:
    became = check_many(700, seed=2)
    assert sum(became.values()) == 3 * 700
    assert len(became) > 7, became
