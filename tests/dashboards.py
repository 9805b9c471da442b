"""The committed dashboards as the tests read them: their panels and targets, with Grafana's variables filled in.

Grafana itself does not run in the suite, so the few macros and variable formats that the dashboards use are expanded
here as Grafana 13 and its ClickHouse plugin 4.20 do; one that is not known here is an error, never left as it is.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
FOLDER: Final = ROOT / "deploy" / "grafana" / "dashboards"
FILES: Final = tuple(sorted(FOLDER.glob("*.json")))
ALL: Final[Mapping[str, str]] = {"job": ".*", "instance": ".*", "topic": ".*", "type": ".*"}


class Target(NamedTuple):
    """A query of a panel, an annotation or a variable."""

    where: str
    text: str

    def __str__(self) -> str:
        return self.where


class Range(NamedTuple):
    """A dashboard's time range, in epoch seconds."""

    start: float
    end: float


HOUR: Final = Range(0, 3600)


def load(path: Path) -> dict[str, Any]:
    """Return a dashboard's JSON."""
    board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return board


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels that show something, also those in collapsed rows."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def promql_targets() -> list[Target]:
    """Return every PromQL expression of every dashboard, those of annotations too."""
    return [target for path in FILES for target in _expressions(path.stem, load(path))]


def sql_targets() -> list[Target]:
    """Return every SQL statement of every dashboard."""
    return [
        Target(f"{path.stem} / {panel['title']} / {target['refId']}", target["rawSql"])
        for path in FILES
        for panel in panels(load(path))
        for target in panel["targets"]
        if "rawSql" in target
    ]


def expand_promql(expr: str, span: Range = HOUR, **chosen: str) -> str:
    """Return the expression as Prometheus gets it, with every variable on All but for the `chosen` ones."""
    values = {**ALL, "__rate_interval": "1m", "__range": f"{max(1, int(span.end - span.start))}s", **chosen}

    def value(match: re.Match[str]) -> str:
        name = match["plain"] or match["braced"]
        if name not in values:
            raise LookupError(f"{match[0]} is not known to this expander")
        return values[name]

    return re.sub(r"\$(?:\{(?P<braced>\w+)\}|(?P<plain>\w+))", value, expr)


def expand_sql(sql: str, span: Range, chosen: Mapping[str, list[str]] | None = None) -> str:
    """Return the statement as ClickHouse gets it; what is not `chosen` is on All, or an empty text box."""
    values = dict(chosen or {})
    start, end = (f"toDateTime({int(second)})" for second in span)
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= {start} AND \1 <= {end}", sql)
    sql = re.sub(
        r"\$__conditionalAll\((.+), \$(\w+)\)",
        lambda match: match[1] if match[2] in values else "1=1",
        sql,
    )
    sql = re.sub(r"\$\{(\w+):singlequote\}", lambda match: _quoted(values.get(match[1], [""])), sql)
    if "$" in sql:
        raise LookupError(f"this expander does not know a part of: {sql}")
    return sql


def _expressions(name: str, board: Mapping[str, Any]) -> Iterator[Target]:
    for panel in panels(board):
        for target in panel["targets"]:
            if "expr" in target:
                yield Target(f"{name} / {panel['title']} / {target['refId']}", target["expr"])
    for annotation in board["annotations"]["list"]:
        if "expr" in annotation:
            yield Target(f"{name} / {annotation['name']}", annotation["expr"])


def _quoted(texts: list[str]) -> str:
    return ",".join("'" + text.replace("'", "\\'") + "'" for text in texts)
