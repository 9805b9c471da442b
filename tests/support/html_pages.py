"""A report page, read back as a browser would: tables, figures at the top, drawings, scripts, and what it asks for."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any


class ReadPage(HTMLParser):
    """What a page says.

    Attributes:
        tables: id to rows of cells, the headings first.
        tiles: key to value and note.
        drawings: key to data and layout, as plotly.js gets them.
        scripts: what runs.
        policy: the directives of the Content-Security-Policy.
        references: what attributes name that a browser follows.
        handlers: attributes that hold script.
        elements: how many there are of each name.
        text: all that is shown.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.tiles: dict[str, list[str]] = {}
        self.drawings: dict[str, Any] = {}
        self.scripts: list[str] = []
        self.policy: dict[str, str] = {}
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.elements: dict[str, int] = {}
        self.text = ""
        self._table = ""
        self._tile = ""
        self._sink: list[str] | None = None
        self._script: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements[tag] = self.elements.get(tag, 0) + 1
        self.handlers += [name for name in given if name.startswith("on")]
        self.references += [given[name] for name in ("src", "href", "action", "srcset", "data") if name in given]
        if given.get("http-equiv") == "Content-Security-Policy":
            parts = [part.split() for part in given["content"].split(";")]
            self.policy = {part[0]: " ".join(part[1:]) for part in parts}
        if tag == "script":
            self._script = given.get("type", "")
        if tag == "table":
            self._table = given["id"]
            self.tables[self._table] = []
        if tag == "tr":
            self.tables[self._table].append([])
        if tag in {"td", "th"}:
            self._sink = self.tables[self._table][-1]
            self._sink.append("")
        if given.get("id", "").startswith("tile-"):
            self._tile = given["id"].removeprefix("tile-")
            self.tiles[self._tile] = []
        if tag == "dd":
            self._sink = self.tiles[self._tile]
            self._sink.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th", "dd"}:
            self._sink = None
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script == "application/json":
            self.drawings = json.loads(data)
        elif self._script is not None:
            self.scripts.append(data)
        else:
            self.text += data
        if self._sink is not None:
            self._sink[-1] += data

    def rows(self, table: str) -> list[dict[str, str]]:
        """Return the rows of a table by heading."""
        headings, *rows = self.tables[f"table-{table}"]
        return [dict(zip(headings, row, strict=True)) for row in rows]

    def series(self, figure: str) -> dict[str, dict[str, float]]:
        """Return the drawn numbers: name of the series, then time, then value; without holes and zeros."""
        return {
            trace["name"]: {x: y for x, y in zip(trace["x"], trace["y"], strict=True) if y}
            for trace in self.drawings[figure]["data"]
        }

    def runs_only_what_it_names(self) -> bool:
        """Return whether each script is one that the policy allows by its hash, and the policy allows nothing else."""
        hashes = {f"'sha256-{_hash(script)}'" for script in self.scripts} or {"'none'"}
        return set(self.policy["script-src"].split()) == hashes and self.policy["default-src"] == "'none'"


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def foreign(page: ReadPage) -> list[str]:
    """Return the references that lead out of the page."""
    return [reference for reference in page.references if not re.fullmatch(r"#[\w-]*", reference)]
