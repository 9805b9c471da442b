"""Settings whose credentials follow their sources: a rotated secret is used without a restart.

Fields with the mark `Rotates` follow: user, password, token, certificates, of Kafka and of ClickHouse. All else stays
as it was at the start: a topic or a limit that changed half-way would be true for one part and not for another.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from pipeline.config.relations import broken_relations
from pipeline.config.sections import Rotates, Section
from pipeline.config.settings import Settings
from pipeline.errors import ConfigError

log = structlog.get_logger(__name__)


class Reloadable:
    """The settings as they are now. For any thread; none waits while another reads.

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
            log.info("settings_reloaded", message="settings can be read again")
            self.trouble = None
        if renewed != self._current:
            log.info(
                "credentials_changed",
                message="credentials changed and were read again",
                changed=list(_changed(self._current, renewed)),
            )
            self._current = renewed
        return renewed

    def _keep(self, trouble: str) -> None:
        self.failures += 1
        if self.trouble != trouble:
            log.error(
                "settings_reload_failed", message="settings cannot be read again; the former ones stay", cause=trouble
            )
        self.trouble = trouble


def with_credentials(old: Settings, new: Settings) -> Settings:
    """Return the old settings with the new credentials.

    Raises:
        ConfigError: they do not go together.
    """
    renewed = old.model_copy(
        update={
            name: section.model_copy(update=_rotated(section, getattr(new, name)))
            for name, section in _sections(old).items()
        }
    )
    problems = broken_relations(renewed)
    if problems:
        raise ConfigError("\n".join(problems))
    return renewed


def rotating(section: type[Section]) -> Mapping[str, Rotates]:
    """Return the fields of a section that follow their sources."""
    marks = ((name, mark) for name, field in section.model_fields.items() for mark in field.metadata)
    return {name: mark for name, mark in marks if isinstance(mark, Rotates)}


def _rotated(old: Section, new: Section) -> dict[str, Any]:
    return {
        name: _with_login(getattr(old, name), getattr(new, name)) if mark.login_only else getattr(new, name)
        for name, mark in rotating(type(old)).items()
    }


def _with_login(old: SecretStr, new: SecretStr) -> SecretStr:
    """Return the old url with user and password of the new one."""
    before, after = urlsplit(old.get_secret_value()), urlsplit(new.get_secret_value())
    if before.scheme not in {"http", "https"} or after.scheme not in {"http", "https"}:
        return old
    login, found, _ = after.netloc.rpartition("@")
    host = before.netloc.rpartition("@")[2]
    return SecretStr(before._replace(netloc=f"{login}{found}{host}").geturl())


def _sections(settings: Settings) -> dict[str, Section]:
    return {name: value for name, value in settings if isinstance(value, Section)}


def _changed(old: Settings, new: Settings) -> Iterator[str]:
    """Yield the names of the settings that changed."""
    for section, before in _sections(old).items():
        for name, value in before:
            if value != getattr(getattr(new, section), name):
                yield f"{section}.{name}"
