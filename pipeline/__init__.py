"""The run-step telemetry pipeline: Kafka records in, ClickHouse rows and Prometheus metrics out.

Three nouns: a *record* is a Kafka message, an *event* is the run step it carries, a *row* is what the tables keep.
Start reading at `processor`, which is the whole pipeline on one screen.
"""

__version__ = "0.1.0"
