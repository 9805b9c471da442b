"""How every client of Kafka is made: its options, and a connection that leaks nothing and names its cause."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from kafka.errors import KafkaConfigurationError, KafkaError

from pipeline.config import KafkaSettings
from pipeline.errors import ConfigError, SourceUnavailable
from pipeline.kafka.causes import KafkaCauses
from pipeline.kafka.internals import make_client
from pipeline.kafka.oauth import Token

Client = TypeVar("Client")

_RECONNECT_BACKOFF_MAX_MS: Final = 2_000
"""After half a minute of outage the client's default of 30 s takes four times as long to come back."""


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Return the options that consumers, producers and admin clients share.

    Certificate files are read again at each connection, and so is a token file; both can be renewed in place.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": list(settings.bootstrap_servers),
        "client_id": settings.client_id,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": milliseconds(settings.request_timeout),
        "bootstrap_timeout_ms": milliseconds(settings.bootstrap_timeout),
        "metadata_max_age_ms": milliseconds(settings.metadata_max_age),
        "reconnect_backoff_max_ms": _RECONNECT_BACKOFF_MAX_MS,
    }
    if settings.security_protocol in {"SSL", "SASL_SSL"}:
        options |= _tls_options(settings)
    if settings.security_protocol in {"SASL_PLAINTEXT", "SASL_SSL"}:
        options |= _sasl_options(settings)
    return options


def milliseconds(seconds: float) -> int:
    """Return seconds in the unit of kafka-python."""
    return round(seconds * 1000)


def connect(client_class: Callable[..., Client], **options: Any) -> Client:
    """Make a client, which reaches the cluster before it is returned.

    Raises:
        SourceUnavailable: the cluster was not reached within `bootstrap_timeout_ms`; the message names the cause.
        ConfigError: kafka-python does not accept the options.
    """
    with KafkaCauses() as causes:
        try:
            return make_client(client_class, options)
        except KafkaConfigurationError as error:
            raise ConfigError(f"kafka: {error}") from error
        except KafkaError as error:
            servers = ", ".join(options["bootstrap_servers"])
            raise SourceUnavailable(f"Kafka at {servers}: {causes.explain() or error}") from error


def _tls_options(settings: KafkaSettings) -> dict[str, Any]:
    password = settings.ssl_key_password
    return {
        "ssl_check_hostname": settings.ssl_check_hostname,
        "ssl_cafile": _text(settings.ssl_ca_file),
        "ssl_certfile": _text(settings.ssl_cert_file),
        "ssl_keyfile": _text(settings.ssl_key_file),
        "ssl_password": None if password is None else password.get_secret_value(),
        "ssl_crlfile": _text(settings.ssl_crl_file),
    }


def _sasl_options(settings: KafkaSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"sasl_mechanism": settings.sasl_mechanism}
    if settings.sasl_mechanism in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}:
        password = settings.sasl_password
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = None if password is None else password.get_secret_value()
    elif settings.sasl_mechanism == "OAUTHBEARER":
        options["sasl_oauth_token_provider"] = Token(settings)
    elif settings.sasl_mechanism == "GSSAPI":
        options["sasl_kerberos_service_name"] = settings.sasl_kerberos_service_name
        options["sasl_kerberos_domain_name"] = settings.sasl_kerberos_domain_name
    return options


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
