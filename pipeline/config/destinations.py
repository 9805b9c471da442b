"""Where secrets go: a `runstep.toml` that was only found in the current directory gets no secret from elsewhere.

Every command reads that file, and a directory may be anybody's. Its settings could send a password of the environment,
of a secrets directory or of any file of this machine to a host of its own. A file that is named is trusted.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from pipeline.config.layers import CONFIG_VARIABLE, DEFAULT_FILE, Layer, file_origin
from pipeline.config.names import all_names, variable
from pipeline.config.settings import Settings


class Way(NamedTuple):
    """What is sent, and the settings that say to whom, through whom, and how the receiver is recognized."""

    secrets: tuple[str, ...]
    receivers: tuple[str, ...]


WAYS: Final = {
    "kafka": Way(
        ("sasl_password", "sasl_oauth_token", "sasl_oauth_token_file", "sasl_oauth_client_secret"),
        (
            "bootstrap_servers",
            "security_protocol",
            "sasl_mechanism",
            "sasl_oauth_token_url",
            "sasl_oauth_ca_file",
            "ssl_ca_file",
            "ssl_check_hostname",
        ),
    ),
    "clickhouse": Way(
        ("url", "password", "access_token", "access_token_file"),
        ("url", "hosts", "proxy", "ca_file", "server_host_name", "verify"),
    ),
}
"""By section."""
_FIX: Final = (
    f"a {DEFAULT_FILE} that was only found in the current directory gets no secrets from elsewhere. If you trust it, "
    f"name it: --config {DEFAULT_FILE}, or {CONFIG_VARIABLE}={DEFAULT_FILE}; if not, set"
)
KEPT: Final = frozenset({"kafka.ssl_key_password", "clickhouse.proxy"})
"""Secrets that never leave this process, or that name their receiver themselves."""


def strayed(settings: Settings, origins: Mapping[str, str], found: Layer) -> Iterator[str]:
    """Yield a line for each secret from elsewhere that settings of the file in the current directory would receive.

    Args:
        settings: as merged.
        origins: for each key, the source whose value holds.
        found: what the file gives; empty if there is none, or if it was named.
    """
    given = found.origins | {key: file_origin(path, origin) for key, (path, origin) in found.files.items()}
    own = {key for key, origin in given.items() if origins.get(key) == origin}
    for section, way in WAYS.items():
        receivers = [key for key in _keys(section, way.receivers) if key in own and _differs(settings, key)]
        for secret in _keys(section, way.secrets) if receivers else ():
            is_own = secret in own and not _is_outside(_file(settings, secret, found))
            if secret in origins and not is_own and _is_sent(settings, secret):
                yield (
                    f"{given[receivers[0]]} would receive {secret}, which {origins[secret]} gives; {_FIX} "
                    f"{variable(receivers[0])}"
                )


def _keys(section: str, names: tuple[str, ...]) -> list[str]:
    return [f"{section}.{name}" for name in names if f"{section}.{name}" in all_names()]


def _value(settings: Settings, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(settings, section), name)


def _differs(settings: Settings, receiver: str) -> bool:
    """Return whether the secret would go elsewhere without the file."""
    return bool(_value(settings, receiver) != all_names()[receiver].default)


def _file(settings: Settings, secret: str, found: Layer) -> Path | None:
    """Return the file that holds a secret, if it is in one."""
    value = _value(settings, secret)
    return value if isinstance(value, Path) else found.files.get(secret, (None, ""))[0]


def _is_outside(path: Path | None) -> bool:
    return path is not None and not path.resolve().is_relative_to(Path.cwd().resolve())


def _is_sent(settings: Settings, secret: str) -> bool:
    """Return whether it is a secret at all: a url may be an address only."""
    value = _value(settings, secret)
    return not secret.endswith(".url") or bool(urlsplit(value.get_secret_value()).password)
