"""The sections of the settings but `kafka`, the kinds of values they have, and what follows from a section alone.

The docstring under a field is its description in the table of settings. A field with the mark `Rotates` may change
while the daemon runs; see `reloading`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

MODEL_CONFIG: Final = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)
"""Frozen, no unknown keys, and no value in an error message: it could be a secret."""

EMBEDDED: Final = "chdb:"
"""How the url of the embedded ClickHouse begins; the path of its directory follows."""

_ADDRESS: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/@]*):(?P<port>\d{1,5})")
_MAX_PORT: Final = 65_535


def _split_commas(value: Any) -> Any:
    """Turn `a, b` into `a` and `b`; anything but text is left to the validation."""
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return value


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=1024)]
CommaList = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]
NumberList = Annotated[tuple[float, ...], BeforeValidator(_split_commas)]


@dataclass(frozen=True, slots=True)
class Rotates:
    """Mark of a field whose value is read again while the daemon runs; all others stay as they were at the start.

    Attributes:
        login_only: of a url only user and password follow, the address stays.
    """

    login_only: bool = False


class HostPort(NamedTuple):
    """An address; an IPv6 host is in brackets, and an empty one is every address of the host."""

    host: str
    port: int


def host_port(text: str) -> HostPort | None:
    """Return the parts of `host:port`; None if the text is none."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > _MAX_PORT:
        return None
    return HostPort(match["host"], int(match["port"]))


class Section(BaseModel):
    """A group of settings."""

    model_config = MODEL_CONFIG


class ClickHouseSettings(Section):
    """Where the rows go."""

    url: Annotated[SecretStr, Rotates(login_only=True)] = SecretStr("http://localhost:8123")
    """`http[s]://user:password@host:port` of a server, or `chdb:PATH` for the embedded ClickHouse in that directory."""
    database: str = "runsteps"
    """Database of all tables; `runstep migrate` creates it."""
    username: Annotated[str | None, Rotates()] = None
    """User, where the url names none."""
    password: Annotated[SecretStr | None, Rotates()] = None
    """Password, where the url has none."""
    access_token: Annotated[SecretStr | None, Rotates()] = None
    """Bearer token that replaces user and password."""
    access_token_file: Annotated[Path | None, Rotates()] = None
    """File with the bearer token, read for each connection; the issuer can renew it in place."""
    ca_file: Annotated[Path | None, Rotates()] = None
    """PEM file of the authorities that sign the server's certificate; by default the system's own."""
    cert_file: Annotated[Path | None, Rotates()] = None
    """PEM file of the client certificate (mTLS). It is the login of a user without password and token."""
    key_file: Annotated[Path | None, Rotates()] = None
    """PEM file of the client certificate's private key."""
    server_host_name: str | None = None
    """Name to expect in the server's certificate, where it is not the url's host."""
    verify: bool = True
    """Whether the server's certificate is checked; `false` allows impersonation."""
    proxy: Annotated[SecretStr | None, Rotates()] = None
    """`http[s]://[user:password@]host:port` of a proxy on the way to `url`. Those of the environment (`HTTP_PROXY`,
    `HTTPS_PROXY`) are not used."""
    connect_timeout: Seconds = 10.0
    """Seconds to wait for a connection."""
    insert_timeout: Seconds = 60.0
    """Seconds to wait for the answer to an insert; then the same insert is sent again, which ClickHouse recognizes."""
    compression: Literal["lz4", "zstd", "none"] = "lz4"
    """Compression of inserts: `lz4` within a zone, `zstd` across zones (fewer bytes, more CPU)."""
    variant: Literal["single", "replicated", "cluster"] = "single"
    """Tables that `runstep migrate` creates: for one server, for replicas, or for a cluster of shards."""
    cluster: str = "runstep"
    """Name of the cluster in the servers' `remote_servers`."""
    hosts: Annotated[CommaList, Field(repr=False)] = ()
    """URLs of all servers that `runstep migrate` creates tables on; by default only that of `url`."""
    on_cluster: bool = False
    """Whether `runstep migrate` sends each statement to one server, with ON CLUSTER, instead of to each of `hosts`."""
    replica_path: str = "/clickhouse/tables/{shard}/{database}/{table}"
    """Path of the replicated tables in Keeper, with the servers' macros; `name:/path` for an auxiliary Keeper."""
    replica_name: str = "{replica}"
    """Name of a replica in Keeper, usually the servers' macro."""
    shard_replicas: bool = True
    """Whether each shard of a cluster has replicas; `false` for shards of one server."""
    insert_quorum: str = "auto"
    """Replicas that must have an insert before it counts: `auto` (a majority) or a number."""
    require_deduplication: bool = True
    """Refuse to write to tables without insert deduplication; `false` only warns."""
    retention_days: Annotated[int, Field(ge=0)] = 0
    """Days that steps and their ledger rows are kept; 0 is without limit. `runstep migrate` applies it."""
    details_retention_days: Annotated[int, Field(ge=0)] = 0
    """Days that step_details and extra_fields are kept; 0 is as long as the step. `runstep migrate` applies it."""

    @property
    def is_embedded(self) -> bool:
        """Whether ClickHouse runs within this process."""
        return self.url.get_secret_value().startswith(EMBEDDED)

    @property
    def directory(self) -> str:
        """The embedded ClickHouse's data directory; empty if the url names none."""
        return self.url.get_secret_value().removeprefix(EMBEDDED)


