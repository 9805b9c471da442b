"""No sentence of the product loses its cause on its way through the log, and no secret in its place comes through."""

import ast
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import pipeline
from pipeline.config import LogSettings
from pipeline.logs import clean, configure

PACKAGE = Path(pipeline.__file__).parent
VALUES = ("http://clickhouse.example:8123", "https://[::1]:8443", "broker-1:9092", "run-steps/0", "'steps'", "1,490")
"""What stands in the places of a sentence."""


def own_texts(path: Path) -> Iterator[tuple[int, ast.Constant | ast.JoinedStr]]:
    """Yield the texts of a module, each with its line, but for docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    formatted = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inner = {part for node in formatted for part in ast.walk(node) if part is not node}
    for node in ast.walk(tree):
        if node in docstrings or node in inner:
            continue
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            yield node.lineno, node


def filled(node: ast.Constant | ast.JoinedStr, value: str) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(str(part.value) if isinstance(part, ast.Constant) else value for part in node.values)


SENTENCES = {
    f"{path.relative_to(PACKAGE)}:{line}": node
    for path in sorted(PACKAGE.rglob("*.py"))
    for line, node in own_texts(path)
    if " " in filled(node, "").strip() and "\n" not in filled(node, "")
}


def test_the_sentences_are_found() -> None:
    texts = {filled(node, "_") for node in SENTENCES.values()}
    assert len(texts) > 1_000
    assert {"cannot connect to _: _", "the partition is not read on; the others are"} <= texts


@pytest.mark.parametrize("value", VALUES)
def test_every_sentence_of_the_product_comes_through_the_log_whole(value: str) -> None:
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream=stream)
    log = structlog.get_logger("pipeline.x")
    sentences = {where: filled(node, value) for where, node in SENTENCES.items()}
    for sentence in sentences.values():
        log.warning("said", message=sentence, cause=sentence, causes=[sentence])
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    changed = {
        where: line["cause"]
        for (where, sentence), line in zip(sentences.items(), lines, strict=True)
        if (line["message"], line["cause"], line["causes"]) != (sentence, sentence, [sentence])
    }
    assert changed == {}


@pytest.mark.parametrize(
    "sentence",
    [
        "/run/secrets/clickhouse__password: cannot be read: it is not UTF-8 text",
        "/run/secrets/kafka__sasl_password: kafka.sasl_password must be text, in quotes",
        "RUNSTEP_KAFKA__SASL_PASSWORD: is given twice",
        "/run/secrets/clickhouse__password: must not begin or end with a blank: remove it, or give a value",
        "RUNSTEP_CLICKHOUSE__PASSWORD_FILE: /run/secrets/password must not begin or end with a blank",
        "runstep.toml: clickhouse.url would receive clickhouse.password, which RUNSTEP_CLICKHOUSE__PASSWORD gives; a x",
        "clickhouse.password_file: /run/secrets/password cannot be read: Permission denied",
        "kafka.ssl_key_password: unknown setting, did you mean kafka.ssl_key_file?",
        "the connection to http://clickhouse:8123 broke: RemoteDisconnected",
        "cannot connect to https://ch.example.com:8443/path: connection refused; mail ops",
        "http://a:8123 and http://b:8123: connection refused",
        "use http[s]://<user>:<password>@<host>:<port>",
    ],
)
def test_names_of_settings_paths_and_ports_stay(sentence: str) -> None:
    assert clean(sentence) == sentence


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        (
            "cannot connect to http://u:hunter2@h:8123: refused",
            "cannot connect to http://u:[redacted:password]@h:8123: refused",
        ),
        ("TLS with https://u:hun/ter2@h:8123 fails: x", "TLS with https://u:[redacted:password]@h:8123 fails: x"),
        (
            "at http://u:hun@ter2@h:8123 or http://v:hunter2@i: x",
            "at http://u:[redacted:password]@h:8123 or http://v:[redacted:password]@i: x",
        ),
        (
            "GET http://h:8123/?user=a&password=hunter2 failed",
            "GET http://h:8123/?user=a&password=[redacted:password] failed",
        ),
        ("kafka.sasl_password: hunter2 is refused", "kafka.sasl_password: [redacted:password] is refused"),
        (
            "RUNSTEP_KAFKA__SASL_PASSWORD=hunter2 is refused",
            "RUNSTEP_KAFKA__SASL_PASSWORD=[redacted:password] is refused",
        ),
        ("http://u:hunter2", "http://u:********"),
    ],
)
def test_secrets_in_the_same_places_do_not(sentence: str, shown: str) -> None:
    assert clean(sentence) == shown
