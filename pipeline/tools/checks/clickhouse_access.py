"""ClickHouse: whether it answers, accepts the credentials, has the tables as shipped, and allows using them.

Reads only.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from clickhouse_connect.driver.exceptions import Error

from pipeline.clickhouse.connection import address, connect
from pipeline.clickhouse.error_classes import sink_error
from pipeline.clickhouse.migrations import check_schema, each_host
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError, ServiceUnavailable, SinkError
from pipeline.tools.checks.finding import Finding, away, bad, fine

_GRANTS: Final = (("INSERT", "run_step_ingest"), ("SELECT", "run_step_ledger"))


def clickhouse_findings(settings: ClickHouseSettings) -> Iterator[Finding]:
    """Yield the state of everything in ClickHouse that the daemon needs, on each host of a cluster.

    Takes up to `clickhouse.connect_timeout` for a host that is away.
    """
    for host in each_host(settings):
        yield from _host(host)


def _host(settings: ClickHouseSettings) -> Iterator[Finding]:
    subject = f"clickhouse {address(settings)}"
    try:
        client = connect(settings)
    except SinkError as error:
        # With a code the server did answer, and the last part of its error is the fix.
        detail, _, fix = str(error).rpartition("; ")
        yield (
            bad(subject, detail or fix, fix if detail else "look at the server's log")
            if error.code
            else away(subject, str(error), "correct clickhouse.url, or start it")
        )
        return
    with closing(client):
        try:
            yield fine(subject, f"version {client.server_version}, login accepted")
            yield from _contents(client, settings)
        except (Error, ServiceUnavailable, ConfigError) as error:
            cause = sink_error(error, address(settings)) if isinstance(error, Error) else error
            yield away(subject, f"stopped answering: {cause}", "look at the server, then check again")


def _contents(client: Any, settings: ClickHouseSettings) -> Iterator[Finding]:
    database = settings.database
    if not client.command(f"EXISTS DATABASE `{database}`"):
        yield bad(f"database {database}", "does not exist, or this user may not see it", "runstep migrate")
        return
    yield fine(f"database {database}", "exists")
    wrong = check_schema(client, database)
    for line in wrong:
        detail, _, fix = line.partition(": ")
        yield bad("tables", detail, fix)
    if not wrong:
        yield fine("tables", "all tables and views are as shipped")
    for privilege, table in _GRANTS:
        name = f"{database}.{table}"
        if int(client.command(f"CHECK GRANT {privilege} ON `{database}`.{table}")):
            yield fine(f"grant {privilege}", f"on {name}")
        else:
            yield bad(f"grant {privilege}", f"missing on {name}", f"GRANT {privilege} ON {name} TO this user")
