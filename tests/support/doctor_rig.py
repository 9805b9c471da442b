"""What the tests of `doctor` share: settings of the test's own, and the answer as a program reads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pipeline.cli import execute


class Answer:
    """What the doctor said.

    Attributes:
        code: its exit code.
        cause: the subject that explains the rest, None when nothing is wrong.
        bad: findings that are bad news, in their order.
        warnings: findings that are not, but have a fix.
    """

    def __init__(self, code: int, printed: dict[str, Any]) -> None:
        self.code, self.cause, self.checks = code, printed["cause"], printed["checks"]
        self.bad = [check for check in self.checks if check["level"] == "bad"]
        self.warnings = [check for check in self.checks if check["level"] == "warning"]
        assert printed["ok"] is (code == 0), self.bad
        assert printed["ok"] is not bool(self.bad)
        assert all(check["fix"] for check in self.bad + self.warnings), self.checks

    def about(self, subject: str, level: str | None = None) -> list[str]:
        """Return the details, with their fixes, of findings whose subject begins so."""
        return [
            f"{check['detail']} -> {check['fix']}"
            for check in self.checks
            if check["subject"].startswith(subject) and level in {None, check["level"]}
        ]


Doctor: TypeAlias = Callable[..., Answer]
"""`doctor("--url", "host:port")`."""


def asking(capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Return a way to run the doctor."""

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        code = execute(["doctor", "--json", *arguments])
        return Answer(code, json.loads(capsys.readouterr().out))

    return run


def forget_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a directory without runstep.toml, do not wait long, and find no daemon of another test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "3")
    monkeypatch.setenv("RUNSTEP_HTTP__BIND", "127.0.0.1:1")