class BatchSettings(Section):
    """When a batch is full."""

    max_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    """Rows that make a batch full. More rows mean fewer inserts and more memory."""
    max_bytes: Bytes = 134_217_728
    """Bytes of memory, of records with their keys and headers and of their rows, that make a batch full. There are two
    batches at most: one is filled while one is written."""
    max_age: Seconds = 1.0
    """Seconds after which a batch is written however small it is. Less means fresher rows, more means fewer inserts."""


class DeadLetterSettings(Section):
    """Where rejected records go, and how many of them halt a partition."""

    topic: str | None = None
    """Topic of the dead letters; by default the first of `kafka.topics` with `.dlq` appended."""
    delivery_timeout: Seconds = 30.0
    """Seconds to wait until Kafka acknowledges dead letters; then they are sent again."""
    max_request_size: Bytes = 33_554_432
    """Largest dead letter in bytes. The topic's `max.message.bytes` must allow it."""
    max_consecutive: Annotated[int, Field(ge=0)] = 1_000
    """Rejected records in a row beyond which their partition is halted, so that a broken producer does not fill the
    dead-letter topic; 0 is no limit."""
    max_ratio: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of rejected records, of the latest 1,000 or more, beyond which their partition is halted; 1 is no limit."""


class NormalizeSettings(Section):
    """What is kept of an event, and what is too old to be counted as news."""

    content: Literal["full", "structure", "none"] = "full"
    """How much of step_details is stored: `full`, the `structure` without texts (they may be confidential), `none`."""
    max_event_bytes: Bytes = 4_194_304
    """Largest record value in bytes that is read; a larger one becomes a dead letter. Reading a value can take 35 times
    its size in memory for a moment."""
    max_event_nodes: Annotated[int, Field(ge=1_000)] = 200_000
    """Most JSON objects, arrays and values in them that a record may hold; one with more becomes a dead letter. Each
    can take 500 bytes of memory for a moment."""
    max_searched: Annotated[int, Field(ge=65_536)] = 8_388_608
    """Characters of a record's texts that are searched for secrets, a quarter of a minute of work at worst. Texts
    beyond them are not stored, and the step gets the anomaly `text_not_searched`."""
    max_text: Annotated[int, Field(ge=64)] = 8_192
    """Characters of an error message that are stored; the rest is cut off."""
    backfill_after: Seconds = 86_400.0
    """A step that ended longer ago than this many seconds when read is counted as backfill only."""
    counted_steps: Annotated[int, Field(ge=1)] = 100_000
    """Ended steps remembered for each partition, so that the metrics count a repeated event once."""


class RetrySettings(Section):
    """How long to wait between attempts. Their number is not limited while Kafka or ClickHouse is away."""

    first_delay: Seconds = 0.2
    """Seconds before the first retry. Each further delay is twice as long, with jitter."""
    max_delay: Seconds = 15.0
    """Longest delay between two attempts in seconds."""
    unknown_attempts: Annotated[int, Field(ge=1)] = 10
    """Consecutive unclassified insert failures before the affected partitions are halted."""
    halted_delay: Seconds = 300.0
    """Seconds after which a halted partition is tried again, from its committed offset."""


class HttpSettings(Section):
    """The endpoints: /metrics, /healthz, /readyz, /status."""

    bind: str = "127.0.0.1:9464"
    """host:port to listen on. `0.0.0.0:9464` is every address of the host; port 0 takes a free one."""
    cert_file: Path | None = None
    """PEM file of the endpoints' certificate; with it they speak HTTPS. A renewed file needs no restart."""
    key_file: Path | None = None
    """PEM file of that certificate's private key, without a password."""
    client_ca_file: Path | None = None
    """PEM file of authorities; only clients with a certificate from one of them are answered (mTLS)."""
    stalled_after: Seconds = 60.0
    """Seconds without progress after which /healthz fails: of the loop, or of the writer beyond its time-outs."""
    final_scrape: Annotated[float, Field(ge=0)] = 0.0
    """Longest wait in seconds of a drained daemon for one more scrape, which gets the last counts; 0 is none."""
    buckets: NumberList = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900)
    """Upper bounds of the duration histogram in seconds."""

    @property
    def host(self) -> str:
        """The host to listen on; empty is every address, and an IPv6 address is in brackets."""
        return self.bind.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port to listen on; 0 is any free one."""
        return int(self.bind.rpartition(":")[2])


class LogSettings(Section):
    """How the daemon logs."""

    format: Literal["console", "json"] = "console"
    """`console` is for people, `json` for log collectors."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged; `debug` adds a line for every batch."""
