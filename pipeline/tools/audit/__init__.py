"""The audit: compares Kafka's offsets with the ledger, and the ledger with the steps. Reads only.

`kafka_side` reads what Kafka holds and what the group has committed, `ledger_side` what ClickHouse has, with
`step_states` for the steps. `comparison` compares both, and `account` holds the result and names the problems.
"""

from pipeline.tools.audit.account import Account, DeadLetterAccount, Gap, PartitionAccount, StepAccount
from pipeline.tools.audit.comparison import run_audit

__all__ = ["Account", "DeadLetterAccount", "Gap", "PartitionAccount", "StepAccount", "run_audit"]
