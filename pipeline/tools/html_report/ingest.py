"""The section about the pipeline itself, from the ledger: what was read, what became of it, and how soon."""

from collections import Counter
from typing import Final

from pipeline.tools.html_report import tables
from pipeline.tools.html_report.figures import Figure, Words, bars, counted, percentiles
from pipeline.tools.html_report.period import Period, span
from pipeline.tools.html_report.questions import Answers
from pipeline.tools.html_report.tables import Table

_OUTCOMES: Final = ("stored", "ignored", "dead_lettered")


def ingest(period: Period, answers: Answers) -> list[Figure | Table]:
    """Return the account of the records."""
    outcomes = [(row["outcome"], row["bucket"], row["records"]) for row in answers["records"]]
    return [
        bars(
            Words(
                "records",
                "Records by outcome",
                "By the time at which they were read. A record with several steps counts once, as its worst.",
                f"records per {span(period.width)}",
            ),
            period,
            counted(period, outcomes, _OUTCOMES),
        ),
        percentiles(
            Words("delay", "Ingest delay", "From Kafka's timestamp of a record to the making of its row.", "seconds"),
            period,
            answers["delay"],
        ),
        _reasons(answers),
        _partitions(answers),
    ]


def _reasons(answers: Answers) -> Table:
    counts: Counter[tuple[str, str]] = Counter()
    for row in answers["records"]:
        if row["outcome"] != "stored":
            counts[row["outcome"].replace("_", "-"), row["reason"]] += row["records"]
    return Table(
        "reasons",
        "Records that were not stored",
        "Dead dead letters are kept byte for byte in their own topic: runstep dlq list shows them.",
        [
            tables.word("outcome", "outcome"),
            tables.word("reason", "reason"),
            tables.number("records", "records"),
        ],
        [
            {"outcome": outcome, "reason": reason, "records": records}
            for (outcome, reason), records in sorted(
                counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1])
            )
        ],
        "Every record that was read in this time was stored.",
    )


def _partitions(answers: Answers) -> Table:
    return Table(
        "partitions",
        "The account by partition",
        "Distinct offsets of the records that were read in this time: read = stored + dead-lettered + ignored. A "
        "gap is an offset between the first and the last that is not among them; transactions and compaction leave "
        "some, and runstep audit says what each one is.",
        [
            tables.word("topic", "topic"),
            tables.number("partition", "partition"),
            tables.number("read", "records"),
            tables.number("stored", "stored"),
            tables.number("dead-lettered", "dead_lettered"),
            tables.number("ignored", "ignored"),
            tables.number("first offset", "first_offset"),
            tables.number("last offset", "last_offset"),
            tables.number("gaps", "gaps"),
            tables.time("last read", "newest"),
        ],
        answers["partitions"],
        "No record was read in this time.",
    )
