"""The `Sink` on ClickHouse: one idempotent insert for each batch, and what is read back.

Owns the order of things: a connection is checked before it is used, an insert carries the settings that make it
idempotent (`insert_settings`), and its OK is believed with proof only (`insert_proof`, `insert_tokens`); without it the
insert is ambiguous, and is sent again.
"""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final

import structlog
from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.insert import InsertContext

from pipeline.clickhouse import deduplication, insert_proof, migrations
from pipeline.clickhouse.connection import address, connect
from pipeline.clickhouse.error_classes import sink_error
from pipeline.clickhouse.insert_proof import INGEST, Answer, Answers, Views
from pipeline.clickhouse.insert_settings import insert_settings
from pipeline.clickhouse.insert_tokens import InsertTokens
from pipeline.config import ClickHouseSettings
from pipeline.contracts import Columns, StepKey
from pipeline.errors import ErrorClass, SinkError, SinkUnavailable
from pipeline.records import EARLIEST_STAMP_MS, FUTURE_TOLERANCE_MS, Outcome, Partition
from schemas.row import INGEST_COLUMNS
from schemas.vocabulary import TERMINAL_STATUSES

log = structlog.get_logger(__name__)

LEDGER: Final = "run_step_ledger"
LOOK_INTERVAL_S: Final = 60.0
"""Between two looks at the views, and at migrations that are pending."""

_NAMES: Final = tuple(column.name for column in INGEST_COLUMNS)
_TYPES: Final = tuple(get_from_name(column.type) for column in INGEST_COLUMNS)

_COUNTED_STEPS: Final = """
SELECT thread_id, run_id, step_id
FROM {database:Identifier}.{table:Identifier}
WHERE kafka_topic = {topic:String} AND kafka_partition = {partition:Int32} AND kafka_offset < {below:Int64}
  AND outcome = {outcome:String} AND status IN {statuses:Array(String)}
  AND NOT (
    toUnixTimestamp64Milli(kafka_timestamp) >= {earliest:Int64}
    AND ifNull(toUnixTimestamp64Milli(occurred_at) - toUnixTimestamp64Milli(kafka_timestamp) > {tolerance:Int64}, false)
  )
ORDER BY kafka_offset DESC
LIMIT 1 BY thread_id, run_id, step_id
LIMIT {limit:UInt64}
SETTINGS optimize_read_in_order = 1
"""
"""Read backwards in the table's own order, so that it ends once there are enough. Repeats are one step: no FINAL.

Ends that lie ahead of their record were not counted."""


