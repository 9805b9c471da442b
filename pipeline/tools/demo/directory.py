"""The demo's data directory: created and marked by the demo, used by one demo at a time."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.errors import ConfigError

_MARK: Final = ".made-by-runstep-demo"


@contextmanager
def data_directory(path: Path) -> Iterator[bool]:
    """Create an empty directory at `path` and lock it while the block runs; the directory stays afterwards.

    The directory of an earlier demo is moved to `NAME.previous`, replacing an even earlier one. Yields whether one was
    moved.

    Raises:
        ConfigError: the directory was not made by a demo, is in use, or cannot be made.
    """
    previous = path.with_name(path.name + ".previous")
    try:
        moved = _set_aside(path, previous)
        path.mkdir(parents=True, exist_ok=True)
        with (path / _MARK).open("a") as mark:
            _lock(mark.fileno(), path)
            yield moved
    except OSError as error:
        raise ConfigError(f"--data {path}: {error.strerror or error}") from error


def _set_aside(path: Path, previous: Path) -> bool:
    """Move the directory away if a demo made it and none is using it; return whether there was one."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    _require_mark(path)
    with (path / _MARK).open("a") as mark:
        _lock(mark.fileno(), path)
        if previous.exists():
            _require_mark(previous)
            shutil.rmtree(previous)
        path.rename(previous)
    return True


def _require_mark(path: Path) -> None:
    if not (path / _MARK).is_file():
        raise ConfigError(f"{path} exists and was not made by `runstep demo`: name another directory with --data")


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"another `runstep demo` uses {path}: end it, or name another directory with --data"
        ) from None
