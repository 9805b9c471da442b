"""What the exit code of every command means; scripts and supervisors rely on these numbers (sysexits.h).

Which exception ends with which of them is said by its class in `pipeline.errors`.
"""

import os
from typing import Final

OK: Final = 0
"""Done, or drained."""
FINDINGS: Final = 1
"""`check`, `audit`, `doctor` or `migrate` found a fault."""
USAGE: Final = os.EX_USAGE
"""The command line is wrong."""
UNAVAILABLE: Final = os.EX_UNAVAILABLE
"""A service is away, and this command does not wait for it."""
BUG: Final = os.EX_SOFTWARE
"""A bug of runstep."""
CONFIGURATION: Final = os.EX_CONFIG
"""A setting is wrong."""
INTERRUPTED: Final = 130
"""Ctrl-C."""
