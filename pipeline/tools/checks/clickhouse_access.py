"""ClickHouse: whether it answers, accepts the credentials, has the tables as shipped, and allows using them.

Reads only.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Final

from clickhouse_connect.driver.exceptions import Error

from pipeline.clickhouse.connection import address, connect
from pipeline.clickhouse.error_classes import sink_error
from pipeline.clickhouse.migrations import check_schema, each_host, hidden, pending
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError, ServiceUnavailable, SinkError
from pipeline.tools.checks.finding import UNKNOWN, Finding, away, bad, fine, guarded, warning

_NO_GRANT: Final = 497
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
            else away(subject, str(error), _way(settings))
        )
        return
    with closing(client):
        try:
            yield fine(subject, f"version {client.server_version}, login accepted")
            yield from _contents(client, settings)
        except (Error, ServiceUnavailable, ConfigError) as error:
            cause = sink_error(error, address(settings)) if isinstance(error, Error) else error
            yield away(subject, f"stopped answering: {cause}", "look at the server, then check again")


def _way(settings: ClickHouseSettings) -> str:
    if settings.proxy is not None:
        return "correct clickhouse.url or clickhouse.proxy, or start what does not answer"
    fix = "correct clickhouse.url, or start it"
    for name in () if settings.is_embedded else ("HTTPS_PROXY", "HTTP_PROXY"):
        if os.environ.get(name) or os.environ.get(name.lower()):
            return f"{fix}; {name} of the environment is not used: if the way leads through it, set clickhouse.proxy"
    return fix


def _contents(client: Any, settings: ClickHouseSettings) -> Iterator[Finding]:
    database = settings.database
    present = list(_asked(f"database {database}", _database(client, database), f"SHOW TABLES ON {database}.*"))
    yield from present
    if not all(finding.ok for finding in present):
        return
    yield from _asked("tables", _tables(client, database), f"SHOW TABLES, SHOW COLUMNS ON {database}.*")
    yield from _asked("migrations", _migrations(client, settings))
    for privilege, table in _GRANTS:
        yield from _asked(f"grant {privilege}", _grant(client, privilege, f"{database}.{table}"))


def _asked(subject: str, findings: Iterable[Finding], grant: str = "") -> Iterator[Finding]:
    """Yield findings; an error that ClickHouse answers with is about this subject only, and a missing grant no fault.

    Raises:
        Error: the driver's; the server has stopped answering.
        ServiceUnavailable: the same.
    """
    try:
        yield from guarded(subject, findings, (Error, ServiceUnavailable), required=True)
    except Error as error:
        if error.code is None:
            raise
        if error.code == _NO_GRANT and grant:
            yield warning(subject, f"{UNKNOWN}: this user may not see it", f"GRANT {grant} TO this user")
        else:
            yield bad(subject, str(sink_error(error, "ClickHouse")), "look at the server's log")


def _database(client: Any, database: str) -> Iterator[Finding]:
    if client.command(f"EXISTS DATABASE `{database}`"):
        yield fine(f"database {database}", "exists")
    else:
        yield bad(f"database {database}", "does not exist", "runstep migrate")


def _tables(client: Any, database: str) -> Iterator[Finding]:
    wrong = check_schema(client, database)
    for line in wrong:
        detail, _, fix = line.partition(": ")
        yield bad("tables", detail, fix)
    unseen = hidden(client, database)
    if unseen:
        detail = f"{UNKNOWN} for {', '.join(unseen)}: this user may not see them"
        yield warning("tables", detail, f"GRANT SHOW TABLES, SHOW COLUMNS ON {database}.* TO this user")
    elif not wrong:
        yield fine("tables", "all tables and views are as shipped")


def _migrations(client: Any, settings: ClickHouseSettings) -> Iterator[Finding]:
    try:
        names = pending(client, settings)
    except ConfigError:
        book = f"{settings.database}.schema_migrations"
        yield warning("migrations", f"{UNKNOWN}: this user may not read {book}", f"GRANT SELECT ON {book} TO this user")
        return
    if names:
        yield warning("migrations", f"{', '.join(names)} are pending", "runstep migrate")
    else:
        yield fine("migrations", "all were applied")


def _grant(client: Any, privilege: str, name: str) -> Iterator[Finding]:
    database, _, table = name.partition(".")
    if int(client.command(f"CHECK GRANT {privilege} ON `{database}`.{table}")):
        yield fine(f"grant {privilege}", f"on {name}")
    else:
        yield bad(f"grant {privilege}", f"missing on {name}", f"GRANT {privilege} ON {name} TO this user")
