"""What judges files that name programs and commands: the programs, wherever they are, and runstep's parser."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from pipeline.cli import load_command
from tests.servers.cache import ServerUnavailable
from tests.servers.debian_packages import PACKAGES, program


def tool(name: str) -> str:
    """Return the path of a program; skip the test where it is missing, but fail it in CI.

    A program that came as a Python package stands beside the interpreter, which need not be on the PATH.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is not None:
        return found
    reason = f"{name} is not installed"
    if name in PACKAGES:
        try:
            return program(name)
        except ServerUnavailable as error:
            reason = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def accept_command(command: list[str]) -> None:
    """Parse a command line as `runstep` would, without running it; raises click's usage errors."""
    load_command(command[0]).make_context(command[0], command[1:])
