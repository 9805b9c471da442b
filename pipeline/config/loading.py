"""Reading the settings: all sources, one on top of the other, validated once, with a line for every problem."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.destinations import strayed
from pipeline.config.layers import (
    CONFIG_VARIABLE,
    SECRETS_VARIABLE,
    Layer,
    environment_layer,
    files_layer,
    secrets_layer,
    toml_layer,
)
from pipeline.config.names import all_names, nearest, variable
from pipeline.config.relations import broken_relations
from pipeline.config.settings import Settings, mask_url
from pipeline.errors import ConfigError


class Loaded(NamedTuple):
    """Settings, and for each key that a source gave, the name of that source."""

    settings: Settings
    origins: Mapping[str, str]


def load(config_file: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read all sources and check them.

    Args:
        config_file: the TOML file; otherwise `RUNSTEP_CONFIG` names it, or it is `runstep.toml` if there is one.
        environ: instead of the process's own environment.
        overrides: sections as mappings, or single settings; they win over every source.

    Raises:
        ConfigError: with a line for each problem: where, what is wrong, and the fix.
    """
    return load_with_origins(config_file, environ, **overrides).settings


def load_with_origins(
    config_file: Path | None = None, environ: Mapping[str, str] | None = None, **overrides: Any
) -> Loaded:
    """Read all sources and check them; also return where each value came from.

    Raises:
        ConfigError: as for `load`.
    """
    environ = os.environ if environ is None else environ
    layers = _layers(_named_file(config_file, environ), environ)
    origins = {key: origin for layer in layers for key, origin in layer.origins.items()}
    problems = [problem for layer in layers for problem in layer.problems]
    try:
        settings = Settings(**_merged(layers, overrides))
    except ValidationError as error:
        # A default that follows another setting is not even computed beside a mistake.
        mistakes = (details for details in error.errors(include_url=False) if details["type"] != _NO_DEFAULT)
        problems += [_line(details, origins) for details in mistakes]
    else:
        problems += broken_relations(settings)
        if not _named_file(config_file, environ):
            problems += strayed(settings, origins, layers[0])
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return Loaded(settings, origins)


def _named_file(config_file: Path | None, environ: Mapping[str, str]) -> Path | None:
    return config_file or _path(environ.get(CONFIG_VARIABLE))


def _layers(named: Path | None, environ: Mapping[str, str]) -> tuple[Layer, ...]:
    toml, environment = toml_layer(named), environment_layer(environ)
    secrets = secrets_layer(_path(environ.get(SECRETS_VARIABLE)))
    return toml, environment, secrets, files_layer(toml.files | environment.files)


def _merged(layers: Iterable[Layer], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values as sections; later layers win over earlier ones, and overrides over all."""
    tree: dict[str, Any] = {}
    for key, value in ((key, value) for layer in layers for key, value in layer.values.items()):
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    for name, value in overrides.items():
        tree[name] = {**tree.get(name, {}), **value} if isinstance(value, Mapping) else value
    return tree


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _line(details: ErrorDetails, origins: Mapping[str, str]) -> str:
    location = [str(part) for part in details["loc"]]
    names = all_names()
    key = next((key for key in _prefixes(location) if key in names), ".".join(location))
    if details["type"] == "extra_forbidden":
        return f"{key}: unknown setting{nearest(key, names)}"
    origin = origins.get(key)
    where = f"{origin}: {key}" if origin and key not in origin else origin or f"{key} ({variable(key)})"
    return f"{where} {_complaint(details, secret=key in names and names[key].is_credential)}"


def _prefixes(location: list[str]) -> Iterator[str]:
    return (".".join(location[:length]) for length in range(min(2, len(location)), 0, -1))


def _complaint(details: ErrorDetails, *, secret: bool) -> str:
    context = details.get("ctx", {})
    kind = details["type"]
    given = "" if secret else f", not {mask_url(str(details['input']))[:60]!r}"
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        choices = [word.strip() for word in expected.replace(" or ", ", ").split(",")]
        return f"must be one of {', '.join(choices)}{given}{nearest(str(details['input']), choices)}"
    for prefix, wanted in _WANTED.items():
        if kind.startswith(prefix):
            return f"must be {wanted.format(**context)}{given}"
    return f"{details['msg'].removeprefix('Input should be ').lower()}{given}"


_NO_DEFAULT = "default_factory_not_called"
_WANTED = {
    "greater_than_equal": "{ge} or more",
    "greater_than": "greater than {gt:g}",
    "less_than_equal": "{le} or less",
    "finite": "a finite number",
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "tuple": "a list, or text with commas",
    "string": "text, in quotes",
    "path": "the path of a file",
    "model": "a section",
}
