"""Real servers for the tests: Apache Kafka, ClickHouse and Prometheus as child processes, no Docker needed."""
