"""`runstep query --set` with values of producers: each selects its own rows, sent along and written out."""

import json
from collections.abc import Iterator

import pytest

from pipeline.cli import execute
from tests.servers.addresses import ClickHouseAddress
from tests.support.hostile_values import VALUES, hostile_steps


@pytest.fixture(scope="module")
def database(clickhouse: ClickHouseAddress) -> Iterator[str]:
    with hostile_steps(clickhouse) as made:
        yield made


@pytest.mark.parametrize("value", VALUES)
def test_a_value_selects_its_own_steps(
    clickhouse: ClickHouseAddress,
    database: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", clickhouse.url)
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__DATABASE", database)
    report = ["query", "--report", "slowest_steps", "--set", f"assistant={value}"]
    assert execute([*report, "--json"]) == 0
    assert [row["step_id"] for row in json.loads(capsys.readouterr().out)] == [value]
    assert execute([*report, "--show"]) == 0
    shown = clickhouse.query(f"{capsys.readouterr().out}\nFORMAT JSON", database=database)
    assert [row["step_id"] for row in json.loads(shown)["data"]] == [value]
