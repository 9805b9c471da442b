"""The image and the Compose file, held against what the field judges them by, and against the daemon's own settings.

No container engine runs in the suite: the Compose schema, hadolint and the house rules are what can be asked instead.
"""

import importlib.util
import json
import re
import shlex
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from deploy.grafana.clickhouse_panels import CLICKHOUSE_PLUGIN
from deploy.prometheus.objectives import PERIOD_DAYS
from pipeline.config import Settings, load
from tests.support.paths import ROOT
from tests.support.programs import accept_command, tool

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
RUNSTEP_SERVICES = {name: service for name, service in SERVICES.items() if service["image"].startswith("runstep:")}
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = PROJECT["project"]["version"]
SECRETS = Path("/run/secrets")
"""Where Compose puts them in a container."""
PAGES = (*DEPLOY.glob("*.md"), ROOT / "README.md", DEPLOY / "pictures" / "make" / "README.md")


def test_compose_meets_its_schema() -> None:
    package = importlib.util.find_spec("check_jsonschema")
    assert package is not None
    assert package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0]) / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(COMPOSE)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_a_service_is_pinned_and_has_no_more_rights_than_it_needs(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), "a numeric user who is not root"
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
    # The Kafka image writes its configuration into the image's own folders when it starts.
    assert service.get("read_only") or service["image"].startswith("apache/kafka")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["pids_limit"]


def test_who_is_waited_for_can_say_that_it_is_ready() -> None:
    for service in SERVICES.values():
        for name, wanted in service.get("depends_on", {}).items():
            needed = SERVICES[name]
            if wanted["condition"] == "service_healthy":
                assert needed["healthcheck"]["test"][0] == "CMD"
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert not needed["restart"].startswith(("always", "unless"))


def test_everything_that_is_mounted_exists() -> None:
    named = set()
    for service in SERVICES.values():
        for mount in service.get("volumes", ()):
            source, _, options = mount.split(":", 2) if mount.count(":") == 2 else (*mount.split(":"), "")
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert options == "ro"
            else:
                named.add(source)
    assert named == set(COMPOSE["volumes"])


def granted(service: dict[str, Any]) -> dict[Path, str]:
    """Return the secrets that a service may read: path in the container to name."""
    secrets = [{"source": each} if isinstance(each, str) else each for each in service.get("secrets", ())]
    return {SECRETS / each.get("target", each["source"]): each["source"] for each in secrets}


