"""What the daemon tells Prometheus.

Three nouns: the *catalogue* says which metrics there are, *series* hold their numbers, and *families* are how a scrape
sees them. `Metrics` is the metrics of one process, `MergedMetrics` those of several workers seen as one.
"""

from pipeline.metrics.merged import MergedMetrics
from pipeline.metrics.metrics import Metrics

__all__ = ("MergedMetrics", "Metrics")
