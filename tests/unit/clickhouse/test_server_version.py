"""Versions as servers name them: of a release, of Altinity, of ClickHouse Cloud, and what is none."""

import re

import pytest

from pipeline.clickhouse.server_version import OLDEST, ServerVersion, is_older, parsed
from tests.servers import oldest_clickhouse
from tests.support.paths import DEPLOY


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("25.8.2.1", (25, 8)),
        ("24.8.14.10501.altinitystable", (24, 8)),
        ("26.2.1.15001-cloud", (26, 2)),
        ("25.10", (25, 10)),
        ("unknown", None),
        ("", None),
    ],
)
def test_a_version_is_its_first_two_numbers(text: str, version: tuple[int, int] | None) -> None:
    assert parsed(text) == version


def test_releases_are_compared_as_numbers() -> None:
    assert is_older("25.8.99.1", ServerVersion(25, 10))
    assert not is_older("25.10.1.1", ServerVersion(25, 8))


def test_the_oldest_version_and_a_version_that_cannot_be_read_are_not_refused() -> None:
    assert not is_older(f"{OLDEST}.1.1", OLDEST)
    assert not is_older("a version", OLDEST)


def test_the_page_and_the_tests_are_about_the_same_oldest_version() -> None:
    page = (DEPLOY / "versions.md").read_text(encoding="utf-8")
    assert re.findall(r"The oldest supported version is (\S+) LTS", page) == [str(OLDEST)]
    assert str(OLDEST) == oldest_clickhouse.VERSION
