"""The dead-letter topic, for whoever cleans up: what lies there, one dead letter, and bringing dead letters back in.

`dead letters` knows the forms of what lies in the topic, `book` reads it, `originals` finds the record a dead letter tells of,
`transactions` writes all or nothing, `replay` decides and does.
"""

from pipeline.tools.dlq.dead_letter_records import DeadLetter, Identity, Outcome, dead_letter_of
from pipeline.tools.dlq.dead_letter_topic import Book, Origins, Selection
from pipeline.tools.dlq.replay import Decision, OnError, Replay, Report, Terms
from pipeline.tools.dlq.transactions import Superseded, Transactions

__all__ = [
    "Book",
    "DeadLetter",
    "Decision",
    "Identity",
    "OnError",
    "Origins",
    "Outcome",
    "Replay",
    "Report",
    "Selection",
    "Superseded",
    "Terms",
    "Transactions",
    "dead_letter_of",
]
