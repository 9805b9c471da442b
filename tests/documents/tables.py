"""Tables that repeat the code: metrics, exit codes, reasons, anomalies, columns, folders, reports."""

import ast
import re
import tomllib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from pipeline.commands import _exit_codes
from pipeline.metrics.catalogue import SPECS
from pipeline.records import IGNORED_REASONS, Reason
from schemas.row import COLUMN_MEANINGS, INGEST_COLUMNS, LEDGER_COLUMNS, STEP_COLUMNS
from schemas.vocabulary import ANOMALY_MEANINGS, ERROR_CATEGORIES, RETRYABLE
from tests.support.paths import ROOT

PIPELINE: Final = ROOT / "pipeline"
DAEMON_FOLDERS: Final = ("daemon", "workers", "normalize", "kafka", "clickhouse", "metrics", "endpoints", "config")
"""Those whose files are listed one by one: what `runstep run` loads."""

REASON_MEANINGS: Final = {
    Reason.UNREADABLE: "Kafka holds the record, but its bytes are damaged; the dead letter has only its place",
    Reason.NOT_UTF8: "the value is not UTF-8",
    Reason.INVALID_JSON: "the value is not JSON",
    Reason.TOO_DEEP: "the JSON is nested too deeply to be read",
    Reason.TOO_LARGE: "the value is larger than `normalize.max_event_bytes`, or key and headers than 1 MiB beside "
    "it, or there are more than 10,000 headers",
    Reason.TOO_COMPLEX: "the value is made of more JSON nodes or lines than `normalize.max_event_nodes`",
    Reason.NOT_AN_OBJECT: "the value is JSON, but neither an object nor a list of objects",
    Reason.TOO_MANY_STEPS: "one record holds more than 1,000 steps",
    Reason.MISSING_STEP_ID: "`id` is absent, empty, not a string, or longer than 512 characters",
    Reason.MISSING_RUN_ID: "the same for `run_id`",
    Reason.MISSING_CREATED_AT: "`created_at` is absent or not set",
    Reason.UNREADABLE_CREATED_AT: "`created_at` is not a time from 1970 to 2299",
    Reason.REFUSED_BY_SINK: "ClickHouse rejects this row, while it accepts others",
    Reason.TOMBSTONE: "the record has no value",
    Reason.EMPTY_VALUE: "the value is empty or blank",
    Reason.EMPTY_LIST: "a list without steps",
    Reason.DELTA: "a fragment of a stream (`thread.run.step.delta`)",
    Reason.NOT_A_RUN_STEP: "a run, a message, a thread or another known object",
    Reason.STREAM_CONTROL: "`done`, `error`, `ping` and other events that frame a stream",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a `|` in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def code(words: Iterable[str]) -> str:
    """Return the words in backticks."""
    return ", ".join(f"`{word}`" for word in words)


def metrics() -> str:
    """Return every metric: name, type, labels, the question it answers."""
    rows = ((f"`{spec.name}`", spec.kind, code(spec.labels), spec.help.rstrip(".")) for spec in SPECS)
    return table(("metric", "type", "labels", "the question it answers"), rows)


def labels() -> str:
    """Return the values of every label that has a closed vocabulary."""
    values: dict[tuple[str, ...], list[str]] = {}
    for spec in SPECS:
        for label, vocabulary in spec.labels.items():
            if vocabulary is not None:
                same = values.setdefault((label, *vocabulary), [])
                same.append(spec.name)
    rows = ((f"`{key[0]}`", code(names), code(filter(None, key[1:]))) for key, names in sorted(values.items()))
    return table(("label", "of", "values"), rows)


def exit_codes() -> str:
    """Return the exit codes of all commands, from the constants and the docstrings behind them."""
    body = ast.parse((PIPELINE / "commands" / "_exit_codes.py").read_text(encoding="utf-8")).body
    rows = [
        (str(vars(_exit_codes)[constant.target.id]), " ".join(str(ast.literal_eval(said.value)).split()).rstrip("."))
        for constant, said in pairwise(body)
        if isinstance(constant, ast.AnnAssign) and isinstance(constant.target, ast.Name) and isinstance(said, ast.Expr)
    ]
    return table(("code", "meaning"), rows)


def reasons() -> str:
    """Return why a record is not stored, and what becomes of it."""
    rows = (
        ("ignored" if reason in IGNORED_REASONS else "dead-lettered", f"`{reason}`", REASON_MEANINGS[reason])
        for reason in Reason
    )
    return table(("outcome", "reason", "when"), rows)


def anomalies() -> str:
    """Return the anomalies and what each says."""
    return table(("anomaly", "meaning"), ((f"`{name}`", meaning) for name, meaning in ANOMALY_MEANINGS.items()))


def error_categories() -> str:
    """Return the categories of errors, and whether a retry can help."""
    words = {True: "yes", False: "no", None: "not known (NULL)"}
    rows = ((f"`{name}`", words[RETRYABLE.get(name)]) for name in ERROR_CATEGORIES)
    return table(("`error_category`", "`error_retryable`"), rows)


def columns() -> str:
    """Return every column: type, which table has it, what it holds."""
    rows = (
        (
            f"`{column.name}`",
            column.type,
            "yes" if column.name in STEP_COLUMNS else "",
            "yes" if column.name in LEDGER_COLUMNS else "",
            COLUMN_MEANINGS[column.name],
        )
        for column in INGEST_COLUMNS
    )
    return table(("column", "type", "steps", "ledger", "what it holds"), rows)


def reports_by_group() -> str:
    """Return the names of all reports, a line each group."""
    files = sorted((PIPELINE / "tools" / "queries").glob("*.sql"))
    groups: dict[str, list[str]] = {}
    for path in files:
        group = path.read_text(encoding="utf-8").partition("-- Group: ")[2].partition("\n")[0]
        groups.setdefault(group, []).append(path.stem)
    return table(("group", "reports"), ((group, code(names)) for group, names in sorted(groups.items())))


def layers() -> list[list[str]]:
    """Return the order of imports, from the top: a layer may import what stands below it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    order = next(one["layers"] for one in contracts if one["type"] == "layers")
    return [re.split(r" [|:] ", layer) for layer in order]


def owns(module: Path) -> str:
    """Return the first sentence of a module's docstring, on one line."""
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def _entry(name: str) -> tuple[str, str]:
    folder = PIPELINE / name
    shown, module = (
        (f"`{name}/`", folder / "__init__.py") if folder.is_dir() else (f"`{name}.py`", PIPELINE / f"{name}.py")
    )
    return shown, owns(module)


def folders() -> str:
    """Return the entries of `pipeline/` in the order of imports."""
    placed = [(str(number), name) for number, layer in enumerate(layers(), 1) for name in layer]
    rows = [(number, *_entry(name.removeprefix("pipeline."))) for number, name in placed if name != "schemas"]
    return table(("layer", "`pipeline/`", "what it owns"), rows)


def tools() -> str:
    """Return what is in `pipeline/tools/`."""
    found = sorted(path for path in (PIPELINE / "tools").iterdir() if not path.name.startswith("_"))
    rows = [
        (f"`{path.name}{'/' if path.is_dir() else ''}`", owns(path / "__init__.py" if path.is_dir() else path))
        for path in found
        if path.is_dir() or path.suffix == ".py"
    ]
    return table(("`pipeline/tools/`", "what it owns"), rows)


def daemon_files() -> str:
    """Return every file that `runstep run` loads, a table for each folder."""
    parts = []
    for folder in DAEMON_FOLDERS:
        modules = sorted((PIPELINE / folder).rglob("*.py"))
        named = [(path.relative_to(PIPELINE).as_posix(), path) for path in modules if path.name[0] != "_"]
        parts.append(table((f"`{folder}/`", "what it owns"), ((f"`{name}`", owns(path)) for name, path in named)))
    return "\n\n".join(parts)
