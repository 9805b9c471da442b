"""What a value behind a name is: a secret, or a word of the sentence (`api_key: required`, `Unexpected token: EOF`).

Owns the words that are no secrets. A password is anything else; a key must not go on as a sentence does; a token, which
is also a part of a program or a page, must look like one.
"""

import re
import tomllib
from importlib.resources import files
from typing import Final, NamedTuple

_WORDS: Final[dict[str, list[str]]] = tomllib.loads(
    files(__package__).joinpath("words.toml").read_text(encoding="utf-8")
)
_NO_SECRETS: Final = frozenset(_WORDS["no_secrets"])
_is_placeholder: Final = re.compile(
    r"\$\{.*|\$\(.*|\{\{.*|\{\w*\}|<[\w .:/-]+>?|%\w+%|%\(?\w*\)?[sdr]|\$[A-Z_][A-Z0-9_]*|\.{2,}|…+|-+|_+|x+|X+",
    re.ASCII | re.DOTALL,
).fullmatch
_BEGIN_PLACEHOLDERS: Final = frozenset("${<%.…-_xX")
_is_code: Final = re.compile(
    r"(?:os|process|self|this|args|config|settings|env|environ|options|params|secrets|st)\.[A-Za-z_].*|[A-Za-z_.]{2,}\(.*"
    r"|(?:~|\.{0,2})/.*|projects/.*",
    re.DOTALL,
).fullmatch
"""What is put in the place of a secret in a program: where it comes from."""
_is_number: Final = re.compile(r"[\d.,:/eE+-]+", re.ASCII).fullmatch
_is_word: Final = re.compile(r"[A-Za-z][a-z]*|[A-Z]+").fullmatch
_has_evidence: Final = re.compile(r"[0-9+=!$%^&*#@~]|[a-z][A-Z]").search
_sentence_goes_on: Final = re.compile(r"[ \t]+[a-z(]").match
_QUOTES_AND_POINTS: Final = ".,;:!?)]}>`\"'"
_MIN_TOKEN_CHARS: Final = 8
_MIN_SIGN_CHARS: Final = 6
_MIN_SIGNATURE_CHARS: Final = 16
_LONG_CHARS: Final = 20

_OTHER_TOKENS: Final = frozenset(_WORDS["other_tokens"])
_TOKENS_OF_LOGINS: Final = frozenset(_WORDS["tokens_of_logins"])
_word_backwards: Final = re.compile(r"[ _-]{0,2}([a-z]+[A-Z]?|[A-Z]+)").match
_no_value: Final = re.compile(
    r"(?:file|path|name|length|size|url|uri|id|ref|type|count|policy|version|manager)s?\Z"
).search


_KINDS: Final = {"p": "password", "P": "password", "t": "token", "T": "token"}


class Named(NamedTuple):
    """The name of a value.

    Attributes:
        name: as it was found.
        before: the text in front of it.
        sign: what joins it to its value in plain text; None where the value is in quotes or a number.
    """

    name: str
    before: str
    sign: str | None

    @property
    def kind(self) -> str:
        """What is shown instead of the value."""
        if "key" in self.name.lower():
            return "api_key"
        return _KINDS.get(self.name[0], "secret")


def is_secret(named: Named, value: str, after: str) -> bool:
    """Return whether a value is a secret.

    Args:
        named: its name.
        value: the value, or its beginning.
        after: what follows it.
    """
    bare = value.strip(_QUOTES_AND_POINTS)
    if not bare or bare.lower() in _NO_SECRETS or _stands_for_another(value, bare):
        return False
    name = named.name.lower()
    if name.startswith("token"):
        return _is_token(named, value, after)
    if name.startswith("sig"):
        return name == "sig" or len(bare) >= _MIN_SIGNATURE_CHARS
    if name in ("pass", "pw"):
        return _is_short_password(named, bare)
    if name[0] == "p" and "key" not in name:
        return not _no_value(name) and (not _is_said(named) or _looks_secret(bare))
    return not _no_value(name) and _is_announced(named, value, after)


def _stands_for_another(value: str, bare: str) -> bool:
    return value[0] in _BEGIN_PLACEHOLDERS and (_is_placeholder(value) or _is_placeholder(bare)) is not None


def _is_said(named: Named) -> bool:
    """Return whether name and value are joined as in a sentence: `the password is …`."""
    return named.sign is not None and named.sign.strip(": ") in ("is", "was")


def _is_short_password(named: Named, bare: str) -> bool:
    """Judge `pass` and `pw`, which also begin or end other words: compass, `pass: 3`."""
    before = named.before[-1:]
    if before.isascii() and before.isalpha() and not (named.name[0].isupper() and before.islower()):
        return False
    if _is_number(bare):
        return False
    return (named.sign or "=").strip() == "=" or _looks_secret(bare)


def _is_token(named: Named, value: str, after: str) -> bool:
    """Judge a token, which may be a place in a list, a part of a text, or what lets somebody in."""
    before = named.before
    found = _word_backwards(before[::-1])
    word = found[1][::-1].lower() if found else ""
    if word in _OTHER_TOKENS:
        return False
    if word in _TOKENS_OF_LOGINS or (
        before and before.rstrip("_-")[-1:].isalnum() and not before.endswith(("--", "__"))
    ):
        return _is_announced(named, value, after)
    bare = value.strip(_QUOTES_AND_POINTS)
    if _is_number(bare) or bare[0] in "<([{" or " " in bare:
        return False
    return len(bare) >= _MIN_TOKEN_CHARS and _looks_secret(bare)


def _is_announced(named: Named, value: str, after: str) -> bool:
    """Return whether a value is what its name announced, not the next word of a sentence or of a program."""
    if named.sign is None:
        return True
    bare = value.strip(_QUOTES_AND_POINTS)
    if _is_code(bare) or bare.lower().endswith(named.name.lower()):
        return False
    if _looks_secret(bare):
        return True
    return not _is_said(named) and ("=" in named.sign or not (_is_word(value) and _sentence_goes_on(after)))


def _looks_secret(bare: str) -> bool:
    """Return whether a word has what words of a language lack: digits, signs, capitals inside, much length."""
    if len(bare) >= _LONG_CHARS and bare.isalnum():
        return True
    return len(bare) >= _MIN_SIGN_CHARS and _has_evidence(bare) is not None
