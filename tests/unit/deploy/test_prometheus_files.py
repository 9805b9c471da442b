"""The Prometheus files: read by Prometheus' own tool, tested by it, and true to the metrics that the daemon has."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from pipeline.metrics import MergedMetrics, Metrics
from pipeline.metrics.counts import Counts
from pipeline.records import Partition
from tests.support.paths import DEPLOY
from tests.support.promql import counters_outside_a_rate, misnamed

FOLDER = DEPLOY / "prometheus"
RULES = FOLDER / "runstep.rules.yml"
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
EVERY_RULE: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in EVERY_RULE if "alert" in rule]
RECORDED = frozenset(rule["record"] for rule in EVERY_RULE if "record" in rule)
BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900)
# prometheus_client adds it; the catalogue has the daemon's metrics only.
OF_THE_PROCESS = frozenset({"process_start_time_seconds"})
# The series of a partition begins with its first loss, which a rate does not see: the rule reads its value.
# How often the counter of partitions changed is how often partitions were moved.
NOT_A_RATE = {
    "RunStepRecordsLost": {"runstep_records_lost_total"},
    "RunStepRebalanceStorm": {"runstep_rebalances_total"},
}
Promtool = Callable[..., CompletedProcess[str]]


def _id(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


def test_promtool_accepts_the_rules(promtool: Promtool) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert done.returncode == 0, done.stderr


def test_promtool_accepts_the_configuration(promtool: Promtool) -> None:
    done = promtool("check", "config", str(FOLDER / "prometheus.yml"))
    assert done.returncode == 0, done.stderr


def test_alerts_fire_and_keep_silent_as_they_should(promtool: Promtool) -> None:
    done = promtool("test", "rules", *map(str, TESTS))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "limit", "other", "alert"),
    [("flow", "> 0.05", "> 0.5", "InsertErrors"), ("steps", ">= 20", ">= 0", "InvalidEventsHigh")],
    ids=["a limit", "a guard"],
)
def test_the_rule_tests_can_fail(
    promtool: Promtool, tmp_path: Path, file: str, limit: str, other: str, alert: str
) -> None:
    """A test of rules that passes whatever the rules say would be worth nothing."""
    text = RULES.read_text(encoding="utf-8")
    assert limit in text
    (tmp_path / RULES.name).write_text(text.replace(limit, other), encoding="utf-8")
    (tmp_path / "tests").mkdir()
    shutil.copy(FOLDER / "tests" / f"{file}.yml", tmp_path / "tests")
    done = promtool("test", "rules", str(tmp_path / "tests" / f"{file}.yml"))
    assert done.returncode == 1
    assert f"RunStep{alert}" in done.stdout + done.stderr


def test_each_alert_is_tested_on_both_sides() -> None:
    sides: dict[str, set[bool]] = {}
    severities: dict[str, set[str]] = {}
    for path in TESTS:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for case in group.get("alert_rule_test", ()):
                sides.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
                fired = {alert["exp_labels"]["severity"] for alert in case["exp_alerts"]}
                severities.setdefault(case["alertname"], set()).update(fired)
    assert sides == {_id(rule): {True, False} for rule in ALERTS}
    for rule in ALERTS:
        assert rule["labels"]["severity"] in severities[_id(rule)]


def test_the_rules_evaluate_on_what_daemons_really_expose(promtool: Promtool, tmp_path: Path) -> None:
    """Labels that do not match one to one are an error at run time only: a plain daemon beside one with workers."""
    series = [
        {"series": text, "values": "0+1x6"}
        for instance, registry in (("plain", _plain()), ("workers", _with_workers()))
        for text in _series(registry, instance)
    ]
    quiet = [{"eval_time": "5m", "alertname": "RunStepConsumerLagGrowing", "exp_alerts": []}]
    recorded = [
        {
            "expr": f"count({name}) > bool 0",
            "eval_time": "5m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for name in sorted(RECORDED)
    ]
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": quiet, "promql_expr_test": recorded}],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test), encoding="utf-8")
    done = promtool("test", "rules", str(tmp_path / "test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_alerts_are_those_that_were_promised() -> None:
    assert {_id(rule) for rule in ALERTS} == {
        "RunStepAnomaliesSurge",
        "RunStepBufferNearLimit",
        "RunStepClickHouseUnavailable",
        "RunStepCommitErrors",
        "RunStepConsumerLagGrowing",
        "RunStepConsumerStuck",
        "RunStepCrashLooping",
        "RunStepDeadLetters",
        "RunStepDown",
        "RunStepErrorBudgetBurn",
        "RunStepFreshnessBudgetBurn",
        "RunStepIngestStale",
        "RunStepInsertErrors",
        "RunStepInvalidEventsHigh",
        "RunStepKafkaUnavailable",
        "RunStepPartitionHalted",
        "RunStepRebalanceStorm",
        "RunStepRecordsHeldBack",
        "RunStepRecordsLost",
        "RunStepStepP95Slow",
        "RunStepVersionSkew",
    }


@pytest.mark.parametrize("rule", ALERTS, ids=_id)
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    board = {"pipeline": "runstep-ingest", "agents": "runstep-overview"}[rule["labels"]["team"]]
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert rule["annotations"]["runbook_url"] == f"deploy/runbooks/{_id(rule)}.md"
    assert rule["annotations"]["dashboard_url"] == f"/d/{board}"


@pytest.mark.parametrize("rule", EVERY_RULE, ids=_id)
def test_rules_read_what_the_daemon_has(rule: dict[str, Any]) -> None:
    parsed = promql_parser.parse(rule["expr"])
    assert list(misnamed(parsed, RECORDED | OF_THE_PROCESS)) == []
    assert set(counters_outside_a_rate(parsed)) == NOT_A_RATE.get(_id(rule), set())


@pytest.mark.parametrize("rule", EVERY_RULE, ids=_id)
def test_a_rule_sees_its_own_job_only(rule: dict[str, Any]) -> None:
    selected = re.findall(r"[\w:]+\{[^}]*\}", rule["expr"])
    assert all('job="runstep"' in selector for selector in selected)
    assert selected or rule["expr"].startswith("vector(")


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_recorded_names_follow_the_convention(name: str) -> None:
    """level:metric:operations, without `_total` where a rate was taken; those of the objectives are Sloth's."""
    level, metric, operation = name.split(":")
    assert operation
    if level != "slo":
        assert level.split("_")[0] == "job"
        assert metric.startswith("runstep_")
        assert not metric.endswith("_total")


