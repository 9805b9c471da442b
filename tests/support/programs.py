"""What judges files that name programs and commands: the programs, wherever they are installed, and our own parser."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from pipeline.cli import load_command


def tool(name: str) -> str:
    """Return the path of a program; skip the test where it is missing, but fail it in CI.

    A program that came as a Python package stands beside the interpreter, which need not be on the PATH.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"{name} is not installed", pytrace=False)
    pytest.skip(f"{name} is not installed")


def accept_command(command: list[str]) -> None:
    """Parse a command line as `runstep` would, without running it; raises click's usage errors."""
    load_command(command[0]).make_context(command[0], command[1:])
