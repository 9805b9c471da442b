"""The page from top to bottom: asks for the answers and arranges them as tiles and sections of plots and tables."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from clickhouse_connect.driver.client import Client

from pipeline.clickhouse.connection import address
from pipeline.config import ClickHouseSettings
from pipeline.text import utc_time
from pipeline.tools.html_report.ingest import ingest
from pipeline.tools.html_report.page_queries import Answers, extent, nothing_in, page_answers
from pipeline.tools.html_report.period import Period
from pipeline.tools.html_report.plots import Figure
from pipeline.tools.html_report.steps import failures, slow, steps
from pipeline.tools.html_report.tables import PageTable
from pipeline.tools.html_report.tiles import Tile, tiles
from pipeline.tools.html_report.usage import runs, tokens, tools

Block: TypeAlias = Figure | PageTable


@dataclass(frozen=True)
class Subject:
    """What the page is about, and when it was made.

    Attributes:
        title: its heading.
        source: where the numbers come from, without credentials.
        made: when it was made, milliseconds since the epoch.
        extent: creation times of the oldest and newest step in the tables; asked only where the range holds nothing.
    """

    title: str
    source: str
    period: Period
    made: int
    extent: tuple[int, int] | None = None


@dataclass(frozen=True)
class PageSection:
    """A part of the page with a heading of its own."""

    key: str
    title: str
    introduction: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """Everything that is shown."""

    subject: Subject
    tiles: Sequence[Tile]
    sections: Sequence[PageSection]
    notice: str = ""

    @property
    def figures(self) -> Mapping[str, Figure]:
        """Return all plots by their keys."""
        return {block.key: block for part in self.sections for block in part.blocks if isinstance(block, Figure)}


_INTRODUCTIONS: Final = {
    "steps": "Steps that were created in this time, each counted once, in its last known state.",
    "failures": "Failed and expired steps. A cancelled step does not count as a failure.",
    "slow": "The steps that took longest, and those that have sent no event for ten minutes.",
    "runs": "Runs that began in this time, derived from their steps.",
    "tokens": "Tokens as each step reports them in its usage; a step without usage counts as 0.",
    "tools": "A tool call has no time of its own: durations are those of the step that made the call.",
    "ingest": "Kafka records that the daemon read in this time. Every record is stored, dead-lettered or ignored.",
}
_TITLES: Final = {
    "steps": "Steps",
    "failures": "Failures",
    "slow": "Slow and stuck steps",
    "runs": "Runs",
    "tokens": "Tokens",
    "tools": "Tools",
    "ingest": "Ingest",
}


def report_on(
    client: Client,
    settings: ClickHouseSettings,
    period: Period,
    title: str,
    progress: Callable[[str], None] = lambda _: None,
) -> Page:
    """Ask ClickHouse about a time range and return the page about it.

    Args:
        client: a connection whose database is runstep's.
        settings: those of the connection; the page names the server, without credentials.
        period: the range.
        title: the heading.
        progress: called with the topic of each query before it is sent.

    Raises:
        SinkError: ClickHouse is away or rejects a query; with the cause and a fix.
    """
    answers = page_answers(client, period, progress)
    subject = Subject(
        title=title,
        source=_place(settings),
        period=period,
        made=round(time.time() * 1000),
        extent=extent(client) if nothing_in(answers) else None,
    )
    return page_of(subject, answers)


def page_of(subject: Subject, answers: Answers) -> Page:
    """Return the page that these answers make."""
    if nothing_in(answers):
        return Page(subject, (), (), _nothing(subject))
    period = subject.period
    blocks: Mapping[str, Sequence[Block]] = {
        "steps": steps(period, answers),
        "failures": failures(period, answers),
        "slow": slow(answers),
        "runs": runs(period, answers),
        "tokens": tokens(period, answers),
        "tools": tools(answers),
        "ingest": ingest(period, answers),
    }
    sections = [PageSection(key, _TITLES[key], _INTRODUCTIONS[key], each) for key, each in blocks.items()]
    return Page(subject, tiles(subject.made, answers), sections)


def _nothing(subject: Subject) -> str:
    notice = f"There is nothing from {subject.period}: no step was created and no record was read in this time."
    if subject.extent is None:
        return f"{notice} The tables hold no step at all."
    oldest, newest = subject.extent
    return f"{notice} The steps in the tables were created from {utc_time(oldest)} to {utc_time(newest)} UTC."


def _place(settings: ClickHouseSettings) -> str:
    """Return where the numbers come from; the path of an embedded database is private and left out."""
    where = "an embedded ClickHouse" if settings.is_embedded else f"ClickHouse at {address(settings)}"
    return f"{where}, database {settings.database}"
