"""Structured logs: one pipeline for our lines and those of the libraries, without secrets and record values.

Owns what a line may show. kafka-python says up to 450 lines a second when something is wrong, and passwords when asked
for everything: it is held at WARNING, and at a few lines a minute for each of its messages.
"""

import logging
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, Self, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from pipeline.config import MASK, LogSettings, mask_url
from pipeline.redaction import redact

_CREDENTIAL: Final = re.compile(
    r"(?i)(^|_)(password|passwd|passphrase|pwd|secret|token|api_?key|private_?key|authorization|credentials?|cookie)$"
)
_LIBRARY_LEVELS: Final = {
    # KafkaCauses needs the warnings even where they are not shown; below them are passwords.
    "kafka": logging.WARNING,
    # What it retries, the sink says better; its warnings come between the lines of an answer.
    "urllib3": logging.ERROR,
}
_LONGEST_TEXT: Final = 10_000
_LONGEST_LIST: Final = 100


def configure(
    settings: LogSettings, *, kafka_level: int = logging.WARNING, stream: TextIO | None = None, worker: str = ""
) -> None:
    """Send everything that is logged in this process to one stream, in one form.

    May be called again; the last call holds. Libraries other than ours are told to speak from WARNING on.

    Args:
        settings: format and level.
        kafka_level: from which level on kafka-python's lines are shown; never below WARNING.
        stream: standard error by default, so that answers on standard output stay clean.
        worker: stands in every line of this process, whichever thread or library speaks, where it is given.
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
            foreign_pre_chain=[_say_repeats, *shared],
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
    """Says in every line which worker speaks; context variables would not reach the threads of libraries."""

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
    return structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain, pad_level=False)


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask what stands under a key that is called like a credential, and what looks like one anywhere else."""
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
        return [_shown("", item) for item in list(value)[:_LONGEST_LIST]]
    return _shown_text(value)


def _shown_text(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, BaseException):
        return _clean(f"{type(value).__name__}: {value}")
    if isinstance(value, str | PurePath):
        return _clean(str(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    # Anything else may print a record's value.
    return f"<{type(value).__name__}>"


def _clean(text: str) -> str:
    return redact(mask_url(text[:_LONGEST_TEXT]))


_SHARED: Final[list[Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    hide_secrets,
]
"""What every line goes through, whoever logged it; secrets are hidden last, when all text is there."""


class KafkaLimit(logging.Filter):
    """Let through a few lines a minute of each message of kafka-python, and say how many were left out.

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
        """Tell whether to show the line; a line shown after others were not carries their number as `suppressed`."""
        if record.name.partition(".")[0] != "kafka":
            return True
        if record.levelno < self._least:
            return False
        # A stack trace of the client's inside tells an operator nothing that the message does not.
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


def _say_repeats(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    suppressed = getattr(event.get("_record"), "suppressed", 0)
    if suppressed:
        event["suppressed_before"] = suppressed
    return event


class KafkaCauses(logging.Handler):
    """Keeps why connections to brokers failed, since kafka-python's own exceptions do not tell.

    Attach it to the logger `kafka.net.manager`, or use it as a context manager, which does that. Any thread may log.
    """

    LOGGER: Final = "kafka.net.manager"

    def __init__(self, keep: int = 20) -> None:
        super().__init__(logging.WARNING)
        self._causes: deque[str] = deque(maxlen=keep)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the exception of a failed connection."""
        exceptions = [part for part in record.args or () if isinstance(part, BaseException)]
        if isinstance(record.msg, str) and "failed" in record.msg and exceptions:
            self._causes.append(str(exceptions[-1]) or type(exceptions[-1]).__name__)
        elif isinstance(record.msg, str) and record.msg.startswith("Bootstrap attempt to"):
            self._causes.append(record.getMessage())

    def explain(self) -> str:
        """Return the causes in a user's words, each once; empty if nothing failed."""
        self.acquire()
        try:
            causes = list(dict.fromkeys(reversed(self._causes)))
        finally:
            self.release()
        telling = [words for cause in causes if (words := _words(cause, _EXPLANATIONS))]
        unknown = [_clean(cause) for cause in causes if not _words(cause, (*_EXPLANATIONS, *_VAGUE))]
        vague = [words for cause in causes if (words := _words(cause, _VAGUE))]
        return "; ".join(list(dict.fromkeys(telling or unknown or vague))[:3])

    def __enter__(self) -> Self:
        logger = logging.getLogger(self.LOGGER)
        if not logger.isEnabledFor(logging.WARNING):
            logging.getLogger("kafka").setLevel(logging.WARNING)
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(self.LOGGER).removeHandler(self)


def _words(cause: str, explanations: Sequence[tuple[str, str]]) -> str:
    for pattern, words in explanations:
        if re.search(pattern, cause):
            return _clean(words.format(cause=cause))
    return ""


_EXPLANATIONS: Final = (
    (r"SaslAuthenticationFailed|Authentication failed", "the broker refused the credentials ({cause})"),
    (r"UnsupportedSaslMechanism", "the broker does not offer this kafka.sasl_mechanism ({cause})"),
    (r"IllegalSaslState", "this port expects no SASL: kafka.security_protocol does not fit the listener"),
    (r"certificate has expired", "the broker's certificate has expired"),
    (
        r"CERTIFICATE_VERIFY_FAILED.*(mismatch|not valid for)",
        "the broker's certificate is for another name than in kafka.bootstrap_servers: {cause}",
    ),
    (r"CERTIFICATE_VERIFY_FAILED", "the broker's certificate is not signed by kafka.ssl_ca_file: {cause}"),
    (
        r"(?i)alert (bad certificate|certificate|unknown ca|handshake failure|access denied)",
        "the broker refused our client certificate (kafka.ssl_cert_file): {cause}",
    ),
    (
        r"UNEXPECTED_EOF_WHILE_READING|WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE",
        "this port does not speak TLS: kafka.security_protocol does not fit the listener",
    ),
    (r"expected str instance, NoneType", "kafka.sasl_username or kafka.sasl_password is missing"),
    (r"DNS|getaddrinfo|Name or service not known", "the host name cannot be resolved ({cause})"),
    (r"ECONNREFUSED|Connection refused", "nothing listens there (connection refused)"),
)
_VAGUE: Final = (
    (
        r"socket disconnected",
        "credentials, mechanism or protocol refused by the broker (kafka.security_protocol, kafka.sasl_*)",
    ),
    (r"(?i)timed? ?out", "no answer in time (a firewall, or a wrong address)"),
)
"""What also happens on the way to a better known cause, and is told only where there is no other."""
