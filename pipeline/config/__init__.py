"""Settings: what they are, where they come from, and which relations between them must hold.

Sources, the later ones win: `runstep.toml`, the environment (`RUNSTEP_SECTION__KEY`), secrets from files. Durations are
in seconds, sizes in bytes. Everything is frozen and checked at start, and but for credentials stays as it was then;
secrets are `SecretStr` and never printed.

`kafka`, `sections`, `settings` say what there is; `names` how it is called; `layers` reads the sources; `relations`
checks what fields alone cannot; `loading` puts it together; `reloading` follows credentials
that change; `reference` writes the README's table.
"""

from pipeline.config.kafka_section import KafkaSettings
from pipeline.config.loading import Loaded, load, load_with_origins
from pipeline.config.reference import settings_table
from pipeline.config.reloading import Reloadable
from pipeline.config.sections import (
    BatchSettings,
    ClickHouseSettings,
    DeadLetterSettings,
    HttpSettings,
    LogSettings,
    NormalizeSettings,
    RetrySettings,
)
from pipeline.config.settings import MASK, Settings, mask_url
from pipeline.config.values import CommaList, Seconds, Section

__all__ = [
    "MASK",
    "BatchSettings",
    "ClickHouseSettings",
    "CommaList",
    "DeadLetterSettings",
    "HttpSettings",
    "KafkaSettings",
    "Loaded",
    "LogSettings",
    "NormalizeSettings",
    "Reloadable",
    "RetrySettings",
    "Seconds",
    "Section",
    "Settings",
    "load",
    "load_with_origins",
    "mask_url",
    "settings_table",
]