def test_the_daemons_are_scraped_as_the_job_that_the_rules_select() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert set(re.findall(r'job="([^"]+)"', RULES.read_text(encoding="utf-8"))) == {"runstep"}
    assert jobs["runstep"]["dns_sd_configs"][0]["port"] == 9464
    assert config["rule_files"] == [RULES.name]
    datasource = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/runstep.yml").read_text())
    assert datasource["datasources"][0]["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]


def _plain() -> CollectorRegistry:
    registry = CollectorRegistry()
    _fill(Metrics(registry, BUCKETS, "r1"))
    return registry


def _with_workers() -> CollectorRegistry:
    registry = CollectorRegistry()
    merged = MergedMetrics(registry)
    for worker in ("0", "1"):
        metrics = Metrics(CollectorRegistry(), BUCKETS, "r1")
        _fill(metrics)
        merged.update(worker, metrics.snapshot())
    return registry


def _fill(metrics: Metrics) -> None:
    """Make the series that begin with their first value."""
    partition = Partition("run-steps", 0)
    metrics.publish(Counts())
    metrics.lag(partition, 1)
    metrics.unstable(partition, 1)
    metrics.position(partition, 1.0)
    metrics.records_lost(partition, 1)


def _series(registry: CollectorRegistry, instance: str) -> list[str]:
    return [
        "{}{{{}}}".format(
            sample.name,
            ", ".join(
                f'{key}="{value}"' for key, value in {"job": "runstep", "instance": instance, **sample.labels}.items()
            ),
        )
        for family in parse_text(generate_latest(registry).decode())
        for sample in family.samples
    ]
