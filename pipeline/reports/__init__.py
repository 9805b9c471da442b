"""The named reports of `runstep query`: a `.sql` file each, whose first comment says what it answers.

They read `run_steps_current` and `run_step_ledger` of the connection's database. Each holds one statement, no FORMAT.
"""

from importlib.resources import files
from typing import NamedTuple


class Report(NamedTuple):
    """A question that is asked often."""

    name: str
    description: str
    sql: str


def reports() -> dict[str, Report]:
    """Return all reports by name, in the order of their names."""
    found = (entry for entry in files(__name__).iterdir() if entry.name.endswith(".sql"))
    read = (_report(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8")) for entry in found)
    return {report.name: report for report in sorted(read)}


def _report(name: str, sql: str) -> Report:
    return Report(name, sql.partition("\n")[0].removeprefix("--").strip(), sql)
