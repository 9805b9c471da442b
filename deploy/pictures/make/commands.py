"""Pictures of two commands: `runstep top` beside the running daemons, and `runstep report` after them."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deploy.pictures.make import browser
from deploy.pictures.make.story import DATABASE, DAY, Scene
from tests.support.paths import ROOT

COLUMNS: Final = 150
LINES: Final = 40
CELL: Final = (12.2, 24.4)
"""Pixels of a character in the image that Textual writes."""
TOP_RUNS_S: Final = 40
"""How long `top` runs: long enough for its curves."""
TIMEOUT_S: Final = 120
REPORT: Final = (1280, 1500)


def top(addresses: Sequence[str], target: Path) -> None:
    """Let `runstep top` look at the daemons for a while, in a terminal of its own, and take what it shows then."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _on_a_terminal(
            [sys.executable, "-m", "pipeline.cli", "top", "--interval", "1", *addresses],
            {
                "TEXTUAL_SCREENSHOT": str(TOP_RUNS_S),
                "TEXTUAL_SCREENSHOT_LOCATION": name,
                "TEXTUAL_SCREENSHOT_FILENAME": "top.svg",
            },
        )
        image = folder / "top.svg"
        if not image.exists():
            raise browser.PictureFailed("runstep top has shown nothing")
        (folder / "index.html").write_text(
            f'<meta charset="utf-8"><body style="margin:0;background:#10141b">{image.read_text()}'
        )
        with browser.serving(folder) as address:
            browser.shoot(address, round(COLUMNS * CELL[0]) + 20, round(LINES * CELL[1]) + 52, target)


def report(scene: Scene, target: Path) -> None:
    """Take the top of the page that `runstep report` writes of the day before the run."""
    since, until = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}" for at in (scene.start - DAY, scene.start))
    with tempfile.TemporaryDirectory() as name:
        settings = {"RUNSTEP_CLICKHOUSE__URL": scene.clickhouse, "RUNSTEP_CLICKHOUSE__DATABASE": DATABASE}
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "report", "--since", since, "--until", until, "-o", "index.html"],
            cwd=name,
            env=_environment(settings),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise browser.PictureFailed(f"runstep report ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        with browser.serving(Path(name)) as address:
            browser.shoot(address, *REPORT, target)


def _on_a_terminal(command: list[str], settings: dict[str, str]) -> None:
    """Run a command on a terminal of `COLUMNS` by `LINES` until it ends, and discard its output."""
    terminal, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    environment = _environment({"TERM": "xterm-256color", "COLORTERM": "truecolor", **settings})
    try:
        process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True)
        threading.Thread(target=_drain, args=(terminal,), daemon=True).start()
        process.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        os.close(its)


def _drain(terminal: int) -> None:
    """Read until the other side is closed, which Linux reports as an error."""
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:
        os.close(terminal)


def _environment(settings: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RUNSTEP_")}
    return inherited | {"PYTHONPATH": str(ROOT)} | settings
