"""The wall between the daemon and the tools, seen in a process that has loaded all that `runstep run` loads."""

import subprocess
import sys

DAEMON = ("pipeline.cli", "pipeline.commands.run", "pipeline.workers.process", "pipeline.daemon.app")
LOADED = f"import {', '.join(DAEMON)}, sys; print(*sorted(sys.modules))"


def test_what_the_daemon_loads_is_no_tool() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout.split()
    assert set(DAEMON) <= set(loaded)
    assert [module for module in loaded if module.startswith("pipeline.tools.") or module == "pipeline.tools"] == []
