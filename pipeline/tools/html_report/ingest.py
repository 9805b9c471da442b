"""The section about the pipeline itself, from the ledger: records read, their outcome, and the delay."""

from collections import Counter
from typing import Final

from pipeline.tools.html_report import tables
from pipeline.tools.html_report.page_queries import Answers
from pipeline.tools.html_report.period import Period, bucket_name
from pipeline.tools.html_report.plots import Caption, Figure, bars, counted, percentiles
from pipeline.tools.html_report.tables import PageTable

_OUTCOMES: Final = ("stored", "ignored", "dead_lettered")


def ingest(period: Period, answers: Answers) -> list[Figure | PageTable]:
    """Return the records by outcome, their delay, and the offsets by partition."""
    outcomes = [(row["outcome"], row["bucket"], row["records"]) for row in answers["records"]]
    return [
        bars(
            Caption(
                "records",
                "Records by outcome",
                "By the time at which they were read. A record with several steps counts once, with its worst outcome.",
                f"records per {bucket_name(period.width)}",
            ),
            period,
            counted(period, outcomes, _OUTCOMES),
        ),
        percentiles(
            Caption("delay", "Ingest delay", "From the Kafka timestamp of a record to its row.", "seconds"),
            period,
            answers["delay"],
        ),
        _reasons(answers),
        _partitions(answers),
    ]


def _reasons(answers: Answers) -> PageTable:
    counts: Counter[tuple[str, str]] = Counter()
    for row in answers["records"]:
        if row["outcome"] != "stored":
            counts[row["outcome"].replace("_", "-"), row["reason"]] += row["records"]
    return PageTable(
        "reasons",
        "Records that were not stored",
        "Dead letters are kept byte for byte in the dead-letter topic: `runstep dlq list` shows them.",
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
        "All records that were read in this time were stored.",
    )


def _partitions(answers: Answers) -> PageTable:
    return PageTable(
        "partitions",
        "Offsets by partition",
        "Distinct offsets of the records that were read in this time: read = stored + dead-lettered + ignored. A "
        "gap is an offset between the first and the last one that was not read. Transactions and compaction leave "
        "gaps; `runstep audit` explains each.",
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
