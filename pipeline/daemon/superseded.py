"""Which rows of a part a newer row of the same step replaces in the same insert: the ledger alone gets them.

`run_steps` would drop them at its next merge. They are found within one part only, since a part can be given up alone.
"""

from collections.abc import Sequence
from typing import Any, Final

from pipeline.records import Outcome
from schemas.row import INDEX

IS_SUPERSEDED: Final = INDEX["is_superseded"]

LEFT_OUT: Final = tuple(
    INDEX[name] for name in ("error_message", "tool_names", "tool_call_ids", "step_details", "metadata", "extra_fields")
)
"""What a superseded row does without: the ledger has no such columns, and nothing of it is counted."""

_OUTCOME: Final = INDEX["outcome"]
_STORED: Final = Outcome.STORED.value
_KEY: Final = tuple(INDEX[name] for name in ("step_id", "run_id", "thread_id", "created_at"))
"""Not coarser than the key of `run_steps`, which has the hour of `created_at`."""
_VERSION: Final = INDEX["version"]


def superseded(columns: Sequence[Sequence[Any]]) -> list[int]:
    """Return stored rows that another of the same key replaces: one of a higher version, or a later equal one.

    The hot path: looked up by the step's id alone. Of steps that share an id, a row more may pass into `run_steps`.
    """
    steps, runs, threads, creations = [columns[position] for position in _KEY]
    versions, outcomes = columns[_VERSION], columns[_OUTCOME]
    newest: dict[str, int] = {}
    found = []
    for row, step in enumerate(steps):
        known = newest.setdefault(step, row)
        if known == row or outcomes[row] != _STORED or outcomes[known] != _STORED:
            continue
        if runs[row] != runs[known] or creations[row] != creations[known] or threads[row] != threads[known]:
            continue
        if versions[row] >= versions[known]:
            newest[step] = row
            found.append(known)
        else:
            found.append(row)
    return found


def first_current(columns: Sequence[Sequence[Any]]) -> int | None:
    """Return the first row that passes into `run_steps`, None if none does."""
    rows = enumerate(zip(columns[_OUTCOME], columns[IS_SUPERSEDED], strict=True))
    return next((row for row, (outcome, replaced) in rows if outcome == _STORED and not replaced), None)
