"""Where the project's own files stand, and the reference data beside it; the one place that knows how deep."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = ROOT / "deploy"
EXAMPLES: Final = ROOT / "tests" / "examples"

REFERENCE: Final = ROOT.parent / "shared" / "reference"
"""Recorded payloads and errors, which stand beside the project in its own workshop only."""
