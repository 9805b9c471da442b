"""Settings: what they are, where they come from, and which relations between them must hold.

Sources, the later ones win: `runstep.toml`, the environment (`RUNSTEP_SECTION__KEY`), secrets from files. Durations are
in seconds, sizes in bytes. Everything is frozen and checked once, at start; secrets are `SecretStr` and never printed.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode

Seconds = Annotated[float, Field(gt=0)]
CommaList = Annotated[tuple[str, ...], NoDecode]


class Section(BaseModel):
    """A group of settings: frozen, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(Section):
    """Where the records come from."""

    bootstrap_servers: CommaList = ("localhost:9092",)
    topics: CommaList = ("run-steps",)
    group_id: str = "runstep"
    client_id: str = "runstep"
    group_instance_id: str | None = None
    start: Literal["earliest", "latest"] = "earliest"
    on_lost_offsets: Literal["continue", "halt"] = "continue"
    session_timeout: Seconds = 45.0
    heartbeat_interval: Seconds = 3.0
    max_poll_interval: Seconds = 300.0
    request_timeout: Seconds = 30.0
    bootstrap_timeout: Seconds = 8.0
    poll_timeout: Seconds = 0.3
    poll_records: Annotated[int, Field(ge=1)] = 20_000
    fetch_max_bytes: Annotated[int, Field(ge=1024)] = 33_554_432
    max_partition_fetch_bytes: Annotated[int, Field(ge=1024)] = 4_194_304
    metadata_max_age: Seconds = 30.0
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ssl_ca_file: Path | None = None
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None
    ssl_key_password: SecretStr | None = None
    ssl_crl_file: Path | None = None
    ssl_check_hostname: bool = True
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM", "GSSAPI"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_oauth_token: SecretStr | None = None
    sasl_kerberos_service_name: str = "kafka"


class ClickHouseSettings(Section):
    """Where the rows go."""

    url: SecretStr = SecretStr("http://localhost:8123")
    database: str = "runsteps"
    username: str | None = None
    password: SecretStr | None = None
    access_token: SecretStr | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_host_name: str | None = None
    verify: bool = True
    connect_timeout: Seconds = 10.0
    insert_timeout: Seconds = 60.0
    compression: Literal["lz4", "zstd", "none"] = "lz4"
    variant: Literal["single", "replicated", "cluster"] = "single"
    cluster: str = "runstep"
    hosts: CommaList = ()
    insert_quorum: str = "auto"
    retention_days: Annotated[int, Field(ge=0)] = 0
    details_retention_days: Annotated[int, Field(ge=0)] = 0


class BatchSettings(Section):
    """When a batch is full."""

    max_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    max_bytes: Annotated[int, Field(ge=1024)] = 67_108_864
    max_age: Seconds = 1.0


class DeadLetterSettings(Section):
    """Where refused records go."""

    topic: str | None = None
    delivery_timeout: Seconds = 30.0
    max_request_size: Annotated[int, Field(ge=1024)] = 33_554_432


class NormalizeSettings(Section):
    """What is kept of an event, and what is too old to be news."""

    content: Literal["full", "structure", "none"] = "full"
    max_event_bytes: Annotated[int, Field(ge=1024)] = 26_214_400
    max_text: Annotated[int, Field(ge=64)] = 8_192
    backfill_after: Seconds = 86_400.0
    counted_steps: Annotated[int, Field(ge=1)] = 100_000


class RetrySettings(Section):
    """How long to wait between attempts; there is no limit to their number while the environment is at fault."""

    first_delay: Seconds = 0.2
    max_delay: Seconds = 15.0
    unknown_attempts: Annotated[int, Field(ge=1)] = 10


class HttpSettings(Section):
    """The endpoints: /metrics, /healthz, /readyz, /status."""

    bind: str = "127.0.0.1:9464"
    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    stalled_after: Seconds = 60.0
    buckets: tuple[float, ...] = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900)


class LogSettings(Section):
    """How the daemon tells what it does."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseModel):
    """All of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    batch: BatchSettings = BatchSettings()
    dead_letter: DeadLetterSettings = DeadLetterSettings()
    normalize: NormalizeSettings = NormalizeSettings()
    retry: RetrySettings = RetrySettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    drain_timeout: Seconds = 25.0


def load(**overrides: Any) -> Settings:
    """Read all sources and check them."""
    return Settings(**overrides)
