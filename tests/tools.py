"""Programs that judge files, wherever they are installed."""

import os
import shutil
import sys
from pathlib import Path

import pytest


def tool(name: str) -> str:
    """Return the path of a program; skip the test where it is missing, but fail it in CI.

    A program that came as a Python package stands beside the interpreter, which need not be on the PATH.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        told = f"{name} is not installed"
        pytest.fail(told, pytrace=False) if os.environ.get("CI") == "true" else pytest.skip(told)
    return found
