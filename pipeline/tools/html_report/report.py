"""A page from beginning to end: ask, draw; writing it is `document.write`."""

import time
from collections.abc import Callable

from clickhouse_connect.driver.client import Client

from pipeline.clickhouse.connection import address
from pipeline.config import ClickHouseSettings
from pipeline.tools.html_report.period import Period
from pipeline.tools.html_report.questions import ask, extent, nothing_in
from pipeline.tools.html_report.sections import Page, Subject, page_of


def report_on(
    client: Client,
    settings: ClickHouseSettings,
    period: Period,
    title: str,
    tell: Callable[[str], None] = lambda _: None,
) -> Page:
    """Ask ClickHouse about a time range and return the page about it.

    Args:
        client: a connection whose database is runstep's.
        settings: how it was made; the page says where, without credentials.
        period: the range.
        title: the heading.
        tell: told what is being asked.

    Raises:
        SinkError: ClickHouse is away or says no; with the cause and a fix.
    """
    answers = ask(client, period, tell)
    subject = Subject(
        title=title,
        source=_place(settings),
        period=period,
        made=round(time.time() * 1000),
        extent=extent(client) if nothing_in(answers) else None,
    )
    return page_of(subject, answers)


def _place(settings: ClickHouseSettings) -> str:
    """Return where the numbers come from. A path says something of its owner, so it is left out."""
    where = "an embedded ClickHouse" if settings.is_embedded else f"ClickHouse at {address(settings)}"
    return f"{where}, database {settings.database}"
