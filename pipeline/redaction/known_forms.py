"""Keys that are known by their form, wherever they stand: `sk-…`, `hf_…`, JSON web tokens, blocks of private keys.

Owns how the lines of `known_forms.toml` become one pattern. Alternatives are grouped by their first character, so that
`re` skips to characters that begin a key, and tries there only what begins with it.
"""

import re
import tomllib
from importlib.resources import files
from typing import Any, Final

from pipeline.redaction.gates import gate

_FORMS: Final[list[dict[str, Any]]] = [
    form
    for kinds in tomllib.loads(files(__package__).joinpath("known_forms.toml").read_text(encoding="utf-8")).values()
    for form in kinds.values()
]
_MAX_ESCAPE_CHARS: Final = 6
_begins_with_character: Final = re.compile(r"(\\b)?([A-Za-z0-9/])(?![?*+{])").match


def _word_start(first: str) -> str:
    """Return what stands after a first character that begins a word; the escape before it is no part of the word."""
    return rf"(?:(?<![A-Za-z0-9]{first})|(?<=\\[bfnrt]{first})|(?<=\\u[0-9a-fA-F]{{4}}{first}))"


def _headed() -> str:
    """Return one pattern for the forms that begin with one character; whether a word begins there is asked once."""
    tails: dict[str, tuple[list[str], list[str]]] = {}
    for form in (form["form"] for form in _FORMS):
        if head := _begins_with_character(form):
            tails.setdefault(head[2], ([], []))[bool(head[1])].append(form[head.end() :])
    return "|".join(f"{first}(?:{_tail(first, *forms)})" for first, forms in sorted(tails.items()))


def _tail(first: str, anywhere: list[str], words: list[str]) -> str:
    started = [f"{_word_start(first)}(?:{'|'.join(words)})"] if words else []
    return "|".join([*anywhere, *started])


def _headless() -> str:
    """Return one pattern for the forms that may begin with many characters; a word begins there."""
    forms = [form["form"] for form in _FORMS if not _begins_with_character(form["form"])]
    return rf"(?:{_word_start('')})(?:{'|'.join(form.removeprefix(chr(92) + 'b') for form in forms)})"


def _signs(*, headed: bool) -> str:
    forms = [form for form in _FORMS if bool(_begins_with_character(form["form"])) is headed]
    return "|".join(sign for form in forms for sign in form["sign"].split())


_WEB_SIGN: Final = "eyJ[A-Za-z0-9_-]{8}"
SIGNS: Final = "|".join((_signs(headed=True), _signs(headed=False), _WEB_SIGN))
"""The pattern of a gate: what each key has somewhere."""

_may_hold_headed: Final = gate(_signs(headed=True))
_may_hold_headless: Final = gate(_signs(headed=False))
_may_hold_web_token: Final = gate(_WEB_SIGN)
_headed_key: Final = re.compile(_headed(), re.ASCII).sub
_headless_key: Final = re.compile(_headless(), re.ASCII).sub
_json_web_token: Final = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+){0,4}").sub
_private_key: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[A-Za-z0-9+/=\s:,.()_]|-(?!----)|\\+[nr])*+(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?"
).sub
_half_escape: Final = re.compile(r"\\u[0-9a-fA-F]{1,3}\Z").search


def without_known_forms(text: str) -> str:
    """Return the text without keys of known form."""
    if "PRIVATE KEY" in text:
        text = _private_key("[redacted:private_key]", text)
    if _may_hold_headed(text):
        text = _headed_key(_masked_key, text)
    if _may_hold_headless(text):
        text = _headless_key(_masked_key, text)
    if _may_hold_web_token(text):
        text = _json_web_token(_masked_web_token, text)
    return text


def _masked_key(found: re.Match[str]) -> str:
    return found[0] if _is_within_escape(found) else "[redacted:api_key]"


def _masked_web_token(found: re.Match[str]) -> str:
    return found[0] if "." not in found[0] or _is_within_escape(found) else "[redacted:jwt]"


def _is_within_escape(found: re.Match[str]) -> bool:
    r"""Return whether the first characters end an escape: the n of `\npm_`, the e of `\u00eeyJ`."""
    text, start = found.string, found.start()
    return text[start - 1 : start] == "\\" or _half_escape(text, max(0, start - _MAX_ESCAPE_CHARS), start) is not None
