"""The rules as data, and the file that Prometheus loads: with comments, and the same text for the same rules.

Owns the YAML. It is written by hand, since a library would drop the comments; the tests read it with a library.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["page", "ticket"]

_WIDTH: Final = 120
JOB: Final = "JOB"
"""Placeholder for the daemons' job: its matcher in expressions, its name in labels."""


@dataclass(frozen=True)
class Record:
    """A recording rule."""

    name: str
    expr: str
    why: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Alert:
    """An alert.

    Attributes:
        name: in CamelCase; its page among the runbooks has the same.
        expr: fires for each series that it gives.
        severity: `page` needs action now, `ticket` on the next working day.
        summary: one line, a template.
        description: what happened and what is not at risk, a template.
        why: a comment on what is surprising in the expression.
        wait: `for`: how long the expression must hold before the alert fires.
        linger: `keep_firing_for`: how long the alert continues after that.
        team: who can act: `pipeline` runs the daemons, `agents` owns the agents.
        labels: further labels, which the expression does not have.
    """

    name: str
    expr: str
    severity: Severity
    summary: str
    description: str
    why: str = ""
    wait: str = ""
    linger: str = ""
    team: Literal["pipeline", "agents"] = "pipeline"
    labels: Mapping[str, str] = field(default_factory=dict)


Rule: TypeAlias = Record | Alert


class Group(NamedTuple):
    """Rules that are evaluated one after the other; without an interval, at that of Prometheus."""

    name: str
    rules: Sequence[Rule]
    interval: str = ""


class Places(NamedTuple):
    """The names and addresses in the rules.

    Attributes:
        job: the job that Prometheus scrapes the daemons as.
        runbooks: path or URL of the folder with a page for each alert.
        grafana: URL of the Grafana; empty: annotations have the dashboards' paths only.
    """

    job: str
    runbooks: str
    grafana: str


def written(groups: Sequence[Group], places: Places, head: str) -> str:
    """Return the file; `head` is its comment."""
    lines = [*_comment(head, 0), "groups:"]
    for number, group in enumerate(groups):
        interval = [f"    interval: {group.interval}"] if group.interval else []
        lines += [""] * bool(number) + [f"  - name: {group.name}", *interval, "    rules:"]
        for rule in group.rules:
            lines += _comment(rule.why, 6)
            lines += _record(rule, places) if isinstance(rule, Record) else _alert(rule, places)
    return "\n".join(lines) + "\n"


def _record(rule: Record, places: Places) -> Iterator[str]:
    yield f"      - record: {rule.name}"
    yield from _expression(rule.expr, places)
    yield from _labels(rule.labels, places)


def _alert(rule: Alert, places: Places) -> Iterator[str]:
    board = "runstep-ingest" if rule.team == "pipeline" else "runstep-overview"
    yield f"      - alert: {rule.name}"
    yield from _expression(rule.expr, places)
    if rule.wait:
        yield f"        for: {rule.wait}"
    if rule.linger:
        yield f"        keep_firing_for: {rule.linger}"
    yield from _labels({"severity": rule.severity, "team": rule.team, **rule.labels}, places)
    yield from _mapping("annotations", {"summary": rule.summary})
    yield "          description: >-"
    yield from textwrap.wrap(
        rule.description,
        _WIDTH,
        initial_indent=" " * 12,
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield f"          runbook_url: {_quoted(f'{places.runbooks}/{rule.name}.md')}"
    yield f"          dashboard_url: {_quoted(f'{places.grafana}/d/{board}')}"


def _expression(expr: str, places: Places) -> Iterator[str]:
    matcher = f"job={json.dumps(places.job, ensure_ascii=False)}"
    yield "        expr: |-"
    yield from textwrap.indent(textwrap.dedent(expr).strip("\n").replace(JOB, matcher), " " * 10).splitlines()


def _labels(labels: Mapping[str, str], places: Places) -> Iterator[str]:
    yield from _mapping("labels", {key: places.job if value == JOB else value for key, value in labels.items()})


def _mapping(name: str, entries: Mapping[str, str]) -> Iterator[str]:
    if entries:
        yield f"        {name}:"
        yield from (f"          {key}: {_quoted(value)}" for key, value in entries.items())


def _comment(text: str, indent: int) -> list[str]:
    start = " " * indent + "# "
    return [
        line
        for paragraph in text.splitlines()
        for line in textwrap.wrap(paragraph, _WIDTH, initial_indent=start, subsequent_indent=start) or [start.rstrip()]
    ]


def _quoted(text: str) -> str:
    """Return the text as JSON, which is YAML, too; a bare word could mean true."""
    return json.dumps(text, ensure_ascii=False)
