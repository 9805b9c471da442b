"""Settings: their sources, what is refused and in which words, and how they are shown."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from pipeline.config import (
    ClickHouseSettings,
    DeadLetterSettings,
    KafkaSettings,
    Settings,
    load,
    load_with_origins,
    settings_table,
)
from pipeline.config.names import all_names
from pipeline.config.settings import mask_url
from pipeline.errors import ConfigError


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No runstep.toml of the machine takes part."""
    monkeypatch.chdir(tmp_path)


def problems(environ: dict[str, str] | None = None, toml: str | None = None) -> list[str]:
    """Return the lines that these sources are refused with."""
    if toml is not None:
        Path("runstep.toml").write_text(toml)
    with pytest.raises(ConfigError) as refusal:
        load(environ=environ or {})
    return str(refusal.value).splitlines()


def test_without_any_source_the_defaults_hold() -> None:
    assert load(environ={}) == Settings()
    assert load(environ={}).dead_letter_topic == "run-steps.dlq"


def test_sources_win_in_the_documented_order(tmp_path: Path) -> None:
    Path("runstep.toml").write_text('[clickhouse]\ndatabase = "toml"\nusername = "toml"\npassword = "toml"\n')
    (tmp_path / "password").write_text("file\n")
    environ = {
        "RUNSTEP_CLICKHOUSE__USERNAME": "env",
        "RUNSTEP_CLICKHOUSE__PASSWORD_FILE": str(tmp_path / "password"),
    }
    settings, origins = load_with_origins(environ=environ)
    assert (settings.clickhouse.database, settings.clickhouse.username) == ("toml", "env")
    assert settings.clickhouse.password == SecretStr("file")
    assert origins["clickhouse.database"] == "runstep.toml: clickhouse.database"
    assert origins["clickhouse.username"] == "RUNSTEP_CLICKHOUSE__USERNAME"
    assert "RUNSTEP_CLICKHOUSE__PASSWORD_FILE" in origins["clickhouse.password"]
    assert load(environ=environ, clickhouse={"database": "override"}).clickhouse.database == "override"


def test_values_of_one_section_come_from_several_sources() -> None:
    Path("runstep.toml").write_text("[batch]\nmax_rows = 7\n")
    batch = load(environ={"RUNSTEP_BATCH__MAX_AGE": "0.5"}).batch
    assert (batch.max_rows, batch.max_age, batch.max_bytes) == (7, 0.5, 134_217_728)


@pytest.mark.parametrize("name", ["clickhouse__password", "RUNSTEP_CLICKHOUSE__PASSWORD"])
def test_secrets_directory(tmp_path: Path, name: str) -> None:
    secrets = tmp_path / "secrets"
    (secrets / "..data").mkdir(parents=True)
    (secrets / name).write_text("s3cret\n")
    (secrets / "somebody-elses").write_text("x")
    environ = {"RUNSTEP_SECRETS_DIR": str(secrets), "RUNSTEP_CLICKHOUSE__PASSWORD": "loses"}
    assert load(environ=environ).clickhouse.password == SecretStr("s3cret")


def test_a_token_that_is_renewed_stays_a_file(tmp_path: Path) -> None:
    (tmp_path / "clickhouse__access_token").write_text("t")
    settings = load(environ={"RUNSTEP_SECRETS_DIR": str(tmp_path)})
    assert settings.clickhouse.access_token_file == tmp_path / "clickhouse__access_token"
    assert settings.clickhouse.access_token is None


