"""Every line of the log has a stable key, to search for and to alert on, and a sentence that says what it means."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline

PACKAGE = Path(pipeline.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
KEY = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def log_calls(path: Path) -> Iterator[tuple[ast.Call, str, dict[str, list[ast.expr]]]]:
    """Yield each call of `log`, its level, and what its function assigns to each name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    seen = set()
    for scope in (*reversed(functions), tree):
        assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                assigned.setdefault(node.targets[0].id, []).append(node.value)
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and node not in seen and isinstance(node.func, ast.Attribute):
                owner, level = ast.unparse(node.func.value), node.func.attr
                if owner == "log" and level in LEVELS:
                    seen.add(node)
                    yield node, level, assigned


def text(expression: ast.expr | None) -> str | None:
    """Return a literal text."""
    match expression:
        case ast.Constant(value=str(literal)):
            return literal
    return None


CALLS = [(path, *call) for path in sorted(PACKAGE.rglob("*.py")) for call in log_calls(path)]
NAMES = [f"{path.relative_to(PACKAGE)}:{call.lineno}" for path, call, *_ in CALLS]


def test_the_calls_are_found() -> None:
    assert {path.parent.name for path, *_ in CALLS} >= {"daemon", "source", "workers", "endpoints", "commands"}


@pytest.mark.parametrize(("call", "level", "assigned"), [call for _, *call in CALLS], ids=NAMES)
def test_each_line_has_a_key_and_above_debug_a_sentence(
    call: ast.Call, level: str, assigned: dict[str, list[ast.expr]]
) -> None:
    (event,) = call.args
    assert KEY.fullmatch(text(event) or ""), "the event is a literal key in snake_case"
    message = next((keyword.value for keyword in call.keywords if keyword.arg == "message"), None)
    if message is None:
        assert level == "debug", "above debug, a line has a message"
        return
    literals = assigned.get(message.id, []) if isinstance(message, ast.Name) else [message]
    sentences = [text(literal) or "" for literal in literals]
    assert sentences, "the message is known"
    assert all(" " in sentence for sentence in sentences), "the message is a literal sentence"
