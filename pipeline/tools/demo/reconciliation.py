"""Compares, at the end of the demo, the offsets that Kafka holds with those in the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from pipeline.config import KafkaSettings, Settings
from pipeline.kafka.client import client_options, connect

_EMPTY_POLLS_AT_END: Final = 2
_POLL_TIMEOUT_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What Kafka holds and what the ledger has.

    Attributes:
        held: partition to the number of its records in Kafka.
        dead_letters: records in the dead-letter topic.
        recorded: partition to the number of distinct offsets in the ledger, and the highest of them.
        outcomes: outcome to the number of distinct offsets.
    """

    held: Mapping[int, int]
    dead_letters: int
    recorded: Mapping[int, tuple[int, int]]
    outcomes: Mapping[str, int]

    @property
    def read(self) -> int:
        """Return the number of records in the ledger, each offset once."""
        return sum(count for count, _ in self.recorded.values())

    def faults(self) -> list[str]:
        """Return the differences, a sentence each; empty when there are none."""
        faults = []
        for partition, end in sorted(self.held.items()):
            count, highest = self.recorded.get(partition, (0, -1))
            if (count, highest) != (end, end - 1):
                faults.append(
                    f"partition {partition}: Kafka holds {end} records, the ledger has {count}, up to offset {highest}"
                )
        if self.read != sum(self.outcomes.values()):
            faults.append(f"the ledger has {self.read} records, but {sum(self.outcomes.values())} outcomes")
        dead = self.outcomes.get("dead_lettered", 0)
        if dead > self.dead_letters:
            faults.append(
                f"the ledger has {dead} dead-lettered records, the dead-letter topic holds {self.dead_letters}"
            )
        return faults


def reconcile(settings: Settings, client: Any) -> Reconciliation:
    """Ask Kafka and the ledger.

    Raises:
        SourceUnavailable: Kafka cannot be reached.
    """
    ledger = f"{settings.clickhouse.database}.run_step_ledger FINAL"
    recorded = f"SELECT kafka_partition, uniqExact(kafka_offset), max(kafka_offset) FROM {ledger} GROUP BY 1"  # noqa: S608 - no foreign text
    # A record with several steps has a row for each step, and counts once.
    outcomes = f"SELECT outcome, uniqExact(kafka_partition, kafka_offset) FROM {ledger} GROUP BY 1"  # noqa: S608 - no foreign text
    held = held_records(settings.kafka, settings.kafka.topics[0])
    return Reconciliation(
        held=held,
        dead_letters=sum(held_records(settings.kafka, settings.dead_letter_topic).values()),
        recorded={row[0]: (row[1], row[2]) for row in client.query(recorded).result_rows},
        outcomes=dict(client.query(outcomes).result_rows),
    )


def held_records(settings: KafkaSettings, topic: str) -> dict[int, int]:
    """Return the offset behind the last record of each partition.

    The end offsets of the embedded broker lag behind, so the last records are read.

    Raises:
        SourceUnavailable: Kafka cannot be reached.
    """
    consumer = connect(KafkaConsumer, **client_options(settings), group_id=None, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        ends = consumer.end_offsets(partitions)
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, ends[partition])
        quiet = 0
        while quiet < _EMPTY_POLLS_AT_END:
            quiet = 0 if consumer.poll(_POLL_TIMEOUT_MS) else quiet + 1
        return {partition.partition: int(consumer.position(partition)) for partition in partitions}
    finally:
        consumer.close()
