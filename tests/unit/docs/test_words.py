"""Code, settings and documents speak the standard language; the words that stay are in the glossary."""

import re

import pytest

from tests.documents.words import ALLOWED_IN, files, private_words, words_in
from tests.support.paths import ROOT

GLOSSARY = (
    "record", "event", "step", "run", "thread", "row", "current row", "wire form", "dialect", "anomaly",
    "outcome", "reason", "ledger", "dead letter", "tombstone", "batch", "part", "owner", "writer", "turn",
    "in flight", "durable", "committable", "assignment", "revoked", "lost", "position", "committed offset", "lag",
    "watermark", "unstable", "paused", "halted", "rejected", "rejection limit", "insert token", "deduplication window",
    "ambiguous", "unclassified", "retry", "back-off", "probe", "insert size", "known-good row", "bisect", "superseded",
    "heartbeat", "stalled", "drain", "backfill", "counted step", "fingerprint", "finding", "scenario", "seed",
    "oracle", "mutant",
)  # fmt: skip


def test_no_private_word_is_left() -> None:
    found = private_words()
    assert not found, f"{len(found)} private words:\n" + "\n".join(map(str, found))


def test_every_exception_is_needed() -> None:
    assert [file for file, _ in ALLOWED_IN if not (ROOT / file).exists()] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("what is told of it", ["told"]),
        ("loss_not_told", ["told"]),
        ("class GuiltyRow:", ["Guilty"]),
        ("PATIENCE_S = 3", ["PATIENCE"]),
        ("_OURS = 1", ["OURS"]),
        ("hours, yours, four, course", []),
        ("the letter is sent", ["letter"]),
        ("a dead letter, dead_letters, DeadLetter, dead-letter record", []),
        ("it is a dead\nletter", []),
        ("letters, digits and _", []),
        ("release, please, amend, recommend, secure", []),
        ("it is made again", ["made again"]),
    ],
)
def test_what_counts_as_a_private_word(text: str, words: list[str]) -> None:
    assert [found.word for found in words_in(text, "page.md")] == words


def test_what_is_looked_at() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in files()}
    assert {"README.md", "pipeline/cli.py", "schemas/row.py", "deploy/prometheus/runstep.rules.yml"} <= names
    assert not any(name.startswith("schemas/clickhouse") for name in names)


def test_the_glossary_has_every_word() -> None:
    text = (ROOT / "pipeline" / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Glossary")[2].partition("\n## ")[0]
    explained = {word for cell in re.findall(r"^\| ([^|]+) \| ", table, re.MULTILINE) for word in cell.split(", ")}
    assert set(GLOSSARY) - explained == set()
    assert explained - set(GLOSSARY) == {"word"}
