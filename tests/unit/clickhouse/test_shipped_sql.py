"""What no SQL of runstep may say, wherever it is kept: in migrations, reports, pages, dashboards, the daemon."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.tools.queries.parameters import FIRST, LAST
from schemas.ddl import Layout, shipped
from tests.support.paths import ROOT

FOLDERS = (ROOT / "pipeline", ROOT / "deploy" / "grafana", ROOT / "schemas")
LATE_YEAR = re.compile(r"['\"](210[6-9]|21[1-9]\d|2[2-9]\d\d|[3-9]\d{3})-\d\d")
LATE_SECONDS = re.compile(r"\b(?:to|from)\w*(?:Date|Unix)\w*\((\d{10,})")
LAST_SECOND = 2**32 - 1


def files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (path for path in sorted(folder.rglob("*")) if path.suffix in {".sql", ".py", ".json"})


def late(text: str) -> list[str]:
    seconds = (found[1] for found in LATE_SECONDS.finditer(text))
    return [found[1] for found in LATE_YEAR.finditer(text)] + [each for each in seconds if int(each) > LAST_SECOND]


@pytest.mark.parametrize(
    "text", ["created_at < '2106-01-01'", "until = '2286-11-18 00:00:00'", "t < toDateTime64(9999999999, 3)"]
)
def test_a_time_after_2105_is_recognized(text: str) -> None:
    assert late(text)


@pytest.mark.parametrize(
    "text", ["'2105-12-31'", "toDateTime(4294967295)", "toInt64(9223372036854775807)", "'6.11-06'"]
)
def test_what_is_no_time_after_2105_is_let_be(text: str) -> None:
    assert not late(text)


def test_no_sql_compares_with_a_time_that_older_servers_take_for_the_past() -> None:
    """Servers before 26.3 count hours in 32 bits: before such a time they find nothing."""
    found = {path.relative_to(ROOT).as_posix(): years for path in files() if (years := late(path.read_text("utf-8")))}
    # A released file never changes; 0011 makes this view anew.
    assert found == {"schemas/clickhouse/0008_runs.sql": ["2286"]}


def test_the_view_of_all_runs_ends_where_the_reports_do() -> None:
    (sql,) = [sql for sql in Layout().statements(shipped()[10]) if "CREATE VIEW" in sql]
    assert re.findall(r"'(\d{4}-\d\d-\d\d) ", sql) == [f"{FIRST:%F}", f"{LAST:%F}"]
