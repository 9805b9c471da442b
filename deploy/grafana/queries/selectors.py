"""PromQL that several boards share: which series the variables at the top of a board select."""

from typing import Final

DAEMONS: Final = 'job=~"$job", instance=~"$instance"'
TOPICS: Final = f'{DAEMONS}, topic=~"$topic"'
PERCENTILES: Final = ((0.5, "p50", "A"), (0.95, "p95", "B"), (0.99, "p99", "C"))
"""Share, name in the legend, and id of the query."""