def test_no_password_is_in_the_file_or_in_an_environment() -> None:
    """A container gets the path of its password, and only that password."""
    assert not re.search(r"(?<!\$)\$\{?\w", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name:
                assert name.endswith("_FILE")
                assert Path(value) in granted(service)
        for path in re.findall(r"/run/secrets/\w+", " ".join(service.get("entrypoint", ()))):
            assert Path(path) in granted(service)


def test_the_script_makes_each_password_once_and_another_one_for_each(tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "docker" / "secrets.sh"
    script.parent.mkdir(parents=True)
    script.write_bytes((DEPLOY / "docker" / "secrets.sh").read_bytes())
    subprocess.run(["sh", script], check=True, capture_output=True)
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert {name: ROOT / secret["file"] for name, secret in COMPOSE["secrets"].items()} == {
        name: ROOT / "secrets" / name for name in made
    }
    assert len(set(made.values())) == 4
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in made.values())
    # Each container has a user of its own, so it is the folder that keeps others out.
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert subprocess.run(["sh", script], check=True, capture_output=True).stdout == b""
    assert {path.name: path.read_text() for path in folder.iterdir()} == made
    assert "/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_every_service_is_the_clickhouse_user_it_should_be() -> None:
    names = {
        name: service["environment"].get("RUNSTEP_CLICKHOUSE__USERNAME") for name, service in RUNSTEP_SERVICES.items()
    }
    assert names == {"migrate": "runstep_migrator", "pipeline": "runstep_writer", "simulator": None}
    for name, user in names.items():
        own = {SECRETS / "clickhouse__password": user.replace("runstep", "clickhouse")} if user else {}
        assert granted(RUNSTEP_SERVICES[name]) == own
    users = (DEPLOY / "clickhouse" / "users.xml").read_text(encoding="utf-8")
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/runstep.yml").read_text())["datasources"][1]
    for user in ("runstep_migrator", "runstep_writer", source["jsonData"]["username"]):
        assert f"<{user}>" in users
    asked = set(re.findall(r'from_env="(\w+)_SHA256"', users))
    assert len(asked) == 3
    assert {f"{name}_FILE" for name in asked} <= set(SERVICES["clickhouse"]["environment"])
    variable = source["secureJsonData"]["password"].removeprefix("$")
    assert f"export {variable}=" in SERVICES["grafana"]["entrypoint"][-1]


def test_who_need_not_reach_kafka_does_not() -> None:
    """Kafka has no authentication, so the most exposed service, Grafana with its plugins, cannot reach it."""
    on = {
        network: {name for name in SERVICES if network in SERVICES[name]["networks"]} for network in COMPOSE["networks"]
    }
    assert on == {
        "events": {"kafka", "migrate", "pipeline", "simulator"},
        "rows": {"clickhouse", "migrate", "pipeline", "grafana"},
        "numbers": {"pipeline", "prometheus", "grafana"},
    }


def test_grafana_opens_with_a_dashboard_that_is_there() -> None:
    grafana = SERVICES["grafana"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    mounts = dict(mount.split(":")[1::-1] for mount in grafana["volumes"])
    assert (ROOT / mounts[str(home.parent)] / home.name).exists()


def test_grafana_starts_without_the_internet_and_gets_the_plugin_that_the_dashboards_are_made_for() -> None:
    """What is to be installed before the start (`…_SYNC`) and cannot be fetched ends Grafana, again and again."""
    wanted = {name: value for name, value in SERVICES["grafana"]["environment"].items() if "PREINSTALL" in name}
    assert wanted == {"GF_PLUGINS_PREINSTALL": f"grafana-clickhouse-datasource@{CLICKHOUSE_PLUGIN}"}


def test_prometheus_keeps_what_the_error_budgets_look_back_on() -> None:
    options = dict(option.removeprefix("--").split("=", 1) for option in SERVICES["prometheus"]["command"])
    assert int(options["storage.tsdb.retention.time"].removesuffix("d")) > PERIOD_DAYS


def test_the_look_at_kafka_does_not_ask_for_a_second_brokers_memory() -> None:
    """The tool is a Java program in the broker's own container, and would take the broker's KAFKA_HEAP_OPTS."""
    look = SERVICES["kafka"]["healthcheck"]["test"]
    assert look[:3] == ["CMD", "env", "KAFKA_HEAP_OPTS=-Xmx128m"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", RUNSTEP_SERVICES)
def test_compose_sets_what_the_daemon_accepts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in granted(RUNSTEP_SERVICES[name]):
        (tmp_path / path.name).write_text("pw")
    environ = dict(RUNSTEP_SERVICES[name]["environment"])
    assert environ.pop("RUNSTEP_SECRETS_DIR", str(SECRETS)) == str(SECRETS)
    settings = load(environ=environ | {"RUNSTEP_SECRETS_DIR": str(tmp_path)})
    assert settings.kafka.bootstrap_servers == ("kafka:19092",)
    assert (settings.clickhouse.password is not None) == bool(granted(RUNSTEP_SERVICES[name]))
    accept_command(command(RUNSTEP_SERVICES[name]))


def command(service: dict[str, Any]) -> list[str]:
    """Return the arguments of `runstep`, also where a shell works them out."""
    if "command" in service:
        return list(service["command"])
    shell, option, line = service["entrypoint"]
    assert (shell, option) == ("/bin/sh", "-c")
    worked_out = subprocess.run(
        ["sh", "-c", line.replace("$$", "$").replace("exec", "echo")], capture_output=True, text=True, check=True
    )
    program, *arguments = shlex.split(worked_out.stdout)
    assert program == "runstep"
    return arguments


def test_the_simulator_goes_on_and_is_never_the_same() -> None:
    arguments = command(SERVICES["simulator"])
    assert arguments[0] == "simulate"
    assert not {"--count", "-n", "--duration"} & set(arguments)
    assert int(arguments[arguments.index("--seed") + 1]) > 1_700_000_000


def test_the_daemon_is_given_time_to_drain() -> None:
    assert int(SERVICES["pipeline"]["stop_grace_period"].removesuffix("s")) > Settings().drain_timeout


def test_versions_are_those_of_the_project() -> None:
    assert {service["image"] for service in RUNSTEP_SERVICES.values()} == {f"runstep:{VERSION}"}
    assert f'ARG VERSION="{VERSION}"' in DOCKERFILE


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    found = subprocess.run(
        [tool("hadolint"), "--no-color", str(DEPLOY / "docker" / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout


def test_the_image_is_what_it_promises() -> None:
    """The house rules that hadolint does not have."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(re.fullmatch(r"[\w/-]+:\d+\.\d+\.\d+-slim-\w+", base) for base in bases), bases
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", final, re.MULTILINE) == ["10001:10001"]
    assert 'ENTRYPOINT ["runstep"]' in final
    assert re.search(r"^HEALTHCHECK (?:.|\\\n)+/healthz", final, re.MULTILINE)
    assert "PIP_ONLY_BINARY=:all:" in DOCKERFILE
    for word in ("ADD ", "apt-get", "gcc", "curl ", "sudo", "pip install"):
        assert word not in final
    assert not re.search(r"^(?:ENV|ARG).*(?:PASSWORD|TOKEN|SECRET)", DOCKERFILE, re.MULTILINE)


def test_the_image_is_given_what_it_copies_and_nothing_else() -> None:
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == copied


def test_what_is_not_python_is_in_the_wheel_too() -> None:
    """The image installs the wheel: a query or a template that pyproject.toml does not name would be missing there.

    Markdown is for readers of the repository.
    """
    declared = PROJECT["tool"]["setuptools"]["package-data"]
    for package in ("pipeline", "schemas"):
        files = {path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        taken = {path for pattern in declared[package] for path in (ROOT / package).glob(pattern)}
        assert {path for path in files if path.suffix not in {".py", ".md"}} == taken


def test_the_images_environment_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = re.findall(r"(RUNSTEP_\w+)=(\S+)", DOCKERFILE)
    settings = load(environ=dict(pairs))
    assert settings.http.bind.endswith(":9464")
    assert f"EXPOSE {settings.http.bind.rpartition(':')[2]}\n" in DOCKERFILE
