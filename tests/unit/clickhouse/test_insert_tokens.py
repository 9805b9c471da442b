"""The token of an insert that is sent again: what leaves a doubt, and for how long it is kept."""

import math

import pytest

from pipeline.clickhouse.insert_tokens import InsertTokens
from pipeline.errors import ErrorClass


@pytest.mark.parametrize(
    ("error_class", "doubtful_since"),
    [
        (ErrorClass.AMBIGUOUS, 7.0),
        (ErrorClass.UNKNOWN, -math.inf),
        (ErrorClass.TRANSIENT, None),
        (ErrorClass.ENVIRONMENT, None),
        (ErrorClass.SHAPE, None),
        (ErrorClass.SCHEMA, None),
    ],
)
def test_only_an_attempt_without_a_known_answer_leaves_a_doubt(
    error_class: ErrorClass, doubtful_since: float | None
) -> None:
    tokens = InsertTokens()
    assert tokens.name("batch") == "batch"
    tokens.failed("batch", 7.0, error_class)
    assert tokens.doubtful_since("batch") == doubtful_since


def test_the_first_doubt_counts_and_ends_with_the_name() -> None:
    tokens = InsertTokens()
    for began in (3.0, 9.0):
        assert tokens.name("batch/0-5") == "batch/0-5"
        tokens.failed("batch/0-5", began, ErrorClass.AMBIGUOUS)
    assert tokens.doubtful_since("batch/0-5") == 3.0
    tokens.renew("batch/0-5")
    assert (tokens.name("batch/0-5"), tokens.doubtful_since("batch/0-5")) == ("batch/0-5+1", None)
    tokens.renew("batch/0-5")
    assert tokens.name("batch/0-5") == "batch/0-5+2"
    assert tokens.name("batch/5-9") == "batch/5-9", "another piece has its own"


def test_all_pieces_of_a_batch_are_remembered_and_none_of_the_batch_before() -> None:
    tokens = InsertTokens()
    for token in ("one", "one/0-5"):
        tokens.name(token)
        tokens.failed(token, 1.0, ErrorClass.AMBIGUOUS)
    assert (tokens.name("one"), tokens.doubtful_since("one")) == ("one", 1.0)
    tokens.name("two")
    assert tokens.name("one") == "one"
    assert tokens.doubtful_since("one") is None
