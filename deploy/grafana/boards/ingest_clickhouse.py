"""The panels about ClickHouse on the board "Ingest pipeline": inserts, retries, rows in memory."""

from collections.abc import Sequence
from typing import Any

from deploy.grafana.prometheus_panels import lines, promql, states
from deploy.grafana.queries.selectors import DAEMONS, PERCENTILES
from deploy.grafana.style import YES_NO, Caption, Limits, coloured


def panels() -> Sequence[Any]:
    """Return the panels of the row "Into ClickHouse"."""
    return (_inserts(), _insert_duration(), _insert_rows(), _retries(), _sink(), _buffer())


def _inserts() -> Any:
    panel = lines(
        Caption(
            "Inserts by outcome",
            "Inserts per second. A failed insert is retried with the same rows and the same deduplication token.",
            "suffix:/s",
        ),
        [promql(f"sum by (outcome) (rate(runstep_inserts_total{{{DAEMONS}}}[$__rate_interval]))", "{{outcome}}")],
        stacked=True,
    )
    return coloured(panel, "ok", "failed")


def _insert_duration() -> Any:
    durations = f"runstep_insert_duration_seconds_bucket{{{DAEMONS}}}"
    by_bucket = f"sum by (le, outcome) (rate({durations}[$__rate_interval]))"
    return lines(
        Caption("Insert duration", "Time until ClickHouse acknowledges an insert, or until the insert fails.", "s"),
        [
            promql(f"histogram_quantile({share}, {by_bucket}) >= 0", f"{name} {{{{outcome}}}}", ref)
            for share, name, ref in PERCENTILES
        ],
        Limits(warn=5, bad=30),
    )


def _insert_rows() -> Any:
    total = f"sum(rate(runstep_insert_rows_sum{{{DAEMONS}}}[$__rate_interval]))"
    inserts = f"(sum(rate(runstep_insert_rows_count{{{DAEMONS}}}[$__rate_interval])) > 0)"
    return lines(
        Caption(
            "Rows per insert",
            "Mean rows per successful insert. ClickHouse works best with thousands; many small inserts create too "
            "many parts.",
            "short",
        ),
        [promql(f"{total} / {inserts}", "rows")],
    )


def _retries() -> Any:
    return lines(
        Caption(
            "Insert retries by class",
            "Why inserts were retried, by error class. environment needs an operator: a missing table, credentials, "
            "a full disk. Split: an insert was too large, for the server (shape) or for the way to it (ambiguous).",
            "suffix:/s",
        ),
        [
            promql(
                f"sum by (error_class) (rate(runstep_insert_retries_total{{{DAEMONS}}}[$__rate_interval])) > 0",
                "{{error_class}}",
            ),
            promql(
                f"sum by (error_class) (rate(runstep_insert_splits_total{{{DAEMONS}}}[$__rate_interval]))",
                "split: {{error_class}}",
                "B",
            ),
        ],
        stacked=True,
    )


def _sink() -> Any:
    panel = states(
        Caption(
            "ClickHouse takes inserts, by daemon",
            "As each daemon sees it. Red: the daemon pauses reading, and nothing is lost.",
            "short",
        ),
        promql(f"min by (instance) (runstep_sink_available{{{DAEMONS}}})", "{{instance}}"),
        YES_NO,
    )
    return panel.span(8)


def _buffer() -> Any:
    return lines(
        Caption("Rows in memory", "Rows that wait to be inserted, by daemon.", "short"),
        [promql(f"sum by (instance) (runstep_buffer_rows{{{DAEMONS}}})", "{{instance}}")],
    )
