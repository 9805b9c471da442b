"""Shows the progress of the demo: a live panel on a terminal, a line every two seconds elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from pipeline.text import duration
from pipeline.tools.demo.daemon_process import DaemonProgress

_LINE_INTERVAL_S: Final = 2.0
_RATE_WINDOW_S: Final = 3.0


class Screen:
    """Shows how far producer and pipeline are. For one thread."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._live: Live | None = None
        self._printed_at = 0.0
        self._seen: list[tuple[float, int]] = []

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the panel while the block runs."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, refresh_per_second=8, transient=True) as self._live:
            yield
        self._live = None

    def update(self, produced: int, numbers: DaemonProgress) -> None:
        """Show these numbers."""
        now = time.monotonic()
        self._seen = [(at, read) for at, read in self._seen if now - at < _RATE_WINDOW_S] + [(now, numbers.accounted)]
        if self._live is not None:
            self._live.update(self._panel(produced, numbers))
        elif now - self._printed_at >= _LINE_INTERVAL_S:
            self._printed_at = now
            self._console.print(
                f"produced {produced}  read {numbers.accounted} ({self._speed():.0f}/s)  rows {numbers.stored}  "
                f"lag {_lag(produced, numbers)}  dead letters {numbers.dead_lettered}  ignored {numbers.ignored}  "
                f"insert {duration(numbers.insert_seconds)}",
                highlight=False,
                soft_wrap=True,
            )

    def _speed(self) -> float:
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def _panel(self, produced: int, numbers: DaemonProgress) -> Table:
        panel = Table.grid(padding=(0, 2))
        panel.add_column(style="dim")
        panel.add_column(justify="right", style="bold", min_width=9)
        panel.add_column()
        panel.add_row("produced", f"{produced:,}", ProgressBar(self._total, produced, width=40))
        panel.add_row("read", f"{numbers.accounted:,}", ProgressBar(self._total, numbers.accounted, width=40))
        panel.add_row("events/s", f"{self._speed():,.0f}", "read, inserted and committed")
        panel.add_row("rows", f"{numbers.stored:,}", "stored in ClickHouse")
        panel.add_row("lag", f"{_lag(produced, numbers):,}", "in Kafka, not yet committed")
        panel.add_row(
            "dead letters", f"{numbers.dead_lettered:,}", "rejected, kept byte for byte in the dead-letter topic"
        )
        panel.add_row("ignored", f"{numbers.ignored:,}", "deltas, other objects, tombstones")
        panel.add_row("insert", duration(numbers.insert_seconds), f"mean of {numbers.inserts:,} inserts")
        return panel


def _lag(produced: int, numbers: DaemonProgress) -> int:
    return max(produced - numbers.accounted, 0)
