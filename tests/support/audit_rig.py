"""A pipeline at rest for `runstep audit`: records, rows and committed offsets, each put there by hand.

pipeline.produce(0, 10); pipeline.store(0, range(10)); pipeline.commit({0: 10})
code, answer = pipeline.audit()
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata
from pydantic import SecretStr

from pipeline.cli import execute
from pipeline.clickhouse import ClickHouseSink
from pipeline.config import ClickHouseSettings
from tests.servers.addresses import ClickHouseAddress
from tests.support.fakes.rows import columns_of, step_row, unstored_row

STAMP: Final = 1_790_000_000_000


class Pipeline:
    """Topic, tables and group, as `complete_pipeline` has made them."""

    def __init__(self, environ: Mapping[str, str], clickhouse: ClickHouseAddress) -> None:
        self._environ = environ
        self._clickhouse = clickhouse
        self.bootstrap = environ["RUNSTEP_KAFKA__BOOTSTRAP_SERVERS"]
        self.topic = environ["RUNSTEP_KAFKA__TOPICS"]
        self.dead_letters = environ["RUNSTEP_DEAD_LETTER__TOPIC"]
        self.database = environ["RUNSTEP_CLICKHOUSE__DATABASE"]

    def produce(self, partition: int, number: int, *, topic: str = "", headers: Sequence[Any] = ()) -> None:
        """Append records."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap)
        for _ in range(number):
            producer.send(topic or self.topic, b"{}", partition=partition, headers=list(headers))
        producer.close()

    def transact(self, partition: int, number: int, *, abort: bool) -> None:
        """Append records and the marker behind them."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, transactional_id=f"audit-{self.topic}")
        producer.init_transactions()
        producer.begin_transaction()
        for _ in range(number):
            producer.send(self.topic, b"{}", partition=partition)
        producer.flush()
        producer.abort_transaction() if abort else producer.commit_transaction()
        producer.close()

    def dead_letter(self, partition: int, offset: int) -> None:
        """Append a dead letter."""
        said = {"runstep-reason": "x", "runstep-topic": self.topic, "runstep-partition": partition}
        headers = [(name, str(text).encode()) for name, text in {**said, "runstep-offset": offset}.items()]
        self.produce(0, 1, topic=self.dead_letters, headers=headers)

    def store(self, partition: int, offsets: Iterable[int], *, stamp: int = STAMP, **changes: Any) -> None:
        """Insert a step a record."""
        named = {"kafka_topic": self.topic, "kafka_partition": partition, "kafka_timestamp": stamp}
        self.insert(
            [step_row(offset, **{"step_id": f"s{partition}-{offset}", **named, **changes}) for offset in offsets]
        )

    def refuse(self, partition: int, offsets: Iterable[int], outcome: str = "dead_lettered", **changes: Any) -> None:
        """Insert ledger rows without a step."""
        named = {"kafka_topic": self.topic, "kafka_partition": partition, "kafka_timestamp": STAMP}
        named |= {"outcome": outcome, "reason": "not_utf8", **changes}
        self.insert([unstored_row(offset, **named) for offset in offsets])

    def insert(self, rows: Sequence[Any]) -> None:
        """Insert rows as the daemon does."""
        settings = ClickHouseSettings(url=SecretStr(self._clickhouse.url), database=self.database)
        sink = ClickHouseSink(lambda: settings)
        sink.insert(columns_of(rows), f"audit-{hash(str(rows))}")
        sink.close()

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit the group's next offsets."""
        group = self._environ["RUNSTEP_KAFKA__GROUP_ID"]
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
        places = {TopicPartition(self.topic, number): offset for number, offset in offsets.items()}
        consumer.assign(list(places))
        consumer.commit({place: OffsetAndMetadata(offset, "", -1) for place, offset in places.items()})
        consumer.close()

    def expire(self, partition: int, below: int, topic: str = "") -> None:
        """Let Kafka drop records."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        admin.delete_records({TopicPartition(topic or self.topic, partition): below})
        admin.close()

    def recreate(self) -> None:
        """Delete the topic, and with it the group's offsets, and create it again without records."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        (described,) = admin.describe_topics([self.topic])
        admin.delete_topics([self.topic])
        while True:
            try:
                admin.create_topics([NewTopic(self.topic, len(described["partitions"]), 1)], wait_for_metadata=True)
                break
            except TopicAlreadyExistsError:
                continue
        admin.close()

    def sql(self, statement: str) -> str:
        """Run a statement, `{db}` being the database."""
        return self._clickhouse.query(statement.replace("{db}", self.database))

    def audit(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Return exit code and answer of `runstep audit --json`."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = execute(["audit", "--json", *options])
        return code, {**json.loads(out.getvalue()), "error": err.getvalue()}
