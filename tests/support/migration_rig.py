"""What the tests of migrations share: the users of deploy/ with passwords of the tests, a writer, the command."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.cli import execute
from pipeline.clickhouse import ClickHouseSink
from pipeline.config import ClickHouseSettings
from tests.servers.clickhouse import ClickHouseServer
from tests.support.fakes.rows import columns_of, step_row
from tests.support.paths import DEPLOY

USERS = DEPLOY / "clickhouse" / "users.xml"
PASSWORDS = {"migrator": "m1grate", "writer": "wr1te", "reader": "re4d"}
ENVIRONMENT = {
    f"CLICKHOUSE_{role.upper()}_PASSWORD_SHA256": hashlib.sha256(password.encode()).hexdigest()
    for role, password in PASSWORDS.items()
}

Run = Callable[..., tuple[int, str, str]]
"""`run("--status", CLICKHOUSE__DATABASE="x")` gives exit code, answer and errors of `runstep migrate`."""


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a way to run `runstep migrate` with more environment."""

    def call(*arguments: str, **environment: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(f"RUNSTEP_{name}", value)
            code = execute(["migrate", *arguments])
        answer = capsys.readouterr()
        return code, answer.out, answer.err

    return call


def as_user(server: ClickHouseServer, role: str, **settings: Any) -> ClickHouseSettings:
    """Return settings that lead to the server as one of the users."""
    url = f"http://runstep_{role}:{PASSWORDS[role]}@127.0.0.1:{server.http_port}"
    return ClickHouseSettings(url=SecretStr(url), **settings)


def write(settings: ClickHouseSettings, *offsets: int) -> None:
    """Insert a step for each offset, as the daemon would, with a token that only depends on the offsets."""
    sink = ClickHouseSink(lambda: settings)
    try:
        sink.probe()
        sink.insert(columns_of([step_row(offset) for offset in offsets]), f"token-{offsets}")
    finally:
        sink.close()
