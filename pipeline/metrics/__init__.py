"""The metrics that the daemon exposes to Prometheus.

The *catalogue* says which metrics exist, *series* hold their numbers, *families* are what a scrape returns. `Metrics`
has the metrics of one process, `MergedMetrics` those of several workers, merged.
"""

from pipeline.metrics.merged import MergedMetrics
from pipeline.metrics.metrics import Metrics

__all__ = ("MergedMetrics", "Metrics")
