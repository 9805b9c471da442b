"""The image and the Compose file, held against what the field judges them by, and against the daemon's own settings.

No container engine runs in the suite: the Compose schema, hadolint and the house rules are what can be asked instead.
"""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.config import Settings, load
from tests.tools import accept_command, tool

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("runstep:")}
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")


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


def test_passwords_are_asked_for_and_never_given() -> None:
    """Nobody is let in by a default, and everything that is asked for stands in .env.example, empty."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    example = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line[1:])
    example = {name: value for name, value in example.items() if not name.startswith("#")}
    assert set(re.findall(r"(?<!\$)\$\{?(\w+)", text)) == set(example)
    assert set(example.values()) == {""}
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name:
                assert REQUIRED.fullmatch(value), name


def test_the_line_that_makes_the_passwords_makes_four_different_ones(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    command = re.search(r"python3 -c '(.+)' > \.env", example)
    assert command is not None
    (tmp_path / ".env.example").write_text(example, encoding="utf-8")
    made = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", command[1]], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    values = dict(line.split("=", 1) for line in made.splitlines() if not line.startswith("#"))
    assert set(values) == set(REQUIRED.findall((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert len(set(values.values())) == 4
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in values.values())


def test_every_service_is_the_clickhouse_user_it_should_be() -> None:
    names = {name: service["environment"].get("RUNSTEP_CLICKHOUSE__USERNAME") for name, service in OURS.items()}
    assert names == {"migrate": "runstep_migrator", "pipeline": "runstep_writer", "simulator": None}
    users = (DEPLOY / "clickhouse" / "users.xml").read_text(encoding="utf-8")
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/runstep.yml").read_text())["datasources"][1]
    for user in ("runstep_migrator", "runstep_writer", source["jsonData"]["username"]):
        assert f"<{user}>" in users
    asked = set(re.findall(r'from_env="(\w+)_SHA256"', users))
    assert len(asked) == 3
    assert asked <= set(SERVICES["clickhouse"]["environment"])


@pytest.mark.parametrize("name", OURS)
def test_compose_sets_what_the_daemon_accepts(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(environ={key: REQUIRED.sub("pw", value) for key, value in OURS[name]["environment"].items()})
    assert settings.kafka.bootstrap_servers == ("kafka:19092",)
    accept_command(OURS[name]["command"])


def test_the_daemon_is_given_time_to_drain() -> None:
    assert int(SERVICES["pipeline"]["stop_grace_period"].removesuffix("s")) > Settings().drain_timeout


def test_versions_are_those_of_the_project() -> None:
    assert {service["image"] for service in OURS.values()} == {f"runstep:{VERSION}"}
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


def test_the_images_environment_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = re.findall(r"(RUNSTEP_\w+)=(\S+)", DOCKERFILE)
    settings = load(environ=dict(pairs))
    assert settings.http.bind.endswith(":9464")
    assert f"EXPOSE {settings.http.bind.rpartition(':')[2]}\n" in DOCKERFILE
