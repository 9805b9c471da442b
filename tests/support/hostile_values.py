"""Ids and names that a producer may choose, and that SQL, a URL, Grafana or a terminal might not take as data."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pydantic import SecretStr

from pipeline.clickhouse import ClickHouseSink
from pipeline.clickhouse.migrations import connected, migrate
from pipeline.config import ClickHouseSettings
from schemas.row import Row
from tests.servers.addresses import ClickHouseAddress
from tests.support.fakes.rows import columns_of, step_row

HOSTILE: Final = (
    "\\",
    "\\' OR 1=1 -- ",
    "' OR 1=1 -- ",
    "\\\\' OR 1=1 -- ",
    "\\')) OR 1=1 UNION ALL SELECT 1 -- ",
    '"',
    "`",
    "a&b",
    "a&var-run_id=other",
    "a#b",
    "a?b=c",
    "a/../b",
    "a%b",
    "%27 OR 1=1 -- ",
    "%5C%27",
    "a+b c",
    "line\nbreak\r\ttab",
    "nothing\0behind",
    "$__timeFilter(created_at)",
    "${step_id}",
    "$run_id",
    "[[step_id]]",
    "{braces}",
    "}",
    "a;b",
    "/* a",
    "a -- b",
    "$tag$a",
    "javascript:alert(1)",
    "日本語 😀",
)
WITH_COMMAS: Final = ("a,b", "',',", "$__conditionalAll(1=1, $tool)")
VALUES: Final = (*HOSTILE, *WITH_COMMAS)
ORDINARY: Final = "step_1"


@contextmanager
def hostile_steps(server: ClickHouseAddress) -> Iterator[str]:
    """Fill a database with a step and a dead letter for each value, which is its id and all its other names."""
    database = f"values_{uuid.uuid4().hex[:8]}"
    settings = ClickHouseSettings(url=SecretStr(server.url), database=database)
    with connected(settings) as client:
        migrate(client, settings)
    sink = ClickHouseSink(lambda: settings)
    for partition, outcome in enumerate(("stored", "dead_lettered")):
        rows = [_row(offset, value, partition, outcome) for offset, value in enumerate((*VALUES, ORDINARY))]
        sink.insert(columns_of(rows), outcome)
    sink.close()
    yield database
    server.query(f"DROP DATABASE `{database}`")


def _row(offset: int, value: str, partition: int, outcome: str) -> Row:
    names = dict.fromkeys(("step_id", "run_id", "assistant_id", "type", "status", "error_category"), value)
    texts = {"tool_names": [value], "error_fingerprint": value, "error_message": "", "step_details": ""}
    place = {"kafka_topic": value, "kafka_partition": partition, "outcome": outcome, "thread_id": "thread"}
    return step_row(offset, **names, **texts, **place)
