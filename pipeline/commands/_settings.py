"""What every command needs first: the configuration file that was named, the settings, and where the tables are."""

import logging
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from pipeline import logs
from pipeline.config import EMBEDDED, ClickHouseSettings, Settings, load
from pipeline.errors import ConfigError

config_file: Final[ContextVar[Path | None]] = ContextVar("config_file", default=None)
"""What `--config` named; set by `pipeline.cli`."""


def settings_from_context(*, kafka_log_level: int = logging.WARNING) -> Settings:
    """Read all settings once, and set up the logs as they say.

    A command calls it first and passes the sections on.

    Args:
        kafka_log_level: what kafka-python may say; a command that names causes itself keeps it silent.

    Raises:
        ConfigError: with a line for every problem.
    """
    settings = load(config_file.get())
    logs.configure(settings.log, kafka_level=kafka_log_level)
    return settings


def store_settings(data: Path | None) -> ClickHouseSettings:
    """Return how to reach the tables, for a command that only reads; `data` is what `--data` named.

    Raises:
        ConfigError: a setting is wrong, or there is no such directory; the embedded ClickHouse would make an empty one.
    """
    settings = settings_from_context().clickhouse
    if data is not None:
        inner = data / "clickhouse"
        path = inner if inner.is_dir() else data
        settings = settings.model_copy(update={"url": SecretStr(f"{EMBEDDED}{path}")})
    if settings.is_embedded and not Path(settings.directory).is_dir():
        raise ConfigError(
            f"there is no data directory {settings.directory}; `runstep demo` says where it keeps its own"
        )
    return settings
