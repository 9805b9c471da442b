"""The private words: what they are, what to write instead, where they are allowed, and where they stand."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.documents.pages import PAGES, name
from tests.support.paths import ROOT

PRIVATE: Final = {
    r"(?:un)?told": "reported, named, printed, distinguished",
    r"nobody": "no process, no reader, unknown",
    r"mend(?:s|ed|ing)?": "fix",
    r"cur(?:e|es|ed|ing)": "fix",
    r"ours": "this member's, the daemon's, own",
    r"made again": "recreated",
    r"in good order": "cleanly",
    r"guilt(?:y|less)?": "rejected, at fault",
    r"swallow(?:s|ed|ing)?": "accept",
    r"chok(?:e|es|ed|ing)": "reject as too large",
    r"letters?": "dead letter",
    r"leas(?:e|es|ed|ing)": "assignment",
    r"stirred": "last_heartbeat",
    r"appetite": "insert size",
    r"bear(?:ing|able)": "rejection limit",
    r"patience": "..._TIMEOUT_S, ..._TIMEOUT_MS",
    r"gets? on": "makes progress",
    r"moves? again": "recovered",
    r"the README(?:'s)?": "the page that it moved to: deploy/settings.md, schemas/README.md, ...",
}
"""Words, as patterns without regard to case, and the standard terms."""

ALLOWED: Final = {
    r"\bdead[- ]letters?\b": "the standard term",
    r"\bdlq letters\b": "the standard term",
    r"\"letters\"": "a key of `runstep dlq list --json`: an interface",
    r"\b(?:small|capital|lower-case|upper-case) letters\b": "of the alphabet",
    r"\bletters,? (?:and |or )?(?:digits|_|-)": "of the alphabet",
    r"\b(?:of|two|three|four|five|single) letters\b": "of the alphabet",
    r"\b(?:first|last|each|same|one) letter\b": "of the alphabet",
    r"release[sd]?": "no lease",
}
"""What is cut out of a line before words are looked for, and why."""

ALLOWED_IN: Final = {
    ("pipeline/commands/_findings.py", "cure"): "a key of `--json` that programs read",
    ("pipeline/normalize/error_fingerprints.py", "letter"): "of the alphabet",
    ("pipeline/normalize/timestamps.py", "letters"): "of the alphabet",
    ("pipeline/redaction/requests.py", "letters"): "of the alphabet",
    ("CHANGELOG.md", "in good order"): "quotes a log line of an earlier version",
    ("CHANGELOG.md", "made again"): "quotes a log line of an earlier version",
    ("CHANGELOG.md", "moves again"): "quotes a log line of an earlier version",
    ("CHANGELOG.md", "told"): "quotes a log line of an earlier version",
    ("CHANGELOG.md", "the README"): "names the file itself",
    ("tests/README.md", "the README"): "names the file itself",
    (".github/CONTRIBUTING.md", "the README"): "names the file itself",
}
"""Words on pages where they are right, and why."""

SUFFIXES: Final = {".py", ".sql", ".md", ".yml", ".yaml", ".json", ".xml", ".sh", ".service", ".html", ".js", ".env"}
TREES: Final = ("pipeline", "schemas", "deploy")
SHIPPED: Final = ROOT / "schemas" / "clickhouse"
"""Migrations never change, not even in their comments."""

_PRIVATE: Final = re.compile("|".join(rf"\b(?:{word})\b" for word in PRIVATE), re.IGNORECASE)
_ALLOWED: Final = re.compile("|".join(ALLOWED), re.IGNORECASE)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Found(NamedTuple):
    """A private word: where it stands, and what to write instead."""

    file: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.word} -> {self.instead}"


def files() -> list[Path]:
    """Return everything whose words a reader of code, settings or documents meets."""
    found = {path for tree in TREES for path in (ROOT / tree).rglob("*") if path.suffix in SUFFIXES}
    kept = {path for path in found if "node_modules" not in path.parts and SHIPPED not in path.parents}
    lock = {path for path in kept if path.name == "package-lock.json"}
    return sorted((kept - lock) | set(PAGES) | {ROOT / "docker-compose.yml", ROOT / "Makefile"})


def words_in(text: str, file: str) -> Iterator[Found]:
    """Yield the private words of a text: identifiers are taken apart at `_` and at capitals."""
    before = ""
    for number, line in enumerate(text.splitlines(), 1):
        plain = _HUMP.sub(" ", line).replace("_", " ")
        # A term that is broken by the end of a line.
        joined = re.sub(r"^\W*letters?\b", "", plain) if re.search(r"\bdead\W*$", before, re.IGNORECASE) else plain
        for match in _PRIVATE.finditer(_ALLOWED.sub(" ", joined)):
            if (file, match[0]) not in ALLOWED_IN:
                yield Found(file, number, match[0], _instead(match[0]))
        before = plain


def _instead(word: str) -> str:
    return next(said for pattern, said in PRIVATE.items() if re.fullmatch(pattern, word, re.IGNORECASE))


def private_words() -> list[Found]:
    """Return every private word, file by file."""
    return [found for path in files() for found in words_in(path.read_text(encoding="utf-8"), name(path))]
