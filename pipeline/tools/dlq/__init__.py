"""Listing, showing and replaying the records of the dead-letter topic.

`dead_letter_records` knows the forms of its records, `dead_letter_topic` reads them, `originals` finds the original of
a dead letter, `transactions` writes atomically, `replay` decides what becomes of each dead letter, `trial` asks
whether the daemon would reject a record again.
"""

from pipeline.tools.dlq.dead_letter_records import DeadLetter, Identity, ReplayOutcome, dead_letter_of
from pipeline.tools.dlq.dead_letter_topic import DeadLetterTopic, Origins, Selection
from pipeline.tools.dlq.replay import Decision, OnError, Replay, ReplayPolicy, ReplayResult
from pipeline.tools.dlq.transactions import Superseded, Transactions
from pipeline.tools.dlq.trial import Trial

__all__ = [
    "DeadLetter",
    "DeadLetterTopic",
    "Decision",
    "Identity",
    "OnError",
    "Origins",
    "Replay",
    "ReplayOutcome",
    "ReplayPolicy",
    "ReplayResult",
    "Selection",
    "Superseded",
    "Transactions",
    "Trial",
    "dead_letter_of",
]
