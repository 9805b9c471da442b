"""Records that are small in Kafka and large in memory: the daemon reads past them within the memory that is shipped."""

from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaProducer

from pipeline.config import Settings
from tests.support.bombs import BOMBS
from tests.support.daemon import running_daemon
from tests.support.events import completed, wire
from tests.support.faulty_proxy import FaultyProxy, does_nothing
from tests.support.oracle import Place, place
from tests.support.outside_view import position_at_rest

MEGABYTE = 1 << 20
SHIPPED = 1 << 30
"""The limit of memory in deploy's Kubernetes, Compose and systemd files."""
BOUND = 832 * MEGABYTE
"""What the README and the operations guide state for the defaults."""
LARGEST = Settings().normalize.max_event_bytes


SIZES = {"just read": LARGEST, "too large": LARGEST + MEGABYTE // 2, "far too large": 24 * MEGABYTE}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("codec", [pytest.param("gzip", marks=pytest.mark.chaos), "zstd"])
def test_73_no_record_however_it_is_packed_lifts_the_process_over_its_bound(
    kafka: Any, clickhouse: Any, codec: str
) -> None:
    unlimited: dict[str, Any] = {"dead_letter__max_consecutive": 0, "dead_letter__max_ratio": 1}
    with (
        place(kafka, clickhouse) as there,
        FaultyProxy(clickhouse) as proxy,
        running_daemon(*there, clickhouse__url=proxy.url, http__stalled_after=10, **unlimited) as daemon,
    ):
        daemon.limit_memory(SHIPPED)
        with proxy.faulty(does_nothing, everything=True):
            sent = _produce(there, codec)
            position_at_rest(daemon)
        daemon.wait_until_accounted(300)
        peak = daemon.peak_memory()
        print(f"peak {peak / MEGABYTE:.0f} MiB ({codec})")
        assert _count(there, "run_step_ledger WHERE kafka_partition = 0", "DISTINCT kafka_offset") == sent
        assert _count(there, "run_steps_current WHERE status = 'completed'", "") >= len(SIZES) * len(BOMBS)
    assert peak < BOUND


def _produce(there: Place, codec: str) -> int:
    """Send bombs of all sizes, an honest record behind each; return how many records partition 0 has."""
    packing = {"compression_type": codec, "max_request_size": 1 << 30, "linger_ms": 0}
    sent = 0
    with closing(KafkaProducer(bootstrap_servers=there.kafka.bootstrap, **packing)) as producer:
        for size in SIZES.values():
            for make in BOMBS.values():
                for value in (make(size), wire(completed(sent))):
                    producer.send(there.topic, value=value, partition=0).get(60)
                    sent += 1
        if codec == "zstd":
            producer.send(there.topic, value=b" " * (700 * MEGABYTE), partition=0).get(60)
            sent += 1
        for _ in range(40):
            producer.send(there.topic, value=BOMBS["one long text"](LARGEST), partition=1)
        producer.flush()
    return sent


def _count(there: Place, rows: str, what: str) -> int:
    statement = "SELECT count({what}) FROM {database}.{rows}"
    return int(there.clickhouse.query(statement.format(what=what, database=there.database, rows=rows)))
