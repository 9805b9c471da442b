"""The documents: generated blocks are the code's, links lead somewhere, the README is short and shows what it says."""

import re
from pathlib import Path

import pytest

from pipeline.kafka.dead_letters import headers
from pipeline.records import InvalidRecord, Reason, Stage
from schemas.row import COLUMN_MEANINGS, INGEST_COLUMNS
from tests.documents.blocks import BLOCKS, found, spliced
from tests.documents.pages import PAGES, anchors, broken_links, name
from tests.documents.scenarios import CODES, NOT_COVERED, SCENARIOS, TESTS, held_by_number
from tests.documents.tables import PIPELINE, layers
from tests.support.fakes.kafka import FakeRecord
from tests.support.paths import ROOT

README_LIMIT = 10_000
"""Bytes: what somebody reads who does not yet know whether it concerns him."""

EACH_BLOCK = [(page, block) for page, blocks in BLOCKS.items() for block in blocks]


@pytest.mark.parametrize(("page", "block"), EACH_BLOCK, ids=[f"{page}:{block}" for page, block in EACH_BLOCK])
def test_a_generated_block_is_there_and_is_what_the_code_says(page: str, block: str) -> None:
    written = found((ROOT / page).read_text(encoding="utf-8"), block)
    assert written == BLOCKS[page][block]().strip(), f"{page}: block {block} is stale; run `make docs`"


def test_every_marker_belongs_to_a_block_that_is_generated() -> None:
    marked = {
        (name(page), block)
        for page in PAGES
        for block in re.findall(r"^<!-- ([\w-]+):start -->$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert marked == set(EACH_BLOCK)


@pytest.mark.parametrize("text", ["", "<!-- a:start -->", "<!-- a:start -->\n<!-- a:start -->\n<!-- a:end -->"])
def test_a_missing_or_doubled_marker_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="block 'a' needs one"):
        spliced(text, "a", "new")


def test_a_block_is_replaced_between_its_markers() -> None:
    assert spliced("x\n<!-- a:start -->\nold\n<!-- a:end -->\ny\n", "a", "new") == (
        "x\n<!-- a:start -->\nnew\n<!-- a:end -->\ny\n"
    )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert broken_links(page) == []


def test_anchors_are_made_as_github_makes_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A walk: one record, `top`\n## Same\n## Same\n```sh\n# no heading\n```\n")
    assert anchors(page) == {"a-walk-one-record-top", "same", "same-1"}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= README_LIMIT


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            waiting += [target / "README.md"] if (target / "README.md").exists() else []
            waiting += [target] if target.suffix == ".md" and target.exists() else []
    assert {name(page) for page in PAGES} - {name(page) for page in reached} == set()


def test_every_column_has_a_meaning() -> None:
    assert list(COLUMN_MEANINGS) == [column.name for column in INGEST_COLUMNS]


def test_every_dead_letter_header_is_in_the_contract() -> None:
    record = FakeRecord("run-steps", 3, 7, 1_764_000_000_000, b"key", b"{")
    sent = dict(headers(InvalidRecord(record, Stage.DECODE, Reason.INVALID_JSON, "")))
    text = (ROOT / "schemas" / "README.md").read_text(encoding="utf-8")
    assert [header for header in sent if f"`{header}`" not in text] == []


def test_every_folder_and_file_of_the_package_has_a_layer() -> None:
    placed = {name.removeprefix("pipeline.") for layer in layers() for name in layer}
    there = {path.stem for path in PIPELINE.iterdir() if path.is_dir() or path.suffix == ".py"}
    assert there - {"__init__", "__pycache__"} - placed == set()


def test_every_scenario_has_a_test_or_a_reason() -> None:
    held = held_by_number()
    assert list(SCENARIOS) == sorted(SCENARIOS)
    assert set(held) | set(NOT_COVERED) == set(SCENARIOS)
    assert not set(held) & set(NOT_COVERED)


def test_every_code_of_the_oracle_is_explained() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (TESTS / "simulation").glob("*.py"))
    used = set(re.findall(r'"([A-Z]\d) ', text))
    assert used
    assert used <= set(CODES)
