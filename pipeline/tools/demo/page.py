"""The page at the end of the demo: what `runstep report` writes, about all that the demo made."""

import time
from pathlib import Path
from typing import Any, Final

from pipeline.config import ClickHouseSettings
from pipeline.tools.html_report import Period, extent, report_on, write

NAME: Final = "report.html"


def write_page(settings: ClickHouseSettings, client: Any, folder: Path) -> Path:
    """Write the page into the demo's folder and return where it is.

    Raises:
        SinkError: ClickHouse did not answer.
        ConfigError: the folder cannot be written to.
    """
    now = round(time.time() * 1000)
    # The simulated hour ends before now, so there is a moment between the two even where there is only one step.
    oldest, _ = extent(client) or (now - 60_000, now)
    path = folder / NAME
    write(report_on(client, settings, Period(min(oldest, now - 1_000), now + 1_000), "The demo's run steps"), path)
    return path
