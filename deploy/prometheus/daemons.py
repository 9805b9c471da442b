"""Alerts on the daemons: can they be scraped, do they poll, can they read Kafka and insert into ClickHouse.

Alerts keep `instance` (and `worker`) where healthy daemons must not hide a faulty one.
"""

from collections.abc import Sequence
from typing import Final

from deploy.prometheus.rules import JOB, Alert, Record, Rule

COMMIT_FAILURES: Final = "job:runstep_commit_failures_per_commit:ratio_rate15m"


def rules() -> Sequence[Rule]:
    """Return the rules about the daemons."""
    return [*_presence(), *_health(), *_group()]


def _presence() -> list[Rule]:
    return [
        Alert(
            "RunStepDown",
            "absent(up{JOB} == 1)",
            "page",
            "No run-step daemon can be scraped",
            "No target of the job has answered a scrape for 2 minutes. Records stay in Kafka until a daemon reads "
            "them.",
            wait="2m",
            labels={"job": JOB},
        ),
        Alert(
            "RunStepDown",
            "up{JOB} == 0",
            "ticket",
            "Run-step daemon {{ $labels.instance }} cannot be scraped",
            "{{ $labels.instance }} has not answered a scrape for 5 minutes. If it is down, the other members of the "
            "group read its partitions.",
            wait="5m",
        ),
        Alert(
            "RunStepCrashLooping",
            "max by (job, instance, worker) (changes(process_start_time_seconds{JOB}[30m])) > 3",
            "page",
            "Run-step daemon {{ $labels.instance }} restarts repeatedly",
            "{{ $labels.instance }}, or one of its workers, has restarted {{ $value }} times within 30 minutes. "
            "After each restart it reads again what it had not committed: nothing is lost or doubled, but it may "
            "make no progress.",
            why="By worker, too: a supervisor restarts a dead worker, and its own start time does not change.",
        ),
        Alert(
            "RunStepVersionSkew",
            "count by (job) (count by (job, version, revision) (runstep_build_info{JOB})) > 1",
            "ticket",
            "{{ $value }} builds of the run-step daemon run side by side",
            "For an hour the daemons have run different versions or revisions: a rollout did not finish. They work "
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
            "{{ $labels.instance }} has not polled for more than 2 minutes: its loop hangs. The group reassigns its "
            "partitions after kafka.max_poll_interval; until then no daemon reads them.",
            why="A daemon that cannot read Kafka does not hang: RunStepKafkaUnavailable reports it.",
            wait="1m",
        ),
        Alert(
            "RunStepKafkaUnavailable",
            "max by (job, instance, worker) (runstep_source_available{JOB}) == 0",
            "page",
            "Run-step daemon {{ $labels.instance }} cannot read Kafka",
            "{{ $labels.instance }} has not been able to read Kafka for 5 minutes; /readyz names the cause. The "
            "daemon retries by itself. No record is lost while Kafka retains it.",
            why="Without Kafka the lag is unknown, so no alert on lag fires.",
            wait="5m",
        ),
        Alert(
            "RunStepClickHouseUnavailable",
            "max by (job, instance, worker) (runstep_sink_available{JOB}) == 0",
            "page",
            "ClickHouse accepts no inserts from {{ $labels.instance }}",
            "ClickHouse has accepted no insert from {{ $labels.instance }} for 5 minutes; /readyz names the cause. "
            "The daemon retries by itself. No record is lost while Kafka retains it.",
            why="Neither lag nor rows in memory show the last batch of a quiet topic: the writer holds it.",
            wait="5m",
        ),
    ]


def _group() -> list[Rule]:
    return [
        Alert(
            "RunStepRebalanceStorm",
            'sum by (job) (changes(runstep_rebalances_total{JOB, kind=~"revoked|lost"}[10m])) > 5',
            "ticket",
            "Partitions move repeatedly between the run-step daemons",
            "For 20 minutes the group has taken partitions from daemons more than 5 times in 10 minutes, now {{ "
            "$value }} times. Each time the next owner reads the unwritten rows again: nothing is lost or doubled, "
            "but delays grow.",
            why="The counter counts partitions; the number of its changes is the "
            "number of rebalances. A rolling restart causes some for minutes, so "
            "the alert waits longer.",
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
            "For 20 minutes more than 10 % of the offset commits had to be retried. The rows are in ClickHouse; "
            "their metrics wait for the commit. A daemon that restarts now reads the records again, which stores "
            "nothing twice.",
            why="A rebalance defers commits for seconds: on a quiet topic that is a "
            "large share, but not for 20 minutes.",
            wait="20m",
        ),
    ]
