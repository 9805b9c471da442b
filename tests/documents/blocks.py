"""Which generated block stands on which page, and how a block is found and replaced."""

from collections.abc import Callable, Mapping
from typing import Final

from pipeline.config import settings_table
from tests.benchmarks.peers import results
from tests.documents import example, log_events, scenarios, tables

BLOCKS: Final[Mapping[str, Mapping[str, Callable[[], str]]]] = {
    "README.md": {"row": example.row_block},
    "deploy/settings.md": {"settings": settings_table},
    "deploy/monitoring.md": {"metrics": tables.metrics, "labels": tables.labels, "log": log_events.log_table},
    "deploy/troubleshooting.md": {"exit-codes": tables.exit_codes},
    "schemas/README.md": {
        "reasons": tables.reasons,
        "anomalies": tables.anomalies,
        "error-categories": tables.error_categories,
        "columns": tables.columns,
    },
    "pipeline/README.md": {"folders": tables.folders, "tools": tables.tools, "files": tables.daemon_files},
    "pipeline/tools/queries/README.md": {"reports": tables.reports_by_group},
    "tests/benchmarks/README.md": {"peers": results.block},
    "tests/README.md": {
        "scenarios": scenarios.scenario_table,
        "oracle": scenarios.code_table,
        "mutants": scenarios.mutant_table,
    },
}


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}:start -->", f"<!-- {name}:end -->"


def found(text: str, name: str) -> str:
    """Return the block of this name without its markers.

    Raises:
        ValueError: a marker is missing, or there twice.
    """
    start, end = _markers(name)
    if (text.count(start), text.count(end)) != (1, 1):
        raise ValueError(f"block {name!r} needs one {start} and one {end}")
    return text.partition(start)[2].partition(end)[0].strip()


def spliced(text: str, name: str, block: str) -> str:
    """Return the text with the block of this name replaced."""
    found(text, name)
    start, end = _markers(name)
    head, _, rest = text.partition(start)
    return f"{head}{start}\n{block.strip()}\n{end}{rest.partition(end)[2]}"
