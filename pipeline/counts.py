"""What one committed part of a batch adds to the metrics, as plain numbers.

Owns the counting rules: a step counts once, old steps count as backfill only, labels are bounded. Pure: `tally` reads
columns and the set of steps already counted, and touches no metric.
"""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Duration:
    """One ended step's duration, with what leads from a histogram bucket back to the row."""

    seconds: float
    run_id: str
    step_id: str


@dataclass(slots=True)
class Counts:
    """Numbers to add, keyed by label values in the order of the metric's labels."""

    records: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(outcome, reason) of every record."""
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(type, status) of steps that ended."""
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(type, error_category) of steps that failed or expired."""
    backfilled: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(type, status) of steps that ended too long ago to be news."""
    tokens: Counter[str] = field(default_factory=Counter)
    """input and output tokens of steps that ended."""
    tool_calls: Counter[str] = field(default_factory=Counter)
    """Tool calls of steps that ended, by tool type."""
    anomalies: Counter[str] = field(default_factory=Counter)
    """Anomalies of all rows."""
    durations: dict[tuple[str, str], list[Duration]] = field(default_factory=dict)
    """(type, status) to the durations of steps that ended."""
    delays: list[float] = field(default_factory=list)
    """Seconds from the record's timestamp to the acknowledged insert, one a record."""
