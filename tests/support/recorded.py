"""What is expected of the recorded payloads: what the examples of their shapes expect, under other names.

Owns where the recorded payloads stand and which example stands for which (`tests/examples/SHAPES.toml`).
"""

import tomllib
from functools import cache
from typing import Any, Final

from tests.support.expectations import Columns, Example, example
from tests.support.paths import EXAMPLES, REFERENCE
from tests.support.wire_shapes import Frame, frames, renamed, renaming, shape

FOLDERS: Final = ("payloads", "derived", "raw")

EXAMPLE_OF: Final = {
    f"{folder}/{name}": own
    for folder, names in tomllib.loads((EXAMPLES / "SHAPES.toml").read_text(encoding="utf-8")).items()
    for name, own in names.items()
}
"""Recorded file to the example of the same shape."""


def recorded_files() -> list[str]:
    """Return all recorded payloads by name; none where they are not beside the project."""
    if not REFERENCE.is_dir():
        return []
    found = (path for folder in FOLDERS for path in sorted((REFERENCE / folder).iterdir()))
    return [f"{path.parent.name}/{path.name}" for path in found if path.suffix in {".json", ".sse"}]


def reasons_of(name: str) -> list[str]:
    """Return what becomes of each step in a recorded file: '' for a stored one, else the reason."""
    own, found = _counterparts(name)
    return [own.reasons[position] for _, position in found] or own.reasons


def rows_of(name: str) -> list[Columns | None]:
    """Return the expected row of each step in a recorded file, None where it is not stored.

    Times and counts are those of the example: only whether they are set is to be compared.
    """
    own, found = _counterparts(name)
    steps = frames(own.value or b"")
    return [_row(own.verdicts[position], steps[position].sent, frame.sent) for frame, position in found]


@cache
def _counterparts(name: str) -> tuple[Example, list[tuple[Frame, int]]]:
    """Return the example of a recorded file, and for each recorded step the first of the same shape in it."""
    own = example(EXAMPLE_OF[name])
    shapes = [(frame.event, shape(frame.sent)) for frame in frames(own.value or b"")]
    recorded = frames((REFERENCE / name).read_bytes())
    return own, [(frame, shapes.index((frame.event, shape(frame.sent)))) for frame in recorded]


def _row(verdict: Columns | str, own: Any, recorded: Any) -> Columns | None:
    if isinstance(verdict, str):
        return None
    details = verdict["step_details"]
    row: Columns = renamed(verdict, renaming(own, recorded))
    if details and details == own.get("step_details"):
        row["step_details"] = recorded["step_details"]
    return row
