"""Kafka, the only place where the daemon consumes.

`kafka` is the `Source`: a member of the group. `connecting` and `consumer` make the client; `partitions` knows which
are ours, `positions` where each is read on, `topics` which topic that is, `recovery` what an exception means, `brokers`
whether anybody answers.
"""

from pipeline.kafka.source.source import KafkaSource

__all__ = ["KafkaSource"]
