"""What an attacker plants is not stored: every kind of credential in every place of an event, up to the row."""

import json
from typing import Final

import pytest

from pipeline.normalize.normalize import Rules
from tests.support.planted_secrets import PLACES, Planted, planted
from tests.support.rows_of_events import row_of

KINDS: Final = {secret.kind: secret for secret in planted()}
IDENTITY: Final = {"step_id", "run_id", "thread_id", "assistant_id"}
"""Ids by which a step is found are stored as they came."""


def test_there_are_more_kinds_than_the_audit_planted() -> None:
    assert len(KINDS) >= 129
    assert all(secret.drawn for secret in KINDS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_no_planted_secret_is_stored(kind: str) -> None:
    assert [place for place in PLACES if seen(KINDS[kind], place, Rules())] == []


@pytest.mark.parametrize("content", ["structure", "none"])
def test_no_planted_secret_is_stored_where_less_content_is(content: str) -> None:
    rules = Rules(content=content)
    assert [(kind, place) for kind in KINDS for place in PLACES if seen(KINDS[kind], place, rules)] == []


def seen(secret: Planted, place: str, rules: Rules) -> bool:
    """Return whether a part of the secret is in the row; its JSON must be JSON in any case."""
    row = row_of(PLACES[place](secret.text), rules=rules)
    for column in ("step_details", "extra_fields"):
        json.loads(row[column] or "null")
    stored = str([value for name, value in row.items() if name not in IDENTITY])
    return any(part in stored for part in secret.drawn)
