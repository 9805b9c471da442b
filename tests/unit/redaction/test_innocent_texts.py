"""What is no secret stays: `innocent.txt` has a text a line, each of which was redacted once or easily could be."""

import json
from pathlib import Path
from typing import Final

import pytest

from pipeline.redaction import redact, redact_entry

INNOCENT: Final = Path(__file__).with_name("innocent.txt").read_text(encoding="utf-8").splitlines()


def test_there_are_more_innocent_texts_than_the_audit_tried() -> None:
    assert len(set(INNOCENT)) == len(INNOCENT) >= 113


@pytest.mark.parametrize("text", INNOCENT)
def test_no_innocent_text_is_changed(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("text", INNOCENT)
def test_no_innocent_text_is_changed_inside_of_json(text: str) -> None:
    document = json.dumps({"a": f"line\n{text}\nline"}, ensure_ascii=False)
    nested = json.dumps({"a": json.dumps({"b": text})})
    assert (redact(document), redact(nested)) == (document, nested)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token", "EUR"),
        ("next_page_token", "CAUQAA2024PageTwoOfTheList"),
        ("api_key", "none"),
        ("api_key", "${OPENAI_API_KEY}"),
        ("password_file", "/run/secrets/password"),
        ("key", "5d41402abc4b2a76b9719d911017c592"),
        ("team", "parcels"),
        ("bypass", "yes1234!"),
    ],
)
def test_no_innocent_entry_of_a_map_is_changed(name: str, value: str) -> None:
    assert redact_entry(name, value) == (name, value)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("password", "hunter2", ("password", "[redacted:password]")),
        ("db.password", "swordfish", ("db.password", "[redacted:password]")),
        ("X-Api-Key", "abc", ("X-Api-Key", "[redacted:api_key]")),
        ("access_token", "opaque-1", ("access_token", "[redacted:token]")),
        ("mail", "bob@example.org", ("mail", "[redacted:email]")),
        ("bob@example.org", "x", ("[redacted:email]", "x")),
        ("password", "", ("password", "")),
    ],
)
def test_no_secret_entry_of_a_map_stays(name: str, value: str, shown: tuple[str, str]) -> None:
    assert redact_entry(name, value) == shown
    assert redact_entry(*shown) == shown
