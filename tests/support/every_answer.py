"""Prints as JSON what the engine of this process answers to every shipped question.

    python -m tests.support.every_answer DIRECTORY

The questions are the reports, the report page, the dashboards' SQL and the views; they are about the steps of
`queries_rig`, in an embedded database.
Two engines agree if they print the same: `now` is fixed, since some answers are ages, and rows are sorted, since the
order of some is free.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.query import QueryResult
from pydantic import SecretStr

from pipeline.clickhouse import connect
from pipeline.config import ClickHouseSettings
from pipeline.tools.html_report import Period
from pipeline.tools.html_report.page_queries import extent, page_answers
from pipeline.tools.queries import reports
from pipeline.tools.queries.parameters import ALL_TIME
from tests.support import queries_rig
from tests.support.dashboards import Range, expand_sql, sql_targets
from tests.support.sink_setup import build

BEGIN: Final = queries_rig.BASE // 1000 - 60
END: Final = BEGIN + 12 * queries_rig.DAY
VIEWS: Final = {
    "run_steps_current": "thread_id, run_id, step_id",
    "runs": "thread_id, run_id",
    "tool_calls": "thread_id, run_id, step_id, call_index",
    "run_step_ledger": "kafka_partition, kafka_offset, step_index",
}
FREE: Final = {"main_category"}
"""Of equals any: the answer is not compared."""
NOW: Final = re.compile(r"\bnow(?:64)?\([^()]*\)")


class AtTheEnd:
    """A connection on which it is always the moment after the last record."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def query(self, sql: str, parameters: dict[str, Any] | None = None) -> QueryResult:
        """Ask, with a fixed time in place of `now`."""
        return self.client.query(NOW.sub(f"toDateTime64({END}, 3, 'UTC')", sql), parameters=parameters)


def answers(client: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of each question, and its rows."""
    span = Range(BEGIN, END)
    for name, order in VIEWS.items():
        final = " FINAL" if name == "run_step_ledger" else ""
        yield f"view {name}", rows(client, f"SELECT * FROM {name}{final} ORDER BY {order}")  # noqa: S608 - names above
    for name, report in reports().items():
        yield f"report {name}", rows(client, report.text, report.values(ALL_TIME, {}))
    yield "page extent", extent(client)
    for name, found in page_answers(client, Period(BEGIN * 1000, END * 1000)).items():
        yield f"page {name}", found
    for step in queries_rig.STEPS:
        chosen = {"step_id": [step.id], "run_id": [step.place[1]], "thread_id": [step.place[0]]}
        for target in sql_targets():
            yield f"panel {target.where} of {step.id}", rows(client, expand_sql(target.text, span, chosen))


def rows(client: AtTheEnd, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a statement."""
    return list(client.query(sql, parameters=parameters).named_results())


def in_order(found: Any) -> Any:
    """Return rows sorted and without what is free, and anything else as it is."""
    if not isinstance(found, list):
        return found
    return sorted(({name: row[name] for name in row if name not in FREE} for row in found), key=str)


def main() -> None:
    """Fill the directory, ask, print."""
    settings = ClickHouseSettings(url=SecretStr(f"chdb:{sys.argv[1]}"))
    build(settings)
    queries_rig.fill(settings)
    client = connect(settings, settings.database)
    asked = {name: in_order(found) for name, found in answers(AtTheEnd(client))}
    print(json.dumps({"version": client.server_version, "answers": asked}, default=str))
    client.close()


if __name__ == "__main__":
    main()