@pytest.mark.parametrize("key", ["url_file", "username_file", "password_file"])
def test_every_credential_may_be_a_file_named_in_toml(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret").write_text("http://h:8123" if key == "url_file" else "value")
    Path("runstep.toml").write_text(f'[clickhouse]\n{key} = "secret"\n')
    value = getattr(load(environ={}).clickhouse, key.removesuffix("_file"))
    assert (value.get_secret_value() if isinstance(value, SecretStr) else value) in {"http://h:8123", "value"}


def test_lists_are_commas_in_the_environment_and_lists_in_toml() -> None:
    Path("runstep.toml").write_text('[kafka]\nbootstrap_servers = ["a:1", "b:2"]\n')
    settings = load(environ={"RUNSTEP_KAFKA__TOPICS": " a, b ,", "RUNSTEP_HTTP__BUCKETS": "1,2.5"})
    assert settings.kafka.topics == ("a", "b")
    assert settings.kafka.bootstrap_servers == ("a:1", "b:2")
    assert settings.http.buckets == (1.0, 2.5)


def test_an_empty_variable_counts_as_not_given() -> None:
    assert load(environ={"RUNSTEP_CLICKHOUSE__PASSWORD": "", "RUNSTEP_BATCH__MAX_ROWS": ""}) == Settings()


def test_the_file_may_be_named(tmp_path: Path) -> None:
    named = tmp_path / "other.toml"
    named.write_text("drain_timeout = 3\n")
    assert load(named, environ={}).drain_timeout == 3
    assert load(environ={"RUNSTEP_CONFIG": str(named)}).drain_timeout == 3


@pytest.mark.parametrize(
    "name",
    [
        "RUNSTEP_TEST_KAFKA",
        "RUNSTEP_CONFIG",
        "RUNSTEP_SECRETS_DIR",
        "RUNSTEP_PORT",
        "RUNSTEP_SERVICE_HOST",
        "RUNSTEP_METRICS_SERVICE_PORT_HTTP",
        "RUNSTEP_PORT_9464_TCP_ADDR",
    ],
)
def test_variables_that_are_no_settings_are_left_alone(name: str) -> None:
    assert load(environ={name: ""}) == Settings()


def test_kubernetes_service_variables_do_not_stop_the_daemon() -> None:
    environ = {"RUNSTEP_PORT": "tcp://10.0.0.1:9464", "RUNSTEP_SERVICE_PORT_METRICS": "9464"}
    assert load(environ=environ) == Settings()


UNKNOWN = "unknown environment variable"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("KAFKA__TOPIC", "x", f": {UNKNOWN} (did you mean RUNSTEP_KAFKA__TOPICS?)"),
        ("KAFKA__SASL_PASWORD_FILE", "x", f": {UNKNOWN} (did you mean RUNSTEP_KAFKA__SASL_PASSWORD_FILE?)"),
        ("KAFKA", "x", f": {UNKNOWN}; kafka is a section, its variables are RUNSTEP_KAFKA__KEY"),
        ("BATCH__MAX_ROWS", "many", ": batch.max_rows must be a whole number, not 'many'"),
        ("BATCH__MAX_ROWS", "0", ": batch.max_rows must be 1 or more, not '0'"),
        ("BATCH__MAX_ROWS", "9999999", ": batch.max_rows must be 1000000 or less, not '9999999'"),
        ("BATCH__MAX_AGE", "0", ": batch.max_age must be greater than 0, not '0'"),
        ("BATCH__MAX_AGE", "nan", ": batch.max_age must be a finite number, not 'nan'"),
        ("HTTP__BUCKETS", "1,x", ": http.buckets must be a number, not 'x'"),
        ("KAFKA__START", "begin", ": kafka.start must be one of earliest, latest, not 'begin'"),
        (
            "KAFKA__START",
            "Latest",
            ": kafka.start must be one of earliest, latest, not 'Latest' (did you mean latest?)",
        ),
        ("CLICKHOUSE__PASSWORD_FILE", "nowhere", ": nowhere cannot be read: No such file or directory"),
        ("SECRETS_DIR", "nowhere", ": nowhere cannot be listed: No such file or directory"),
    ],
)
def test_a_mistake_in_the_environment_is_one_line(name: str, value: str, complaint: str) -> None:
    assert problems({f"RUNSTEP_{name}": value}) == [f"RUNSTEP_{name}{complaint}"]