class ClickHouseSink:
    """ClickHouse over HTTP(S) or embedded. Connects when first used, and again after every fault of the environment.

    Attributes:
        last_heartbeat: monotonic seconds of the last query or insert, for /healthz: one call can be many of them.
        pending_migrations: those that the database has not had, as far as this user may see that.
    """

    def __init__(self, settings: Callable[[], ClickHouseSettings]) -> None:
        """Keep how to get settings; it is asked at each connection, so a rotated secret is found."""
        self._current_settings = settings
        self._settings = settings()
        self._client: Client | None = None
        self._insert_settings: dict[str, Any] = {}
        self._tokens = InsertTokens()
        self._answers: Answers
        self._views: Views
        self._doubt: str | None = None
        self._looked_at = 0.0
        self._counts_copies = False
        self.last_heartbeat = monotonic()
        self.pending_migrations: list[str] = []

    def insert(self, columns: Columns, token: str) -> None:
        """Insert all rows as one block under a token, see `contracts.Sink`.

        The columns stay the caller's and are not changed. Their types are known, so the server is not asked for them.
        """
        self._attempt(columns, token)
        while self._tokens.renewed(token, self._lived_since):
            message = "ClickHouse may remember an insert whose rows it lost; the rows are sent under another token"
            log.warning("insert_repeated", message=message, rows=len(columns[0]))
            self._attempt(columns, token)

    def counted_steps(self, partition: Partition, below: int, limit: int) -> Sequence[StepKey]:
        """Return keys of steps that ended below that offset, the latest first, see `contracts.Sink`."""
        parameters = {
            "database": self._settings.database,
            "table": LEDGER,
            "topic": partition.topic,
            "partition": partition.number,
            "below": below,
            "outcome": Outcome.STORED.value,
            "statuses": sorted(TERMINAL_STATUSES),
            "earliest": EARLIEST_STAMP_MS,
            "tolerance": FUTURE_TOLERANCE_MS,
            "limit": limit,
        }
        rows: Sequence[StepKey] = self._rows(_COUNTED_STEPS, parameters)
        return rows

    def probe(self) -> None:
        """Make sure that the tables exist, that this user may use them, and that they recognize an insert sent twice.

        Grants come first: what a user may not use, the server does not show.
        """
        for privilege, table in (("INSERT", INGEST), ("SELECT", LEDGER)):
            name = f"{self._settings.database}.{table}"
            if not self._asked(f"CHECK GRANT {privilege} ON `{self._settings.database}`.{table}"):
                self._lack(f"the ClickHouse user may not {privilege} {name}; grant it", 497)
            if not self._asked(f"EXISTS TABLE `{self._settings.database}`.{table}"):
                self._lack(f"table {name} is missing; run `runstep migrate`", 60)
        self._require_deduplication()
        self._look_at_views()

    def close(self) -> None:
        """Release the connection; the next call makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _attempt(self, columns: Columns, token: str) -> None:
        """Send the rows once, under the name that the token has now."""
        client = self._connected()
        if monotonic() - self._looked_at >= LOOK_INTERVAL_S:
            self._look_at_views()
            if self.pending_migrations:
                self._look_for_migrations(client)
        self.last_heartbeat = began = monotonic()
        try:
            answer = self._send(client, columns, token)
            if any(columns):
                self._require_proof(answer, columns)
        except SinkError as error:
            self._tokens.failed(token, began, error.error_class)
            raise

    def _send(self, client: Client, columns: Columns, token: str) -> Answer:
        table = f"`{self._settings.database}`.{INGEST}"
        settings = {**self._insert_settings, "insert_deduplication_token": self._tokens.name(token)}
        context = InsertContext(table, _NAMES, _TYPES, column_oriented=True, settings=settings)
        began, self._answers.requests = monotonic(), 0
        try:
            summary = client.insert(data=columns, context=context).summary
        except Exception as error:  # noqa: BLE001 - values that do not fit raise whatever they like; all are classified
            # Set where a value did not fit but the broken-off request was seen first: then that is not the cause.
            unfit = context.insert_exception
            raise self._failed(unfit or error, getattr(context, "column_name", None)) from None
        finally:
            if self._answers.requests > 1:
                # The driver repeats a request that was cut off, and does not say so.
                self._tokens.failed(token, began, ErrorClass.AMBIGUOUS)
        return Answer(summary, self._answers.body)

    def _lived_since(self, began: float) -> bool:
        """Return whether what the server remembers of an insert since that second is stored as well."""
        if self._settings.variant != "single":
            # Keeper notes a token together with its rows. What shards without replicas lived through cannot be asked.
            return self._settings.variant == "replicated" or self._settings.shard_replicas
        return int(self._rows("SELECT uptime()")[0][0]) >= monotonic() - began

    def _connected(self) -> Client:
        if self._client is None:
            self._settings = self._current_settings()
            self.last_heartbeat = monotonic()
            try:
                self._client = connect(self._settings)
            except SinkError as error:
                # The server can reject the connection itself, for want of memory, say; no row is at fault then.
                raise self._unanswered(error) from None
            self._insert_settings = insert_settings(self._settings, self._client)
            self._answers, self._counts_copies = Answers(self._client), False
            try:
                self._require_deduplication()
                self._look_at_views()
            except SinkError:
                # A connection that failed the check must not be used.
                self.close()
                raise
            self._look_for_migrations(self._client)
        return self._client

    def _look_for_migrations(self, client: Client) -> None:
        """Say which migrations are pending. They stop nothing: what the daemon cannot do without is checked apart."""
        self.last_heartbeat = monotonic()
        try:
            names = migrations.pending(client, self._settings)
        except Exception:  # noqa: BLE001 - as for insert
            return  # this user may not see them, or the next query fails as well, and is classified then
        if names and names != self.pending_migrations:
            message = "the tables are not those of this version yet; run `runstep migrate`"
            log.warning("migrations_pending", message=message, pending=names)
        self.pending_migrations = names

    def _require_deduplication(self) -> None:
        """Fail where the server would store a repeated insert twice; warn where that is unknown.

        Raises:
            SinkUnavailable: naming the table or the setting, and the fix.
        """
        client = self._connected()
        fixed = ", ".join(deduplication.fixed(client, self._insert_settings))
        if fixed:
            self._lack(f"the profile of the ClickHouse user fixes {fixed}; lift the constraint there", 452)
        self.last_heartbeat = monotonic()
        try:
            verdict = deduplication.judge(client, self._settings.database, self._insert_settings)
        except Exception as error:  # noqa: BLE001 - as for insert
            raise self._unanswered(error) from None
        faults = "; ".join(verdict.faults)
        if faults and self._settings.require_deduplication:
            self._lack(faults)
        doubt = faults or verdict.doubt
        if doubt is not None and doubt != self._doubt:
            log.warning("deduplication_unverified", message="a repeated insert may be stored twice", cause=doubt)
        self._doubt = doubt

    def _require_proof(self, answer: Answer, columns: Columns) -> None:
        """Fail unless the rows were written and copied.

        Raises:
            SinkUnavailable: that is not proved, or a view is missing.
        """
        doubt = answer.doubt(len(columns[0]))
        if doubt is not None:
            raise SinkUnavailable(f"{address(self._settings)} {doubt}", ErrorClass.AMBIGUOUS)
        before, copied = self._views, answer.counts_copies(columns)
        if copied and before.counted:
            self._counts_copies = True
            return
        self._look_at_views()
        # A server that has counted copies before leaves none out; one that never has is judged by its views alone.
        is_short = not copied and (self._counts_copies or self._views.must_be_counted())
        if is_short or before.were_replaced_by(self._views):
            message = f"a view on {self._settings.database}.{INGEST} was missing for a moment; the insert is sent again"
            raise SinkUnavailable(message, ErrorClass.AMBIGUOUS)

    def _look_at_views(self) -> None:
        """Fail where rows would not be copied into the tables behind an insert.

        Raises:
            SinkUnavailable: naming the view, and the fix.
        """
        client = self._connected()
        self.last_heartbeat = monotonic()
        try:
            self._views = insert_proof.look(client, self._settings.database)
        except Exception as error:  # noqa: BLE001 - as for insert
            raise self._unanswered(error) from None
        self._looked_at = monotonic()
        if self._views.faults:
            self._lack("; ".join(self._views.faults))

    def _rows(self, query: str, parameters: dict[str, Any] | None = None) -> Any:
        client = self._connected()
        self.last_heartbeat = monotonic()
        try:
            answer = client.query(query, parameters=parameters)
            # The driver reads all but the first block only now.
            rows = answer.result_rows
        except Exception as error:  # noqa: BLE001 - as for insert
            raise self._unanswered(error) from None
        if not (rows or self._settings.is_embedded or answer.summary.get("result_rows") == "0"):
            # A proxy's own empty page, or an answer that was cut off; ClickHouse says how many rows it sends.
            message = f"{address(self._settings)} answered a query, but not as ClickHouse does: is a proxy in between?"
            raise SinkUnavailable(message, ErrorClass.AMBIGUOUS)
        return rows

    def _asked(self, query: str) -> bool:
        return any(row[0] for row in self._rows(query))

    def _lack(self, message: str, code: int | None = None) -> None:
        self.close()
        raise SinkUnavailable(message, ErrorClass.ENVIRONMENT, code)

    def _failed(self, error: Exception, column: str | None = None) -> SinkError:
        failure = sink_error(error, address(self._settings), column)
        if failure.error_class is ErrorClass.ENVIRONMENT:
            # Whatever the fix is (a new password, certificate, server, table), a new connection sees it.
            self.close()
        return failure

    def _unanswered(self, error: Exception) -> SinkUnavailable:
        """Classify a failed query: it holds no rows, so none can be at fault."""
        failure = self._failed(error)
        if isinstance(failure, SinkUnavailable):
            return failure
        passes = failure.error_class is ErrorClass.SHAPE
        return SinkUnavailable(str(failure), ErrorClass.TRANSIENT if passes else ErrorClass.UNKNOWN, failure.code)
