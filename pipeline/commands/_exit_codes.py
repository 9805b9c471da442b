"""What the exit code of every command means; scripts and supervisors rely on these numbers (sysexits.h)."""

from typing import Final

OK: Final = 0
"""Done, or drained."""
FINDINGS: Final = 1
"""The answer is bad news: `check`, `audit` or `doctor` found something."""
USAGE: Final = 64
"""The command line is wrong."""
UNAVAILABLE: Final = 69
"""A service is away, and waiting makes no sense for this command."""
BUG: Final = 70
"""A fault of ours."""
CONFIGURATION: Final = 78
"""A setting is wrong."""
INTERRUPTED: Final = 130
"""Ctrl-C."""
