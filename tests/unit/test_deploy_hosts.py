"""The Kubernetes manifests and the systemd unit, held against what the field judges them by, and against the daemon.

The schemas of Kubernetes, kubectl's kustomize and systemd-analyze are asked; no cluster and no service manager runs.
"""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pipeline.config import Settings, load
from tests.tools import accept_command, tool

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "deploy" / "systemd" / "runstep.service"
KUBERNETES = ROOT / "deploy" / "kubernetes"
MANIFESTS = [
    pytest.param(manifest, id=f"{path.stem}-{manifest['metadata']['name']}")
    for path in sorted(KUBERNETES.glob("*.yaml"))
    if path.stem != "kustomization"
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
PODS = {manifest.id: manifest.values[0] for manifest in MANIFESTS if "template" in manifest.values[0].get("spec", {})}
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_the_daemon_is_given_time_to_drain() -> None:
    drain = Settings().drain_timeout
    assert PODS["deployment-runstep"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > drain
    stop = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > drain


def test_versions_are_those_of_the_project() -> None:
    image = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))["images"]
    assert image == [{"name": "runstep", "newTag": VERSION}]
    assert f"runstep-{VERSION}-py3" in UNIT.read_text(encoding="utf-8")


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_manifests_meet_the_schema_of_kubernetes(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.34", strict=True)


@pytest.mark.parametrize("manifest", PODS.values(), ids=PODS)
def test_pods_run_without_rights(manifest: dict[str, Any]) -> None:
    pod = manifest["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"]
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("manifest", PODS.values(), ids=PODS)
def test_pods_set_what_the_daemon_accepts(
    manifest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    lines = (KUBERNETES / "runstep.env").read_text(encoding="utf-8").splitlines()
    environ = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    environ |= {variable["name"]: variable["value"] for variable in container["env"]}
    (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "secrets")
    assert environ["RUNSTEP_SECRETS_DIR"] == mount["mountPath"]
    secret = next(volume["secret"]["secretName"] for volume in pod["volumes"] if volume["name"] == "secrets")
    for key in _secret(secret)["stringData"]:
        (tmp_path / key).write_text("pw")
    settings = load(environ=environ | {"RUNSTEP_SECRETS_DIR": str(tmp_path)})
    assert settings.clickhouse.password is not None
    assert settings.clickhouse.password.get_secret_value() == "pw"
    assert settings.clickhouse.username == secret.replace("-", "_")
    accept_command(container["args"])


def test_the_deployments_probes_ask_the_daemons_endpoints() -> None:
    (container,) = PODS["deployment-runstep"]["spec"]["template"]["spec"]["containers"]
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert [port["containerPort"] for port in container["ports"]] == [9464]


def test_the_kustomization_renders_everything_but_the_secrets() -> None:
    rendered = subprocess.run(
        [tool("kubectl"), "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=True
    ).stdout
    manifests = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(rendered)}
    assert "Secret" not in manifests
    settings = manifests["ConfigMap"]["metadata"]["name"]
    for kind in ("Deployment", "Job"):
        (container,) = manifests[kind]["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"runstep:{VERSION}"
        assert container["envFrom"] == [{"configMapRef": {"name": settings}}]
    selected = manifests["Service"]["spec"]["selector"].items()
    assert selected <= manifests["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert not selected <= manifests["Job"]["spec"]["template"]["metadata"]["labels"].items()


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(encoding="utf-8")))
    analyze = tool("systemd-analyze")
    verified = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    # 15 stands for an exposure of 1.5 out of 10; a unit without any hardening has 9.6.
    exposed = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=15", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert exposed.returncode == 0, exposed.stdout[-200:]


def test_the_units_settings_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = UNIT.read_text(encoding="utf-8")
    environ = dict(re.findall(r"^Environment=(RUNSTEP_\w+)=(.+)$", text, re.MULTILINE))
    for name in re.findall(r"^LoadCredential=(\w+):", text, re.MULTILINE):
        (tmp_path / name).write_text("pw")
    settings = load(environ={key: value.replace("%d", str(tmp_path)) for key, value in environ.items()})
    assert settings.clickhouse.password is not None
    started = re.search(r"^ExecStart=\S+/runstep (.+)$", text, re.MULTILINE)
    assert started is not None
    accept_command(shlex.split(started[1]))


def _secret(name: str) -> dict[str, Any]:
    manifests = yaml.safe_load_all((KUBERNETES / "secret.example.yaml").read_text(encoding="utf-8"))
    return next(manifest for manifest in manifests if manifest["metadata"]["name"] == name)
