"""The builder of the rules: the committed file is its work, other objectives give rules that can fire."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from deploy.prometheus import build
from deploy.prometheus.objectives import PAIRS, ingest_freshness, step_success
from pipeline.metrics import Metrics

Promtool = Callable[..., CompletedProcess[str]]


def built(path: Path, *options: str) -> list[dict[str, Any]]:
    assert build.main([*options, "--output", str(path)]) == 0
    return [rule for group in yaml.safe_load(path.read_text("utf-8"))["groups"] for rule in group["rules"]]


def alert(rules: list[dict[str, Any]], name: str, severity: str) -> dict[str, Any]:
    return next(r for r in rules if r.get("alert") == name and r["labels"]["severity"] == severity)


def test_the_committed_rules_are_what_the_code_builds() -> None:
    assert build.main(["--check"]) == 0


def test_rules_that_were_edited_by_hand_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "my.rules.yml"
    assert build.main(["--check", "--output", str(path)]) == 1
    built(path)
    assert build.main(["--check", "--output", str(path)]) == 0
    path.write_text(path.read_text("utf-8").replace("> 300", "> 3000"), "utf-8")
    capsys.readouterr()
    assert build.main(["--check", "--output", str(path)]) == 1
    assert f"python -m deploy.prometheus.build --output {path}" in capsys.readouterr().err


def test_rules_for_other_objectives_and_places_are_valid(promtool: Promtool, tmp_path: Path) -> None:
    chosen = {
        "low": ["--objective", "0.5", "--freshness-objective", "0.05"],
        "high": ["--objective", "0.99999", "--freshness-seconds", "1", "--p95-seconds", "2.5"],
        "elsewhere": ["--job", 'agents/"run" steps', "--runbooks", "https://wiki/x/", "--grafana", "https://g/"],
        "a word of YAML": ["--job", "on"],
    }
    paths = []
    for name, options in chosen.items():
        paths.append(tmp_path / f"{name}.yml")
        built(paths[-1], *options)
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *map(str, paths))
    assert done.returncode == 0, done.stderr


def test_places_are_those_that_were_given(tmp_path: Path) -> None:
    options = ["--job", "pod/steps", "--runbooks", "https://wiki/x/", "--grafana", "https://g/"]
    rules = built(tmp_path / "r.yml", *options)
    down = alert(rules, "RunStepDown", "page")
    assert down["labels"]["job"] == "pod/steps"
    assert down["expr"] == 'absent(up{job="pod/steps"} == 1)'
    assert down["annotations"]["runbook_url"] == "https://wiki/x/RunStepDown.md"
    assert down["annotations"]["dashboard_url"] == "https://g/d/runstep-ingest"
    text = (tmp_path / "r.yml").read_text("utf-8")
    assert "--job pod/steps --runbooks https://wiki/x/ --grafana https://g/" in text
    assert '"runstep"' not in text


def test_the_factors_are_those_of_the_workbook() -> None:
    assert [(pair.severity, pair.long, pair.short, str(pair.factor.normalize())) for pair in PAIRS] == [
        ("page", "1h", "5m", "14.4"),
        ("page", "6h", "30m", "6"),
        ("ticket", "1d", "2h", "3"),
        ("ticket", "3d", "6h", "1"),
    ]


@given(st.decimals("0.0001", "0.9999", places=4))
def test_every_burn_alert_can_fire_at_any_objective(target: Decimal) -> None:
    objective = step_success(target)
    lowered = list(objective.lowered())
    for pair in PAIRS:
        failures = objective.factor(pair) * objective.budget
        assert 0 < failures < 1
        assert (objective.factor(pair) == pair.factor) == (pair.factor * objective.budget <= Decimal("0.9"))
    assert len(lowered) == sum(objective.factor(pair) != pair.factor for pair in PAIRS)


def test_a_factor_that_could_never_be_reached_is_lowered_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.yml"
    page = alert(built(path, "--objective", "0.9"), "RunStepErrorBudgetBurn", "page")
    assert "> (9 * 0.1)" in page["expr"]
    assert "14.4" not in page["expr"]
    assert "1.25 % in 1h" in page["annotations"]["description"]
    notes = capsys.readouterr().err
    assert "144 % of the events would have to fail. The factor is lowered to 9: 90 % failures" in notes
    assert "The factor is lowered to 9" in " ".join(path.read_text("utf-8").replace("\n#", "").split())


def test_an_objective_that_all_factors_fit_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = alert(built(tmp_path / "r.yml", "--objective", "0.95"), "RunStepErrorBudgetBurn", "page")
    assert "> (14.4 * 0.05)" in page["expr"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        (["--objective", "99"], "give a share between 0 and 1, such as 0.99 for 99 %"),
        (["--freshness-objective", "1"], "give a share between 0 and 1"),
        (["--objective", "nan"], "that is not a number"),
        (["--objective", "many"], "that is not a number"),
        (["--freshness-seconds", "45"], "it has 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21600"),
        (["--freshness-seconds", "86400"], "the histogram has no such bucket"),
        (["--p95-seconds", "900"], "give seconds between 0 and 900, the last bucket of the histogram"),
        (["--job", " "], "--job: name the job"),
        (["--chekc"], "unrecognized arguments: --chekc"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_is_a_usage_error_with_its_fix(
    options: list[str], fix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "r.yml"
    assert build.main([*options, "--output", str(target)]) == 64
    assert not target.exists()
    assert fix in capsys.readouterr().err


def test_the_buckets_of_the_freshness_are_written_as_the_daemon_exposes_them() -> None:
    registry = CollectorRegistry()
    Metrics(registry, (1.0,))
    exposed = generate_latest(registry).decode()
    for seconds in map(int, build._bounds()):
        objective = ingest_freshness(Decimal("0.99"), seconds)
        assert f'runstep_ingest_delay_seconds_bucket{{le="{float(seconds)}"}}' in exposed
        assert f'le="{float(seconds)}"' in objective.failures
    assert 'runstep_ingest_delay_seconds_bucket{le="86400.0"}' in exposed
    assert 'le="86400.0"' in objective.events
