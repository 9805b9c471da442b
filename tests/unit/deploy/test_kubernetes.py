"""The Kubernetes manifests as a cluster would get them: against the schemas, the house rules, and the daemon.

kubectl's kustomize renders them; the schemas of Kubernetes come with a package, those of KEDA and of the Prometheus
Operator are in tests/support/schemas. No cluster runs.
"""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml

from deploy.kubernetes import build
from pipeline.config import Settings, load
from tests.support.paths import ROOT
from tests.support.programs import accept_command, tool

KUBERNETES = ROOT / "deploy" / "kubernetes"
SCHEMAS = ROOT / "tests" / "support" / "schemas"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
RENDERED = ("base", "overlays/complete")
COMPONENTS = sorted(path.parent.name for path in KUBERNETES.glob("components/*/kustomization.yaml"))
EXAMPLES = sorted(KUBERNETES.rglob("*.example.yaml"))
LINES = (KUBERNETES / "base" / "runstep.env").read_text(encoding="utf-8").splitlines()
SHARED = dict(line.split("=", 1) for line in LINES if not line.startswith("#"))
"""The settings that all pods share."""


@cache
def rendered(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Return what `kubectl apply --kustomize` would send, kind to manifest; there is one of each kind."""
    text = subprocess.run(
        [tool("kubectl"), "kustomize", KUBERNETES / folder], capture_output=True, text=True, check=True
    )
    manifests = list(yaml.safe_load_all(text.stdout))
    assert len({manifest["kind"] for manifest in manifests}) == len(manifests)
    return {manifest["kind"]: manifest for manifest in manifests}


@pytest.fixture(params=RENDERED)
def manifests(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """Give the base, which any cluster takes, and the whole."""
    return rendered(request.param)


def pods(manifests: dict[str, dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Return specification and only container of every pod."""
    for kind in ("Deployment", "Job"):
        pod = manifests[kind]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        yield pod, container


def labels(manifests: dict[str, dict[str, Any]], kind: str) -> Any:
    """Return the labels of a workload's pods, as items to compare."""
    return manifests[kind]["spec"]["template"]["metadata"]["labels"].items()


def validate(manifest: dict[str, Any]) -> None:
    """Hold a manifest against the schema of its kind, which allows no unknown field."""
    schema = SCHEMAS / f"{manifest['kind']}.json"
    if schema.exists():
        jsonschema.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(manifest)
    else:
        kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_the_base_needs_nothing_that_a_plain_cluster_lacks_and_the_whole_adds_what_the_components_have() -> None:
    plain = {"ServiceAccount", "ConfigMap", "Service", "Deployment", "PodDisruptionBudget", "NetworkPolicy", "Job"}
    assert set(rendered("base")) == plain
    assert set(rendered("overlays/complete")) == plain | {"ScaledObject", "ServiceMonitor", "PrometheusRule"}


def test_manifests_meet_their_schemas(manifests: dict[str, dict[str, Any]]) -> None:
    for manifest in manifests.values():
        validate(manifest)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_meet_their_schemas_and_hold_no_secret(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        validate(manifest)
        assert not [key for key, value in manifest.get("stringData", {}).items() if "password" in key and value]


def test_a_misspelt_field_is_found_in_custom_resources_too() -> None:
    scaled = rendered("overlays/complete")["ScaledObject"]
    with pytest.raises(jsonschema.ValidationError, match="maxReplicas"):
        validate({**scaled, "spec": {**scaled["spec"], "maxReplicas": 6}})


def test_every_file_is_applied_or_an_example() -> None:
    used = {path for path in KUBERNETES.rglob("*") if path.suffix == ".py" or path.name.endswith(".example.yaml")}
    for path in KUBERNETES.rglob("kustomization.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = [*content.get("resources", ()), *content.get("components", ())]
        names += [name for made in content.get("configMapGenerator", ()) for name in made["envs"]]
        used |= {path, *((path.parent / name).resolve() for name in names)}
    files = {path for path in KUBERNETES.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert files - used == set()


def test_objects_are_named_placed_and_pinned(manifests: dict[str, dict[str, Any]]) -> None:
    for manifest in manifests.values():
        assert manifest["metadata"]["namespace"] == "runstep"
        assert manifest["metadata"]["labels"]["app.kubernetes.io/name"] == "runstep"
    for _, container in pods(manifests):
        assert container["image"] == f"runstep:{VERSION}"
        assert container["envFrom"] == [{"configMapRef": {"name": manifests["ConfigMap"]["metadata"]["name"]}}]


def test_pods_run_without_rights(manifests: dict[str, dict[str, Any]]) -> None:
    """What the pod security standard `restricted` asks for, and some more."""
    for pod, container in pods(manifests):
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
        assert {kind for volume in pod["volumes"] for kind in volume} <= {"name", "secret", "emptyDir"}
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


def test_pods_set_what_the_daemon_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    secrets = yaml.safe_load_all((KUBERNETES / "base" / "secret.example.yaml").read_text(encoding="utf-8"))
    keys = {secret["metadata"]["name"]: set(secret["stringData"]) for secret in secrets}
    for pod, container in pods(rendered("base")):
        environ = rendered("base")["ConfigMap"]["data"] | {each["name"]: each["value"] for each in container["env"]}
        (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "secrets")
        assert environ["RUNSTEP_SECRETS_DIR"] == mount["mountPath"]
        secret = next(volume["secret"]["secretName"] for volume in pod["volumes"] if volume["name"] == "secrets")
        for key in keys[secret]:
            (tmp_path / key).write_text("pw")
        settings = load(environ=environ | {"RUNSTEP_SECRETS_DIR": str(tmp_path)})
        assert settings.clickhouse.password is not None
        assert settings.clickhouse.password.get_secret_value() == "pw"
        assert settings.clickhouse.username == secret.replace("-", "_")
        accept_command(container["args"])


def test_the_daemon_is_probed_and_given_time_to_drain(manifests: dict[str, dict[str, Any]]) -> None:
    pod, container = next(pods(manifests))
    assert pod["terminationGracePeriodSeconds"] > Settings().drain_timeout
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert [port["containerPort"] for port in container["ports"]] == [9464]


def test_selectors_meet_the_daemons_pods_and_not_the_migration(manifests: dict[str, dict[str, Any]]) -> None:
    daemons, migration = labels(manifests, "Deployment"), labels(manifests, "Job")
    deployment = manifests["Deployment"]["spec"]
    selectors = [
        manifests["Service"]["spec"]["selector"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        deployment["selector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in deployment["template"]["spec"]["topologySpreadConstraints"]),
    ]
    for selector in selectors:
        assert selector.items() <= daemons
        assert not selector.items() <= migration
    assert manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    # All members are unready while ClickHouse is away; without this no node could be drained meanwhile.
    assert manifests["PodDisruptionBudget"]["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_the_network_policy_guards_all_pods_and_opens_what_the_settings_name(
    manifests: dict[str, dict[str, Any]],
) -> None:
    policy = manifests["NetworkPolicy"]["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    for kind in ("Deployment", "Job"):
        assert policy["podSelector"]["matchLabels"].items() <= labels(manifests, kind)
    (entrance,) = policy["ingress"]
    _, container = next(pods(manifests))
    assert {port["port"] for port in entrance["ports"]} == {port["name"] for port in container["ports"]}
    assert [set(peer) for peer in entrance["from"]] == [{"namespaceSelector"}]
    opened = {
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], port["port"])
        for rule in policy["egress"]
        for peer in rule["to"]
        for port in rule["ports"]
        if "namespaceSelector" in peer
    }
    kafka, clickhouse = (
        urlsplit(url) for url in (f"//{SHARED['RUNSTEP_KAFKA__BOOTSTRAP_SERVERS']}", SHARED["RUNSTEP_CLICKHOUSE__URL"])
    )
    named = {(str(url.hostname).split(".")[1], url.port) for url in (kafka, clickhouse)}
    assert opened == named | {("kube-system", 53)}


def test_prometheus_finds_the_service_as_the_job_that_the_rules_select() -> None:
    whole = rendered("overlays/complete")
    monitor, service = whole["ServiceMonitor"]["spec"], whole["Service"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    job = service["metadata"]["labels"][monitor["jobLabel"]]
    assert set(re.findall(r'job="(\w+)"', build.RULES.read_text(encoding="utf-8"))) == {job}
    assert monitor["scrapeProtocols"][0].startswith("OpenMetrics")


def test_the_operators_rules_are_prometheus_own() -> None:
    assert build.main(["--check"]) == 0, "run: python -m deploy.kubernetes.build"
    rules = yaml.safe_load(build.RULES.read_text(encoding="utf-8"))
    assert rendered("overlays/complete")["PrometheusRule"]["spec"] == rules


def test_replicas_follow_the_group_that_the_daemons_are_in() -> None:
    whole = rendered("overlays/complete")
    scaled = whole["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == whole["Deployment"]["metadata"]["name"]
    assert "replicas" not in whole["Deployment"]["spec"]
    assert scaled["minReplicaCount"] == rendered("base")["Deployment"]["spec"]["replicas"]
    arguments = next(container["args"] for _, container in pods(whole) if container["args"][0] == "migrate")
    assert scaled["maxReplicaCount"] == int(arguments[arguments.index("--partitions") + 1])
    (lag,) = (trigger["metadata"] for trigger in scaled["triggers"] if trigger["type"] == "kafka")
    _, container = next(pods(whole))
    assert scaled["scaleTargetRef"]["envSourceContainerName"] == container["name"]
    read = {name: whole["ConfigMap"]["data"][value] for name, value in lag.items() if name.endswith("FromEnv")}
    settings = Settings()
    assert read == {
        "bootstrapServersFromEnv": SHARED["RUNSTEP_KAFKA__BOOTSTRAP_SERVERS"],
        "consumerGroupFromEnv": settings.kafka.group_id,
        "topicFromEnv": settings.kafka.topics[0],
    }
    assert lag["offsetResetPolicy"] == settings.kafka.start
    assert int(lag["lagThreshold"]) == 2 * settings.batch.max_rows
    (cpu,) = (trigger for trigger in scaled["triggers"] if trigger["type"] == "cpu")
    assert (cpu["metricType"], cpu["metadata"]) == ("AverageValue", {"value": "750m"})


def test_the_overlays_commented_lines_work_and_the_policy_opens_the_addresses_that_they_name(tmp_path: Path) -> None:
    lines = (KUBERNETES / "overlays/complete/kustomization.yaml").read_text(encoding="utf-8").splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("apiVersion"))
    taken_in = [re.sub(r"^# (?=\w+:$|  )", "", line) for line in lines[head:]]
    base = os.path.relpath(KUBERNETES, tmp_path)
    (tmp_path / "kustomization.yaml").write_text("\n".join(taken_in).replace("../..", base), encoding="utf-8")
    whole = rendered(tmp_path)
    for manifest in whole.values():
        validate(manifest)
    brokers, clickhouse, _ = whole["NetworkPolicy"]["spec"]["egress"]
    settings = whole["ConfigMap"]["data"]
    namespace = brokers["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    assert settings["RUNSTEP_KAFKA__BOOTSTRAP_SERVERS"].endswith(f".{namespace}:{brokers['ports'][0]['port']}")
    assert urlsplit(settings["RUNSTEP_CLICKHOUSE__URL"]).port == clickhouse["ports"][0]["port"]
    assert all(container["image"].startswith("registry.example.com/") for _, container in pods(whole))


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_works_alone_in_an_overlay(component: str, tmp_path: Path) -> None:
    """An overlay as a reader would write it: another address, another registry, one of the components."""
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "runstep",
        "resources": [os.path.relpath(KUBERNETES / "base", tmp_path)],
        "components": [os.path.relpath(KUBERNETES / "components" / component, tmp_path)],
        "images": [{"name": "runstep", "newName": "registry.example.com/runstep", "newTag": "9.9.9"}],
        "configMapGenerator": [
            {"name": "runstep", "behavior": "merge", "literals": ["RUNSTEP_KAFKA__BOOTSTRAP_SERVERS=elsewhere:9092"]}
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    manifests = rendered(tmp_path)
    data = manifests["ConfigMap"]["data"]
    assert data == SHARED | {"RUNSTEP_KAFKA__BOOTSTRAP_SERVERS": "elsewhere:9092"}
    assert {container["image"] for _, container in pods(manifests)} == {"registry.example.com/runstep:9.9.9"}
    added = set(manifests) - set(rendered("base"))
    assert added
    for kind in added:
        validate(manifests[kind])
