"""The sources of settings, each read into a flat layer: dotted key to value, and to the name of where it came from.

The order of rising precedence is that of the functions: `runstep.toml`, environment, secrets directory, `*_file` keys.
A layer also keeps what it could not read, as lines for the user; no line ever holds a value that may be a secret.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pipeline.config.names import FILE, PREFIX, all_names, file_keys, nearest, sections, variable

CONFIG_VARIABLE: Final = "RUNSTEP_CONFIG"
SECRETS_VARIABLE: Final = "RUNSTEP_SECRETS_DIR"
# Says which build is running; the image sets it, and it is no setting.
REVISION_VARIABLE: Final = "RUNSTEP_REVISION"
DEFAULT_FILE: Final = Path("runstep.toml")
TEXT: Final = "utf-8-sig"
"""UTF-8, with or without the mark that editors on Windows put before it."""
_BLANK: Final = (
    "must not begin or end with a blank: remove it, or give a value that has one in the environment or in "
    f"{DEFAULT_FILE}, in quotes"
)

# Kubernetes sets these in every pod beside a Service whose name begins with runstep.
_KUBERNETES: Final = re.compile(
    r"RUNSTEP_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


@dataclass(slots=True)
class Layer:
    """What one source gives."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[Path, str]] = field(default_factory=dict)
    """Key to the file that holds its value, and to the name of the source that names the file."""
    problems: list[str] = field(default_factory=list)

    def put(self, key: str, value: Any, origin: str) -> None:
        """Keep a value under its key, or under the value's key the file that holds it."""
        target = file_keys().get(key)
        if target is None:
            self.values[key], self.origins[key] = value, origin
        elif isinstance(value, str):
            self.files[target] = (Path(value), origin)
        else:
            self.problems.append(f"{origin}: must be the path of a file, in quotes")
            return
        if target is not None and target in self.values:
            self.problems.append(f"{origin}: {target} is given twice, here and by {self.origins[target]}; remove one")


def toml_layer(path: Path | None) -> Layer:
    """Read `runstep.toml`: the one named, which must exist, or the one in the current directory, which need not."""
    layer = Layer()
    named = path is not None
    path = path or DEFAULT_FILE
    if not named and not path.exists():
        return layer
    try:
        content = tomllib.loads(path.read_text(encoding=TEXT))
    except FileNotFoundError:
        layer.problems.append(f"{path}: there is no such file; correct --config or {CONFIG_VARIABLE}")
    except (OSError, UnicodeDecodeError) as error:
        layer.problems.append(f"{path}: {_cause(error)}")
    except tomllib.TOMLDecodeError as error:
        layer.problems.append(f"{path}: is not valid TOML: {error}")
    else:
        _put_tables(layer, path, content)
    return layer


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """Read `RUNSTEP_SECTION__KEY` from the environment; an empty value counts as not given, as Compose passes those."""
    layer = Layer()
    keys = {variable(key): key for key in (*all_names(), *file_keys())}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or _is_foreign(name):
            continue
        if name not in keys:
            layer.problems.append(f"{name}: unknown environment variable{_nearest_variable(name, keys)}")
        elif environ[name] != "":
            layer.put(keys[name], environ[name], name)
    return layer


def secrets_layer(directory: Path | None) -> Layer:
    """Read a directory of files named after settings, as Docker and Kubernetes mount secrets.

    Files that are not named like one of the sections belong to other programs and stay unread.
    """
    layer = Layer()
    if directory is None:
        return layer
    try:
        paths = sorted(path for path in directory.iterdir() if not path.name.startswith(".") and not path.is_dir())
    except OSError as error:
        layer.problems.append(f"{SECRETS_VARIABLE}: {directory} cannot be listed: {error.strerror or error}")
        return layer
    for path in paths:
        key = path.name.lower().removeprefix(PREFIX.lower()).replace("__", ".")
        if key in all_names():
            _put_secret(layer, key, path)
        elif path.name.upper().startswith(PREFIX) or key.partition(".")[0] in sections():
            close = nearest(key, all_names()).replace(".", "__")
            layer.problems.append(f"{path}: no setting has the name of this file{close}")
    return layer


def files_layer(named: Mapping[str, tuple[Path, str]]) -> Layer:
    """Read the files that `*_file` keys name; line ends at the end of a file are not part of the value."""
    layer = Layer()
    for key, (path, origin) in named.items():
        try:
            layer.put(key, _read_value(path), file_origin(path, origin))
        except (OSError, ValueError) as error:
            layer.problems.append(f"{origin}: {path} {_cause(error)}")
    return layer


def file_origin(path: Path, named_by: str) -> str:
    """Return the name of a source that is a file which another source names."""
    return f"{path} ({named_by})"


def _put_tables(layer: Layer, path: Path, content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        if name in sections() and isinstance(value, Mapping):
            for inner, inner_value in value.items():
                _put_known(layer, path, f"{name}.{inner}", inner_value)
        elif name in sections():
            layer.problems.append(f"{path}: {name} is a section; write [{name}] and its keys below")
        else:
            _put_known(layer, path, name, value)


def _put_known(layer: Layer, path: Path, key: str, value: Any) -> None:
    known = (*all_names(), *file_keys())
    if key in known:
        layer.put(key, value, f"{path}: {key}")
    else:
        close = nearest(key, (*known, *sections()))
        layer.problems.append(f"{path}: unknown key {key}{close}")


def _put_secret(layer: Layer, key: str, path: Path) -> None:
    if key + FILE in all_names():
        # This secret is read again at each login, so the settings keep the path.
        layer.put(key + FILE, str(path), str(path))
        return
    try:
        layer.put(key, _read_value(path), str(path))
    except (OSError, ValueError) as error:
        layer.problems.append(f"{path}: {_cause(error)}")


def _read_value(path: Path) -> str:
    """Return what a file of one value holds, without the mark that some editors put before UTF-8 text.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text, or a blank that cannot be seen would be a part of the value.
    """
    value = path.read_text(encoding=TEXT).rstrip("\r\n")
    if value != value.strip():
        raise ValueError(_BLANK)
    return value


def _is_foreign(name: str) -> bool:
    is_known = name in {CONFIG_VARIABLE, SECRETS_VARIABLE, REVISION_VARIABLE} or name.startswith("RUNSTEP_TEST_")
    return is_known or _KUBERNETES.fullmatch(name) is not None


def _nearest_variable(name: str, known: Mapping[str, str]) -> str:
    section = name.removeprefix(PREFIX).lower()
    if section in sections():
        return f"; {section} is a section, its variables are {PREFIX}{section.upper()}__KEY"
    return nearest(name, known)


def _cause(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "cannot be read: it is not UTF-8 text"
    return f"cannot be read: {error.strerror or error}" if isinstance(error, OSError) else str(error)
