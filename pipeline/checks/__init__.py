"""What must be there for the daemon to work, looked at one by one, each answer with its cure.

`finding` is an answer; `offline` needs no service, `kafka` and `clickhouse` ask theirs.
"""

from pipeline.checks.clickhouse import clickhouse_findings
from pipeline.checks.finding import Finding
from pipeline.checks.kafka import kafka_findings
from pipeline.checks.offline import offline_findings

__all__ = ["Finding", "clickhouse_findings", "kafka_findings", "offline_findings"]
