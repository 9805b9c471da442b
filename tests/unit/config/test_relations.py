"""Relations between settings: what contradicts is refused at start, in words that name both."""

import sys
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.config.relations import is_address
from pipeline.errors import ConfigError
from pipeline.kafka.client import milliseconds


@pytest.fixture(autouse=True)
def _directory_with_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file `pem`, and no runstep.toml of the machine."""
    monkeypatch.chdir(tmp_path)
    Path("pem").write_text("x")


def prefixed(environ: dict[str, str]) -> dict[str, str]:
    """Return the variables with their prefix."""
    return {f"RUNSTEP_{key}": value for key, value in environ.items()}


def problems(environ: dict[str, str]) -> list[str]:
    """Return the lines that these variables are refused with."""
    with pytest.raises(ConfigError) as refusal:
        load(environ=prefixed(environ))
    return str(refusal.value).splitlines()


SSL = {"KAFKA__SECURITY_PROTOCOL": "SSL"}
SASL = {"KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "KAFKA__SASL_MECHANISM": "PLAIN"}
OAUTH = {
    **SASL,
    "KAFKA__SASL_MECHANISM": "OAUTHBEARER",
    "KAFKA__SASL_OAUTH_TOKEN_URL": "https://login.example.com/token",
    "KAFKA__SASL_OAUTH_CLIENT_ID": "me",
    "KAFKA__SASL_OAUTH_CLIENT_SECRET": "s",
}


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"KAFKA__HEARTBEAT_INTERVAL": "16"}, ("kafka.heartbeat_interval", "kafka.session_timeout")),
        (
            {"KAFKA__SESSION_TIMEOUT": "61", "KAFKA__MAX_POLL_INTERVAL": "60"},
            ("kafka.session_timeout", "kafka.max_poll_interval"),
        ),
        ({"KAFKA__REQUEST_TIMEOUT": "540"}, ("kafka.request_timeout",)),
        ({"KAFKA__MAX_PARTITION_FETCH_BYTES": "16777217"}, ("max_partition_fetch_bytes", "kafka.fetch_max_bytes")),
        ({"KAFKA__POLL_TIMEOUT": "60"}, ("kafka.poll_timeout", "kafka.max_poll_interval")),
        ({"KAFKA__POLL_TIMEOUT": "60"}, ("kafka.poll_timeout", "http.stalled_after")),
        ({"RETRY__FIRST_DELAY": "16"}, ("retry.first_delay", "retry.max_delay")),
        ({"NORMALIZE__MAX_EVENT_BYTES": "33554433"}, ("normalize.max_event_bytes", "dead_letter.max_request_size")),
        ({"DEAD_LETTER__TOPIC": "run-steps"}, ("dead_letter.topic", "kafka.topics")),
        ({"KAFKA__TOPICS": "a b"}, ("kafka.topics", "'a b'")),
        ({"KAFKA__TOPICS": "a,a"}, ("kafka.topics", "twice")),
        ({"KAFKA__TOPICS": ","}, ("kafka.topics is empty",)),
        ({"KAFKA__BOOTSTRAP_SERVERS": "localhost"}, ("kafka.bootstrap_servers", "host:port")),
        ({"KAFKA__BOOTSTRAP_SERVERS": "localhost:70000"}, ("kafka.bootstrap_servers", "host:port")),
        ({"CLICKHOUSE__PROXY": "proxy:3128"}, ("clickhouse.proxy", "http[s]://")),
        ({"CLICKHOUSE__PROXY": "http://bob:hunter2@proxy"}, ("clickhouse.proxy: http://bob:********@proxy",)),
        ({"CLICKHOUSE__PROXY": "http://p:1", "CLICKHOUSE__URL": "chdb:d"}, ("clickhouse.proxy has no effect",)),
        ({"HTTP__BIND": "9464"}, ("http.bind", "host:port")),
        ({"HTTP__BUCKETS": "1,1"}, ("http.buckets",)),
        ({"HTTP__BUCKETS": "2,1"}, ("http.buckets",)),
        ({"HTTP__CERT_FILE": "pem"}, ("http.cert_file", "http.key_file")),
        ({"HTTP__CLIENT_CA_FILE": "pem"}, ("http.client_ca_file", "http.cert_file")),
        ({**SSL, "KAFKA__SSL_CERT_FILE": "pem"}, ("kafka.ssl_cert_file", "kafka.ssl_key_file")),
        ({**SSL, "KAFKA__SSL_KEY_FILE": "pem"}, ("kafka.ssl_key_file", "kafka.ssl_cert_file")),
        ({**SSL, "KAFKA__SSL_KEY_PASSWORD": "x"}, ("kafka.ssl_key_password", "kafka.ssl_key_file")),
        ({**SSL, "KAFKA__SSL_CA_FILE": "nowhere"}, ("kafka.ssl_ca_file", "nowhere")),
        ({"KAFKA__SSL_CA_FILE": "pem"}, ("kafka.ssl_ca_file", "kafka.security_protocol")),
        ({"KAFKA__SSL_CHECK_HOSTNAME": "false"}, ("kafka.ssl_check_hostname", "kafka.security_protocol")),
        ({"KAFKA__SASL_USERNAME": "u"}, ("kafka.sasl_username", "kafka.security_protocol")),
        ({"KAFKA__SECURITY_PROTOCOL": "SASL_SSL"}, ("kafka.security_protocol", "kafka.sasl_mechanism")),
        ({**SASL, "KAFKA__SASL_USERNAME": "u"}, ("kafka.sasl_mechanism", "kafka.sasl_password")),
        ({**SASL, "KAFKA__SASL_PASSWORD": "p"}, ("kafka.sasl_mechanism", "kafka.sasl_username")),
        ({**SASL, "KAFKA__SASL_MECHANISM": "OAUTHBEARER"}, ("OAUTHBEARER", "kafka.sasl_oauth_token_file")),
        ({**OAUTH, "KAFKA__SASL_OAUTH_TOKEN": "t"}, ("OAUTHBEARER needs one of", "kafka.sasl_oauth_token_url")),
        ({**OAUTH, "KAFKA__SASL_OAUTH_TOKEN_URL": "http://h/t"}, ("kafka.sasl_oauth_token_url", "https")),
        ({**OAUTH, "KAFKA__SASL_OAUTH_TOKEN_URL": "https://u:p@h/t"}, ("kafka.sasl_oauth_token_url", "without a user")),
        (
            {**OAUTH, "KAFKA__SASL_OAUTH_CLIENT_ID": ""},
            ("kafka.sasl_oauth_token_url needs kafka.sasl_oauth_client_id",),
        ),
        ({**OAUTH, "KAFKA__SASL_OAUTH_EXTENSIONS": "logical-cluster=x"}, ("kafka.sasl_oauth_extensions", "name=value")),
        ({**OAUTH, "KAFKA__SASL_OAUTH_EXTENSIONS": "auth=x"}, ("kafka.sasl_oauth_extensions", "not auth")),
        (
            {
                **SASL,
                "KAFKA__SASL_MECHANISM": "OAUTHBEARER",
                "KAFKA__SASL_OAUTH_TOKEN": "t",
                "KAFKA__SASL_OAUTH_SCOPE": "s",
            },
            ("kafka.sasl_oauth_scope needs kafka.sasl_oauth_token_url",),
        ),
        ({"KAFKA__SASL_OAUTH_EXTENSIONS": "a=b"}, ("kafka.sasl_oauth_extensions has no effect", "SASL_SSL")),
        ({**SASL, "KAFKA__SASL_MECHANISM": "GSSAPI"}, ("GSSAPI", "package gssapi")),
        (
            {"KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA__SASL_MECHANISM": "AWS_MSK_IAM"},
            ("AWS_MSK_IAM", "SASL_SSL"),
        ),
        ({"CLICKHOUSE__URL": "tcp://h:9000"}, ("clickhouse.url", "tcp://h:9000")),
        ({"CLICKHOUSE__URL": "h:8123"}, ("clickhouse.url",)),
        ({"CLICKHOUSE__URL": "chdb:"}, ("clickhouse.url", "path")),
        ({"CLICKHOUSE__URL": "http://u@h:1", "CLICKHOUSE__USERNAME": "u"}, ("clickhouse.username", "clickhouse.url")),
        ({"CLICKHOUSE__URL": "http://u:p@h:1", "CLICKHOUSE__PASSWORD": "p"}, ("clickhouse.password", "clickhouse.url")),
        ({"CLICKHOUSE__ACCESS_TOKEN": "t", "CLICKHOUSE__USERNAME": "u"}, ("clickhouse.access_token", "user")),
        ({"CLICKHOUSE__CA_FILE": "pem"}, ("clickhouse.ca_file", "https")),
        ({"CLICKHOUSE__VERIFY": "false"}, ("clickhouse.verify", "https")),
        ({"CLICKHOUSE__URL": "chdb:d", "CLICKHOUSE__USERNAME": "u"}, ("clickhouse.username", "chdb:")),
        ({"CLICKHOUSE__URL": "chdb:d", "CLICKHOUSE__VARIANT": "replicated"}, ("clickhouse.variant", "clickhouse.url")),
        ({"CLICKHOUSE__DATABASE": "run-steps"}, ("clickhouse.database",)),
        ({"CLICKHOUSE__INSERT_QUORUM": "most"}, ("clickhouse.insert_quorum",)),
        (
            {"CLICKHOUSE__RETENTION_DAYS": "7", "CLICKHOUSE__DETAILS_RETENTION_DAYS": "8"},
            ("clickhouse.details_retention_days", "clickhouse.retention_days"),
        ),
    ],
)
def test_a_broken_relation_names_what_it_is_between(environ: dict[str, str], named: tuple[str, ...]) -> None:
    lines = problems(environ)
    assert any(all(part in line for part in named) for line in lines), lines


def test_a_cluster_needs_hosts_or_a_name() -> None:
    Path("runstep.toml").write_text('[clickhouse]\nvariant = "replicated"\ncluster = ""\n')
    (line,) = problems({})
    assert "clickhouse.variant" in line
    assert "clickhouse.hosts" in line


@pytest.mark.parametrize(
    "environ",
    [
        {**SSL, "KAFKA__SSL_CERT_FILE": "pem", "KAFKA__SSL_KEY_FILE": "pem", "KAFKA__SSL_KEY_PASSWORD": "x"},
        {**SASL, "KAFKA__SASL_USERNAME": "u", "KAFKA__SASL_PASSWORD": "p", "KAFKA__SSL_CA_FILE": "pem"},
        {**SASL, "KAFKA__SASL_MECHANISM": "OAUTHBEARER", "KAFKA__SASL_OAUTH_TOKEN_FILE": "pem"},
        {**OAUTH, "KAFKA__SASL_OAUTH_SCOPE": "s", "KAFKA__SASL_OAUTH_EXTENSIONS": "logicalCluster=lkc-1,poolId=p=1"},
        {"CLICKHOUSE__URL": "https://h:8443", "CLICKHOUSE__CA_FILE": "pem", "CLICKHOUSE__ACCESS_TOKEN": "t"},
        {"CLICKHOUSE__URL": "chdb:./data"},
        {"CLICKHOUSE__VARIANT": "replicated", "CLICKHOUSE__HOSTS": "http://a:8123,http://b:8123,c,d:8123"},
        {"HTTP__BIND": "[::1]:0", "KAFKA__BOOTSTRAP_SERVERS": "[::1]:9092,broker-1.example:9093"},
        {"DEAD_LETTER__TOPIC": "refused"},
    ],
)
def test_what_belongs_together_is_accepted(environ: dict[str, str]) -> None:
    load(environ=prefixed(environ))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a:1", True),
        ("[::1]:9092", True),
        ("a.b-c:65535", True),
        ("a:65536", False),
        ("a:0", False),
        (":1", False),
        ("::1:9092", False),
        ("http://a:1", False),
        ("a:b", False),
        ("a b:1", False),
    ],
)
def test_addresses(text: str, good: bool) -> None:
    assert is_address(text, lowest_port=1) is good


def test_a_missing_codec_is_found_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (line,) = problems({})
    assert line.startswith("package zstandard cannot be imported")


@pytest.mark.parametrize(
    ("session_timeout", "heartbeat_interval", "max_poll_interval"),
    [
        ("0.5", 0.166, 60),
        ("2", 0.666, 60),
        ("6", 2, 60),
        ("9", 3, 60),
        ("45", 3, 60),
        ("300", 3, 300),
        ("1800", 3, 1800),
    ],
)
def test_the_session_timeout_alone_is_never_refused_since_what_depends_on_it_follows(
    session_timeout: str, heartbeat_interval: float, max_poll_interval: float
) -> None:
    kafka = load(environ=prefixed({"KAFKA__SESSION_TIMEOUT": session_timeout})).kafka
    assert (kafka.heartbeat_interval, kafka.max_poll_interval) == (heartbeat_interval, max_poll_interval)
    assert milliseconds(kafka.heartbeat_interval) <= milliseconds(kafka.session_timeout) / 3


def test_what_is_given_does_not_follow() -> None:
    given = {"KAFKA__SESSION_TIMEOUT": "30", "KAFKA__HEARTBEAT_INTERVAL": "5", "KAFKA__MAX_POLL_INTERVAL": "120"}
    kafka = load(environ=prefixed(given)).kafka
    assert (kafka.session_timeout, kafka.heartbeat_interval, kafka.max_poll_interval) == (30, 5, 120)


def test_the_writer_may_take_longer_than_the_owner_may_go_without_a_poll() -> None:
    slow = load(environ=prefixed({"CLICKHOUSE__INSERT_TIMEOUT": "600", "BATCH__MAX_AGE": "120"}))
    assert slow.kafka.max_poll_interval == 60


def test_a_session_timeout_that_is_no_number_is_named_alone() -> None:
    assert [line.partition(" ")[0] for line in problems({"KAFKA__SESSION_TIMEOUT": "soon"})] == [
        "RUNSTEP_KAFKA__SESSION_TIMEOUT:"
    ]
