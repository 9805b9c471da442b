"""Settings: what they are, where they come from, and which relations between them must hold.

Sources, the later ones win: `runstep.toml`, the environment (`RUNSTEP_SECTION__KEY`), secrets from files. Durations are
in seconds, sizes in bytes. Everything is frozen and checked at start, and but for credentials stays as it was then;
secrets are `SecretStr` and never printed.

`kafka_section`, `sections` and `settings` define the settings; `names` names them and writes the table of them all;
`layers` reads the sources; `relations` and `security` check what a field alone cannot, `destinations` where secrets go;
`loading` merges and validates; `reloading` follows credentials that change. To add a setting, add a field with a
docstring to its section.
"""

from pipeline.config.kafka_section import KafkaSettings
from pipeline.config.loading import Loaded, load, load_with_origins
from pipeline.config.names import settings_table
from pipeline.config.reloading import Reloadable
from pipeline.config.sections import (
    EMBEDDED,
    BatchSettings,
    ClickHouseSettings,
    DeadLetterSettings,
    HttpSettings,
    LogSettings,
    NormalizeSettings,
    RetrySettings,
    Section,
    host_port,
)
from pipeline.config.settings import MASK, Settings, mask_url

__all__ = [
    "EMBEDDED",
    "MASK",
    "BatchSettings",
    "ClickHouseSettings",
    "DeadLetterSettings",
    "HttpSettings",
    "KafkaSettings",
    "Loaded",
    "LogSettings",
    "NormalizeSettings",
    "Reloadable",
    "RetrySettings",
    "Section",
    "Settings",
    "host_port",
    "load",
    "load_with_origins",
    "mask_url",
    "settings_table",
]
