"""Everything that can go wrong outside the data, as exceptions; bad data is a value (`records.InvalidRecord`).

    RunstepError
    ├── ConfigError              a setting is wrong; exit 78
    ├── ServiceUnavailable       a command gives up on a service; exit 69
    ├── SourceUnavailable        Kafka cannot be reached or refuses us
    ├── DeadLetterUnavailable    a dead letter was not acknowledged
    └── SinkError                ClickHouse did not take an insert
        ├── SinkUnavailable      try the same bytes again (ambiguous, transient, environment, unknown)
        └── SinkRefused          these rows, as they are, never pass (shape, schema)

Retryability is a property of the class. Foreign exceptions are mapped at the seam: `source`, `sink`, `dead_letter`.
"""

from enum import StrEnum


class ErrorClass(StrEnum):
    """What a failed insert means; each has one action."""

    AMBIGUOUS = "ambiguous"
    TRANSIENT = "transient"
    ENVIRONMENT = "environment"
    SHAPE = "shape"
    SCHEMA = "schema"
    UNKNOWN = "unknown"


class RunstepError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigError(RunstepError):
    """A setting is missing, malformed or contradicts another; the message names it and the fix."""


class ServiceUnavailable(RunstepError):
    """A service that a command cannot do without is away; the message says which, and why."""


class SourceUnavailable(RunstepError):
    """Kafka cannot be reached or refuses us; the message names the cause, never a credential."""


class DeadLetterUnavailable(RunstepError):
    """A dead letter was not acknowledged; its record must not be committed."""


class SinkError(RunstepError):
    """ClickHouse did not take an insert.

    Attributes:
        error_class: what the failure means, hence what to do.
        code: the server's error code, None where it did not answer.
    """

    def __init__(self, message: str, error_class: ErrorClass, code: int | None = None) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.code = code


class SinkUnavailable(SinkError):
    """The same bytes can pass later: pause, keep the batch, try again with the same token."""


class SinkRefused(SinkError):
    """These rows never pass as they are: split them (shape), or find the guilty one (schema)."""
