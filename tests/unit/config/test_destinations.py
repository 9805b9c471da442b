"""No secret goes to a host that only a `runstep.toml` of the current directory names."""

from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.config.destinations import KEPT, WAYS
from pipeline.config.names import all_names
from pipeline.errors import ConfigError

SASL = {"RUNSTEP_KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "RUNSTEP_KAFKA__SASL_MECHANISM": "PLAIN"}
LOGIN = SASL | {"RUNSTEP_KAFKA__SASL_USERNAME": "u", "RUNSTEP_KAFKA__SASL_PASSWORD": "hunter2"}
OAUTH = {"RUNSTEP_KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "RUNSTEP_KAFKA__SASL_MECHANISM": "OAUTHBEARER"}


@pytest.fixture(autouse=True)
def _foreign_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    monkeypatch.chdir(folder)


def refusal(toml: str, environ: dict[str, str]) -> str:
    """Return how these sources are refused, while the same file is accepted if it is named."""
    Path("runstep.toml").write_text(toml)
    load(environ={**environ, "RUNSTEP_CONFIG": "runstep.toml"})
    load(Path("runstep.toml"), environ=environ)
    with pytest.raises(ConfigError) as refused:
        load(environ=environ)
    assert "hunter2" not in str(refused.value)
    (line,) = str(refused.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("toml", "environ", "receiver", "secret"),
    [
        (
            '[clickhouse]\nurl = "http://evil:8123"\n',
            {"RUNSTEP_CLICKHOUSE__USERNAME": "u", "RUNSTEP_CLICKHOUSE__PASSWORD": "hunter2"},
            "clickhouse.url",
            "clickhouse.password",
        ),
        (
            '[clickhouse]\nurl = "http://evil:8123"\n',
            {"RUNSTEP_CLICKHOUSE__ACCESS_TOKEN": "hunter2"},
            "clickhouse.url",
            "clickhouse.access_token",
        ),
        (
            '[clickhouse]\nhosts = ["http://evil:8123"]\n',
            {"RUNSTEP_CLICKHOUSE__URL": "http://u:hunter2@good:8123"},
            "clickhouse.hosts",
            "clickhouse.url",
        ),
        (
            "[clickhouse]\nverify = false\n",
            {"RUNSTEP_CLICKHOUSE__URL": "https://u:hunter2@good:8443"},
            "clickhouse.verify",
            "clickhouse.url",
        ),
        ('[kafka]\nbootstrap_servers = "evil:9092"\n', LOGIN, "kafka.bootstrap_servers", "kafka.sasl_password"),
        ("[kafka]\nssl_check_hostname = false\n", LOGIN, "kafka.ssl_check_hostname", "kafka.sasl_password"),
        (
            '[kafka]\nbootstrap_servers = "evil:9092"\n',
            OAUTH | {"RUNSTEP_KAFKA__SASL_OAUTH_TOKEN": "hunter2"},
            "kafka.bootstrap_servers",
            "kafka.sasl_oauth_token",
        ),
        (
            '[kafka]\nsasl_oauth_token_url = "https://evil/token"\n',
            OAUTH | {"RUNSTEP_KAFKA__SASL_OAUTH_CLIENT_ID": "c", "RUNSTEP_KAFKA__SASL_OAUTH_CLIENT_SECRET": "hunter2"},
            "kafka.sasl_oauth_token_url",
            "kafka.sasl_oauth_client_secret",
        ),
    ],
)
def test_a_secret_of_the_environment_does_not_go_where_a_found_file_says(
    toml: str, environ: dict[str, str], receiver: str, secret: str
) -> None:
    line = refusal(toml, environ)
    source = f"RUNSTEP_{secret.upper().replace('.', '__')}"
    assert line.startswith(f"runstep.toml: {receiver} would receive {secret}, which {source} gives; ")
    assert "--config runstep.toml, or RUNSTEP_CONFIG=runstep.toml" in line
    assert line.endswith(f"set RUNSTEP_{receiver.upper().replace('.', '__')}")


def test_a_secrets_directory_is_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "clickhouse__password").write_text("hunter2\n")
    environ = {"RUNSTEP_SECRETS_DIR": str(tmp_path), "RUNSTEP_CLICKHOUSE__USERNAME": "u"}
    line = refusal('[clickhouse]\nurl = "http://evil:8123"\n', environ)
    assert f"clickhouse.password, which {tmp_path / 'clickhouse__password'} gives" in line


@pytest.mark.parametrize(
    ("key", "secret"), [("password_file", "clickhouse.password"), ("access_token_file", "clickhouse.access_token_file")]
)
def test_a_found_file_sends_no_other_file_of_this_machine_away(tmp_path: Path, key: str, secret: str) -> None:
    (tmp_path / "id_rsa").write_text("hunter2\n")
    line = refusal(f'[clickhouse]\nurl = "http://evil:8123"\n{key} = "../id_rsa"\n', {})
    assert f"would receive {secret}, which " in line


def test_a_link_does_not_bring_a_file_into_the_directory(tmp_path: Path) -> None:
    (tmp_path / "id_rsa").write_text("hunter2\n")
    Path("password").symlink_to(tmp_path / "id_rsa")
    refusal('[clickhouse]\nurl = "http://evil:8123"\npassword_file = "password"\n', {})


@pytest.mark.parametrize(
    ("toml", "environ"),
    [
        ('[clickhouse]\nurl = "http://u:pw@own:8123"\n', {}),
        ('[clickhouse]\nurl = "http://own:8123"\nusername = "u"\npassword_file = "password"\n', {}),
        ('[clickhouse]\nurl_file = "url"\n', {}),
        ('[clickhouse]\ndatabase = "d"\n', {"RUNSTEP_CLICKHOUSE__PASSWORD": "x"}),
        ('[clickhouse]\nurl = "http://evil"\n', {"RUNSTEP_CLICKHOUSE__URL": "http://u:pw@good:8123"}),
        ('[clickhouse]\nurl = "http://own:8123"\n', {"RUNSTEP_CLICKHOUSE__USERNAME": "u"}),
        ('[kafka]\nbootstrap_servers = "own:9092"\n', {"RUNSTEP_CLICKHOUSE__PASSWORD": "x"}),
        ('[kafka]\ntopics = "own"\n', LOGIN),
        ('[clickhouse]\nurl = "http://localhost:8123"\nverify = true\n', {"RUNSTEP_CLICKHOUSE__PASSWORD": "x"}),
    ],
)
def test_what_stays_in_its_layer_is_accepted(toml: str, environ: dict[str, str]) -> None:
    Path("runstep.toml").write_text(toml)
    Path("password").write_text("pw\n")
    Path("url").write_text("http://u:pw@own:8123\n")
    load(environ=environ)


def test_every_secret_has_a_way_or_is_kept() -> None:
    secrets = {name.key for name in all_names().values() if name.secret or name.key.endswith("token_file")}
    sent = {f"{section}.{name}" for section, way in WAYS.items() for name in way.secrets}
    assert secrets == sent | KEPT
    receivers = {f"{section}.{name}" for section, way in WAYS.items() for name in way.receivers}
    assert receivers <= set(all_names())
