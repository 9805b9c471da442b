r"""Credentials and e-mail addresses, taken out of text before it is stored, logged or put into a header.

Owns what counts as a secret. The text may be plain, may be a JSON document, or JSON inside of JSON: quotes may come
with backslashes before them, and `\nbob@example.com` starts with an escape, not with an `n`. What is replaced never
holds a quote or half an escape that belongs to the document, so valid JSON stays valid.
"""

import re
from collections.abc import Callable
from typing import Final

from pydantic_core import SchemaValidator, core_schema


def _gate(pattern: str) -> Callable[[str], bool]:
    """Return a search that only says whether there may be a secret, 2 to 50 times as fast as `re`.

    It is the search of pydantic's core, which runs in one pass whatever the pattern. With plain words of three letters
    and more it compares many bytes at once: 0.2 us for 500 characters, else about 1 us.
    """
    return SchemaValidator(core_schema.str_schema(pattern=pattern)).isinstance_python


_HEADS: Final = "sk-|sk_|eyJ|AKIA|ASIA|AIza|ghp_|gho_|ghu_|ghs_|ghr_|ub_pat_|xox"
_SCHEMES: Final = "arer |ARER |asic |ASIC |arer\\+|asic\\+"
_may_hold_key: Final = _gate(
    "ssw|SSW|pwd|Pwd|PWD|sphrase|ecret|ECRET|key|Key|KEY|oken|OKEN|redential|arer|ARER|asic|ASIC|sig=|---BEGIN|"
    + _HEADS
)
_may_hold_token: Final = _gate(_HEADS)
_may_hold_scheme: Final = _gate(_SCHEMES)
_may_hold_assignment: Final = _gate(
    r"(?:(?i:passw(?:or)?d|passphrase|pwd|secret|credentials?)[A-Za-z0-9_-]{0,34}|"
    r"(?i:(?:api|access|account|private|subscription|encryption|master|function)[_ -]?key|token)[0-9]{0,2}|sig)"
    r"""\\*["']?\s{0,8}[:=]"""
)
_may_hold_bare_key: Final = _gate(
    r"""(?i:(?:key|secret|token)(?: provided| is| was| value)?[ :='"()]{1,4}[a-z0-9+/]{32})"""
)

_private_key: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
    r"(?:[A-Za-z0-9+/=\s:,.]|-(?!----)|\\+[nr])*+(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
).sub
_url_password: Final = re.compile(r"""(://[^\s/:@"'\\<>]{0,256}:)(?!\[redacted:)[^\s/@"'\\<>]{1,256}(?=@)""").sub

# Below, alternatives start with a letter in its two cases rather than with (?i:...): `re` then skips to such letters.
_token: Final = re.compile(
    r"sk-[A-Za-z0-9_*-]{12,}|eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+){0,4}"
    r"|sk_(?:live|test)_[A-Za-z0-9]{10,}|gsk_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16}|ASIA[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,}"
).sub
_scheme: Final = re.compile(
    r"((?:Bearer|bearer|BEARER|Basic|basic|BASIC)[ \t+]{1,4})"
    # A word of English is no token: it takes a digit or a sign, a capital inside, or twenty letters.
    r"(?=[A-Za-z]*[0-9._~+/=-]|[a-z]+[A-Z]|[A-Za-z]{20})[A-Za-z0-9._~+/=-]{8,}"
).sub


def _either_case(first: str, rest: str) -> str:
    return f"{first}(?i:{rest})|{first.upper()}(?i:{rest})"


_SECRET_NAMES: Final = "|".join(
    f"(?:{_either_case(first, rest)})(?:[A-Z0-9_-][A-Za-z0-9_-]{{0,33}}+)?"
    for first, rest in (("p", "assw(?:or)?d|assphrase|wd"), ("s", "ecret"), ("c", "redentials?"))
)
_KEY_NAMES: Final = "|".join(
    _either_case(word[0], word[1:] + "[_ -]?key") + "[0-9]{0,2}"
    for word in ("api", "access", "account", "private", "subscription", "encryption", "master", "function")
)
_assignment: Final = re.compile(
    f"(?P<name>{_SECRET_NAMES}|{_KEY_NAMES}|(?:{_either_case('t', 'oken')})[0-9]{{0,2}}|s(?<![A-Za-z0-9]s)ig(?==))"
    # a member of the document itself: "password": "value"
    r"""(?:(?P<member>"\s{0,8}:\s{0,8}"|[=:]\s{0,4}"(?![\s,:}\]]))(?!\[redacted:)(?:[^"\\]|\\.)++"""
    # a member of a document in a string of the document: \"password\": \"value\"
    r"""|(?P<nested>\\"\s{0,8}:\s{0,8}\\"|[=:]\s{0,4}\\")(?!\[redacted:)"""
    r"""(?:[^"\\]|\\\\(?:\\\\|\\"|[^"\\])|\\[^"\\])++"""
    # a Python or shell string
    r"""|(?P<single>'\s{0,8}:\s{0,8}'|[=:]\s{0,4}')(?!\[redacted:)(?:[^'"\\]|\\.)++"""
    # deeper nesting; its escapes are not distinguished, so a value ends at the first of them
    r"""|(?P<deep>\\{2,9}"\s{0,8}:\s{0,8}\\{2,9}")(?!\[redacted:)[^"\\]++"""
    # a number in the place of a string
    r"""|(?P<number>(?P<quote>\\?")\s{0,8}:\s{0,8})-?[0-9][0-9.eE+-]*+"""
    # password=value, password: value
    r"""|(?P<plain>\s{0,2}=\s{0,2}|:\s{0,4})(?!\[redacted:)(?:[^\s"'\\&;]|\\\\(?![\\"'])|\\(?![nrtbfu"'/\\]))++)""",
    re.DOTALL,
).sub
_bare_key: Final = re.compile(
    rf"""((?:{"|".join(_either_case(word[0], word[1:]) for word in ("key", "secret", "token"))})"""
    r"""(?i: provided| is| was| value)?[ :='"()]{1,4})"""
    r"""(?![0-9]+(?:[eE][+-]?[0-9]+)?[\s,}\]])(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9+/]{32,}={0,2}"""
).sub

