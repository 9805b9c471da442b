"""The sink's questions: what breaks within an answer is the environment's fault, as what breaks before it."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import StreamFailureError

from pipeline.clickhouse import ClickHouseSink
from pipeline.config import ClickHouseSettings
from pipeline.errors import SinkUnavailable
from pipeline.records import Partition


class BrokenOff:
    """An answer whose connection breaks behind its first block; the driver reads that one only at first."""

    summary: Mapping[str, str] = MappingProxyType({})

    @property
    def result_rows(self) -> Any:
        raise StreamFailureError("xStringcc")


class Client:
    """A connected client whose answers break off."""

    def query(self, *_: Any, **__: Any) -> BrokenOff:
        return BrokenOff()

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def sink() -> Iterator[ClickHouseSink]:
    made = ClickHouseSink(ClickHouseSettings)
    made._client = Client()  # type: ignore[assignment]
    yield made
    made.close()


def test_an_answer_that_breaks_off_does_not_end_the_process(sink: ClickHouseSink) -> None:
    with pytest.raises(SinkUnavailable) as raised:
        sink.counted_steps(Partition("run-steps", 0), 9, 9)
    assert "xString" not in str(raised.value), "the driver's words may hold values of rows"
    with pytest.raises(SinkUnavailable):
        sink.probe()


def test_a_look_for_migrations_that_fails_in_an_unknown_way_stops_nothing(
    sink: ClickHouseSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def garbage(*_: Any) -> list[str]:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    monkeypatch.setattr("pipeline.clickhouse.migrations.pending", garbage)
    sink._look_for_migrations(Client())  # type: ignore[arg-type]
    assert sink.pending_migrations == []