@pytest.mark.parametrize(
    ("toml", "complaint"),
    [
        ("[kafka]\ntopisc = 1\n", "unknown key kafka.topisc (did you mean kafka.topics?)"),
        ("[kafak]\ntopics = 1\n", "unknown key kafak (did you mean kafka?)"),
        ("batch = 1\n", "batch is a section; write [batch] and its keys below"),
        ("[kafka]\ngroup_id = 7\n", "kafka.group_id must be text, in quotes, not '7'"),
        ("[kafka]\nssl_check_hostname = 'x'\n", "kafka.ssl_check_hostname must be true or false, not 'x'"),
        ("[clickhouse]\npassword_file = 1\n", "clickhouse.password_file: must be the path of a file, in quotes"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(toml: str, complaint: str) -> None:
    assert problems(toml=toml) == [f"runstep.toml: {complaint}"]


def test_a_named_file_must_be_there() -> None:
    expected = "no.toml: there is no such file; correct --config or RUNSTEP_CONFIG"
    assert problems({"RUNSTEP_CONFIG": "no.toml"}) == [expected]


def test_broken_toml_names_file_and_place() -> None:
    (line,) = problems(toml="[kafka\n")
    assert line.startswith("runstep.toml: is not valid TOML: ")
    assert "line 1" in line


def test_all_problems_are_named_at_once() -> None:
    lines = problems({"RUNSTEP_NO": "1", "RUNSTEP_BATCH__MAX_ROWS": "0"}, toml="[kafka]\nx = 1\n")
    assert len(lines) == 3


def test_an_unknown_file_in_the_secrets_directory(tmp_path: Path) -> None:
    (tmp_path / "clickhouse__pasword").write_text("x")
    (line,) = problems({"RUNSTEP_SECRETS_DIR": str(tmp_path)})
    assert line.endswith("no setting has the name of this file (did you mean clickhouse__password?)")


def test_a_value_and_its_file_in_one_source_contradict() -> None:
    Path("p").write_text("x")
    (line,) = problems({"RUNSTEP_CLICKHOUSE__PASSWORD": "x", "RUNSTEP_CLICKHOUSE__PASSWORD_FILE": "p"})
    assert "clickhouse.password is given twice" in line


def test_a_mark_before_utf_8_text_is_no_part_of_a_secret_or_of_the_file(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "clickhouse__password").write_bytes(mark + b"s3cret\r\n")
    Path("runstep.toml").write_bytes(mark + b"[batch]\nmax_rows = 7\n")
    settings = load(environ={"RUNSTEP_SECRETS_DIR": str(tmp_path)})
    assert settings.clickhouse.password == SecretStr("s3cret")
    assert settings.batch.max_rows == 7


@pytest.mark.parametrize("content", ["s3cret \n", " s3cret", "s3cret\t", "s3cret\u00a0\n"])
def test_a_blank_that_nobody_sees_is_no_silent_part_of_a_secret(tmp_path: Path, content: str) -> None:
    (tmp_path / "clickhouse__password").write_text(content)
    (line,) = problems({"RUNSTEP_SECRETS_DIR": str(tmp_path)})
    assert line.startswith(f"{tmp_path / 'clickhouse__password'}: must not begin or end with a blank: remove it")
    assert "s3cret" not in line
    (line,) = problems({"RUNSTEP_CLICKHOUSE__PASSWORD_FILE": str(tmp_path / "clickhouse__password")})
    assert "must not begin or end with a blank" in line


@pytest.mark.parametrize("name", ["SASL_MECHANISM", "SECURITY_PROTOCOL", "SSL_CA_FILE"])
def test_a_password_in_the_setting_beside_it_is_not_echoed(name: str) -> None:
    (line, *_) = problems(toml=f"[kafka]\n{name.lower()} = 12345678\n")
    assert "12345678" not in line
    if name != "SSL_CA_FILE":
        (line,) = problems({f"RUNSTEP_KAFKA__{name}": "hunter2-hunter2"}, toml="")
        assert "hunter2" not in line
        assert f"kafka.{name.lower()} must be one of " in line


def test_a_login_in_a_brokers_address_is_not_echoed() -> None:
    (line,) = problems({"RUNSTEP_KAFKA__BOOTSTRAP_SERVERS": "bob:hunter2@kafka:9092"})
    assert line == "kafka.bootstrap_servers: 'bob:********@kafka:9092' is not host:port"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:secret@h:8123/x", "http://u:********@h:8123/x"),
        ("http://u:sec/ret@h:8123", "http://u:********@h:8123"),
        ("http://u:secret", "http://u:********"),
        ("http://u:sec/ret", "http://u:********"),
        ("http://h:8123", "http://h:8123"),
        ("http://h:8123/path?token=secret", "http://h:8123/path?token=********"),
        ("http://[::1]:8123", "http://[::1]:8123"),
        ("chdb:runstep-demo", "chdb:runstep-demo"),
    ],
)
def test_a_url_is_shown_without_its_password_even_where_it_is_malformed(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_no_secret_is_ever_shown() -> None:
    secret = "hunter2-hunter2"  # noqa: S105 - the point
    environ = {
        "RUNSTEP_CLICKHOUSE__URL": f"ftp://user:{secret}@host",
        "RUNSTEP_CLICKHOUSE__PASSWORD": secret,
        "RUNSTEP_KAFKA__SASL_PASSWORD": secret,
        "RUNSTEP_CLICKHOUSE__HOSTS": f"http://u:{secret}@h:x",
    }
    assert secret not in "\n".join(problems(environ, toml=f'[clickhouse]\npassword = ["{secret}"]\n'))
    settings = Settings(
        clickhouse=ClickHouseSettings(
            url=SecretStr(f"http://u:{secret}@h:8123/?password={secret}"), hosts=(f"http://u:{secret}@h",)
        ),
        kafka=KafkaSettings(sasl_password=SecretStr(secret), ssl_key_password=SecretStr(secret)),
    )
    assert secret not in str(settings.masked())
    assert secret not in repr(settings)
    assert settings.masked()["clickhouse"]["url"] == "http://u:********@h:8123/?password=********"


def test_settings_are_frozen_and_made_by_hand_read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSTEP_DRAIN_TIMEOUT", "1")
    monkeypatch.setenv("KAFKA", "1")
    settings = Settings(dead_letter=DeadLetterSettings(topic="refused"))
    assert settings.drain_timeout == 25
    assert settings.dead_letter_topic == "refused"
    with pytest.raises(ValidationError):
        settings.drain_timeout = 3
    with pytest.raises(ValidationError):
        Settings(nothing=1)


def test_every_setting_is_described() -> None:
    assert [name.key for name in all_names().values() if not name.field.description] == []


def test_the_table_has_every_setting_and_no_broken_cell() -> None:
    rows = settings_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(all_names())
    assert {row.replace("\\|", "").count(" | ") for row in rows} == {4}
