"""The event of the README, and the row that the code makes of it."""

import json
import re
from datetime import UTC, datetime
from typing import Any, Final

from schemas.row import COLUMN_MEANINGS, INGEST_COLUMNS, STEP_COLUMNS
from tests.support.paths import ROOT
from tests.support.rows_of_events import row_of

TYPES: Final = {column.name: column.type for column in INGEST_COLUMNS}
_EVENT: Final = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STAMPED: Final = frozenset({"ingested_at"})
"""Set when the row is sent, so it is no part of what an event becomes."""


def event() -> dict[str, Any]:
    """Return the event: the first JSON block of the README."""
    read: dict[str, Any] = json.loads(_EVENT.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0])
    return read


def _shown(name: str, value: Any) -> str:
    if "DateTime64" in TYPES[name]:
        return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M:%S}.{value % 1000:03d}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value).replace('"', "'")
    return str(value)


def row_block() -> str:
    """Return the columns of the row that are not empty, as a fenced block."""
    sent = event()
    timestamp = (sent["failed_at"] or sent["created_at"]) * 1000
    row = row_of(sent, offset=1042, timestamp=timestamp)
    names = [name for name in COLUMN_MEANINGS if name in STEP_COLUMNS and name not in _STAMPED]
    lines = [f"{name:<18} {_shown(name, row[name])}" for name in names if row[name] not in ("", None, [], {})]
    return "\n".join(("```text", *lines, "```"))
