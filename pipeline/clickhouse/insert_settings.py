"""The settings that make an insert idempotent: the server remembers its token, which covers all of it in one block.

Every insert carries all of them, since servers' defaults and profiles change.
"""

from collections.abc import Mapping
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from pipeline.config import ClickHouseSettings

_PINNED: Final[Mapping[str, Any]] = {
    # The server's buffer for small inserts (on by default since 26.2) would answer before the rows are safe.
    "async_insert": 0,
    # All three: without any of them the token is ignored, in run_step_ingest or in the tables behind it.
    "insert_deduplicate": 1,
    "deduplicate_insert": "enable",
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # One block, whatever its size: tokens are remembered per block, so a batch cut differently by the next attempt
    # would be there twice (measured), and a failure between two blocks would leave the first.
    "min_insert_block_size_rows": 1 << 31,
    "min_insert_block_size_bytes": 0,
    "max_insert_block_size_bytes": 0,
    "min_insert_block_size_rows_for_materialized_views": 0,
    "min_insert_block_size_bytes_for_materialized_views": 0,
    # No limit: to halve a batch of many months makes more parts, not fewer, and the error comes after the first view.
    "max_partitions_per_insert_block": 0,
    # The steps before the ledger, and no success while one of them failed.
    "parallel_view_processing": 0,
    "materialized_views_ignore_errors": 0,
    # Merging a block before it is written took 40 % of an insert. Merges of parts do the same, and readers say FINAL.
    "optimize_on_insert": 0,
    # On a cluster: the answer means that every shard has its rows.
    "distributed_foreground_insert": 1,
    # Progress headers would keep a hung insert alive without end: the time-out counts from the last byte received.
    "send_progress_in_http_headers": 0,
}

_SECURED: Final[Mapping[str, Any]] = {
    # Without a quorum a repeated token on another replica answers OK and holds nothing.
    "insert_quorum_parallel": 1,
    # The default of 20 waits for Keeper longer than `insert_timeout` allows.
    "insert_keeper_max_retries": 3,
    "insert_keeper_retry_max_backoff_ms": 500,
}


def insert_settings(settings: ClickHouseSettings, client: Client) -> dict[str, Any]:
    """Return the settings of every insert; a server that does not know a setting needs none."""
    pinned = dict(_PINNED)
    if settings.variant != "single":
        # Half of the client's time-out, so that the server's answer (319, unknown status) still arrives.
        wait = int(settings.insert_timeout * 500)
        pinned |= {**_SECURED, "insert_quorum": settings.insert_quorum, "insert_quorum_timeout": wait}
    return {name: value for name, value in pinned.items() if name in client.server_settings}
