"""The figures that are read first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.tools.html_report.questions import Answers, Row
from pipeline.tools.html_report.text import NOTHING, duration, percent, short, time_of, whole

_FAILED = ("failed", "expired")
_JUDGED = ("completed", *_FAILED)


@dataclass(frozen=True)
class Tile:
    """One figure, what it counts, and what to know of it."""

    key: str
    title: str
    value: str
    note: str
    exact: str = ""


def headline(made: int, answers: Answers) -> list[Tile]:
    """Return the tiles.

    Args:
        made: when the page is made, milliseconds since the epoch; ages are counted from there.
        answers: the answers to all questions.
    """
    return [*_counts(answers), *_durations(answers), *_use(answers), *_account(made, answers)]


def whole_range(rows: Sequence[Row]) -> Row | None:
    """Return the row that is about the whole range, where there is anything in it."""
    return next((row for row in rows if row["whole"]), None)


def _counts(answers: Answers) -> list[Tile]:
    states: Counter[str] = Counter()
    for row in answers["steps"]:
        states[row["state"]] += row["steps"]
    judged, bad = sum(states[state] for state in _JUDGED), sum(states[state] for state in _FAILED)
    steps = states.total()
    ongoing = f"{whole(states['in_progress'])} in progress, {whole(states['cancelled'])} cancelled"
    return [
        Tile("steps", "Steps", short(steps), ongoing, whole(steps)),
        Tile(
            "success",
            "Success",
            percent(states["completed"], judged),
            f"{whole(states['completed'])} completed of {whole(judged)} that completed, failed or expired",
        ),
        Tile(
            "failures",
            "Failed or expired",
            short(bad),
            f"{whole(states['failed'])} failed, {whole(states['expired'])} expired",
            whole(bad),
        ),
    ]


def _durations(answers: Answers) -> list[Tile]:
    row = whole_range(answers["durations"])
    if row is None:
        return [Tile("p50", "Duration", NOTHING, "no step completed")]
    middle, high, highest = row["percentiles"]
    return [
        Tile("p50", "Duration, p50", duration(middle), "half of the completed steps were faster"),
        Tile("p95", "Duration, p95", duration(high), "of completed steps"),
        Tile("p99", "Duration, p99", duration(highest), f"longest {duration(row['longest'])}"),
    ]


def _use(answers: Answers) -> list[Tile]:
    spent = {name: sum(row[name] or 0 for row in answers["tokens"]) for name in ("input", "output", "total")}
    row = whole_range(answers["runs"])
    runs, failed = (row["runs"], row["failed"]) if row else (0, 0)
    return [
        Tile(
            "tokens",
            "Tokens",
            short(spent["total"]),
            f"{short(spent['input'])} input, {short(spent['output'])} output",
            whole(spent["total"]),
        ),
        Tile("runs", "Runs", short(runs), f"{whole(failed)} with a failed or expired step", whole(runs)),
    ]


def _account(made: int, answers: Answers) -> list[Tile]:
    became: Counter[str] = Counter()
    for row in answers["records"]:
        became[row["outcome"]] += row["records"]
    newest = whole_range(answers["delay"])
    age, since = NOTHING, "no record was read"
    if newest is not None:
        age = duration(max(made - round(newest["newest"].timestamp() * 1000), 0))
        since = f"since the newest record of this time was read, {time_of(newest['newest'])} UTC"
    return [
        Tile(
            "records",
            "Records read",
            short(became.total()),
            f"= {whole(became['stored'])} stored + {whole(became['dead_lettered'])} dead-lettered"
            f" + {whole(became['ignored'])} ignored",
            whole(became.total()),
        ),
        Tile("age", "Age of the newest", age, since),
    ]
