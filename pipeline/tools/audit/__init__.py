"""The proof: Kafka's offsets against the ledger, and the ledger against the steps. Asks only, changes nothing.

`kafka` knows what Kafka holds and what the group has committed, `tables` what ClickHouse has, `account` says what is
wrong between the two.
"""

from pipeline.tools.audit.account import Account, DeadLetterAccount, Gap, PartitionAccount, StepAccount
from pipeline.tools.audit.comparison import audit

__all__ = ["Account", "DeadLetterAccount", "Gap", "PartitionAccount", "StepAccount", "audit"]
