"""The daemon's source of records: a member of the consumer group that loses nothing silently.

source           the `Source`: poll, commit, hold, halt, progress; and when the consumer is recreated
connecting       makes the consumer on a thread of its own
consumer         the consumer's options, what its rebalances report, and the troubles that `poll` does not show
partitions       the state of each partition (diagram), and the events that the owner fetches
positions        where each partition is read on, and what is committed for it
topic_identity   notices a topic that was deleted and recreated
recovery         what an exception of `poll` means, and what is done before the next one
broker_health    detects dead brokers and missing topics
"""

from pipeline.kafka.source.source import KafkaSource

__all__ = ["KafkaSource"]