_domains: Final = re.compile(r"@(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_]{2,24}").finditer
_local_backwards: Final = re.compile(r"[\w.%+-]{1,256}").match
_escape_at_end: Final = re.compile(r"\\(?:[bfnrt]|u[0-9a-fA-F]{4})\Z").search
_half_escape: Final = re.compile(r"\\u[0-9a-fA-F]{1,3}\Z").search
_escape_at_start: Final = re.compile(r"u[0-9a-fA-F]{4}|.").match
_MAX_LOCAL_CHARS: Final = 256  # 64 by the standard
_MAX_ROUNDS: Final = 4  # what is taken out can uncover what stood right behind it
_MAX_ESCAPE_CHARS: Final = 6


def redact(text: str) -> str:
    """Return `text` with every secret replaced by `[redacted:KIND]`.

    Kinds are private_key, api_key, jwt, token, password, secret and email. Redacting twice changes nothing more, and a
    valid JSON document stays one. Text with nothing in it costs one look; time grows with the length, never faster.
    Lone surrogates, which neither UTF-8 nor the search can hold, become `?`.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    for _ in range(_MAX_ROUNDS):
        before = text
        if _may_hold_key(text):
            text = _without_keys(text)
        if "@" in text:
            text = _without_addresses(text)
        if text == before:
            break
    return text


def _without_keys(text: str) -> str:
    if "PRIVATE KEY" in text:
        text = _private_key("[redacted:private_key]", text)
    if "@" in text and "://" in text:
        text = _url_password(r"\1[redacted:password]", text)
    if _may_hold_token(text):
        text = _token(_redacted_token, text)
    if _may_hold_scheme(text):
        text = _scheme(r"\1[redacted:token]", text)
    if _may_hold_assignment(text):
        text = _assignment(_redacted_assignment, text)
    if _may_hold_bare_key(text):
        text = _bare_key(r"\1[redacted:api_key]", text)
    return text


def _redacted_token(found: re.Match[str]) -> str:
    whole = found[0]
    if _half_escape(found.string, max(0, found.start() - _MAX_ESCAPE_CHARS), found.start()):
        return whole  # its first letter ends an escape: \u00eeyJ
    if whole.startswith("sk-"):
        # task-, risk-, sk-learn-pipeline
        real = _starts_word(found.string, found.start()) and any(sign.isdigit() or sign == "*" for sign in whole)
        return "[redacted:api_key]" if real else whole
    if whole.startswith("eyJ"):
        return "[redacted:jwt]" if "." in whole else whole
    return "[redacted:api_key]"


def _starts_word(text: str, at: int) -> bool:
    before = text[at - 1 : at]
    if not before.isalnum() and before not in ("_", "-"):
        return True
    return _escape_at_end(text, max(0, at - _MAX_ESCAPE_CHARS), at) is not None


def _redacted_assignment(found: re.Match[str]) -> str:
    name = found["name"].lower()
    kind = "secret"
    if name.startswith("p"):
        kind = "api_key" if "key" in name else "password"
    elif "key" in name:
        kind = "api_key"
    elif name.startswith("token"):
        kind = "token"
    if found["number"]:
        if kind == "token":  # a count of tokens
            return found[0]
        return f"{found['name']}{found['number']}{found['quote']}[redacted:{kind}]{found['quote']}"
    sign = found["member"] or found["nested"] or found["single"] or found["deep"] or found["plain"]
    return f"{found['name']}{sign}[redacted:{kind}]"


def _without_addresses(text: str) -> str:
    text = _url_password(r"\1[redacted:password]", text) if "://" in text else text
    kept: list[str] = []
    end = 0
    for domain in _domains(text):
        at = domain.start()
        before = text[max(end, at - _MAX_LOCAL_CHARS - 1) : at]
        start = at - _local_length(before)
        if start < at:
            kept += (text[end:start], "[redacted:email]")
            end = domain.end()
    return "".join((*kept, text[end:])) if kept else text


def _local_length(before: str) -> int:
    """Count the characters of an address before its `@`, leaving alone the escape that may precede it."""
    local = _local_backwards(before[::-1])
    length = local.end() if local else 0
    if not length or length == _MAX_LOCAL_CHARS:
        return 0
    if before[-length - 1 : -length] != "\\":
        return length
    escape = _escape_at_start(before[-length:])
    return length - (escape.end() if escape else 0)
