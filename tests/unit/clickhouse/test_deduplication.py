"""The window of a table, read from how the server says the table was made."""

import pytest

from pipeline.clickhouse.deduplication import window_in

PLAIN, REPLICATED = "non_replicated_deduplication_window", "replicated_deduplication_window"


@pytest.mark.parametrize(
    ("engine", "settings", "window"),
    [
        ("ReplacingMergeTree", f"{PLAIN} = 1000, index_granularity = 8192", (PLAIN, 1000)),
        ("ReplacingMergeTree", f"index_granularity = 8192, {PLAIN} = 0", (PLAIN, 0)),
        ("ReplacingMergeTree", f"{REPLICATED} = 7", (PLAIN, None)),
        ("ReplicatedReplacingMergeTree", f"{REPLICATED} = 10000, {REPLICATED}_seconds = 604800", (REPLICATED, 10_000)),
        ("ReplicatedReplacingMergeTree", f"{REPLICATED}_seconds = 604800", (REPLICATED, None)),
        ("ReplicatedReplacingMergeTree", f"{PLAIN} = 7", (REPLICATED, None)),
        ("SharedReplacingMergeTree", f"{PLAIN} = 7, {REPLICATED} = 0", (REPLICATED, 0)),
    ],
)
def test_the_setting_that_counts_for_the_engine(engine: str, settings: str, window: tuple[str, int | None]) -> None:
    assert window_in(engine, f"{engine} ORDER BY a SETTINGS {settings}") == window
