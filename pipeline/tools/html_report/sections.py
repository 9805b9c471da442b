"""What stands on the page, from top to bottom: figures that are read first, then sections of drawings and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from pipeline.tools.html_report.figures import Figure
from pipeline.tools.html_report.headline import Tile, headline
from pipeline.tools.html_report.ingest import ingest
from pipeline.tools.html_report.period import Period, moment
from pipeline.tools.html_report.questions import Answers, nothing_in
from pipeline.tools.html_report.steps import failures, slow, steps
from pipeline.tools.html_report.tables import Table
from pipeline.tools.html_report.usage import runs, tokens, tools

Block: TypeAlias = Figure | Table


@dataclass(frozen=True)
class Subject:
    """What the page is about, and when it was made.

    Attributes:
        title: its heading.
        source: where the numbers come from, without credentials.
        made: when it was made, milliseconds since the epoch.
        extent: from when to when there are steps at all; asked only where the range holds nothing.
    """

    title: str
    source: str
    period: Period
    made: int
    extent: tuple[int, int] | None = None


@dataclass(frozen=True)
class Section:
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
    sections: Sequence[Section]
    notice: str = ""

    @property
    def figures(self) -> Mapping[str, Figure]:
        """Return all drawings by their keys."""
        return {block.key: block for part in self.sections for block in part.blocks if isinstance(block, Figure)}


_INTRODUCTIONS: Final = {
    "steps": "Steps that were created in this time, each once, in the last state that is known of it.",
    "failures": "Failed and expired steps. A cancelled step is nobody's failure.",
    "slow": "Which steps took longest, and which say nothing any more.",
    "runs": "Runs that began in this time, put together from their steps.",
    "tokens": "Tokens as the usage of each step tells them; steps without usage count as none.",
    "tools": "Calls have no times of their own: durations are those of the steps that hold them.",
    "ingest": "Kafka records that were read in this time. Every record is stored, dead-lettered or ignored.",
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
    sections = [Section(key, _TITLES[key], _INTRODUCTIONS[key], each) for key, each in blocks.items()]
    return Page(subject, headline(subject.made, answers), sections)


def _nothing(subject: Subject) -> str:
    said = f"There is nothing from {subject.period}: no step was created and no record was read in this time."
    if subject.extent is None:
        return f"{said} The tables hold no step at all."
    oldest, newest = subject.extent
    return f"{said} The steps in the tables were created from {moment(oldest)} to {moment(newest)} UTC."
