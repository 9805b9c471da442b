"""The operations guide as its reader has it: its commands by name, run by bash exactly as they stand there.

    shell = Shell(there, tmp_path)
    shell.run("rewind", SINCE="2026-11-27T08:00:00")

A block of the guide begins with three backticks and `sh NAME`. Each is run behind the block `here`, which says where
everything is. What the guide calls "stop the daemons" and "start the daemons" is the test's own.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.support.daemon import environment
from tests.support.oracle import Place
from tests.support.paths import ROOT
from tests.support.programs import tool

GUIDE: Final = ROOT / "deploy" / "operations.md"
HERE: Final = "here"
_BLOCK: Final = re.compile(r"^```sh (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIMEOUT: Final = 120


def blocks() -> dict[str, str]:
    """Return the commands of the guide by the names of their blocks."""
    found = _BLOCK.findall(GUIDE.read_text())
    assert len({name for name, _ in found}) == len(found), "two blocks have the same name"
    return dict(found)


class Shell:
    """A shell with the daemons' settings, as the guide asks for.

    Args:
        there: the place.
        folder: where the commands run.
        settings: of the daemons, as for `running_daemon`.
    """

    def __init__(self, there: Place, folder: Path, **settings: Any) -> None:
        tool("curl")
        self._folder = folder
        self._environment = environment(*there, **settings) | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CLICKHOUSE": there.clickhouse.url,
            "PARTITIONS": "4",
        }

    def run(self, name: str, *, fails: bool = False, **variables: str) -> str:
        """Run a block and return what it said; it must end well, or badly where `fails`."""
        written = blocks()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", written[HERE] + written[name]],
            cwd=self._folder,
            env=self._environment | variables,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
        said = f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert (done.returncode != 0) == fails, said
        assert fails or "Error'" not in done.stdout.replace("NoError'", ""), said
        return done.stdout + done.stderr


def number(there: Place, sql: str) -> int:
    """Return the number that a statement answers, `{db}` being the database."""
    return int(there.clickhouse.query(sql.replace("{db}", there.database)))
