"""The tiles at the top of the page: one number each, with what it counts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.text import UNKNOWN, count, duration, exact_count, percent, utc_time
from pipeline.tools.html_report.page_queries import Answers, Row

_FAILED = ("failed", "expired")
_JUDGED = ("completed", *_FAILED)


@dataclass(frozen=True)
class Tile:
    """One number, what it counts, and a note about it; `exact` is the number without rounding."""

    key: str
    title: str
    value: str
    note: str
    exact: str = ""


def tiles(made: int, answers: Answers) -> list[Tile]:
    """Return the tiles.

    Args:
        made: when the page is made, milliseconds since the epoch; ages are relative to it.
        answers: the rows of all queries.
    """
    return [*_counts(answers), *_durations(answers), *_use(answers), *_account(made, answers)]


def whole_range(rows: Sequence[Row]) -> Row | None:
    """Return the row of the whole range, None where the range is empty."""
    return next((row for row in rows if row["whole"]), None)


def _counts(answers: Answers) -> list[Tile]:
    states: Counter[str] = Counter()
    for row in answers["steps"]:
        states[row["state"]] += row["steps"]
    judged, bad = sum(states[state] for state in _JUDGED), sum(states[state] for state in _FAILED)
    steps = states.total()
    ongoing = f"{exact_count(states['in_progress'])} in progress, {exact_count(states['cancelled'])} cancelled"
    return [
        Tile("steps", "Steps", count(steps), ongoing, exact_count(steps)),
        Tile(
            "success",
            "Success",
            percent(states["completed"], judged),
            f"{exact_count(states['completed'])} completed of {exact_count(judged)} that completed, failed or expired",
        ),
        Tile(
            "failures",
            "Failed or expired",
            count(bad),
            f"{exact_count(states['failed'])} failed, {exact_count(states['expired'])} expired",
            exact_count(bad),
        ),
    ]


def _durations(answers: Answers) -> list[Tile]:
    row = whole_range(answers["durations"])
    if row is None:
        return [Tile("p50", "Duration", UNKNOWN, "no step completed")]
    middle, high, highest = row["percentiles"]
    return [
        Tile("p50", "Duration, p50", duration(middle / 1000), "half of the completed steps took less"),
        Tile("p95", "Duration, p95", duration(high / 1000), "of completed steps"),
        Tile("p99", "Duration, p99", duration(highest / 1000), f"longest {duration(row['longest'] / 1000)}"),
    ]


def _use(answers: Answers) -> list[Tile]:
    spent = {name: sum(row[name] or 0 for row in answers["tokens"]) for name in ("input", "output", "total")}
    row = whole_range(answers["runs"])
    runs, failed = (row["runs"], row["failed"]) if row else (0, 0)
    return [
        Tile(
            "tokens",
            "Tokens",
            count(spent["total"]),
            f"{count(spent['input'])} input, {count(spent['output'])} output",
            exact_count(spent["total"]),
        ),
        Tile("runs", "Runs", count(runs), f"{exact_count(failed)} with a failed or expired step", exact_count(runs)),
    ]


def _account(made: int, answers: Answers) -> list[Tile]:
    became: Counter[str] = Counter()
    for row in answers["records"]:
        became[row["outcome"]] += row["records"]
    newest = whole_range(answers["delay"])
    age, since = UNKNOWN, "no record was read in this time"
    if newest is not None:
        age = duration(max(made / 1000 - newest["newest"].timestamp(), 0.0))
        since = f"read at {utc_time(newest['newest'])} UTC; the newest record of this time"
    return [
        Tile(
            "records",
            "Records read",
            count(became.total()),
            f"= {exact_count(became['stored'])} stored + {exact_count(became['dead_lettered'])} dead-lettered"
            f" + {exact_count(became['ignored'])} ignored",
            exact_count(became.total()),
        ),
        Tile("age", "Age of the newest record", age, since),
    ]
