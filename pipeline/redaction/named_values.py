r"""Values behind a name that says that they are secret: `password=…`, `"api_key": "…"`, `client_secret => '…'`.

Owns where such a value begins and ends, in plain text, in a JSON document, and in JSON inside of JSON, where quotes
come with backslashes before them. Whether the value is a secret is decided in `judgement.py`.
"""

import re
from collections.abc import Iterator
from typing import Final

from pipeline.redaction.gates import gate
from pipeline.redaction.judgement import Named, is_secret

_PEEK_CHARS: Final = 80
"""Characters of a value by which it is judged; one that is no secret costs no more than them."""
_MAX_ESCAPE_CHARS: Final = 8
_BEFORE_CHARS: Final = 16
_AFTER_CHARS: Final = 8

_KEY_WORDS: Final = (
    *("access", "account", "admin", "api", "app", "auth", "encryption", "functions?", "instrumentation", "integration"),
    *("license", "master", "private", "project", "security", "service", "shared", "signing", "storage", "subscription"),
)


def _either_case(word: str) -> str:
    """Return a pattern that begins with a character in its two cases: `re` then skips to such characters."""
    return f"{word[0]}(?i:{word[1:]})|{word[0].upper()}(?i:{word[1:]})"


_WORDS: Final = "|".join(map(_either_case, ("passw(?:or)?d", "passphrase", "pwd", "secret", "credentials?")))
_NAME: Final = "|".join(
    (
        rf"(?:{_WORDS})(?:[A-Z0-9_-][A-Za-z0-9_-]{{0,33}}+)?",
        *(rf"(?:{_either_case(word)})(?i:[_ -]?key)[0-9]{{0,2}}" for word in _KEY_WORDS),
        rf"(?:{_either_case('token')})[0-9]{{0,2}}",
        rf"(?:{_either_case('signature')}|s(?:(?<![A-Za-z0-9]s)|(?<=\\u0026s))ig)(?==(?!\[redacted:))",
        r"[pP](?:ass|w|ASS|W)(?![A-Za-z0-9_])",
    )
)
_JOIN: Final = r"(?:=>|:=|[:=])"
_heads: Final = re.compile(
    # what is redacted already is passed in one step
    rf"\[redacted:[a-z_]{{1,12}}\]|(?P<name>{_NAME})(?:"
    # a member of the document itself, "password": "value", or a string in plain text
    rf"""(?P<member>"\s{{0,8}}{_JOIN}\s{{0,8}}"|'?\s{{0,4}}{_JOIN}\s{{0,4}}"(?![\s,:}}\]]))"""
    # a member of a document in a string of the document, \"password\": \"value\"
    rf"""|(?P<nested>\\"\s{{0,8}}{_JOIN}\s{{0,8}}\\"|'?\s{{0,4}}{_JOIN}\s{{0,4}}\\")"""
    # a Python or shell string
    rf"""|(?P<single>(?:\\?["'])?\s{{0,4}}{_JOIN}\s{{0,4}}')"""
    # deeper nesting; its escapes are not distinguished, so a value ends at the first of them
    rf"""|(?P<deep>(?:\\{{2,31}}")?\s{{0,8}}{_JOIN}\s{{0,8}}\\{{2,31}}")"""
    # a number in the place of a string
    r"""|(?P<number>(?P<quote>\\?")\s{0,8}:\s{0,8})(?=-?[0-9])"""
    # password=value, password: value, password is value, <password>value</password>
    rf"""|(?P<plain>\s{{0,2}}(?:=>|:=|=)\s{{0,2}}|:\s{{0,4}}|\s(?:is|was):?\s|>(?=[^\s<>"'\\]{{1,256}}</))"""
    r")(?!\[redacted:)"
).finditer
_VALUES: Final = {
    "member": re.compile(r'(?:[^"\\]|\\.)++', re.DOTALL).match,
    "nested": re.compile(r'(?:[^"\\]|\\\\(?:\\\\|\\"|[^"\\])|\\[^"\\])++', re.DOTALL).match,
    "single": re.compile(r"""(?:[^'"\\]|\\.)++""", re.DOTALL).match,
    "deep": re.compile(r'[^"\\]++').match,
    "number": re.compile(r"-?[0-9][0-9.eE+-]*+").match,
    "plain": re.compile(r"""(?:[^\s"'\\&;<]|\\\\(?![\\"'])|\\(?![nrtbfu"'/\\]))++""").match,
}
_may_hold_head: Final = gate(
    r"(?i:passw(?:or)?d|passphrase|pwd|secret|credentials?|key|token|sig|signature|pass|pw)[A-Za-z0-9_-]{0,34}"
    r"""(?:[\\'"]{0,33}[ \t\r\n]{0,8}[:=]|[ \t]is|[ \t]was|>)"""
)


def without_named_values(text: str) -> str:
    """Return the text without the values behind names of secrets."""
    if not _may_hold_head(text):
        return text
    kept: list[str] = []
    end = 0
    for start, after, shown in _secrets(text):
        kept += (text[end:start], shown)
        end = after
    return "".join((*kept, text[end:])) if kept else text


def _secrets(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where a secret begins and ends, and what is shown for it."""
    end = 0
    for head in _heads(text):
        begun = head.start()
        if begun < end or not head["name"]:
            continue  # a part of the value before it, or what is redacted already
        start = head.end()
        value = _VALUES[head.lastgroup or "plain"]
        found = value(text, start, start + _PEEK_CHARS)
        if found is None:
            continue
        before = text[begun - _BEFORE_CHARS if begun > _BEFORE_CHARS else 0 : begun]
        if "\\" in before:
            before = before[before.rindex("\\") + 2 :]  # an escape is no part of a word
        named = Named(head["name"], before, head["plain"])
        after = found.end()
        if is_secret(named, found[0], text[after : after + _AFTER_CHARS]):
            if after > start + _PEEK_CHARS - _MAX_ESCAPE_CHARS and (found := value(text, start)):
                after = found.end()
            end = after
            quote = head["quote"] or ""
            yield start, after, f"{quote}[redacted:{named.kind}]{quote}"


def name_of_secret(name: str) -> Named | None:
    """Return what the name of a map's entry says of its value; None where it is no name of a secret."""
    member = f'"{name}":"'
    for head in _heads(member):
        if head["member"] and head.end() == len(member):
            return Named(head["name"], name[: head.start() - 1], None)
    return None


def is_secret_member(named: Named, value: str) -> bool:
    """Return whether the value of an entry with such a name is a secret."""
    return not value.startswith("[redacted:") and is_secret(named, value[:_PEEK_CHARS], "")
