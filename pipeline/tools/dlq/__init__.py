"""The dead-letter topic, for whoever cleans up: what lies there, one letter, and bringing letters back in.

`letters` knows the forms of what lies in the topic, `book` reads it, `originals` finds the record a letter tells of,
`transactions` writes all or nothing, `replay` decides and does.
"""

from pipeline.tools.dlq.book import Book, Origins, Selection
from pipeline.tools.dlq.dead_letter_records import Identity, Letter, Outcome, letter_of
from pipeline.tools.dlq.replay import Decision, OnError, Replay, Report, Terms
from pipeline.tools.dlq.transactions import Superseded, Transactions

__all__ = [
    "Book",
    "Decision",
    "Identity",
    "Letter",
    "OnError",
    "Origins",
    "Outcome",
    "Replay",
    "Report",
    "Selection",
    "Superseded",
    "Terms",
    "Transactions",
    "letter_of",
]
