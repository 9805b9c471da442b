"""Where a command that only reads finds the tables: on the server of the settings, or in an embedded data directory."""

from pathlib import Path

from pydantic import SecretStr

from pipeline.clickhouse.connection import EMBEDDED, is_embedded
from pipeline.commands._settings import settings_from_context
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError


def store_settings(data: Path | None) -> ClickHouseSettings:
    """Return how to reach the tables; `data` is what `--data` named.

    Raises:
        ConfigError: a setting is wrong, or there is no such directory; the embedded ClickHouse would make an empty one.
    """
    settings = settings_from_context().clickhouse
    if data is not None:
        inner = data / "clickhouse"
        path = inner if inner.is_dir() else data
        settings = settings.model_copy(update={"url": SecretStr(f"{EMBEDDED}{path}")})
    place = settings.url.get_secret_value().removeprefix(EMBEDDED)
    if is_embedded(settings) and not Path(place).is_dir():
        raise ConfigError(f"there is no data directory {place}; `runstep demo` says where it keeps its own")
    return settings
