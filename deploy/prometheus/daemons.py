"""Alerts on the daemons themselves: are they there, do they run, do they read Kafka, does ClickHouse answer them.

Alerts keep `instance` (and `worker`) where one daemon in trouble must not hide behind healthy ones.
"""

from collections.abc import Sequence
from typing import Final

from deploy.prometheus.rules import JOB, Alert, Record, Rule

COMMIT_FAILURES: Final = "job:runstep_commit_failures_per_commit:ratio_rate15m"


def rules() -> Sequence[Rule]:
    """Return everything about the daemons."""
    return [*_presence(), *_health(), *_group()]


def _presence() -> list[Rule]:
    return [
        Alert(
            "RunStepDown",
            "absent(up{JOB} == 1)",
            "page",
            "No run-step daemon can be scraped",
            "No target of the job has answered a scrape for 2 minutes. Records stay in Kafka until a daemon reads them "
            "again.",
            wait="2m",
            labels={"job": JOB},
        ),
        Alert(
            "RunStepDown",
            "up{JOB} == 0",
            "ticket",
            "Run-step daemon {{ $labels.instance }} cannot be scraped",
            "{{ $labels.instance }} has not answered a scrape for 5 minutes. The other members of the group read its "
            "partitions.",
            wait="5m",
        ),
        Alert(
            "RunStepCrashLooping",
            "max by (job, instance, worker) (changes(process_start_time_seconds{JOB}[30m])) > 3",
            "page",
            "Run-step daemon {{ $labels.instance }} is started again and again",
            "{{ $labels.instance }}, or a worker of it, has been started again {{ $value }} times within 30 minutes. "
            "What it had not committed is read again each time, so nothing is lost or doubled, but it may never get "
            "past it.",
            why="A worker that dies is started again by its supervisor, whose own time stays: hence by worker, too.",
        ),
        Alert(
            "RunStepVersionSkew",
            "count by (job) (count by (job, version, revision) (runstep_build_info{JOB})) > 1",
            "ticket",
            "{{ $value }} builds of the run-step daemon run side by side",
            "For an hour the daemons have not been of one version and revision: a rollout did not end. They can work "
            "side by side, but may count and normalize differently.",
            wait="1h",
        ),
    ]


def _health() -> list[Rule]:
    return [
        Alert(
            "RunStepConsumerStuck",
            """
            time() - max by (job, instance, worker) (runstep_last_poll_timestamp_seconds{JOB}) > 120
            unless max by (job, instance, worker) (runstep_source_available{JOB}) == 0
            """,
            "page",
            "Run-step daemon {{ $labels.instance }} does not poll Kafka",
            "The loop of {{ $labels.instance }} has not polled for more than 2 minutes. Kafka takes its partitions "
            "away after the poll interval; until then nobody reads them.",
            why="A loop that Kafka does not let poll goes on all the same: RunStepKafkaUnavailable tells of it.",
            wait="1m",
        ),
        Alert(
            "RunStepKafkaUnavailable",
            "max by (job, instance, worker) (runstep_source_available{JOB}) == 0",
            "page",
            "Run-step daemon {{ $labels.instance }} cannot read Kafka",
            "{{ $labels.instance }} has not been able to read Kafka for 5 minutes; /readyz names the cause. Nothing is "
            "lost while Kafka retains it.",
            why="While Kafka is away nobody knows the lag, so no alert on lag can tell of it.",
            wait="5m",
        ),
        Alert(
            "RunStepClickHouseUnavailable",
            "max by (job, instance, worker) (runstep_sink_available{JOB}) == 0",
            "page",
            "ClickHouse takes no inserts of {{ $labels.instance }}",
            "ClickHouse has taken no insert of {{ $labels.instance }} for 5 minutes; /readyz names the cause. The "
            "daemon tries again by itself. Nothing is lost while Kafka retains it.",
            why="The last batch of a topic that falls quiet is with the writer: neither lag nor rows in memory tell of "
            "it.",
            wait="5m",
        ),
    ]


def _group() -> list[Rule]:
    return [
        Alert(
            "RunStepRebalanceStorm",
            'sum by (job) (changes(runstep_rebalances_total{JOB, kind=~"revoked|lost"}[10m])) > 5',
            "ticket",
            "Partitions move between the run-step daemons again and again",
            "For 20 minutes daemons have had partitions taken away more than five times in ten minutes, last "
            "{{ $value }} times. Each time their unwritten rows are read again by the next owner: nothing is lost or "
            "doubled, but delays grow.",
            why="The counter counts partitions; how often it changed is how often some were taken away, however many. "
            "A rolling restart does so for minutes, so the alert waits longer.",
            wait="20m",
        ),
        Record(
            COMMIT_FAILURES,
            """
            sum by (job) (rate(runstep_commits_total{JOB, outcome="deferred"}[15m]))
            / (sum by (job) (rate(runstep_commits_total{JOB}[15m])) > 0)
            """,
        ),
        Alert(
            "RunStepCommitErrors",
            f"{COMMIT_FAILURES}{{JOB}} > 0.1",
            "ticket",
            "{{ $value | humanizePercentage }} of the offset commits do not succeed",
            "More than 10 % of the commits have had to be tried again for 20 minutes. The rows are in ClickHouse; "
            "their metrics wait for the commit, and a daemon that restarts now reads them again, which stores nothing "
            "twice.",
            why="A rebalance defers commits for seconds: on a quiet topic that is a large share, but not for so long.",
            wait="20m",
        ),
    ]
