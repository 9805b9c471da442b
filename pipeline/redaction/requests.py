"""Credentials in what is sent to a server, and in what it answers.

Owns how they are recognized in headers, cookies, queries of urls, options of command lines, and in sentences like
`Incorrect API key provided: …`. A word of a language is no credential: it takes a digit or a sign.
"""

import re
from typing import Final

from pipeline.redaction.gates import gate

_may_hold_scheme: Final = gate("arer[ +\\t]|ARER[ +\\t]|asic[ +\\t]|ASIC[ +\\t]|uthorization|UTHORIZATION")
_scheme: Final = re.compile(
    r"((?:Bearer|bearer|BEARER|Basic|basic|BASIC)[ \t+]{1,4})"
    # A word of English is no token: it takes a digit or a sign, a capital inside, or twenty letters.
    r"(?=[A-Za-z]*[0-9._~+/=-]|[a-z]+[A-Z]|[A-Za-z]{20})[A-Za-z0-9._~+/=-]{8,}"
).sub
_authorization: Final = re.compile(
    r"""([aA](?i:uthorization)(?:\\{0,31}["'])?\s{0,4}[:=]\s{0,4}(?:\\{0,31}["'](?![\s,:}\]]))?"""
    r"""(?:[A-Za-z][A-Za-z0-9-]{1,30} )?)(?!\[redacted:)(?=[^\s"'\\,;<>]{0,64}?[0-9+=/_~$!%^#])[^\s"'\\,;<>]{8,}"""
).sub

_may_hold_cookie: Final = gate(r"(?i:cookie)s?[\\'\"]{0,33}[ \t]{0,4}[:=]")
_cookie: Final = re.compile(
    r"""([cC](?i:ookie)s?(?:\\{0,31}["'])?\s{0,4}[:=]\s{0,4}(?:\\{0,31}["'](?![\s,:}\]]))?)"""
    r"""[\w.%-]{1,64}=[^\s;,"'\\<>]++(?:;\s?[\w.%-]{1,64}=[^\s;,"'\\<>]++)*+""",
    re.ASCII,
).sub

_may_hold_query: Final = gate(r"[?&;6][A-Za-z0-9_.-]{0,41}(?i:key|code|auth|pass|pw|jwt|sid|session|sessionid)=")
_query: Final = re.compile(
    r"((?:[?&]|\\u0026|&amp;)(?:[A-Za-z0-9_.-]{0,40}[_.-])?(?i:key|code|auth|pass|pw|jwt|sid|session|sessionid)=)"
    r"""(?!\[redacted:)(?=[^\s"'\\&<>#]{0,64}?[0-9])(?=[^\s"'\\&<>#]{0,64}?[A-Za-z])[^\s"'\\&<>#]{16,}"""
).sub

_may_hold_option: Final = gate(r"curl|wget|httpie|mysql|mariadb|sshpass|mongo|docker login|redis-cli|--")
_user_option: Final = re.compile(
    r"""(\s(?:-u|--user|--proxy-user|--auth|-a)[ =]?(?:\\{0,31}["'](?![\s,:}\]]))?[^\s:"'\\]{1,128}:)"""
    r"""(?!\[redacted:)[^\s"'\\]{1,256}"""
).sub
_password_option: Final = re.compile(
    r"""(\s-[pa] ?(?:\\{0,31}["'](?![\s,:}\]]))?)(?!\[redacted:)([^\s"'\\-][^\s"'\\]{0,255})"""
).sub
_cookie_option: Final = re.compile(
    r"""(\s(?:-b|--cookie)[ =]?(?:\\{0,31}["'](?![\s,:}\]]))?)(?!\[redacted:)[\w.%-]{1,64}=[^"'\\\s]++""", re.ASCII
).sub
_long_option: Final = re.compile(
    r"""(--(?:[a-z]{1,16}-){0,3}(?:pass|password|passwd|token|secret|(?:api|access|account|secret)-key) """
    r"""(?:\\{0,31}["'](?![\s,:}\]]))?)"""
    r"""(?!\[redacted:|\$[A-Z({]|<)(?=[^\s"'\\]{0,64}?(?:[0-9+=!$%^&*#@~]|[a-z][A-Z]))[^\s"'\\-][^\s"'\\]{5,}"""
).sub
_CONTEXT_CHARS: Final = 300
_sends_user: Final = re.compile(r"(?:curl|wget|https?)\s").search
_joins_password: Final = re.compile("mysql|mariadb").search
_separates_password: Final = re.compile(r"(?:sshpass|mongo|mongosh|docker login|redis-cli)\s").search

_may_hold_sentence: Final = gate(
    r"""(?i:key|secret|token|credential|password)s?(?i: provided| is| was| value| used)?[\\ :='"()`]{1,8}"""
    r"[A-Za-z0-9_.~+/*=-]{20}"
)
_sentence: Final = re.compile(
    r"((?:[aA](?i:pi|ccess|ccount|uth)|[sS](?i:ecret|ubscription|ecurity)|[pP](?i:rivate))[ _-]?[kK](?i:ey)"
    r"|(?:[kK](?i:ey)|[pP](?i:assword)) provided|[sS](?i:ecret)|[cC](?i:redential)"
    # a word of its own: next_token is none
    r"|[tT](?:(?<![A-Za-z0-9_-].)|(?<=\\[bfnrt].))(?i:oken))"
    r"""((?i:s? provided| is| was| value| used)?(?:[ :='"()`]|\\["']){1,4})(?!\[redacted:)"""
    r"(?=[A-Za-z_.~+*=-]{0,64}[0-9*])(?![0-9.,:-]+[^A-Za-z0-9])[A-Za-z0-9_~+*=-](?:[A-Za-z0-9_~+/*=-]|\.(?=[A-Za-z0-9_])){19,}"
).sub


def without_request_credentials(text: str) -> str:
    """Return the text without credentials in headers and cookies, queries and options, and sentences about them."""
    if _may_hold_scheme(text):
        text = _authorization(r"\1[redacted:token]", _scheme(r"\1[redacted:token]", text))
    if _may_hold_cookie(text):
        text = _cookie(r"\1[redacted:secret]", text)
    if _may_hold_query(text):
        text = _query(r"\1[redacted:secret]", text)
    if _may_hold_option(text):
        text = _without_options(text)
    return text


def without_keys_in_sentences(text: str) -> str:
    """Return the text without long words behind `API key provided:` and the like."""
    return _sentence(r"\1\2[redacted:api_key]", text) if _may_hold_sentence(text) else text


def _without_options(text: str) -> str:
    text = _long_option(r"\1[redacted:secret]", text)
    text = _user_option(_masked_user, text)
    text = _cookie_option(_masked_cookie, text)
    return _password_option(_masked_password, text)


def _command(found: re.Match[str]) -> str:
    return found.string[max(0, found.start() - _CONTEXT_CHARS) : found.start() + 1]


def _masked_user(found: re.Match[str]) -> str:
    return f"{found[1]}[redacted:password]" if _sends_user(_command(found)) else found[0]


def _masked_cookie(found: re.Match[str]) -> str:
    return f"{found[1]}[redacted:secret]" if _sends_user(_command(found)) else found[0]


def _masked_password(found: re.Match[str]) -> str:
    """Hide the value of -p: mysql joins it to the option (`-p name` names a database), others separate it."""
    joined = " " not in found[1].lstrip()
    shows = _joins_password if joined else _separates_password
    return f"{found[1]}[redacted:password]" if shows(_command(found)) else found[0]
