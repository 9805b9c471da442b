"""Credentials follow their sources; nothing else does, and a source that is unfit changes nothing."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pipeline.config import Reloadable, Section, Settings, load
from pipeline.config.names import all_names
from pipeline.config.reloading import rotating

STAY = {
    "http.cert_file": "the endpoints look at the file itself again; its path stays",
    "http.key_file": "as http.cert_file",
    "http.client_ca_file": "as http.cert_file",
}
"""Credentials that are not read again as settings, and why."""


class Sources:
    """A `runstep.toml` and files with secrets, as an operator has them."""

    def __init__(self, folder: Path) -> None:
        self.toml = folder / "runstep.toml"
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        self.environment = {"RUNSTEP_CONFIG": str(self.toml), "RUNSTEP_SECRETS_DIR": str(self.secrets)}
        self.toml.write_text("")

    def secret(self, name: str, text: str) -> None:
        (self.secrets / name).write_text(text + "\n")

    def load(self) -> Settings:
        return load(environ=self.environment)

    def started(self) -> Reloadable:
        return Reloadable(self.load(), self.load)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


def password(settings: Settings) -> str:
    assert settings.clickhouse.password is not None
    return settings.clickhouse.password.get_secret_value()


def test_rotated_secrets_of_both_sides_are_found(sources: Sources) -> None:
    sources.toml.write_text(
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_mechanism = "PLAIN"\nsasl_username = "u"\n'
        '[clickhouse]\nusername = "writer"\n'
    )
    sources.secret("kafka.sasl_password", "one")
    sources.secret("clickhouse.password", "one")
    reloadable = sources.started()
    sources.secret("kafka.sasl_password", "hunter2")
    sources.secret("clickhouse.password", "hunter2")
    with capture_logs() as logged:
        now = reloadable.current()
        assert reloadable.current() == now
    assert password(now) == "hunter2"
    assert now.kafka.sasl_password is not None
    assert now.kafka.sasl_password.get_secret_value() == "hunter2"
    (said,) = logged
    assert said["changed"] == ["kafka.sasl_password", "clickhouse.password"]
    assert "hunter2" not in str(logged)


def test_a_login_in_the_url_is_replaced_and_the_address_stays(sources: Sources) -> None:
    sources.secret("clickhouse.url", "http://writer:one@store:8123/path")
    reloadable = sources.started()
    for url in ("https://writer:tw%40o@elsewhere/other", "http://writer:tw%40o@store:8123/path"):
        sources.secret("clickhouse.url", url)
        found = reloadable.current().clickhouse.url.get_secret_value()
        assert found == "http://writer:tw%40o@store:8123/path"
    sources.secret("clickhouse.url", "http://store:8123/path")
    assert reloadable.current().clickhouse.url.get_secret_value() == "http://store:8123/path"


def test_nothing_but_credentials_changes(sources: Sources) -> None:
    sources.toml.write_text('[clickhouse]\nusername = "old"\n')
    reloadable = sources.started()
    sources.toml.write_text(
        'drain_timeout = 1\n[clickhouse]\nusername = "new"\nurl = "http://elsewhere"\ndatabase = "other"\n'
        'insert_timeout = 1\n[kafka]\ntopics = "others"\nsecurity_protocol = "SSL"\n[batch]\nmax_rows = 1\n'
    )
    now = reloadable.current()
    assert now.clickhouse.username == "new"
    expected = Settings(clickhouse={"username": "new"})
    assert now == expected


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("[clickhouse\nhunter2", "is not valid TOML"),
        ('[clickhouse]\nurl = "hunter2"\n', "clickhouse.url"),
        # Each by itself is fine, both together are not: the protocol stays as it was.
        (
            '[kafka]\nsasl_mechanism = "PLAIN"\nsecurity_protocol="SASL_SSL"\nsasl_username="u"\nsasl_password="p"',
            "sasl",
        ),
    ],
)
def test_sources_that_are_unfit_change_nothing_are_counted_and_logged_once(
    sources: Sources, toml: str, complaint: str
) -> None:
    sources.secret("clickhouse.password", "good")
    reloadable = sources.started()
    good = sources.toml.read_text()
    sources.toml.write_text(toml)
    sources.secret("clickhouse.password", "hunter2")
    with capture_logs() as logged:
        for _ in range(3):
            assert password(reloadable.current()) == "good"
        assert reloadable.failures == 3
        assert complaint in (reloadable.trouble or "")
        sources.toml.write_text(good)
        assert password(reloadable.current()) == "hunter2"
    assert reloadable.trouble is None
    said = [line["event"] for line in logged]
    assert said == [
        "settings_reload_failed",
        "settings_reloaded",
        "credentials_changed",
    ]
    assert "hunter2" not in str(logged)


def test_a_secret_file_that_is_away_for_a_moment_changes_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("good")
    environment = {"RUNSTEP_CLICKHOUSE__PASSWORD_FILE": str(secret)}
    reloadable = Reloadable(load(environ=environment), partial(load, environ=environment))
    secret.unlink()
    assert password(reloadable.current()) == "good"
    assert str(secret) in (reloadable.trouble or "")
    secret.write_text("renewed")
    assert password(reloadable.current()) == "renewed"


def test_without_sources_nothing_ever_changes() -> None:
    made_by_hand: Any = Settings()
    assert Reloadable(made_by_hand).current() is made_by_hand


def test_every_credential_follows_its_source_or_is_known_not_to() -> None:
    sections = {name: value for name, value in Settings() if isinstance(value, Section)}
    marked = {f"{name}.{field}" for name, section in sections.items() for field in rotating(type(section))}
    credentials = {key for key, name in all_names().items() if name.secret or name.from_file or key.endswith("_file")}
    assert marked & STAY.keys() == set()
    assert credentials == marked - {"kafka.sasl_mechanism"} | STAY.keys()
