"""Why a connection to Kafka failed, read from kafka-python's log: its exceptions say only that it did.

Owns the words for the causes, which name the setting at fault.
"""

import logging
import re
from collections import deque
from collections.abc import Sequence
from typing import Final, Self

from pipeline.logs import clean

MAX_KEPT: Final = 20
"""Causes of one connection that are kept; the client tries each address again and again until its time-out."""
MAX_CAUSES: Final = 3
"""Different causes that are named."""


class KafkaCauses(logging.Handler):
    """Keeps why connections to brokers failed, while it is entered. Any thread may log."""

    LOGGER: Final = "kafka.net.manager"

    def __init__(self, keep: int = MAX_KEPT) -> None:
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
        precise = [words for cause in causes if (words := _explanation(cause, _EXPLANATIONS))]
        unknown = [clean(cause) for cause in causes if not _explanation(cause, (*_EXPLANATIONS, *_VAGUE))]
        vague = [words for cause in causes if (words := _explanation(cause, _VAGUE))]
        return "; ".join(list(dict.fromkeys(precise or unknown or vague))[:MAX_CAUSES])

    def __enter__(self) -> Self:
        logger = logging.getLogger(self.LOGGER)
        if not logger.isEnabledFor(logging.WARNING):
            logging.getLogger("kafka").setLevel(logging.WARNING)
        logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(self.LOGGER).removeHandler(self)


def explained(cause: str) -> str:
    """Return in a user's words why a connection failed."""
    return _explanation(cause, (*_EXPLANATIONS, *_VAGUE)) or clean(cause)


def _explanation(cause: str, explanations: Sequence[tuple[str, str]]) -> str:
    for pattern, words in explanations:
        if re.search(pattern, cause):
            return clean(words.format(cause=cause))
    return ""


_EXPLANATIONS: Final = (
    (r"^token issuer ", "{cause}"),
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
        "the broker refused the client certificate (kafka.ssl_cert_file): {cause}",
    ),
    (
        r"UNEXPECTED_EOF_WHILE_READING|WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE",
        "this port does not speak TLS: kafka.security_protocol does not fit the listener",
    ),
    (r"expected str instance, NoneType", "kafka.sasl_username or kafka.sasl_password is missing"),
    (r"DNS|getaddrinfo|Name or service not known", "the host name cannot be resolved ({cause})"),
    (r"ECONNREFUSED|Connection refused", "nothing listens there (connection refused)"),
    (r"InvalidReceiveError|Invalid frame length", "what answers there does not speak Kafka's protocol"),
)
_VAGUE: Final = (
    (
        r"socket disconnected",
        "credentials, mechanism or protocol refused by the broker (kafka.security_protocol, kafka.sasl_*)",
    ),
    (r"(?i)timed? ?out", "no answer in time (a firewall, or a wrong address)"),
)
"""What also happens on the way to a better known cause, and is named only where there is no other."""
