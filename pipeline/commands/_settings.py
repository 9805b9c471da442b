"""What every command is given by the command line as a whole: the configuration file, and through it the settings."""

import logging
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from pipeline import logs
from pipeline.config import Settings, load

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
