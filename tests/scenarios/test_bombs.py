"""Records that are small in Kafka and large in memory: the daemon reads past them within the memory that is shipped."""

from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaProducer

from pipeline.config import Settings
from tests.support.bombs import BOMBS
from tests.support.daemon import running_daemon
from tests.support.events import completed, wire
from tests.support.oracle import Place, place

MEGABYTE = 1 << 20
SHIPPED = 1 << 30
"""The limit of memory in deploy's Kubernetes, Compose and systemd files."""
BOUND = 832 * MEGABYTE
"""What the README and the operations guide state for the defaults."""
LARGEST = Settings().normalize.max_event_bytes


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_73_no_record_however_it_is_packed_lifts_the_process_over_its_bound(
    kafka: Any, clickhouse: Any, codec: str
) -> None:
    sizes = {"just read": LARGEST, "too large": LARGEST + MEGABYTE // 2, "far too large": 24 * MEGABYTE}
    with place(kafka, clickhouse) as there:
        sent = 0
        packing = {"compression_type": codec, "max_request_size": 1 << 30, "linger_ms": 0}
        with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap, **packing)) as producer:
            for size in sizes.values():
                for make in BOMBS.values():
                    for value in (make(size), wire(completed(sent))):
                        producer.send(there.topic, value=value, partition=0).get(60)
                        sent += 1
            if codec == "zstd":
                producer.send(there.topic, value=b" " * (700 * MEGABYTE), partition=0).get(60)
                sent += 1
            for _ in range(8):
                producer.send(there.topic, value=BOMBS["one long text"](LARGEST), partition=1)
            producer.flush()
        unlimited: dict[str, Any] = {
            "dead_letter__max_consecutive": 0,
            "dead_letter__max_ratio": 1,
            "http__stalled_after": 10,
        }
        with running_daemon(*there, **unlimited) as daemon:
            daemon.limit_memory(SHIPPED)
            daemon.wait_until_accounted(300)
            peak = daemon.peak_memory()
        print(f"peak {peak / MEGABYTE:.0f} MiB ({codec})")
        assert _count(there, "run_step_ledger WHERE kafka_partition = 0", "DISTINCT kafka_offset") == sent
        assert _count(there, "run_steps_current WHERE status = 'completed'", "") >= len(sizes) * len(BOMBS)
        assert peak < BOUND


def _count(there: Place, rows: str, what: str) -> int:
    statement = "SELECT count({what}) FROM {database}.{rows}"
    return int(there.clickhouse.query(statement.format(what=what, database=there.database, rows=rows)))
