"""Figures as tables and lines, for the screen and for `--once` alike. Text is put in as it is, never as markup."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final, Literal

from rich.table import Table
from rich.text import Text

from pipeline.tools.top.charts import sparkline
from pipeline.tools.top.figures import Failure, Figures, Member, Outcome, Partition, Steps, Trouble
from pipeline.tools.top.table_columns import GAP, HEAD, Column, table
from pipeline.tools.top.wording import UNKNOWN, clock, count, pace, share, size, span

GOOD: Final = "#6fd08c"
WARNING: Final = "#f2c55c"
BAD: Final = "bold #ff6b6b"
QUIET: Final = HEAD
ACCENT: Final = "#63c7f2"

Order = Literal["lag", "rate", "name"]
ORDERS: Final[tuple[Order, ...]] = ("lag", "rate", "name")

_SPARK: Final = 14
_STEPS: Final = 46
_FAILURES: Final = 32
"""What the tables of steps and of their failures need beside each other."""
_BACKLOG: Final = 60.0
"""Seconds of age from which on a backlog is worth a colour; ten times that is bad."""
_MOST_CAUSES: Final = 3
_MOST_LINES: Final = 2
_ARROWS: Final = {"growing": ("▲", BAD), "shrinking": ("▼", GOOD), "steady": ("▬", WARNING)}
_OUTCOMES: Final = {"stored": GOOD, "dead_lettered": WARNING, "lost": BAD}
_STATES: Final = {"running": GOOD, "away": BAD, "waiting": WARNING}


def headline(figures: Figures, width: int) -> Text:
    """Return who is watched and how they fare, and what is wrong, cause by cause."""
    line = Text(overflow="fold")
    addresses = sum(member.worker is None for member in figures.members)
    if not addresses:
        line.append("○ nobody to ask", style=BAD)
    elif figures.causes:
        line.append("▲ not well", style=BAD)
    elif figures.records is None:
        line.append("○ looking", style=WARNING)
    else:
        line.append("● all well", style=GOOD)
    line.append(f"   {_members(figures, addresses)}")
    if figures.group:
        line.append("   group ", style=QUIET).append(figures.group)
    if figures.topics:
        line.append("   topic " if len(figures.topics) == 1 else "   topics ", style=QUIET)
        line.append(", ".join(figures.topics))
    for cause in figures.causes[:_MOST_CAUSES]:
        line.append("\n  ").append(cause if len(cause) <= _MOST_LINES * width else f"{cause[: _MOST_LINES * width]}…")
    if len(figures.causes) > _MOST_CAUSES:
        line.append(f"\n  and {len(figures.causes) - _MOST_CAUSES} more", style=QUIET)
    return line


def speed_line(figures: Figures, width: int) -> Text:
    """Return how fast it goes."""
    parts = [
        Text.assemble((pace(figures.records), f"bold {ACCENT}"), (" records/s", QUIET)),
        Text.assemble((pace(figures.rows), "bold"), (" rows/s", QUIET)),
    ]
    if figures.delay_p95 is not None:
        parts.append(Text.assemble(("p95 ", QUIET), (span(figures.delay_p95), "bold"), (" to the table", QUIET)))
    return _joined(parts, width)


def lag_line(figures: Figures, width: int) -> Text:
    """Return how far behind it is, and where that leads."""
    parts = [Text.assemble((count(figures.lag), "bold"), (" behind", QUIET))]
    if figures.trend in _ARROWS:
        arrow, style = _ARROWS[figures.trend]
        parts.append(Text(f"{arrow} {pace(abs(figures.lag_growth or 0.0))}/s", style))
    elif figures.trend == "caught up":
        parts.append(Text("● caught up", GOOD))
    if figures.catch_up is not None:
        parts.append(Text.assemble(("done in ", QUIET), (span(figures.catch_up), "bold")))
    if figures.backlog_age and figures.trend != "caught up":
        parts.append(Text.assemble(("oldest ", QUIET), (span(figures.backlog_age), _age_style(figures.backlog_age))))
    return _joined(parts, width)


def partitions_table(figures: Figures, width: int, order: Order = "lag") -> Table:
    """Return the partitions, those first that matter most by the order."""
    keys: dict[Order, Callable[[Partition], Any]] = {
        "lag": lambda row: (row.halted is None, -(row.lag or 0), row.topic, row.number),
        "rate": lambda row: (-(row.rate or 0.0), row.topic, row.number),
        "name": lambda row: (row.topic, row.number),
    }
    columns = [
        Column[Partition]("partition", lambda row: _of(row, row.name), right=False),
        Column[Partition]("member", lambda row: _of(row, row.member), right=False),
        Column[Partition]("position", lambda row: _of(row, count(row.position)), rank=3),
        Column[Partition]("committed", lambda row: _of(row, count(row.committed)), rank=4),
        Column[Partition]("lag", lambda row: _of(row, count(row.lag))),
        Column[Partition]("trend", lambda row: Text(sparkline(row.lags, _SPARK), ACCENT), right=False, rank=2),
        Column[Partition]("rec/s", lambda row: _of(row, pace(row.rate))),
        Column[Partition]("age", lambda row: Text("·" if row.age == 0 else span(row.age), _age_style(row.age))),
        Column[Partition]("state", _partition_state, right=False, is_long=True),
    ]
    return table(columns, sorted(figures.partitions, key=keys[order]), width, "no partition yet")


def members_table(figures: Figures, width: int) -> Table:
    """Return the members, and below an address its workers."""
    columns = [
        Column[Member]("member", _member_name, right=False),
        Column[Member]("state", _member_state, right=False),
        Column[Member]("rec/s", lambda row: Text(pace(row.records))),
        Column[Member]("insert p50 / p95", _insert, rank=2),
        Column[Member]("rows/insert", lambda row: Text(count(row.rows_per_insert)), rank=5),
        Column[Member]("buffer", lambda row: Text(count(row.buffer_rows)), rank=4),
        Column[Member]("breaker", _breaker, right=False, rank=4),
        Column[Member]("ClickHouse", lambda row: _yes(row.sink_available), right=False, rank=8),
        Column[Member]("Kafka", lambda row: _yes(row.source_available), right=False, rank=8),
        Column[Member]("CPU", lambda row: Text(UNKNOWN if row.cpu is None else f"{100 * row.cpu:.0f} %")),
        Column[Member]("memory", lambda row: Text(size(row.memory)), rank=3),
        Column[Member]("parts", lambda row: Text(count(row.partitions))),
        Column[Member]("lag", lambda row: Text(count(row.lag)), rank=3),
        Column[Member](
            "up", lambda row: Text(span(max(figures.at - row.started_at, 0.0) if row.started_at else None)), rank=5
        ),
        Column[Member]("version", lambda row: Text(row.version or UNKNOWN, QUIET), right=False, rank=9),
    ]
    return table(columns, figures.members, width, "nobody answers")


def outcomes_table(figures: Figures, width: int) -> Table:
    """Return what became of the records: each outcome as a whole, and below it why."""
    columns = [
        Column[Outcome]("outcome", _outcome_name, right=False),
        Column[Outcome]("/s", lambda row: Text(pace(row.rate))),
        Column[Outcome]("total", lambda row: Text(count(row.total))),
    ]
    rows: list[Outcome] = []
    for outcome, group in groupby(figures.outcomes, key=lambda row: row.outcome):
        reasons = list(group)
        rows.append(Outcome(outcome, "", sum(row.rate for row in reasons), sum(row.total for row in reasons)))
        rows.extend(row for row in reasons if row.reason)
    return table(columns, rows, width, "no records yet")


def troubles_table(figures: Figures, width: int) -> Table:
    """Return the errors by class."""
    columns = [
        Column[Trouble]("class", lambda row: Text(row.error_class, WARNING), right=False),
        Column[Trouble]("retries/s", lambda row: Text(pace(row.rate)), rank=2),
        Column[Trouble]("total", lambda row: Text(count(row.total))),
        Column[Trouble]("seen", lambda row: Text(clock(row.seen_at) if row.seen_at else "before")),
        Column[Trouble]("member", lambda row: Text(row.member), right=False, rank=3),
        Column[Trouble]("last error", lambda row: Text(row.text), right=False, is_long=True),
    ]
    return table(columns, figures.troubles, width, "no errors")


def steps_table(figures: Figures, width: int) -> Table:
    """Return how steps end, by type."""
    columns = [
        Column[Steps]("step type", lambda row: Text(row.type), right=False),
        Column[Steps]("/s", lambda row: Text(pace(row.rate))),
        Column[Steps]("success", lambda row: Text(share(row.success))),
        Column[Steps]("p50", lambda row: Text(span(row.p50)), rank=1),
        Column[Steps]("p95", lambda row: Text(span(row.p95))),
        Column[Steps]("total", lambda row: Text(count(row.total))),
    ]
    return table(columns, figures.steps, width, "no step has ended yet")


def failures_table(figures: Figures, width: int) -> Table:
    """Return why steps fail."""
    columns = [
        Column[Failure]("failure", lambda row: Text(row.category, WARNING), right=False),
        Column[Failure]("/s", lambda row: Text(pace(row.rate))),
        Column[Failure]("total", lambda row: Text(count(row.total))),
    ]
    return table(columns, figures.failures, width, "no step has failed yet")


def steps_and_failures(figures: Figures, width: int) -> Table:
    """Return both tables, side by side where there is room."""
    both = Table.grid(padding=(0, 2 * GAP, 0, 0))
    rest = width - _FAILURES - 2 * GAP
    if rest < _STEPS:
        both.add_row(steps_table(figures, width))
        both.add_row()
        both.add_row(failures_table(figures, width))
    else:
        both.add_row(steps_table(figures, rest), failures_table(figures, _FAILURES))
    return both


def _joined(parts: Sequence[Text], width: int) -> Text:
    """Return the first of the parts that there is room for."""
    line = parts[0].copy()
    for part in parts[1:]:
        if line.cell_len + GAP + part.cell_len > width:
            break
        line.append(" " * GAP).append(part)
    return line


def _members(figures: Figures, addresses: int) -> str:
    workers = sum(member.worker is not None for member in figures.members)
    text = f"{addresses} member{'' if addresses == 1 else 's'}"
    if figures.answering < addresses:
        text = f"{figures.answering} of {text} answer{'s' if 1 in {figures.answering, addresses} else ''}"
    return f"{text}, {workers} workers" if workers else text


def _of(row: Partition, text: str) -> Text:
    return Text(text, QUIET if row.state in {"away", "gone"} else "")


def _partition_state(row: Partition) -> Text:
    if row.state == "halted":
        return Text(f"halted: {row.halted}", BAD)
    styles = {"read": GOOD, "away": BAD, "gone": QUIET}
    return Text(row.state, styles[row.state])


def _member_name(row: Member) -> Text:
    if row.worker is None:
        return Text(row.name, BAD if row.is_away else "bold")
    return Text(f"  worker {row.worker}", QUIET)


def _insert(row: Member) -> Text:
    if row.insert_p50 is None:
        return Text(UNKNOWN)
    return Text(f"{span(row.insert_p50)} / {span(row.insert_p95):>6}")


def _member_state(row: Member) -> Text:
    # The causes stand in the headline.
    return Text(row.state, _STATES.get(row.state, WARNING))


def _breaker(row: Member) -> Text:
    return Text(row.breaker or UNKNOWN, {"closed": GOOD, "": QUIET}.get(row.breaker, BAD))


def _outcome_name(row: Outcome) -> Text:
    return Text(f"  {row.reason}", QUIET) if row.reason else Text(row.outcome, _OUTCOMES.get(row.outcome, ""))


def _yes(answer: bool | None) -> Text:
    if answer is None:
        return Text(UNKNOWN, QUIET)
    return Text("there", GOOD) if answer else Text("away", BAD)


def _age_style(age: float | None) -> str:
    if not age or age < _BACKLOG:
        return QUIET
    return WARNING if age < 10 * _BACKLOG else BAD
