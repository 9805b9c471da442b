"""Draws figures as tables and lines, for the screen and for `--once`. Text is put in as it is, never as markup."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final, Literal

from rich.table import Table
from rich.text import Text

from pipeline.text import UNKNOWN, byte_size, count, duration, local_clock, percent, rate
from pipeline.tools.top.charts import sparkline
from pipeline.tools.top.figures import (
    ErrorFigures,
    FailureFigures,
    Figures,
    MemberFigures,
    OutcomeFigures,
    PartitionFigures,
    StepFigures,
)
from pipeline.tools.top.table_columns import GAP, HEAD, TableColumn, fitted_table

GOOD: Final = "#6fd08c"
WARNING: Final = "#f2c55c"
BAD: Final = "bold #ff6b6b"
QUIET: Final = HEAD
ACCENT: Final = "#63c7f2"

Order = Literal["lag", "rate", "name"]
ORDERS: Final[tuple[Order, ...]] = ("lag", "rate", "name")

_SPARKLINE_WIDTH: Final = 14
_STEPS_WIDTH: Final = 46
_FAILURES_WIDTH: Final = 32
"""Columns that the tables of steps and of failures need beside each other."""
_BACKLOG_WARNING_S: Final = 60.0
"""Age of a backlog that is shown as a warning; ten times that is shown as bad."""
_MAX_CAUSES: Final = 3
_MAX_CAUSE_LINES: Final = 2
_ARROWS: Final = {"growing": ("▲", BAD), "shrinking": ("▼", GOOD), "steady": ("▬", WARNING)}
_OUTCOMES: Final = {"stored": GOOD, "dead_lettered": WARNING, "lost": BAD}
_STATES: Final = {"running": GOOD, "away": BAD, "waiting": WARNING}


def headline(figures: Figures, width: int) -> Text:
    """Return a line about the members and the group, and below it what is wrong, a line a cause."""
    line = Text(overflow="fold")
    addresses = sum(member.worker is None for member in figures.members)
    if not addresses:
        line.append("○ no daemon to ask", style=BAD)
    elif figures.causes:
        line.append("▲ problems", style=BAD)
    elif figures.records is None:
        line.append("○ waiting for answers", style=WARNING)
    else:
        line.append("● all well", style=GOOD)
    line.append(f"   {_members(figures, addresses)}")
    if figures.group:
        line.append("   group ", style=QUIET).append(figures.group)
    if figures.topics:
        line.append("   topic " if len(figures.topics) == 1 else "   topics ", style=QUIET)
        line.append(", ".join(figures.topics))
    for cause in figures.causes[:_MAX_CAUSES]:
        line.append("\n  ").append(
            cause if len(cause) <= _MAX_CAUSE_LINES * width else f"{cause[: _MAX_CAUSE_LINES * width]}…"
        )
    if len(figures.causes) > _MAX_CAUSES:
        line.append(f"\n  and {len(figures.causes) - _MAX_CAUSES} more", style=QUIET)
    return line


def speed_line(figures: Figures, width: int) -> Text:
    """Return records and rows per second, and the delay up to the table."""
    parts = [
        Text.assemble((rate(figures.records), f"bold {ACCENT}"), (" records/s", QUIET)),
        Text.assemble((rate(figures.rows), "bold"), (" rows/s", QUIET)),
    ]
    if figures.delay_p95 is not None:
        parts.append(Text.assemble(("p95 ", QUIET), (duration(figures.delay_p95), "bold"), (" to the table", QUIET)))
    return _joined(parts, width)


def lag_line(figures: Figures, width: int) -> Text:
    """Return the lag, its trend, and the time to catch up."""
    parts = [Text.assemble((count(figures.lag), "bold"), (" behind", QUIET))]
    if figures.trend in _ARROWS:
        arrow, style = _ARROWS[figures.trend]
        parts.append(Text(f"{arrow} {rate(abs(figures.lag_growth or 0.0))}/s", style))
    elif figures.trend == "caught up":
        parts.append(Text("● caught up", GOOD))
    if figures.catch_up is not None:
        parts.append(Text.assemble(("done in ", QUIET), (duration(figures.catch_up), "bold")))
    if figures.backlog_age and figures.trend != "caught up":
        parts.append(
            Text.assemble(("oldest ", QUIET), (duration(figures.backlog_age), _age_style(figures.backlog_age)))
        )
    return _joined(parts, width)


def partitions_table(figures: Figures, width: int, order: Order = "lag") -> Table:
    """Return the partitions in that order; by lag, halted ones come first."""
    keys: dict[Order, Callable[[PartitionFigures], Any]] = {
        "lag": lambda row: (row.halted is None, -(row.lag or 0), row.topic, row.number),
        "rate": lambda row: (-(row.rate or 0.0), row.topic, row.number),
        "name": lambda row: (row.topic, row.number),
    }
    columns = [
        TableColumn[PartitionFigures]("partition", lambda row: _of(row, row.name), right=False),
        TableColumn[PartitionFigures]("member", lambda row: _of(row, row.member), right=False),
        TableColumn[PartitionFigures]("position", lambda row: _of(row, count(row.position)), rank=3),
        TableColumn[PartitionFigures]("committed", lambda row: _of(row, count(row.committed)), rank=4),
        TableColumn[PartitionFigures]("lag", lambda row: _of(row, count(row.lag))),
        TableColumn[PartitionFigures](
            "trend", lambda row: Text(sparkline(row.lags, _SPARKLINE_WIDTH), ACCENT), right=False, rank=2
        ),
        TableColumn[PartitionFigures]("rec/s", lambda row: _of(row, rate(row.rate))),
        TableColumn[PartitionFigures](
            "age", lambda row: Text("·" if row.age == 0 else duration(row.age), _age_style(row.age))
        ),
        TableColumn[PartitionFigures]("state", _partition_state, right=False, is_long=True),
    ]
    return fitted_table(columns, sorted(figures.partitions, key=keys[order]), width, "no partition yet")


def members_table(figures: Figures, width: int) -> Table:
    """Return the members, and below an address its workers."""
    columns = [
        TableColumn[MemberFigures]("member", _member_name, right=False),
        TableColumn[MemberFigures]("state", _member_state, right=False),
        TableColumn[MemberFigures]("rec/s", lambda row: Text(rate(row.records))),
        TableColumn[MemberFigures]("insert p50 / p95", _insert, rank=2),
        TableColumn[MemberFigures]("rows/insert", lambda row: Text(count(row.rows_per_insert)), rank=5),
        TableColumn[MemberFigures]("buffer", lambda row: Text(count(row.buffer_rows)), rank=4),
        TableColumn[MemberFigures]("breaker", _breaker, right=False, rank=4),
        TableColumn[MemberFigures]("ClickHouse", lambda row: _availability(row.sink_available), right=False, rank=8),
        TableColumn[MemberFigures]("Kafka", lambda row: _availability(row.source_available), right=False, rank=8),
        TableColumn[MemberFigures]("CPU", lambda row: Text(UNKNOWN if row.cpu is None else f"{100 * row.cpu:.0f} %")),
        TableColumn[MemberFigures]("memory", lambda row: Text(byte_size(row.memory)), rank=3),
        TableColumn[MemberFigures]("parts", lambda row: Text(count(row.partitions))),
        TableColumn[MemberFigures]("lag", lambda row: Text(count(row.lag)), rank=3),
        TableColumn[MemberFigures](
            "up", lambda row: Text(duration(max(figures.at - row.started_at, 0.0) if row.started_at else None)), rank=5
        ),
        TableColumn[MemberFigures]("version", lambda row: Text(row.version or UNKNOWN, QUIET), right=False, rank=9),
    ]
    return fitted_table(columns, figures.members, width, "no daemon answers")


def outcomes_table(figures: Figures, width: int) -> Table:
    """Return the records by outcome, and below each outcome by reason."""
    columns = [
        TableColumn[OutcomeFigures]("outcome", _outcome_name, right=False),
        TableColumn[OutcomeFigures]("/s", lambda row: Text(rate(row.rate))),
        TableColumn[OutcomeFigures]("total", lambda row: Text(count(row.total))),
    ]
    rows: list[OutcomeFigures] = []
    for outcome, group in groupby(figures.outcomes, key=lambda row: row.outcome):
        reasons = list(group)
        rows.append(OutcomeFigures(outcome, "", sum(row.rate for row in reasons), sum(row.total for row in reasons)))
        rows.extend(row for row in reasons if row.reason)
    return fitted_table(columns, rows, width, "no records yet")


def troubles_table(figures: Figures, width: int) -> Table:
    """Return the insert errors by class."""
    columns = [
        TableColumn[ErrorFigures]("class", lambda row: Text(row.error_class, WARNING), right=False),
        TableColumn[ErrorFigures]("retries/s", lambda row: Text(rate(row.rate)), rank=2),
        TableColumn[ErrorFigures]("total", lambda row: Text(count(row.total))),
        TableColumn[ErrorFigures]("seen", lambda row: Text(local_clock(row.seen_at) if row.seen_at else "before")),
        TableColumn[ErrorFigures]("member", lambda row: Text(row.member), right=False, rank=3),
        TableColumn[ErrorFigures]("last error", lambda row: Text(row.text), right=False, is_long=True),
    ]
    return fitted_table(columns, figures.troubles, width, "no errors")


def steps_table(figures: Figures, width: int) -> Table:
    """Return how steps end, by step type."""
    columns = [
        TableColumn[StepFigures]("step type", lambda row: Text(row.type), right=False),
        TableColumn[StepFigures]("/s", lambda row: Text(rate(row.rate))),
        TableColumn[StepFigures]("success", lambda row: Text(percent(row.success))),
        TableColumn[StepFigures]("p50", lambda row: Text(duration(row.p50)), rank=1),
        TableColumn[StepFigures]("p95", lambda row: Text(duration(row.p95))),
        TableColumn[StepFigures]("total", lambda row: Text(count(row.total))),
    ]
    return fitted_table(columns, figures.steps, width, "no step has ended yet")


def failures_table(figures: Figures, width: int) -> Table:
    """Return the categories of failures."""
    columns = [
        TableColumn[FailureFigures]("failure", lambda row: Text(row.category, WARNING), right=False),
        TableColumn[FailureFigures]("/s", lambda row: Text(rate(row.rate))),
        TableColumn[FailureFigures]("total", lambda row: Text(count(row.total))),
    ]
    return fitted_table(columns, figures.failures, width, "no step has failed yet")


def steps_and_failures(figures: Figures, width: int) -> Table:
    """Return both tables, side by side where there is room."""
    both = Table.grid(padding=(0, 2 * GAP, 0, 0))
    rest = width - _FAILURES_WIDTH - 2 * GAP
    if rest < _STEPS_WIDTH:
        both.add_row(steps_table(figures, width))
        both.add_row()
        both.add_row(failures_table(figures, width))
    else:
        both.add_row(steps_table(figures, rest), failures_table(figures, _FAILURES_WIDTH))
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


def _of(row: PartitionFigures, text: str) -> Text:
    return Text(text, QUIET if row.state in {"away", "gone"} else "")


def _partition_state(row: PartitionFigures) -> Text:
    if row.state == "halted":
        return Text(f"halted: {row.halted}", BAD)
    styles = {"read": GOOD, "away": BAD, "gone": QUIET}
    return Text(row.state, styles[row.state])


def _member_name(row: MemberFigures) -> Text:
    if row.worker is None:
        return Text(row.name, BAD if row.is_away else "bold")
    return Text(f"  worker {row.worker}", QUIET)


def _insert(row: MemberFigures) -> Text:
    if row.insert_p50 is None:
        return Text(UNKNOWN)
    return Text(f"{duration(row.insert_p50)} / {duration(row.insert_p95):>6}")


def _member_state(row: MemberFigures) -> Text:
    # The causes are in the headline.
    return Text(row.state, _STATES.get(row.state, WARNING))


def _breaker(row: MemberFigures) -> Text:
    return Text(row.breaker or UNKNOWN, {"closed": GOOD, "": QUIET}.get(row.breaker, BAD))


def _outcome_name(row: OutcomeFigures) -> Text:
    return Text(f"  {row.reason}", QUIET) if row.reason else Text(row.outcome, _OUTCOMES.get(row.outcome, ""))


def _availability(is_available: bool | None) -> Text:
    if is_available is None:
        return Text(UNKNOWN, QUIET)
    return Text("ok", GOOD) if is_available else Text("away", BAD)


def _age_style(age: float | None) -> str:
    if not age or age < _BACKLOG_WARNING_S:
        return QUIET
    return WARNING if age < 10 * _BACKLOG_WARNING_S else BAD
