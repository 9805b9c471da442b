"""What stands in addresses: the password of a url, and e-mail addresses.

Owns where an address begins and ends. Both ends are decided by alphabet: Chinese or Japanese text next to an address,
written without blanks, is no part of it.
"""

import re
from typing import Final

_url_password: Final = re.compile(
    # A port is no password, unless an @ follows it directly; a password may hold a slash, and an @ in front of one.
    r"""(://[^\s/:@"'\\<>\[]{0,256}:)(?!\[redacted:|\d{1,5}(?:[/?#,;)\]]|$))"""
    r"""[^\s@"'\\<>]{1,256}+(?:@[^\s/@"'\\<>:]{1,256}+){0,2}(?=@)""",
    re.ASCII,
).sub

_ALPHABETS: Final = "A-Za-z\u00c0-\u024f\u0370-\u058f"
"""Alphabets whose words stand apart: Latin, Greek, Cyrillic, Armenian."""
_domains: Final = re.compile(
    rf"@(?:[{_ALPHABETS}0-9][{_ALPHABETS}0-9_-]{{0,62}}\.){{1,8}}(?:[A-Za-z]{{2,24}}|[\u00c0-\u024f\u0370-\u058f]{{2,24}})"
).finditer
_local_backwards: Final = re.compile(rf"[{_ALPHABETS}0-9_.%+-]{{1,256}}").match
_escape_at_start: Final = re.compile(r"u[0-9a-fA-F]{4}|.").match
_MAX_LOCAL_CHARS: Final = 256  # 64 by the standard
_LOGINS: Final = frozenset({"git", "hg", "svn"})
"""Names that everyone has on a server of repositories."""
_NO_DOMAINS: Final = frozenset(
    {"alpha", "beta", "canary", "css", "gif", "html", "jpeg", "jpg", "js", "json", "latest", "next", "pdf", "png"}
    | {"svg", "ts", "txt", "webp", "xml"}
)
"""Ends of package versions (`pkg@latest.next`) and of file names (`icon@2x.png`)."""


def without_url_passwords(text: str) -> str:
    """Return the text without the passwords of urls."""
    return _url_password(r"\1[redacted:password]", text) if "@" in text and "://" in text else text


def without_addresses(text: str) -> str:
    """Return the text without e-mail addresses."""
    kept: list[str] = []
    end = 0
    for domain in _domains(text):
        at = domain.start()
        before = text[max(end, at - _MAX_LOCAL_CHARS - 1) : at]
        start = at - _local_length(before)
        if start < at and text[start:at] not in _LOGINS and domain[0].rpartition(".")[2] not in _NO_DOMAINS:
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
