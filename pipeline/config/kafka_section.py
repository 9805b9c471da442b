"""The settings of section `kafka`: where the records come from."""

import math
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SecretStr

from pipeline.config.sections import Bytes, CommaList, Rotates, Seconds, Section

_SESSION_TIMEOUT_S: Final = 45.0


def _heartbeat_interval(given: dict[str, Any]) -> float:
    session_timeout: float = given.get("session_timeout", _SESSION_TIMEOUT_S)
    return min(3.0, math.floor(session_timeout * 1000 / 3) / 1000)


def _max_poll_interval(given: dict[str, Any]) -> float:
    session_timeout: float = given.get("session_timeout", _SESSION_TIMEOUT_S)
    return max(60.0, session_timeout)


class KafkaSettings(Section):
    """Where the records come from."""

    bootstrap_servers: CommaList = ("localhost:9092",)
    """Brokers to contact first, as host:port; the others are found through them."""
    topics: CommaList = ("run-steps",)
    """Topics to read, all of their partitions."""
    group_id: str = "runstep"
    """Consumer group. All processes of one pipeline share it; another group reads everything again."""
    client_id: str = "runstep"
    """Name of this client in the brokers' logs, metrics and quotas."""
    client_rack: str = ""
    """Zone of this process, as in the brokers' `broker.rack`. Where the brokers have a RackAwareReplicaSelector, it
    reads from the replica in its own zone, which most clouds do not bill."""
    group_instance_id: str | None = None
    """Static membership: a name unique to each process. A restart within `session_timeout` then moves no partition."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a new group begins: at the first record that Kafka holds, or at the next one to come. Partitions that are
    added later are always read from their first record."""
    on_lost_offsets: Literal["continue", "halt"] = "continue"
    """After Kafka deleted records that were not read: `continue` at the oldest one left, or `halt` the partition."""
    on_unreadable: Literal["skip", "halt"] = "skip"
    """At a damaged batch in Kafka's log: `skip` it and dead-letter its offsets, or `halt` the partition."""
    session_timeout: Seconds = _SESSION_TIMEOUT_S
    """Seconds without a heartbeat after which Kafka gives this process's partitions to another. Longer tolerates
    pauses, shorter notices a dead process sooner."""
    heartbeat_interval: Seconds = Field(default_factory=_heartbeat_interval)
    """Seconds between heartbeats; at most a third of `session_timeout`, and that third by default where it is less."""
    max_poll_interval: Seconds = Field(default_factory=_max_poll_interval)
    """Seconds without a poll after which this process leaves the group; not below `session_timeout`, which it follows
    by default. The daemon polls several times a second, also while it waits: only a hang takes that long."""
    request_timeout: Seconds = 30.0
    """Seconds to wait for a broker's answer."""
    bootstrap_timeout: Seconds = 8.0
    """Seconds that one attempt to reach the cluster may take. Then /readyz shows the cause, and the next one begins."""
    poll_timeout: Seconds = 0.3
    """Longest wait of one poll in seconds. A stop is noticed within it."""
    poll_records: Annotated[int, Field(ge=1)] = 20_000
    """Most records that one poll returns. Below 10,000 a busy partition stalls beside idle ones."""
    fetch_max_bytes: Bytes = 16_777_216
    """Most bytes that one broker returns at once."""
    max_partition_fetch_bytes: Bytes = 4_194_304
    """Most bytes of one partition that a broker returns at once."""
    max_open_transaction: Seconds = 60.0
    """Seconds that a producer may leave a transaction open before /readyz names it as the cause of what waits behind
    it. Not below the producers' `transaction.timeout.ms`."""
    metadata_max_age: Seconds = 30.0
    """Seconds after which new partitions, and moved or recreated topics, are noticed."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How to connect to the brokers: `SSL` encrypts, `SASL_` logs in."""
    ssl_ca_file: Annotated[Path | None, Rotates()] = None
    """PEM file of the authorities that sign the brokers' certificates; by default the system's own."""
    ssl_cert_file: Annotated[Path | None, Rotates()] = None
    """PEM file of the client certificate, where the brokers ask for one (mTLS)."""
    ssl_key_file: Annotated[Path | None, Rotates()] = None
    """PEM file of the client certificate's private key."""
    ssl_key_password: Annotated[SecretStr | None, Rotates()] = None
    """Password of `ssl_key_file`, if that is encrypted."""
    ssl_crl_file: Annotated[Path | None, Rotates()] = None
    """PEM file of revoked broker certificates."""
    ssl_check_hostname: bool = True
    """Whether a broker's certificate must name the host it is reached by; `false` allows impersonation."""
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM", "GSSAPI"] | None, Rotates()
    ] = None
    """How to log in, with a `SASL_` protocol."""
    sasl_username: Annotated[str | None, Rotates()] = None
    """User for `PLAIN` and `SCRAM`."""
    sasl_password: Annotated[SecretStr | None, Rotates()] = None
    """Password for `PLAIN` and `SCRAM`."""
    sasl_oauth_token: Annotated[SecretStr | None, Rotates()] = None
    """Token for `OAUTHBEARER`, if it never expires."""
    sasl_oauth_token_file: Annotated[Path | None, Rotates()] = None
    """File with the token for `OAUTHBEARER`, read at each login; the issuer can renew it in place."""
    sasl_oauth_token_url: str | None = None
    """Address of an issuer that gives tokens for `OAUTHBEARER` by the client-credentials flow, such as
    `https://login.example.com/oauth2/v1/token`. A token is used until shortly before it expires; while the issuer is
    away, until it expires."""
    sasl_oauth_client_id: str | None = None
    """Name of this client at the issuer."""
    sasl_oauth_client_secret: Annotated[SecretStr | None, Rotates()] = None
    """Secret of this client at the issuer."""
    sasl_oauth_scope: str | None = None
    """Scope to ask the issuer for, where it wants one."""
    sasl_oauth_ca_file: Annotated[Path | None, Rotates()] = None
    """PEM file of the authorities that sign the issuer's certificate; by default the system's own."""
    sasl_oauth_extensions: CommaList = ()
    """SASL extensions that go with the token, as name=value: Confluent Cloud wants `logicalCluster=lkc-…` and
    `identityPoolId=pool-…`."""
    sasl_kerberos_service_name: str = "kafka"
    """Service name in the brokers' Kerberos principals (`GSSAPI`)."""
    sasl_kerberos_domain_name: str | None = None
    """Domain in the brokers' Kerberos principals (`GSSAPI`); by default the broker's host."""
