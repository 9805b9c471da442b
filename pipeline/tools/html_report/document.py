"""The file: one HTML page with its style, its data and plotly.js in it, which asks nothing of any network.

What may run is settled by hash: the page's Content-Security-Policy names the two scripts that it was made with, so even
text that got past the escaping could not act. The data are JSON in an element that is not executed.
"""

import base64
import hashlib
import importlib.util
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final

from pipeline import __version__
from pipeline.errors import ConfigError
from pipeline.text import decimal, readable, utc_time
from pipeline.tools.html_report.page import Page, PageSection
from pipeline.tools.html_report.tables import PageTable

_LIBRARIES: Final = ("plotly", "jinja2")


def require_libraries(libraries: Sequence[str] = _LIBRARIES) -> None:
    """Check that the libraries of the page are installed.

    Raises:
        ConfigError: one is missing; with what to install.
    """
    if any(importlib.util.find_spec(name) is None for name in libraries):
        raise ConfigError("the libraries of the HTML page are not installed; run: pip install 'runstep[report]'")


def require_writable(path: Path) -> None:
    """Check that a page can be written to `path`, before any query runs for it.

    Raises:
        ConfigError: it cannot; with the cause.
    """
    cause = _obstacle(path)
    if cause:
        raise ConfigError(f"cannot write {path}: {cause}")


def html(page: Page) -> str:
    """Return the page.

    Its content security policy allows only the page's own scripts, by their hashes.
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
        made=utc_time(page.subject.made),
        version=__version__,
        style=_text("page.css"),
        scripts=scripts,
        allowed=" ".join(map(_hash, scripts)) or "'none'",
        drawings={key: {"data": each.traces, "layout": each.layout} for key, each in page.figures.items() if each.rows},
        is_table=lambda block: isinstance(block, PageTable),
        anchor=_anchor,
        figure_number=decimal,
    )


def write_page(page: Page, path: Path) -> int:
    """Write the page to `path`, in the place of what is there; return its size in bytes.

    The file is replaced at once: a reader of the old one is not disturbed. Text that UTF-8 cannot express is replaced.

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
            # Before the content: it must not be readable to more users than the old file.
            part.chmod(target.stat().st_mode & 0o777)
        file.write(content)
    part.replace(target)


def _obstacle(path: Path) -> str:
    """Return why no page can be written to `path`, "" if one can."""
    try:
        target = path.resolve()
        folder = target.parent
        obstacles = (
            (not folder.exists(), f"there is no folder {folder}"),
            (not folder.is_dir(), f"{folder} is not a folder"),
            (target.is_dir(), "it is a folder; name a file in it"),
            (target.is_symlink(), "its symbolic links form a loop"),
            # A device or a pipe would be replaced by a file.
            (target.exists() and not target.is_file(), "it is not a regular file"),
            (not os.access(folder, os.W_OK), f"no permission to write in {folder}"),
        )
    except OSError as error:
        return str(error.strerror or error).lower()
    except RuntimeError:  # Python before 3.13, for a loop of links
        return "its symbolic links form a loop"
    return next((why for is_so, why in obstacles if is_so), "")


def _library() -> str:
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - an optional extra

    return _as_parsed(str(get_plotlyjs()))


def _text(name: str) -> str:
    return _as_parsed(files(__package__).joinpath("template", name).read_text(encoding="utf-8"))


def _as_parsed(script: str) -> str:
    """Return text as a browser reads it, with one kind of line end: the hash is that of the text as read."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _anchor(section: PageSection) -> str:
    return f"section-{section.key}"
