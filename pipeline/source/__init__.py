"""Kafka, the only place where the daemon consumes.

`kafka` is the `Source`: a member of the group. `consumer` makes the client and asks it questions, `positions` knows
where each partition is read on.
"""

from pipeline.source.kafka import KafkaSource

__all__ = ["KafkaSource"]
