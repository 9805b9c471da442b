"""Relations between the settings of transport and credentials, of Kafka, ClickHouse and the endpoints."""

import importlib.util
from collections.abc import Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pipeline.config.kafka_section import KafkaSettings
from pipeline.config.sections import ClickHouseSettings, Section
from pipeline.config.settings import Settings, mask_url

_SSL_FILES: Final = ("ssl_ca_file", "ssl_cert_file", "ssl_key_file", "ssl_key_password", "ssl_crl_file")
_ISSUER: Final = ("sasl_oauth_client_id", "sasl_oauth_client_secret", "sasl_oauth_scope", "sasl_oauth_ca_file")
_OAUTH: Final = ("sasl_oauth_token", "sasl_oauth_token_file", "sasl_oauth_token_url", "sasl_oauth_extensions", *_ISSUER)
_SASL: Final = ("sasl_mechanism", "sasl_username", "sasl_password", *_OAUTH)
_PACKAGES: Final = {"AWS_MSK_IAM": ("botocore", "runstep[msk]"), "GSSAPI": ("gssapi", "gssapi")}


def kafka_access(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the way to the brokers."""
    kafka = settings.kafka
    protocol = kafka.security_protocol
    if protocol not in {"SSL", "SASL_SSL"}:
        for name in _given(kafka, _SSL_FILES):
            yield f"kafka.{name} has no effect with kafka.security_protocol {protocol}; set SSL or SASL_SSL"
        if not kafka.ssl_check_hostname:
            yield f"kafka.ssl_check_hostname has no effect with kafka.security_protocol {protocol}; set SSL or SASL_SSL"
    yield from _pair("kafka", "ssl_cert_file", "ssl_key_file", kafka)
    if kafka.ssl_key_password is not None and kafka.ssl_key_file is None:
        yield "kafka.ssl_key_password needs kafka.ssl_key_file"
    if protocol in {"SASL_PLAINTEXT", "SASL_SSL"}:
        yield from _login(kafka)
    else:
        for name in _given(kafka, _SASL):
            yield f"kafka.{name} has no effect with kafka.security_protocol {protocol}; set SASL_SSL or SASL_PLAINTEXT"


def _login(kafka: KafkaSettings) -> Iterator[str]:
    mechanism = kafka.sasl_mechanism
    if mechanism is None:
        yield f"kafka.security_protocol {kafka.security_protocol} needs kafka.sasl_mechanism, such as SCRAM-SHA-512"
    elif mechanism in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}:
        for name in ("sasl_username", "sasl_password"):
            if not _given(kafka, (name,)):
                yield f"kafka.sasl_mechanism {mechanism} needs kafka.{name} (or kafka.{name}_file)"
    elif mechanism == "OAUTHBEARER":
        yield from _tokens(kafka)
    else:
        yield from _platform_login(kafka, mechanism)


def _tokens(kafka: KafkaSettings) -> Iterator[str]:
    if len(_given(kafka, ("sasl_oauth_token", "sasl_oauth_token_file", "sasl_oauth_token_url"))) != 1:
        yield (
            "kafka.sasl_mechanism OAUTHBEARER needs one of kafka.sasl_oauth_token_url, an issuer, "
            "kafka.sasl_oauth_token_file, which is read again at each login, and kafka.sasl_oauth_token"
        )
    url = kafka.sasl_oauth_token_url
    if url is None:
        yield from (f"kafka.{name} needs kafka.sasl_oauth_token_url" for name in _given(kafka, _ISSUER))
    else:
        split = _split(url)
        if split is None or split.scheme != "https" or not split.hostname or split.username is not None:
            yield "kafka.sasl_oauth_token_url is not https://host[:port]/path, without a user; the secret goes there"
        for name in ("sasl_oauth_client_id", "sasl_oauth_client_secret"):
            if not _given(kafka, (name,)):
                yield f"kafka.sasl_oauth_token_url needs kafka.{name}"
    for entry in kafka.sasl_oauth_extensions:
        name, equals, value = entry.partition("=")
        if not (equals and name.isascii() and name.isalpha() and name != "auth" and value.isprintable()):
            yield "kafka.sasl_oauth_extensions: an entry is not name=value with a name of letters, and not auth"


def _platform_login(kafka: KafkaSettings, mechanism: str) -> Iterator[str]:
    if mechanism == "AWS_MSK_IAM" and kafka.security_protocol != "SASL_SSL":
        yield f"kafka.sasl_mechanism AWS_MSK_IAM needs kafka.security_protocol SASL_SSL, not {kafka.security_protocol}"
    package, install = _PACKAGES[mechanism]
    if importlib.util.find_spec(package) is None:
        yield f"kafka.sasl_mechanism {mechanism} needs the package {package}; pip install '{install}'"


def clickhouse_access(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the way to ClickHouse."""
    store = settings.clickhouse
    url = store.url.get_secret_value()
    if not store.is_embedded:
        yield from _address(url, "clickhouse.url")
    for host in store.hosts:
        # An entry may leave out what is as in the url.
        yield from _address(host if "://" in host else f"http://{host}", "clickhouse.hosts")
    if store.proxy is not None:
        yield from _proxy(store.proxy.get_secret_value())
    yield from _pair("clickhouse", "cert_file", "key_file", store)
    if store.is_embedded:
        yield from _embedded(store)
    if not url.lower().startswith("https:"):
        tls = list(_given(store, ("ca_file", "cert_file", "key_file", "server_host_name")))
        for name in tls + ([] if store.verify else ["verify"]):
            yield f"clickhouse.{name} has no effect unless clickhouse.url begins with https:"
    if not store.is_embedded:
        yield from _credentials(store, _split(url))


def _embedded(store: ClickHouseSettings) -> Iterator[str]:
    if not store.directory:
        yield "clickhouse.url: chdb: needs a path, such as chdb:./data"
    for name in _given(store, ("username", "password", "access_token", "access_token_file", "hosts", "proxy")):
        yield f"clickhouse.{name} has no effect with a chdb: url; remove one"
    if store.variant != "single":
        url = store.url.get_secret_value()
        yield f"clickhouse.variant {store.variant} needs a server; clickhouse.url is the embedded {url}"


def _credentials(store: ClickHouseSettings, url: SplitResult | None) -> Iterator[str]:
    if url is not None and url.username and store.username is not None:
        yield "clickhouse.username is given twice, in clickhouse.url too; remove one"
    if url is not None and url.password and store.password is not None:
        yield "clickhouse.password is given twice, in clickhouse.url too; remove one"
    tokens = _given(store, ("access_token", "access_token_file"))
    if len(tokens) > 1:
        yield "clickhouse.access_token and clickhouse.access_token_file are both given; remove one"
    has_user = bool(_given(store, ("username", "password"))) or bool(url is not None and url.username)
    if tokens and has_user:
        yield f"clickhouse.{tokens[0]} replaces user and password; remove those from clickhouse.url and its section"


def _address(url: str, name: str) -> Iterator[str]:
    split = _split(url)
    if split is None or split.scheme not in {"http", "https"} or not split.hostname:
        shown = mask_url(url) if "://" in url else "the value"
        yield f"{name}: {shown} is not http[s]://<user>:<password>@<host>:<port>, or in clickhouse.url chdb:PATH"


def _proxy(url: str) -> Iterator[str]:
    split = _split(url)
    if split is None or split.scheme not in {"http", "https"} or not split.hostname or not split.port:
        shown = mask_url(url) if "://" in url else "the value"
        yield f"clickhouse.proxy: {shown} is not http[s]://[<user>:<password>@]<host>:<port>"


def _split(url: str) -> SplitResult | None:
    try:
        split = urlsplit(url)
        _ = split.port
    except ValueError:
        return None
    return split


def http_access(settings: Settings) -> Iterator[str]:
    """Yield what is wrong with the certificates of the endpoints."""
    yield from _pair("http", "cert_file", "key_file", settings.http)
    if settings.http.client_ca_file is not None and settings.http.cert_file is None:
        yield "http.client_ca_file needs http.cert_file: clients can only be identified over HTTPS"


def _pair(section: str, cert: str, key: str, values: Section) -> Iterator[str]:
    given = _given(values, (cert, key))
    if len(given) == 1:
        missing = key if given[0] == cert else cert
        yield f"{section}.{given[0]} needs {section}.{missing}; name the same file twice if it holds both"


def _given(values: Section, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if getattr(values, name))
