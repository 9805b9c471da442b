"""Everything that can go wrong outside the data, as exceptions; bad data is a value (`records.InvalidRecord`).

    RunstepError
    ├── ConfigError                  a setting is wrong; a command exits with 78
    └── ServiceUnavailable           a service does not do what was asked of it; a command exits with 69
        ├── SourceUnavailable        Kafka cannot be reached, or rejects the daemon's credentials
        ├── DeadLetterUnavailable    a dead letter was not acknowledged
        └── SinkError                ClickHouse did not accept an insert
            ├── SinkUnavailable      the same bytes can pass later (ambiguous, transient, environment, unknown)
            └── SinkRefused          these rows never pass as they are (shape, schema)

Retryability is a property of the class. Exceptions of the client libraries are mapped where they are raised: in `kafka`
and `clickhouse`.
"""

import os
from enum import StrEnum
from typing import ClassVar


class ErrorClass(StrEnum):
    """What a failed insert means; each has one action."""

    AMBIGUOUS = "ambiguous"
    TRANSIENT = "transient"
    ENVIRONMENT = "environment"
    SHAPE = "shape"
    SCHEMA = "schema"
    UNKNOWN = "unknown"


class RunstepError(Exception):
    """Base of everything this package raises on purpose.

    Attributes:
        exit_code: what the process ends with if nothing catches the exception; see `commands/_exit_codes.py`.
    """

    exit_code: ClassVar[int] = os.EX_UNAVAILABLE


class ConfigError(RunstepError):
    """A setting is missing, malformed or contradicts another; the message names it and the fix."""

    exit_code = os.EX_CONFIG


class ServiceUnavailable(RunstepError):
    """Kafka or ClickHouse does not answer or does not comply; the message says which, and why.

    The daemon waits and tries again. A command that cannot do without the service ends.
    """


class SourceUnavailable(ServiceUnavailable):
    """Kafka cannot be reached, or rejects the credentials; the message names the cause, never a credential."""


class DeadLetterUnavailable(ServiceUnavailable):
    """A dead letter was not acknowledged; its record must not be committed."""


class SinkError(ServiceUnavailable):
    """ClickHouse did not accept an insert.

    Attributes:
        error_class: what the failure means, hence what to do.
        code: the server's error code, None where it did not answer.
    """

    def __init__(self, message: str, error_class: ErrorClass, code: int | None = None) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.code = code


class SinkUnavailable(SinkError):
    """The same bytes can pass later: keep the batch, wait, try again with the same token."""


class SinkRefused(SinkError):
    """These rows never pass as they are: split the batch (shape), or find the row at fault (schema)."""
