"""All sections together, what follows from them, and how they are shown without their secrets."""

import re
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from pipeline.config.kafka_section import KafkaSettings
from pipeline.config.sections import (
    MODEL_CONFIG,
    BatchSettings,
    ClickHouseSettings,
    DeadLetterSettings,
    HttpSettings,
    LogSettings,
    NormalizeSettings,
    RetrySettings,
    Seconds,
)

MASK: Final = "********"


class Settings(BaseModel):
    """All settings. Made by hand they come from no source and no relation is checked; `load` does both."""

    model_config = MODEL_CONFIG

    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    batch: BatchSettings = BatchSettings()
    dead_letter: DeadLetterSettings = DeadLetterSettings()
    normalize: NormalizeSettings = NormalizeSettings()
    retry: RetrySettings = RetrySettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    drain_timeout: Seconds = 25.0
    """Seconds after SIGTERM to write and commit what was read. Allow more than that before the process is killed."""

    @property
    def dead_letter_topic(self) -> str:
        """The topic of the dead letters, named or by default."""
        return self.dead_letter.topic or f"{self.kafka.topics[0]}.dlq"

    def masked(self) -> dict[str, Any]:
        """Return all values as plain nested data, in which every secret is `********`."""
        return {name: _masked(name, getattr(self, name)) for name in type(self).model_fields}


def mask_url(url: str) -> str:
    """Return the url with its password, and whatever a query string may carry, masked."""
    url = re.sub(r"(//[^/@:]*):.*@", rf"\1:{MASK}@", url)
    # Where the host is missing, what follows the name is no port.
    url = re.sub(rf"(//(?!\[)[^/@:]*):(?!\d+(?:[/?#]|$)|{re.escape(MASK)}).*", rf"\1:{MASK}", url)
    return re.sub(r"(?i)([?&][^=&]*(?:password|token|secret|key)[^=&]*)=[^&]*", rf"\1={MASK}", url)


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {inner: _masked(inner, getattr(value, inner)) for inner in type(value).model_fields}
    if isinstance(value, SecretStr):
        # The address is worth seeing; only what is secret in it is not.
        return mask_url(value.get_secret_value()) if name in {"url", "proxy"} else MASK
    if isinstance(value, tuple):
        return [_masked(name, item) for item in value]
    if isinstance(value, str):
        return mask_url(value) if "://" in value else value
    return value if isinstance(value, bool | int | float | None) else str(value)
