"""What must be there for the daemon to work, looked at one by one, each answer with its fix.

`finding` is an answer; `offline` needs no service, `kafka` and `clickhouse` ask theirs whether all is there. Why it
does not get on nevertheless: `group` and `topic` ask Kafka, `guarantee` and `server` ClickHouse, `daemon` the daemons.
"""

from pipeline.tools.checks.clickhouse_access import clickhouse_findings
from pipeline.tools.checks.daemon_answers import daemon_findings
from pipeline.tools.checks.finding import Finding
from pipeline.tools.checks.group import group_findings
from pipeline.tools.checks.insert_guarantee import guarantee_findings
from pipeline.tools.checks.kafka_access import kafka_findings
from pipeline.tools.checks.offline import offline_findings

__all__ = [
    "Finding",
    "clickhouse_findings",
    "daemon_findings",
    "group_findings",
    "guarantee_findings",
    "kafka_findings",
    "offline_findings",
]
