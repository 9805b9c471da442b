"""What the page asks ClickHouse: a `.sql` file a question, each bounded by the range, each with a bounded answer."""

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, TypeAlias

from clickhouse_connect.driver.client import Client

from pipeline.clickhouse.error_classes import sink_error
from pipeline.config import HttpSettings
from pipeline.errors import SinkError, SinkUnavailable
from pipeline.tools.html_report.period import Period
from schemas.vocabulary import ERROR_CATEGORIES, STATUSES, STEP_TYPES

Row: TypeAlias = Mapping[str, Any]
Answers: TypeAlias = Mapping[str, Sequence[Row]]
"""The name of each question to its rows."""

QUESTIONS: Final = {
    "steps": "steps over time",
    "durations": "duration percentiles",
    "heatmap": "durations",
    "failures": "failures over time",
    "errors": "groups of errors",
    "slowest": "slow steps",
    "stuck": "stuck steps",
    "runs": "runs",
    "longest_runs": "long runs",
    "tools": "tools",
    "tokens": "tokens over time",
    "assistants": "tokens by assistant",
    "records": "Kafka records",
    "delay": "ingest delay",
    "partitions": "the account of partitions",
}
"""Each question's name, which is its file's, and what to say while it is asked."""

BOUNDS: Final = tuple(round(1_000 * bound) for bound in HttpSettings().buckets)
"""Milliseconds: the bounds of the duration heatmap, which are those of runstep_step_duration_seconds by default."""

_TOO_MUCH: Final = {158, 159, 160, 241, 307, 396}
_NO_SUCH_VIEW: Final = 46
"""A view with parameters is called as a function, and missed as one."""
_VOCABULARY: Final = {
    "types": sorted(STEP_TYPES),
    "statuses": sorted(STATUSES),
    "categories": list(ERROR_CATEGORIES),
    "bounds": list(BOUNDS),
}


def ask(client: Client, period: Period, tell: Callable[[str], None] = lambda _: None) -> Answers:
    """Return the answers to all questions, asked one after the other.

    Args:
        client: a connection whose database is runstep's. It needs to read only.
        period: the range.
        tell: told what is being asked.

    Raises:
        SinkError: ClickHouse is away or says no; with the cause and a fix.
    """
    answers: dict[str, Sequence[Row]] = {}
    for name, topic in QUESTIONS.items():
        tell(topic)
        answers[name] = _rows(client, name, period.parameters())
    return answers


def extent(client: Client) -> tuple[int, int] | None:
    """Return when the oldest and the newest step were created; None where there is none.

    Raises:
        SinkError: ClickHouse is away or says no.
    """
    (row,) = _rows(client, "extent", {})
    if not row["steps"]:
        return None
    return row["oldest"], row["newest"]


def nothing_in(answers: Answers) -> bool:
    """Return whether the range holds neither a step nor a record."""
    return not answers["steps"] and not answers["records"]


def _rows(client: Client, name: str, parameters: Mapping[str, Any]) -> Sequence[Row]:
    sql = files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    used = {key: value for key, value in {**_VOCABULARY, **parameters}.items() if f"{{{key}:" in sql}
    try:
        return list(client.query(sql, parameters=used).named_results())
    except Exception as error:  # noqa: BLE001 - the driver lets foreign exceptions through
        raise _named(error, name) from None


def _named(error: Exception, name: str) -> SinkError:
    """Say which question it was, and how to ask for less where it was too much."""
    failure = sink_error(error, "ClickHouse")
    fix = "ask for a shorter time with --since and --until" if failure.code in _TOO_MUCH else ""
    if failure.code == _NO_SUCH_VIEW:
        fix = "the tables are of an earlier version: run `runstep migrate`"
    if not fix:
        return failure
    return SinkUnavailable(f"{QUESTIONS.get(name, name)}: {failure}; {fix}", failure.error_class, failure.code)
