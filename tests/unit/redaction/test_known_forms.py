"""Every line of `known_forms.toml`: its example is taken wherever it stands, and what only looks similar stays."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

import pipeline.redaction
from pipeline.redaction import redact

FORMS: Final[dict[str, dict[str, Any]]] = {
    f"{group}.{kind}": form
    for group, kinds in tomllib.loads(
        (Path(pipeline.redaction.__file__).parent / "known_forms.toml").read_text(encoding="utf-8")
    ).items()
    for kind, form in kinds.items()
}
FILLINGS: Final = {"": "Ex4mple", "x": "0123456789abcdef", "A": "EX4MPLE", "n": "1234567890"}


def filled(example: str) -> str:
    """Put characters in the place of `{20}`."""
    return re.sub(r"\{([xAn]?)(\d+)\}", lambda found: (FILLINGS[found[1]] * 40)[: int(found[2])], example)


def test_the_forms_are_those_of_the_public_set_and_more() -> None:
    assert len(FORMS) >= 150
    assert all(set(form) == {"sign", "form", "yes", "no"} for form in FORMS.values())


@pytest.mark.parametrize("kind", FORMS)
def test_no_key_of_a_known_form_stays(kind: str) -> None:
    key = filled(FORMS[kind]["yes"])
    shown = redact(key)
    assert re.search(r"\[redacted:api_key\]", shown), shown
    assert not set(re.findall(r"(?:Ex4mple|EX4MPLE|0123456789abcdef)+", shown)), shown
    for text in (f"key {key}, failed", f"钥{key}无效", f"<{key}>", f"'{key}'"):
        assert shown in redact(text), redact(text)
        for document in (
            json.dumps({"a": f"\n{text}"}),
            json.dumps(json.dumps({"a": f"\n{text}"}, ensure_ascii=False)),
        ):
            assert key not in redact(document)
            json.loads(redact(document))


@pytest.mark.parametrize("kind", FORMS)
def test_what_only_looks_like_a_known_form_stays(kind: str) -> None:
    text = filled(FORMS[kind]["no"])
    assert redact(text) == text
    assert redact(f"see {text}, or {text}.") == f"see {text}, or {text}."


@pytest.mark.parametrize("kind", FORMS)
def test_no_key_is_taken_apart_from_its_escape(kind: str) -> None:
    r"""The n of `\npm_…` and the e of `\u00eeyJ…` belong to the document."""
    key = filled(FORMS[kind]["yes"])
    for before in ("\\", "\\u00", "\\u00e", "\\\\", "\\n", "\\u000a"):
        document = f'{{"a":"{before}{key}"}}'
        if is_json(document):
            assert is_json(redact(document)), redact(document)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
