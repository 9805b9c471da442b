"""The file: one HTML page with its style, its data and plotly.js in it, which asks nothing of any network.

What may run is settled by hash: the page's Content-Security-Policy names the two scripts that it was made with, so even
text that got past the escaping could not act. The data are JSON in an element that is not executed.
"""

import base64
import hashlib
import importlib.util
import os
import secrets
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final

from pipeline import __version__
from pipeline.errors import ConfigError
from pipeline.tools.html_report.period import moment
from pipeline.tools.html_report.sections import Page, Section
from pipeline.tools.html_report.tables import Table
from pipeline.tools.html_report.text import plain, readable

_LIBRARIES: Final = ("plotly", "jinja2")


def need_library() -> None:
    """Say what to install where the page's libraries are missing.

    Raises:
        ConfigError: one is.
    """
    if any(importlib.util.find_spec(name) is None for name in _LIBRARIES):
        raise ConfigError("what draws the page is not installed; install it with: pip install 'runstep[report]'")


def need_place(path: Path) -> None:
    """Look whether a page can be written to `path`, before anything is asked for it.

    Raises:
        ConfigError: it cannot; with the cause.
    """
    cause = _obstacle(path)
    if cause:
        raise ConfigError(f"cannot write {path}: {cause}")


def html(page: Page) -> str:
    """Return the page.

    It takes the browser's rules for granted: no inline handler, no `javascript:`, no foreign source can act in it.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape  # noqa: PLC0415 - an extra

    environment = Environment(
        loader=PackageLoader("pipeline.tools.html_report", "template"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = (_library(), _text("page.js")) if page.figures else ()
    return environment.get_template("page.html").render(
        page=page,
        subject=page.subject,
        title=readable(page.subject.title),
        made=moment(page.subject.made),
        version=__version__,
        style=_text("page.css"),
        scripts=scripts,
        allowed=" ".join(map(_hash, scripts)) or "'none'",
        drawings={key: {"data": each.traces, "layout": each.layout} for key, each in page.figures.items() if each.rows},
        is_table=lambda block: isinstance(block, Table),
        anchor=_anchor,
        figure_number=plain,
    )


def write(page: Page, path: Path) -> int:
    """Write the page to `path`, in the place of what is there; return its size in bytes.

    Whoever reads the old file meanwhile has it whole. Text that UTF-8 cannot express is replaced.

    Raises:
        ConfigError: it cannot be written there.
    """
    content = html(page).encode("utf-8", "replace")
    target = path.resolve()
    part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        _replace(target, part, content)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {str(error.strerror or error).lower()}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return len(content)


def _replace(target: Path, part: Path, content: bytes) -> None:
    with part.open("xb") as file:
        if target.exists():
            part.chmod(target.stat().st_mode & 0o777)  # before the content: who may not read the old may not read this
        file.write(content)
    part.replace(target)


def _obstacle(path: Path) -> str:
    """Return why no page can be written to `path`, nothing if one can."""
    try:
        target = path.resolve()
        folder = target.parent
        obstacles = (
            (not folder.exists(), f"there is no folder {folder}"),
            (not folder.is_dir(), f"{folder} is no folder"),
            (target.is_dir(), "that is a folder; name a file in it"),
            (target.is_symlink(), "its links lead in a circle"),
            # A device or a pipe would be gone, with a file in its place.
            (target.exists() and not target.is_file(), "that is no file that a page could replace"),
            (not os.access(folder, os.W_OK), f"no permission to write in {folder}"),
        )
    except OSError as error:
        return str(error.strerror or error).lower()
    except RuntimeError:  # what Python before 3.13 makes of such links
        return "its links lead in a circle"
    return next((why for is_so, why in obstacles if is_so), "")


def _library() -> str:
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - an optional extra

    return _as_parsed(str(get_plotlyjs()))


def _text(name: str) -> str:
    return _as_parsed(files(__package__).joinpath("template", name).read_text(encoding="utf-8"))


def _as_parsed(script: str) -> str:
    """Return text as a browser reads it, which makes every line end the same: the hash is of what it reads."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _anchor(section: Section) -> str:
    return f"section-{section.key}"
