"""The Prometheus files: read by Prometheus' own tool, tested by it, and true to the metrics that the daemon has."""

import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import promql_parser
import pytest
import yaml

from tests.promql import counters_outside_a_rate, misnamed

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
FOLDER = DEPLOY / "prometheus"
RULES = FOLDER / "runstep.rules.yml"
TESTS = FOLDER / "runstep.rules.test.yml"
EVERY_RULE: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
ALERTS = [rule for rule in EVERY_RULE if "alert" in rule]
RECORDED = frozenset(rule["record"] for rule in EVERY_RULE if "record" in rule)
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
    done = promtool("test", "rules", str(TESTS))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rule_tests_can_fail(promtool: Promtool, tmp_path: Path) -> None:
    """A test of rules that passes whatever the rules say would be worth nothing."""
    (tmp_path / TESTS.name).write_text(TESTS.read_text(encoding="utf-8"), encoding="utf-8")
    for alert, threshold, other in (("IngestStale", "> 300)", "> 3000)"), ("InsertErrors", "> 0.05", "> 0.5")):
        text = RULES.read_text(encoding="utf-8")
        assert threshold in text
        (tmp_path / RULES.name).write_text(text.replace(threshold, other), encoding="utf-8")
        done = promtool("test", "rules", str(tmp_path / TESTS.name))
        assert done.returncode == 1
        assert f"RunStep{alert}" in done.stdout + done.stderr


def test_each_alert_is_tested_on_both_sides() -> None:
    sides: dict[str, set[bool]] = {}
    for group in yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]:
        for case in group.get("alert_rule_test", ()):
            sides.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert sides == {_id(rule): {True, False} for rule in ALERTS}


def test_the_alerts_are_those_that_were_promised() -> None:
    assert {_id(rule) for rule in ALERTS} == {
        "RunStepConsumerLagGrowing",
        "RunStepConsumerStuck",
        "RunStepDeadLetters",
        "RunStepDown",
        "RunStepIngestStale",
        "RunStepInsertErrors",
        "RunStepKafkaUnavailable",
        "RunStepPartitionHalted",
        "RunStepRecordsLost",
    }


@pytest.mark.parametrize("rule", ALERTS, ids=_id)
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook", "dashboard"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert page == "deploy/runbook.md"
    titles = re.findall(r"^## (\w+)$", (DEPLOY / "runbook.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in [title.lower() for title in titles]
    assert _id(rule) in titles


@pytest.mark.parametrize("rule", EVERY_RULE, ids=_id)
def test_rules_read_what_the_daemon_has(rule: dict[str, Any]) -> None:
    parsed = promql_parser.parse(rule["expr"])
    assert list(misnamed(parsed, RECORDED)) == []
    # The series of a partition begins with its first loss: the rule reads its value for that, and says so.
    assert set(counters_outside_a_rate(parsed)) <= {"runstep_records_lost_total"}


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_recorded_names_follow_the_convention(name: str) -> None:
    """level:metric:operations, without `_total` where a rate was taken."""
    level, metric, operation = name.split(":")
    assert level.split("_")[0] == "job"
    assert metric.startswith("runstep_")
    assert not metric.endswith("_total")
    assert operation


def test_the_daemons_are_scraped_as_the_job_that_the_rules_select() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert set(re.findall(r'job="(\w+)"', RULES.read_text(encoding="utf-8"))) == {"runstep"}
    assert jobs["runstep"]["dns_sd_configs"][0]["port"] == 9464
    assert config["rule_files"] == [RULES.name]
    datasource = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/runstep.yml").read_text())
    assert datasource["datasources"][0]["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
