"""The lines of the log: every call of `log` in the package, its key, its level and its sentence, read from the code."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.documents.tables import PIPELINE, table

LEVELS: Final = ("debug", "info", "warning", "error", "exception", "critical")


class LogCall(NamedTuple):
    """A call of `log`.

    Attributes:
        place: file and line.
        key: the event, None where it is no literal text.
        sentences: what the message may be, '' for one that is no literal text; None without a message.
    """

    place: str
    key: str | None
    level: str
    sentences: list[str] | None


def log_calls() -> Iterator[LogCall]:
    """Yield each call of `log` in the package."""
    for path in sorted(PIPELINE.rglob("*.py")):
        yield from _calls_in(path)


def _calls_in(path: Path) -> Iterator[LogCall]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    seen: set[ast.Call] = set()
    for scope in (*reversed(functions), tree):
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node not in seen:
                owner, level = ast.unparse(node.func.value), node.func.attr
                if owner == "log" and level in LEVELS:
                    seen.add(node)
                    place = f"{path.relative_to(PIPELINE)}:{node.lineno}"
                    yield LogCall(place, _text(node.args[0]), level, _sentences(node, scope))


def _sentences(call: ast.Call, scope: ast.AST) -> list[str] | None:
    """Return the message's literal texts: a name stands for what was assigned to it last before the call."""
    message = next((keyword.value for keyword in call.keywords if keyword.arg == "message"), None)
    if not isinstance(message, ast.Name):
        return None if message is None else [_text(message) or ""]
    assigned = [
        node
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == message.id and node.lineno < call.lineno
    ]
    return [_text(node.value) or "" for node in sorted(assigned, key=lambda node: node.lineno)[-1:]]


def _text(expression: ast.expr) -> str | None:
    match expression:
        case ast.Constant(value=str(literal)):
            return literal
    return None


def log_table() -> str:
    """Return every key that is logged at level info or above, with its level and sentences."""
    found: dict[str, tuple[set[str], list[str]]] = {}
    for call in log_calls():
        if call.level != "debug":
            levels, sentences = found.setdefault(call.key or "", (set(), []))
            levels.add("error" if call.level == "exception" else call.level)
            sentences += [sentence for sentence in call.sentences or () if sentence not in sentences]
    rows = (
        (f"`{key}`", ", ".join(sorted(levels)), "; or: ".join(said)) for key, (levels, said) in sorted(found.items())
    )
    return table(("`event`", "level", "`message`"), rows)
