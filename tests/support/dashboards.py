"""The committed dashboards as the tests read them: panels, targets and links, with Grafana's variables filled in.

Grafana itself does not run in the suite, so macros and variables are expanded as Grafana 13 and its ClickHouse plugin
4.20 do (`grafana_formats`); one that is not known there is an error, never left as it is.
"""

import json
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.support.grafana_formats import Value, filled_in, with_macros, without_all
from tests.support.paths import ROOT

FOLDER: Final = ROOT / "deploy" / "grafana" / "dashboards"
FILES: Final = tuple(sorted(FOLDER.glob("*.json")))
ALL: Final[Mapping[str, str]] = {"job": ".*", "instance": ".*", "topic": ".*", "type": ".*", "objective": "0.99"}


class Target(NamedTuple):
    """A query of a panel, an annotation or a variable; `instant` is one of a single moment."""

    where: str
    text: str
    instant: bool = False

    def __str__(self) -> str:
        return self.where


class Link(NamedTuple):
    """A data link: its board, panel and column, and its URL."""

    board: str
    panel: str
    column: str
    url: str

    def __str__(self) -> str:
        return f"{self.board} / {self.panel} / {self.column}"

    @property
    def target(self) -> str:
        """The uid of the target board."""
        return urllib.parse.urlsplit(self.url).path.removeprefix("/d/")

    @property
    def parts(self) -> list[str]:
        """The parts of its query string."""
        return urllib.parse.urlsplit(self.url).query.split("&")


class Range(NamedTuple):
    """A dashboard's time range, in epoch seconds."""

    start: float
    end: float


HOUR: Final = Range(0, 3600)


def load(path: Path) -> dict[str, Any]:
    """Return a dashboard's JSON."""
    board: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return board


def boards() -> dict[str, dict[str, Any]]:
    """Return every dashboard by its uid."""
    return {board["uid"]: board for board in map(load, FILES)}


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the panels that show something, also those in collapsed rows."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def variables(board: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a dashboard's variables by name."""
    return {variable["name"]: variable for variable in board["templating"]["list"]}


@cache
def promql_targets() -> list[Target]:
    """Return every PromQL expression of every dashboard, those of annotations too."""
    return [target for path in FILES for target in _expressions(path.stem, load(path))]


@cache
def sql_targets() -> list[Target]:
    """Return every SQL statement of every dashboard, those of variables too."""
    return [target for path in FILES for target in _statements(path.stem, load(path))]


@cache
def links() -> list[Link]:
    """Return every data link of every dashboard."""
    return [
        Link(board["uid"], panel["title"], override["matcher"]["options"], link["url"])
        for board in boards().values()
        for panel in panels(board)
        for override in panel["fieldConfig"]["overrides"]
        for value in override["properties"]
        if value["id"] == "links"
        for link in value["value"]
    ]


def statement(title: str) -> str:
    """Return the SQL of the panel with this title."""
    return next(target.text for target in sql_targets() if f" / {title} / " in target.where)


def expression(title: str) -> str:
    """Return the PromQL of the panel with this title, of its first target."""
    return next(target.text for target in promql_targets() if f" / {title} / " in target.where)


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
    """Return the statement as ClickHouse gets it; a variable that is not `chosen` is on All, or an empty text box."""
    texts = text_boxes()
    values: dict[str, Value] = dict.fromkeys(texts, "")
    values |= {name: chosen[name][0] if name in texts else chosen[name] for name in chosen or {} if chosen}
    sql = re.sub(r"\$__adHocFilters\('(\w+)'\)", rf"additional_table_filters={_conditions(chosen or {})}", sql)
    sql = without_all(sql, values)
    sql = filled_in(sql, lambda name: None if name.startswith("__") else values[name])
    sql = with_macros(sql, *map(int, span))
    if "$" in sql:
        raise LookupError(f"this expander does not know a part of: {sql}")
    return sql


@cache
def text_boxes() -> frozenset[str]:
    """Return the names of the variables that are one text; all others of a statement are lists."""
    found = [variable for board in boards().values() for variable in variables(board).values()]
    return frozenset(variable["name"] for variable in found if variable["type"] == "textbox")


def follow(link: Link, value: Callable[[str], str]) -> dict[str, list[str]]:
    """Return the variables that a click sets on the target board; `value` gives the value of a `${…}` without format.

    Time range and shared variables, which the link keeps, are left out. The URL is read as a browser does.
    """
    own = "&".join(part for part in link.parts if part.startswith("var-"))
    url = filled_in(f"/d/{link.target}?{own}", value)
    read = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query, keep_blank_values=True)
    return {name.removeprefix("var-"): texts for name, texts in read.items()}


def _expressions(name: str, board: Mapping[str, Any]) -> Iterator[Target]:
    for panel in panels(board):
        for target in panel["targets"]:
            if "expr" in target:
                yield Target(
                    f"{name} / {panel['title']} / {target['refId']}", target["expr"], bool(target.get("instant"))
                )
    for annotation in board["annotations"].get("list", []):
        if "expr" in annotation:
            yield Target(f"{name} / {annotation['name']}", annotation["expr"])


def _statements(name: str, board: Mapping[str, Any]) -> Iterator[Target]:
    for panel in panels(board):
        for target in panel["targets"]:
            if "rawSql" in target:
                yield Target(f"{name} / {panel['title']} / {target['refId']}", target["rawSql"])
    for variable in variables(board).values():
        if isinstance(variable.get("query"), dict) and "rawSql" in variable["query"]:
            yield Target(f"{name} / choice {variable['name']}", variable["query"]["rawSql"])


def _conditions(values: Mapping[str, list[str]]) -> str:
    """Return the plugin's text for the ad hoc filters, each given as `column|operator|value`."""
    texts = []
    for column, operator, value in (condition.split("|") for condition in values.get("filters", [])):
        texts.append(f" {column} {operator} \\\\'{value}\\\\' ")
    return "{'\\1': '" + "AND".join(texts) + "'}" if texts else "{}"
