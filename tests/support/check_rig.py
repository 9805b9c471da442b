"""What the tests of `check` and `doctor` share: a pipeline whose every part is there, as the environment names it."""

from collections.abc import Callable
from typing import Final

import pytest
from pydantic import SecretStr

from pipeline.clickhouse import connect
from pipeline.clickhouse.migrations import migrate
from pipeline.config import ClickHouseSettings
from tests.servers.addresses import ClickHouseAddress, KafkaAddress

SMALL: Final = {"max.message.bytes": "1048588"}
"""As Kafka makes topics by default; the test brokers are more generous."""
LARGE: Final = {"max.message.bytes": "33554432"}
"""As `migrate --topics` makes the dead letters."""


def complete_pipeline(
    kafka: KafkaAddress,
    clickhouse: ClickHouseAddress,
    topic: Callable[..., str],
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """Make topics and tables, and set the environment so that commands find them; return it."""
    names = {
        "RUNSTEP_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
        "RUNSTEP_KAFKA__TOPICS": topic(partitions=3, config=SMALL),
        "RUNSTEP_DEAD_LETTER__TOPIC": topic(config=LARGE),
        "RUNSTEP_CLICKHOUSE__URL": clickhouse.url,
        "RUNSTEP_CLICKHOUSE__DATABASE": database,
    }
    names["RUNSTEP_KAFKA__GROUP_ID"] = f"group-{names['RUNSTEP_KAFKA__TOPICS']}"
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    migrated(clickhouse.url, database)
    return names


def migrated(url: str, database: str) -> None:
    """Make the tables."""
    settings = ClickHouseSettings(url=SecretStr(url), database=database)
    client = connect(settings)
    migrate(client, settings)
    client.close()
