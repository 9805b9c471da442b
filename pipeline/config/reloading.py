"""Settings whose credentials follow their sources: a rotated secret is used without a restart.

Owns what may change while the daemon runs: user, password, token, certificates, on both sides. All else stays as it was
at the start, since a topic or a limit that changed half-way would be true for one part and not for another.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from pipeline.config.relations import broken_relations
from pipeline.config.sections import ClickHouseSettings
from pipeline.config.settings import Settings
from pipeline.errors import ConfigError

log = structlog.get_logger(__name__)

_CLICKHOUSE: Final = ("username", "password", "access_token", "access_token_file", "ca_file", "cert_file", "key_file")
_KAFKA: Final = (
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "sasl_oauth_token",
    "sasl_oauth_token_file",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_key_file",
    "ssl_key_password",
    "ssl_crl_file",
)


class Reloadable:
    """The settings as they are now. For any thread; nobody waits for another's reading.

    Attributes:
        failures: how often the sources could not be used.
        trouble: why the sources cannot be used now, or None; never holds a secret.
    """

    def __init__(self, started: Settings, load: Callable[[], Settings] | None = None) -> None:
        """Begin with settings that were read already.

        Args:
            started: they hold until the sources say something else.
            load: reads all sources again, and raises `ConfigError` where they are unfit; None: nothing ever changes.
        """
        self._current = started
        self._load = load
        self.failures = 0
        self.trouble: str | None = None

    def current(self) -> Settings:
        """Read the sources again and return the settings with the credentials found there.

        Sources that cannot be read, or that contradict what stays, change nothing: the old credentials may still be
        good, and the next call reads again.
        """
        if self._load is None:
            return self._current
        try:
            renewed = with_credentials(self._current, self._load())
        except ConfigError as error:
            self._keep(str(error))
            return self._current
        if self.trouble is not None:
            log.info("settings can be read again")
            self.trouble = None
        if renewed != self._current:
            log.info("credentials changed and were read again", changed=_changed(self._current, renewed))
            self._current = renewed
        return renewed

    def _keep(self, trouble: str) -> None:
        self.failures += 1
        if self.trouble != trouble:
            log.error("settings cannot be read again; the former ones stay", cause=trouble)
        self.trouble = trouble


def with_credentials(old: Settings, new: Settings) -> Settings:
    """Return the old settings with the new credentials.

    Raises:
        ConfigError: they do not go together.
    """
    kafka = {name: getattr(new.kafka, name) for name in _KAFKA}
    clickhouse = {name: getattr(new.clickhouse, name) for name in _CLICKHOUSE} | {
        "url": _with_login(old.clickhouse, new.clickhouse)
    }
    renewed = old.model_copy(
        update={
            "kafka": old.kafka.model_copy(update=kafka),
            "clickhouse": old.clickhouse.model_copy(update=clickhouse),
        }
    )
    problems = broken_relations(renewed)
    if problems:
        raise ConfigError("\n".join(problems))
    return renewed


def _with_login(old: ClickHouseSettings, new: ClickHouseSettings) -> SecretStr:
    """Return the old url with user and password of the new one."""
    ours, theirs = (urlsplit(settings.url.get_secret_value()) for settings in (old, new))
    if ours.scheme not in {"http", "https"} or theirs.scheme not in {"http", "https"}:
        return old.url
    login, found, _ = theirs.netloc.rpartition("@")
    host = ours.netloc.rpartition("@")[2]
    return SecretStr(ours._replace(netloc=f"{login}{found}{host}").geturl())


def _changed(old: Settings, new: Settings) -> list[str]:
    """Return the names of the settings that changed."""
    sections: Mapping[str, tuple[Any, Any]] = {
        "kafka": (old.kafka, new.kafka),
        "clickhouse": (old.clickhouse, new.clickhouse),
    }
    return [
        f"{section}.{name}"
        for section, (before, after) in sections.items()
        for name in type(before).model_fields
        if getattr(before, name) != getattr(after, name)
    ]
