"""The settings of section `kafka`: where the records come from."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from pipeline.config.values import Bytes, CommaList, Seconds, Section


class KafkaSettings(Section):
    """Where the records come from."""

    bootstrap_servers: CommaList = ("localhost:9092",)
    """Brokers to ask for the cluster first, as host:port."""
    topics: CommaList = ("run-steps",)
    """Topics to read."""
    group_id: str = "runstep"
    """Consumer group; all processes of one pipeline share it."""
    client_id: str = "runstep"
    """Name of this client in the brokers' logs and quotas."""
    group_instance_id: str | None = None
    """Static membership: a name of its own for each process, so that a restart moves no partition."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where the group begins at its first start; partitions that are added later are read from their first record."""
    on_lost_offsets: Literal["continue", "halt"] = "continue"
    """After Kafka dropped records that were not read: go on at the log start, or halt that partition."""
    on_unreadable: Literal["skip", "halt"] = "skip"
    """Where a batch is damaged in Kafka's log: dead-letter its offsets and go on behind it, or halt that partition."""
    session_timeout: Seconds = 45.0
    """Seconds without a heartbeat after which the group gives our partitions away."""
    heartbeat_interval: Seconds = 3.0
    """Seconds between heartbeats; at most a third of the session timeout."""
    max_poll_interval: Seconds = 300.0
    """Seconds between two polls after which this member leaves the group."""
    request_timeout: Seconds = 30.0
    """Seconds to wait for a broker's answer."""
    bootstrap_timeout: Seconds = 8.0
    """Seconds to try to reach the cluster before the cause is named and the attempt starts anew."""
    poll_timeout: Seconds = 0.3
    """Longest wait of one poll in seconds; also how long a stop can take to be noticed."""
    poll_records: Annotated[int, Field(ge=1)] = 20_000
    """Most records of one poll; below 10,000 a busy partition stalls beside idle ones."""
    fetch_max_bytes: Bytes = 33_554_432
    """Most bytes of one fetch from one broker."""
    max_partition_fetch_bytes: Bytes = 4_194_304
    """Most bytes of one fetch from one partition."""
    metadata_max_age: Seconds = 30.0
    """Seconds after which new partitions and moved or recreated topics are noticed."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How to talk to the brokers."""
    ssl_ca_file: Path | None = None
    """PEM file of the authorities that sign the brokers' certificates; the system's own by default."""
    ssl_cert_file: Path | None = None
    """PEM file of our client certificate (mTLS)."""
    ssl_key_file: Path | None = None
    """PEM file of the client certificate's key."""
    ssl_key_password: SecretStr | None = None
    """Password of that key."""
    ssl_crl_file: Path | None = None
    """PEM file of revoked broker certificates."""
    ssl_check_hostname: bool = True
    """Whether a broker's certificate must carry the name it is reached by."""
    sasl_mechanism: (
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM", "GSSAPI"] | None
    ) = None
    """How to log in, with a SASL_ protocol."""
    sasl_username: str | None = None
    """User of PLAIN and SCRAM."""
    sasl_password: SecretStr | None = None
    """Password of PLAIN and SCRAM."""
    sasl_oauth_token: SecretStr | None = None
    """Token of OAUTHBEARER, if it never expires."""
    sasl_oauth_token_file: Path | None = None
    """File with the token of OAUTHBEARER, read again at each login: let the issuer renew it there."""
    sasl_kerberos_service_name: str = "kafka"
    """Service name of the brokers' principals (GSSAPI)."""
    sasl_kerberos_domain_name: str | None = None
    """Domain of the brokers' principals (GSSAPI); the broker's host by default."""
