"""Structured logs: one form for the lines of the daemon and of the libraries, without secrets and record values.

Owns what a line may show. Each line of the daemon has a stable key as its `event` (`insert_retrying`), to search for
and to alert on, and a sentence as its `message`. kafka-python logs up to 450 lines a second when something is wrong,
and passwords at the level DEBUG: it is kept at WARNING, and at a few lines a minute for each of its messages.
"""

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from pipeline.config import MASK, LogSettings, mask_url
from pipeline.redaction import redact

_CREDENTIAL: Final = re.compile(
    r"(?i)(^|_)(password|passwd|passphrase|pwd|secret|token|api_?key|private_?key|authorization|credentials?|cookie)$"
)
_USER_PASSWORD: Final = re.compile(r"(//[^\s/@:<\[]{0,256}):(?!\d{1,5}[/?#]|//)(?:[^\s@<]{0,256}@){1,3}")
_QUERY_SECRET: Final = re.compile(r"(?i)([?&][^?=&\s]{0,64}?(?:password|token|secret|key)[^?=&\s]{0,64})=[^&\s\"'<>]+")
_OWN_WORDS: Final = re.compile(
    r"(?<=\w): (?=(?:(?:[a-z_]{2,20}\.[a-z_]{2,40} )?(?:cannot|is|must|unknown|no|there) )|Input )"
    r"|(?<=_file|_FILE|S_DIR): "
)
"""What says something about a setting or a file that is called like a secret (`.../sasl_password: cannot be read`)."""
_LIBRARY_LEVELS: Final = {
    # `kafka.causes` needs the warnings even where they are not shown; below them are passwords.
    "kafka": logging.WARNING,
    # The sink reports better what it retries; its warnings come between the lines of an answer.
    "urllib3": logging.ERROR,
}
_MAX_TEXT_CHARS: Final = 10_000
_MAX_LIST_ITEMS: Final = 100


def configure(
    settings: LogSettings, *, kafka_level: int = logging.WARNING, stream: TextIO | None = None, worker: str = ""
) -> None:
    """Send everything that is logged in this process to one stream, in one form.

    May be called again; the last call holds. Foreign libraries log from WARNING on.

    Args:
        settings: format and level.
        kafka_level: from which level on kafka-python's lines are shown; never below WARNING.
        stream: standard error by default, so that answers on standard output stay clean.
        worker: is added to every line of this process, whichever thread or library logs it, where it is given.
    """
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    library_level = max(level, logging.WARNING)
    shared = [_Worker(worker), *_SHARED] if worker else _SHARED
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_client, _count_suppressed, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(settings, stream)],
        )
    )
    handler.addFilter(KafkaLimit(least=max(kafka_level, library_level)))
    _replace_handler(handler)
    logging.getLogger().setLevel(library_level)
    logging.getLogger("pipeline").setLevel(level)
    for name, least in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(least)


def _replace_handler(handler: logging.Handler) -> None:
    root = logging.getLogger()
    for old in [old for old in root.handlers if getattr(old, "runstep", False)]:
        root.removeHandler(old)
    vars(handler)["runstep"] = True
    root.addHandler(handler)


class _Worker:
    """Names the worker in every line; context variables would not reach the threads of libraries."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("worker", self._name)
        return event


def _renderer(settings: LogSettings, stream: TextIO) -> Processor:
    if settings.format == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    # The default would print local variables below a stack trace, and with them record values.
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain, pad_level=False)
    return lambda logger, method, event: console(logger, method, _sentence_after_key(event))


def _sentence_after_key(event: EventDict) -> EventDict:
    """Let a terminal show key and sentence as one text, before the fields."""
    message = event.pop("message", None)
    if message is not None:
        event["event"] = f"{event['event']}: {message}"
    return event


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask the value of a key that is called like a credential, and what looks like one anywhere else."""
    for key, value in event.items():
        if not key.startswith("_"):
            event[key] = _shown(key, value)
    return event


def _shown(key: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _CREDENTIAL.search(key):
        return MASK
    if isinstance(value, Mapping):
        return {str(inner): _shown(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown("", item) for item in list(value)[:_MAX_LIST_ITEMS]]
    return _shown_text(value)


def _shown_text(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, BaseException):
        return clean(f"{type(value).__name__}: {value}")
    if isinstance(value, str | PurePath):
        return clean(str(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    # Anything else may print a record's value.
    return f"<{type(value).__name__}>"


def clean(text: str) -> str:
    """Return a text as a line may show it: of bounded length, without credentials.

    A word alone may be the value of a setting, and is masked like one. In a sentence only the credentials of an address
    are: a port, and what follows it, is what went wrong.
    """
    text = text[:_MAX_TEXT_CHARS]
    if len(text.split(maxsplit=1)) == 1:
        return redact(mask_url(text))
    if "//" in text:
        text = _QUERY_SECRET.sub(rf"\1={MASK}", _USER_PASSWORD.sub(rf"\1:{MASK}@", text))
    return ": ".join(map(redact, _OWN_WORDS.split(text)))


_SHARED: Final[list[Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    hide_secrets,
]
"""What every line goes through; secrets are hidden last, when all text is there."""


class KafkaLimit(logging.Filter):
    """Let through a few lines a minute of each message of kafka-python, and count those that are left out.

    Belongs on the handler: a filter on the logger `kafka` would not see its children's lines.
    """

    def __init__(
        self,
        least: int = logging.WARNING,
        burst: int = 3,
        period: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._least, self._burst, self._period, self._monotonic = least, burst, period, monotonic
        self._lock = threading.Lock()
        self._templates: dict[tuple[str, str], list[float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show the line; it carries the number of lines before it that were not as `suppressed`."""
        if not _is_of_kafka(record):
            return True
        if record.levelno < self._least:
            return False
        # A stack trace from inside the client says nothing to an operator that the message does not.
        record.exc_info = record.exc_text = None
        with self._lock:
            suppressed = self._admit((record.name, re.sub(r"\d+", "#", str(record.msg))[:200]))
        if suppressed is None:
            return False
        vars(record)["suppressed"] = suppressed
        return True

    def _admit(self, template: tuple[str, str]) -> int | None:
        now = self._monotonic()
        if len(self._templates) > 1000 and template not in self._templates:  # noqa: PLR2004 - a bound on memory
            self._templates.clear()
        entry = self._templates.setdefault(template, [now, 0, 0])
        if now - entry[0] >= self._period:
            entry[0], entry[1] = now, 0
        if entry[1] >= self._burst:
            entry[2] += 1
            return None
        entry[1] += 1
        suppressed, entry[2] = int(entry[2]), 0
        return suppressed


def _name_client(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Give the lines of kafka-python a key of their own, with its text as the message."""
    if _is_of_kafka(event["_record"]):
        event["event"], event["message"] = "kafka_client", event["event"]
    return event


def _is_of_kafka(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == "kafka"


def _count_suppressed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    suppressed = getattr(event.get("_record"), "suppressed", 0)
    if suppressed:
        event["suppressed_before"] = suppressed
    return event
