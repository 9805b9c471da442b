"""Every file and folder that a document names exists."""

from pathlib import Path

import pytest

from tests.documents.pages import PAGES, missing_paths, name

ELSEWHERE = {
    "CHANGELOG.md": {"deploy/runbook.md", "tests/chaos", "tests/faults"},
    "pipeline/README.md": {"commands/NAME.py", "tools/queries/NAME.sql"},
}
"""Files that are gone, which the page says, and names that stand for any file."""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    assert [path for path in missing_paths(page) if path not in ELSEWHERE.get(name(page), ())] == []
