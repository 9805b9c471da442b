"""Why Kafka is away: named in a user's words, from what kafka-python logs, without credentials."""

import io
import logging
import ssl

import pytest

from pipeline.config import LogSettings
from pipeline.kafka.causes import KafkaCauses
from pipeline.logs import configure


def record(message: str, *arguments: object) -> logging.LogRecord:
    """Return a line as kafka-python writes it."""
    return logging.LogRecord("kafka.net.manager", logging.ERROR, __file__, 1, message, arguments, None)


def test_kafka_can_be_silent_while_its_causes_are_kept() -> None:
    stream = io.StringIO()
    configure(LogSettings(format="json"), kafka_level=logging.CRITICAL, stream=stream)
    with KafkaCauses() as causes:
        logging.getLogger("kafka.net.manager").error("Connection failed: %s", OSError("111 ECONNREFUSED"))
    assert stream.getvalue() == ""
    assert causes.explain() == "nothing listens there (connection refused)"


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("socket disconnected", "credentials, mechanism or protocol refused by the broker"),
        ("[Error 34] IllegalSaslStateError", "this port expects no SASL"),
        ("[Error 58] SaslAuthenticationFailedError: Invalid username or password", "Invalid user"),
        ("sequence item 0: expected str instance, NoneType found", "kafka.sasl_password is missing"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer", "kafka.ssl_ca_file"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired", "has expired"),
        ("CERTIFICATE_VERIFY_FAILED: IP address mismatch, certificate is not valid for '127.0.0.1'", "another name"),
        ("[SSL: SSLV3_ALERT_BAD_CERTIFICATE] sslv3 alert bad certificate", "refused the client certificate"),
        ("tlsv13 alert certificate required", "refused the client certificate"),
        ("[SSL: UNEXPECTED_EOF_WHILE_READING]", "does not speak TLS"),
        ("DNS Resolution failure", "cannot be resolved"),
        ("111 ECONNREFUSED", "connection refused"),
        ("something new", "something new"),
    ],
)
def test_causes_are_named_in_a_user_s_words(cause: str, words: str) -> None:
    causes = KafkaCauses()
    causes.handle(
        record("Bootstrap connection to %s failed: %s (backoff %.2f secs)", "bootstrap-0", ssl.SSLError(cause), 0.1)
    )
    assert words in causes.explain()


def test_the_vague_causes_give_way_to_the_telling_ones() -> None:
    causes = KafkaCauses()
    assert causes.explain() == ""
    for cause in ("Connection timed out", "socket disconnected", "DNS Resolution failure", "DNS Resolution failure"):
        causes.handle(record("Connection failed: %s", OSError(cause)))
    assert causes.explain() == "the host name cannot be resolved (DNS Resolution failure)"


def test_causes_hold_no_credentials() -> None:
    causes = KafkaCauses()
    causes.handle(record("Connection failed: %s", OSError("http://u:hunter2@idp/token said no")))
    assert "hunter2" not in causes.explain()
