"""Checks of `runstep check` and `runstep doctor`: what the daemon needs, one finding each, with its fix.

`finding` is what a check returns. `offline` needs no service; `kafka_access` and `clickhouse_access` check that all is
present. Deeper checks, for when everything is present and nothing moves: `group`, `transactions`, `quotas` and
`topic_settings` ask Kafka, `insert_guarantee` and `clickhouse_server` ask ClickHouse, `daemon_answers` the daemons.
"""

from pipeline.tools.checks.clickhouse_access import clickhouse_findings
from pipeline.tools.checks.daemon_answers import daemon_findings
from pipeline.tools.checks.finding import UNKNOWN, Finding, guarded
from pipeline.tools.checks.group import group_findings
from pipeline.tools.checks.insert_guarantee import guarantee_findings
from pipeline.tools.checks.kafka_access import kafka_findings
from pipeline.tools.checks.offline import offline_findings

__all__ = [
    "UNKNOWN",
    "Finding",
    "clickhouse_findings",
    "daemon_findings",
    "group_findings",
    "guarantee_findings",
    "guarded",
    "kafka_findings",
    "offline_findings",
]
