"""Asks ClickHouse for the page: a `.sql` file for each query, bounded by the time range, with a bounded answer."""

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
"""Name of a query to its rows."""

QUERIES: Final = {
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
    "partitions": "offsets by partition",
}
"""Name of a query, which is that of its file, to its topic as progress and errors name it."""

BOUNDS: Final = tuple(round(1_000 * bound) for bound in HttpSettings().buckets)
"""Milliseconds: the bounds of the duration heatmap, which are those of runstep_step_duration_seconds by default."""

_LIMIT_EXCEEDED: Final = {158, 159, 160, 241, 307, 396}
"""ClickHouse errors of a query that read, took or returned more than its limits allow."""
_UNKNOWN_FUNCTION: Final = 46
"""The error of a missing view with parameters, since it is called as a function."""
_VOCABULARY: Final = {
    "types": sorted(STEP_TYPES),
    "statuses": sorted(STATUSES),
    "categories": list(ERROR_CATEGORIES),
    "bounds": list(BOUNDS),
}


def page_answers(client: Client, period: Period, progress: Callable[[str], None] = lambda _: None) -> Answers:
    """Run all queries, one after the other, and return their rows.

    Args:
        client: a connection whose database is runstep's; the right to read suffices.
        period: the range.
        progress: called with the topic of each query before it is sent.

    Raises:
        SinkError: ClickHouse is away or rejects a query; with the cause and a fix.
    """
    answers: dict[str, Sequence[Row]] = {}
    for name, topic in QUERIES.items():
        progress(topic)
        answers[name] = _rows(client, name, period.parameters())
    return answers


def extent(client: Client) -> tuple[int, int] | None:
    """Return when the oldest and the newest step were created; None where there is none.

    Raises:
        SinkError: ClickHouse is away or rejects the query.
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
    """Return the error with the topic of the query and a fix, where there is one."""
    failure = sink_error(error, "ClickHouse")
    fix = "choose a shorter range with --since and --until" if failure.code in _LIMIT_EXCEEDED else ""
    if failure.code == _UNKNOWN_FUNCTION:
        fix = "the tables are those of an earlier version: run `runstep migrate`"
    if not fix:
        return failure
    return SinkUnavailable(f"{QUERIES.get(name, name)}: {failure}; {fix}", failure.error_class, failure.code)
