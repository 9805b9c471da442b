"""The door of redaction: `redact` takes every secret out of a text.

Owns which kinds are looked for, in which order, how often, and that nothing is looked for where one look at the text
says that there is nothing. A text that is encoded for urls is looked at once more as what it says.
"""

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from pipeline.redaction.addresses import without_addresses, without_url_passwords
from pipeline.redaction.gates import gate
from pipeline.redaction.judgement import Named
from pipeline.redaction.known_forms import SIGNS, without_known_forms
from pipeline.redaction.named_values import is_secret_member, name_of_secret, without_named_values
from pipeline.redaction.requests import without_keys_in_sentences, without_request_credentials

_may_hold_secret: Final = gate(
    r"@|%[0-9A-Fa-f]{2}|(?i-u:passw|passphrase|pwd|secret|key|token|credential|bearer|basic|authorization|cookie)|"
    r"""(?i-u:pass|pw|sig|signature|code|auth|jwt|sid|session|sessionid)[\\"']{0,33}[ \t]{0,8}[:=]|"""
    r"curl|wget|mysql|mariadb|sshpass|mongo|docker login|redis-cli|---BEGIN|" + SIGNS
)
_MAX_KNOWN_CHARS: Final = 80
_MAX_ROUNDS: Final = 4  # what is taken out can uncover what stood right behind it

_OF_URLS: Final = r"!#-&(-;=?-\[\]-~"
"""What a url may hold: ASCII without blanks, quotes, backslashes and angle brackets."""
_encoded: Final = re.compile(
    # Only where such a text begins; what ends an escape (the n of `\nbob%40example.org`) is no part of it.
    rf"(?:(?<![{_OF_URLS}\\])|(?<=\\[bfnrt/])|(?<=\\u[0-9a-fA-F]{{4}}))"
    rf"[{_OF_URLS.replace('#-&', '#$&')}]*+%[{_OF_URLS}]*+"
).sub
_units: Final = re.compile(r"%[0-9A-Fa-f]{2}|.", re.DOTALL).findall
_marks: Final = re.compile(r"(\[redacted:[a-z_]+\])").split


def redact(text: str) -> str:
    """Return `text` with every secret replaced by `[redacted:KIND]`.

    Kinds are private_key, api_key, jwt, token, password, secret and email. Redacting twice changes nothing more, and a
    valid JSON document stays one. Text with nothing in it costs one look; time grows with the length, never faster.
    Lone surrogates, which neither UTF-8 nor the search can hold, become `?`.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if not _may_hold_secret(text):
        return text
    for _ in range(_MAX_ROUNDS):
        before = text
        text = _redacted_once(text)
        if "%" in text:
            text = _encoded(_redacted_encoded, text)
        if text == before:
            break
    return text


def redact_entry(name: str, value: str) -> tuple[str, str]:
    """Return an entry of a map redacted: `password` says of `hunter2` what the value alone does not say."""
    shown, named = _known_name(name) if len(name) <= _MAX_KNOWN_CHARS else (redact(name), None)
    value = redact(value)
    return shown, f"[redacted:{named.kind}]" if named and value and is_secret_member(named, value) else value


@lru_cache(maxsize=1_024)
def _known_name(name: str) -> tuple[str, Named | None]:
    return redact(name), name_of_secret(name)


def _redacted_once(text: str) -> str:
    text = without_url_passwords(without_known_forms(text))
    text = without_named_values(without_request_credentials(text))
    text = without_keys_in_sentences(text)
    return without_addresses(text) if "@" in text else text


def _redacted_encoded(found: re.Match[str]) -> str:
    """Redact what a text with `%XX` in it says; the rest of it stays as it is written."""
    said = unquote(found[0], encoding="latin-1")
    redacted = _redacted_once(said)
    if redacted == said:
        return found[0]
    *kept, last = _marks(redacted)
    units = _units(found[0])
    shown: list[str] = []
    at = 0
    for part, mark in zip(kept[::2], kept[1::2], strict=True):
        start = said.find(part, at)
        if start < 0:
            return mark
        at = start + len(part)
        shown += (*units[start:at], mark)
    if not kept or not said.endswith(last, at):
        return "[redacted:secret]"
    return "".join((*shown, *units[len(units) - len(last) :]))
