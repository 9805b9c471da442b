"""Alerts on the content of the records: are they run steps, are they sound, do the steps take long."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from deploy.prometheus.objectives import number
from deploy.prometheus.rules import Alert, Record, Rule

DEAD_LETTERS: Final = "job:runstep_dead_letters_per_record:ratio_rate15m"
ANOMALIES: Final = "job_anomaly:runstep_anomalies_per_record:ratio_rate"
P95: Final = "job_type:runstep_step_duration_seconds:p95_1h"


def rules(p95_seconds: Decimal) -> Sequence[Rule]:
    """Return the rules about the records' content and the steps' durations."""
    return [*_rejected(), *_doubtful(), *_slow(p95_seconds)]


def _rejected() -> list[Rule]:
    return [
        Alert(
            "RunStepDeadLetters",
            'sum by (job, reason) (increase(runstep_records_total{JOB, outcome="dead_lettered"}[15m])) > 0',
            "ticket",
            "Records are dead-lettered: {{ $labels.reason }}",
            "In the last 15 minutes records were rejected with the reason {{ $labels.reason }}. Their original bytes "
            "are in the dead-letter topic.",
        ),
        Record(
            DEAD_LETTERS,
            """
            sum by (job) (rate(runstep_records_total{JOB, outcome="dead_lettered"}[15m]))
            / (sum by (job) (rate(runstep_records_total{JOB, outcome=~"stored|dead_lettered"}[15m])) > 0)
            """,
            "Ignored records are not steps: among many deltas, a share of all records would hide that every step is "
            "rejected.",
        ),
        Alert(
            "RunStepInvalidEventsHigh",
            f"""
            {DEAD_LETTERS}{{JOB}} > 0.05
            and sum by (job) (increase(runstep_records_total{{JOB, outcome="dead_lettered"}}[15m])) >= 20
            """,
            "page",
            "{{ $value | humanizePercentage }} of the run-step records are rejected",
            "For 5 minutes more than 5 % of the records that should hold a run step have been dead-lettered: most "
            "likely a producer changed what it sends. Tables and metrics lack these steps until they are replayed; "
            "their original bytes are in the dead-letter topic.",
            wait="5m",
        ),
    ]


def _doubtful() -> list[Rule]:
    records = [
        Record(
            f"{ANOMALIES}{window}",
            f"""
            sum by (job, anomaly) (rate(runstep_anomalies_total{{JOB}}[{window}]))
            / on (job) group_left () (sum by (job) (rate(runstep_records_total{{JOB, outcome="stored"}}[{window}])) > 0)
            """,
        )
        for window in ("1h", "1d")
    ]
    return [
        *records,
        Alert(
            "RunStepAnomaliesSurge",
            f"""
            {ANOMALIES}1h{{JOB}}
              > 0.05 + {ANOMALIES}1d{{JOB}}
            and sum by (job, anomaly) (increase(runstep_anomalies_total{{JOB}}[1h])) >= 20
            """,
            "ticket",
            "{{ $labels.anomaly }} in {{ $value | humanizePercentage }} of the stored records",
            "In the last hour the share of records with the anomaly {{ $labels.anomaly }} was more than 5 percentage "
            "points above that of the last day: most likely a producer changed what it sends. The steps are stored; "
            "their column anomalies names what was repaired or is doubtful.",
            why="Some producers always send values that need repair; only a change fires, for up to a day.",
            wait="15m",
        ),
    ]


def _slow(p95_seconds: Decimal) -> list[Rule]:
    ended = 'runstep_step_duration_seconds_{}{{JOB, status="completed"}}[1h]'
    return [
        Record(
            P95,
            f"""
            histogram_quantile(0.95,
              sum by (job, type, le) (rate({ended.format("bucket")}))
            )
            """,
            "Completed steps only: an expired step lasts until its run expires, and counts as a failure already.",
        ),
        Alert(
            "RunStepStepP95Slow",
            f"""
            {P95}{{JOB}} > {number(p95_seconds)}
            and sum by (job, type) (increase({ended.format("count")})) >= 100
            """,
            "ticket",
            "{{ $labels.type }} steps take long: p95 {{ $value | humanizeDuration }}",
            f"One in 20 {{{{ $labels.type }}}} steps that completed in the last hour took longer than "
            f"{{{{ $value | humanizeDuration }}}}; the limit is {number(p95_seconds)} s. The agents, their models "
            "or their tools are slow, not the pipeline.",
            wait="15m",
            team="agents",
        ),
    ]
