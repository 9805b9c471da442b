"""The settings of every section but `kafka`, and what a section is for."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from pipeline.config.values import Bytes, CommaList, NumberList, Seconds, Section


class ClickHouseSettings(Section):
    """Where the rows go."""

    url: SecretStr = SecretStr("http://localhost:8123")
    """`http[s]://user:password@host:port`, or `chdb:PATH` for the embedded ClickHouse."""
    database: str = "runsteps"
    """Database of all tables."""
    username: str | None = None
    """User, where the url names none."""
    password: SecretStr | None = None
    """Password, where the url has none."""
    access_token: SecretStr | None = None
    """Bearer token instead of user and password."""
    access_token_file: Path | None = None
    """File with the bearer token, read again whenever a connection is made: let the issuer renew it there."""
    ca_file: Path | None = None
    """PEM file of the authorities that sign the server's certificate; the system's own by default."""
    cert_file: Path | None = None
    """PEM file of our client certificate (mTLS)."""
    key_file: Path | None = None
    """PEM file of the client certificate's key."""
    server_host_name: str | None = None
    """Name to expect in the server's certificate where it is not the url's host."""
    verify: bool = True
    """Whether the server's certificate is checked."""
    connect_timeout: Seconds = 10.0
    """Seconds to wait for a connection."""
    insert_timeout: Seconds = 60.0
    """Seconds to wait for an insert, after which its outcome counts as unknown and it is sent again."""
    compression: Literal["lz4", "zstd", "none"] = "lz4"
    """Compression of inserts: lz4 within a zone, zstd across zones."""
    variant: Literal["single", "replicated", "cluster"] = "single"
    """What `runstep migrate` builds: one server, replicas, or shards."""
    cluster: str = "runstep"
    """Name of the cluster in the servers' configuration."""
    hosts: Annotated[CommaList, Field(repr=False)] = ()
    """URLs of all servers that `runstep migrate` applies the tables to; the url alone by default."""
    on_cluster: bool = False
    """Whether `runstep migrate` lets one server spread each statement with ON CLUSTER; else it goes to all `hosts`."""
    replica_path: str = "/clickhouse/tables/{shard}/{database}/{table}"
    """Place of the replicated tables in Keeper, with the servers' macros; `name:/path` for an auxiliary Keeper."""
    replica_name: str = "{replica}"
    """Name of a replica among its like, as a rule the servers' macro."""
    shard_replicas: bool = True
    """Whether the shards of a cluster have replicas; each is a single server else."""
    insert_quorum: str = "auto"
    """Replicas that must have an insert before it counts: `auto` (a majority) or a number."""
    require_deduplication: bool = True
    """Whether nothing is written to tables that would store a repeated insert twice; else a warning has to do."""
    retention_days: Annotated[int, Field(ge=0)] = 0
    """Days after which a step is deleted; 0 keeps it for ever."""
    details_retention_days: Annotated[int, Field(ge=0)] = 0
    """Days after which step_details are emptied; 0 keeps them as long as the step."""


class BatchSettings(Section):
    """When a batch is full."""

    max_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    """Rows that make a batch full."""
    max_bytes: Bytes = 67_108_864
    """Bytes of record values that make a batch full."""
    max_age: Seconds = 1.0
    """Seconds after which a batch is written however small it is; it bounds the delay of quiet topics."""


class DeadLetterSettings(Section):
    """Where refused records go."""

    topic: str | None = None
    """Topic of the dead letters; the first topic with `.dlq` behind it by default."""
    delivery_timeout: Seconds = 30.0
    """Seconds to wait for the acknowledgement of a dead letter."""
    max_request_size: Bytes = 33_554_432
    """Largest dead letter in bytes; the topic's max.message.bytes must allow it."""
    max_consecutive: Annotated[int, Field(ge=0)] = 1_000
    """Refused records in a row beyond which a partition is halted, not emptied into the dead letters; 0: no limit."""
    max_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of refused records, among the latest 1,000 or more, beyond which a partition is halted; 1: no limit."""


class NormalizeSettings(Section):
    """What is kept of an event, and what is too old to be news."""

    content: Literal["full", "structure", "none"] = "full"
    """How much of step_details is stored: all, the structure without texts, or nothing."""
    max_event_bytes: Bytes = 26_214_400
    """Largest record value that is read; larger ones are dead-lettered."""
    max_text: Annotated[int, Field(ge=64)] = 8_192
    """Characters kept of an error message."""
    backfill_after: Seconds = 86_400.0
    """Seconds after its end from which on a step counts as backfill only."""
    counted_steps: Annotated[int, Field(ge=1)] = 100_000
    """Ended steps remembered for each partition, so that a repeated event is not counted twice."""


class RetrySettings(Section):
    """How long to wait between attempts; there is no limit to their number while the environment is at fault."""

    first_delay: Seconds = 0.2
    """Seconds before the first repetition; doubled each time, with jitter."""
    max_delay: Seconds = 15.0
    """Longest wait between two attempts in seconds."""
    unknown_attempts: Annotated[int, Field(ge=1)] = 10
    """Failures in a row that nobody understands after which the partitions that have them are halted."""
    halted_delay: Seconds = 300.0
    """Seconds after which a halted partition is read again from its committed offset, to see whether it is fixed."""


class HttpSettings(Section):
    """The endpoints: /metrics, /healthz, /readyz, /status."""

    bind: str = "127.0.0.1:9464"
    """host:port to listen on; port 0 takes a free one."""
    cert_file: Path | None = None
    """PEM file of the endpoints' certificate; with it they speak HTTPS."""
    key_file: Path | None = None
    """PEM file of that certificate's key."""
    client_ca_file: Path | None = None
    """PEM file of the authorities whose clients may ask (mTLS)."""
    stalled_after: Seconds = 60.0
    """Seconds without progress of the loop, or of the writer beyond its time-outs, after which /healthz says so."""
    final_scrape: Annotated[float, Field(ge=0)] = 0.0
    """Seconds that a drained daemon waits for one more scrape, so that a restart loses no number; 0: not at all."""
    buckets: NumberList = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900)
    """Upper bounds of the duration histogram in seconds."""


class LogSettings(Section):
    """How the daemon tells what it does."""

    format: Literal["console", "json"] = "console"
    """For people, or for a log collector."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is told; debug adds a line for every batch."""
