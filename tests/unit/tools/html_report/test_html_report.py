"""The report page without a server: ranges, figures, text of strangers, the file."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import plotly.graph_objects
import pytest

from pipeline.errors import ConfigError
from pipeline.text import utc_time
from pipeline.tools.html_report import document
from pipeline.tools.html_report.document import html, write_page
from pipeline.tools.html_report.page import Page, Subject, page_of
from pipeline.tools.html_report.page_queries import BOUNDS, QUERIES, Answers
from pipeline.tools.html_report.period import Period, bucket_name
from tests.support.html_pages import ReadPage, foreign

HOUR = 3_600_000
BEGIN = 1_790_000_000_000 // HOUR * HOUR
PERIOD = Period(BEGIN, BEGIN + HOUR)
WHEN = datetime.fromtimestamp(BEGIN / 1000, UTC)
HOSTILE = (
    "</script><script>alert(1)</script><img src=http://203.0.113.9/x onerror=alert(2)>\"'&{{7*7}}\u202e\x00\x1b[31m"
)


def answers(**given: list[dict[str, Any]]) -> Answers:
    """Return answers of an hour in which nothing happened but what is given."""
    return {**dict.fromkeys(QUERIES, ()), **given}


def filled(text: str = "x") -> Answers:
    """Return answers in which every question has a row, with `text` wherever producers can put text."""
    ids = dict.fromkeys(("thread_id", "run_id", "step_id", "assistant_id", "type", "status"), text)
    step = {**ids, "created_at": WHEN}
    counts = {"steps": 3, "failed": 1}
    return answers(
        steps=[{"bucket": 0, "kind": "tool_calls", "state": "completed", "steps": 3}],
        durations=[
            {"whole": whole, "bucket": 0, "percentiles": [2_000, 3_000, 4_000], "longest": 5_000} for whole in (0, 1)
        ],
        heatmap=[{"bucket": 0, "bin": 4, "steps": 3}],
        failures=[{"bucket": 0, "category": "server", "steps": 1}],
        errors=[
            {**dict.fromkeys(("fingerprint", "category", "code", "message"), text), "steps": 1, "runs": 1}
            | {"first_seen": WHEN, "last_seen": WHEN}
        ],
        slowest=[{**step, "duration_ms": 5_000, "tool_names": [text], "error_category": ""}],
        stuck=[{**step, "silent": 700, "overdue": 1, "stuck": 1}],
        runs=[
            {"whole": whole, "bucket": 0, "runs": 2, "open": 0, **counts, "percentiles": [4_000, float("nan")]}
            for whole in (0, 1)
        ],
        longest_runs=[
            {**ids, **dict.fromkeys(("wall_ms", "active_ms", "client_ms"), 9_000), "started_at": WHEN}
            | {"steps": 2, "failed_steps": 0, "tool_calls": 1, "total_tokens": None}
        ],
        tools=[{"tool": text, "kind": text, "calls": 5, "percentiles": [1_000, 2_000], **counts}],
        tokens=[{"bucket": 0, "input": 100, "output": None, "total": 100}],
        assistants=[
            {"assistant": text, **counts, "input": 1, "output": 2, "total": 3, "cached": None, "reasoning": None}
        ],
        records=[
            {"bucket": 0, "outcome": "stored", "reason": "", "records": 7},
            {"bucket": 0, "outcome": "dead_lettered", "reason": text, "records": 2},
        ],
        delay=[{"whole": whole, "bucket": 0, "percentiles": [10, 20, 30], "newest": WHEN} for whole in (0, 1)],
        partitions=[
            {"topic": text, "partition": 3, "records": 9, "stored": 7, "dead_lettered": 2, "ignored": 0, "gaps": 1}
            | {"first_offset": 0, "last_offset": 9, "newest": WHEN}
        ],
    )


def page(given: Answers, title: str = "T", extent: tuple[int, int] | None = None) -> Page:
    return page_of(Subject(title, "ClickHouse at http://db:8123", PERIOD, BEGIN + HOUR, extent), given)


def test_everything_that_is_asked_is_shown() -> None:
    read = ReadPage(html(page(filled())))
    assert read.tiles["steps"] == ["3", "0 in progress, 0 cancelled"]
    assert read.tiles["success"][0] == "100 %"
    assert [read.tiles[key][0] for key in ("p50", "p95", "p99")] == ["2 s", "3 s", "4 s"]
    assert read.tiles["records"] == ["9", "= 7 stored + 2 dead-lettered + 0 ignored"]
    assert read.tiles["age"][0] == "1 h"
    assert read.rows("errors")[0]["message"] == "x"
    assert read.rows("slowest")[0]["duration"] == "5 s"
    assert read.rows("stuck")[0]["silent for"] == "11 min 40 s"
    assert read.rows("longest_runs")[0]["tokens"] == "-"
    assert read.rows("tools")[0]["calls"] == "5"
    assert read.rows("assistant_tokens")[0]["total"] == "3"
    assert read.rows("reasons") == [{"outcome": "dead-lettered", "reason": "x", "records": "2"}]
    assert read.rows("partitions")[0]["gaps"] == "1"
    assert read.series("run_durations") == {"p50": {utc_time(BEGIN): 4.0}, "p95": {}}
    assert read.series("steps") == {"completed": {utc_time(BEGIN): 3}}


def test_every_drawing_is_one_that_plotly_knows() -> None:
    """Its own model of plotly.js refuses a property or a value that there is none of."""
    for figure in page(filled()).figures.values():
        plotly.graph_objects.Figure(data=list(figure.traces), layout=dict(figure.layout))


def test_a_drawing_and_the_numbers_below_it_are_the_same() -> None:
    read = ReadPage(html(page(filled())))
    for key in read.drawings:
        assert f"numbers-{key}" in read.tables, key
    assert read.tables["numbers-records"][1:] == [[utc_time(BEGIN), "7", "2"]]


def test_text_of_strangers_stays_text() -> None:
    made = html(page(filled(HOSTILE), title=HOSTILE))
    read = ReadPage(made)
    assert read.runs_only_what_it_names()
    assert (read.handlers, foreign(read), read.elements.get("img"), read.elements["script"]) == ([], [], None, 3)
    assert not {"\x00", "\x1b", "\u202e"} & set(made)
    shown = read.rows("slowest")[0]["run"]
    assert shown.startswith("</script><script>alert(1)</script><img")
    # plotly.js reads a little HTML in names, so those are escaped once more.
    (name,) = read.drawings["calls"]["layout"]["yaxis"]["ticktext"]
    assert name.startswith("&lt;/script&gt;")


def test_huge_text_is_cut() -> None:
    made = html(page(filled("y" * 1_000_000)))
    assert len(made) < len(html(page(filled()))) + 20_000


def test_the_page_asks_nothing_of_a_network() -> None:
    read = ReadPage(html(page(filled())))
    assert foreign(read) == []
    assert read.runs_only_what_it_names()
    assert "http" not in json.dumps(read.policy)
    assert not {"link", "iframe", "object", "embed", "form", "base"} & set(read.elements)


def test_no_button_sends_the_data_away() -> None:
    script = ReadPage(html(page(filled()))).scripts[-1]
    assert 'modeBarButtons: [["toImage", "resetScale2d"]]' in script
    assert "showSendToCloud: false" in script


def test_the_library_cannot_end_its_own_element() -> None:
    """Else an update of plotly.js could break the page: what ends or hides a script element must not be in it."""
    library = ReadPage(html(page(filled()))).scripts[0]
    assert library.startswith("/**\n* plotly.js")
    assert "<!--" not in library


def test_an_empty_range_says_so_and_where_there_is_something() -> None:
    nothing = ReadPage(html(page(answers(), extent=(BEGIN - HOUR, BEGIN - 1))))
    assert "no step was created and no record was read" in nothing.text
    assert f"were created from {utc_time(BEGIN - HOUR)} to {utc_time(BEGIN - 1)} UTC" in nothing.text
    assert nothing.scripts == []
    assert nothing.runs_only_what_it_names()
    assert "The tables hold no step at all" in ReadPage(html(page(answers()))).text


def test_records_without_steps_and_steps_without_records_are_no_empty_range() -> None:
    read = ReadPage(html(page(answers(records=filled()["records"]))))  # type: ignore[arg-type]
    assert read.tiles["steps"][0] == "0"
    assert read.tiles["success"][0] == "-"
    assert "No step failed or expired in this time." in read.text
    read = ReadPage(html(page(answers(steps=filled()["steps"]))))  # type: ignore[arg-type]
    assert read.tiles["records"][0] == "0"
    assert "No record was read in this time." in read.text


@pytest.mark.parametrize(
    ("length", "width", "buckets"),
    [
        (1, "second", 1),
        (60, "second", 60),
        (3_600, "30 seconds", 120),
        (86_400, "10 minutes", 144),
        (7 * 86_400, "2 hours", 84),
        (30 * 86_400, "6 hours", 120),
        (90 * 86_400, "day", 90),
    ],
)
def test_buckets_suit_the_range(length: int, width: str, buckets: int) -> None:
    period = Period(BEGIN // 86_400_000 * 86_400_000, BEGIN // 86_400_000 * 86_400_000 + length * 1_000)
    assert (bucket_name(period.width), period.buckets) == (width, buckets)
    assert len(period.starts()) == buckets


def test_buckets_begin_where_clocks_do_and_hold_the_whole_range() -> None:
    period = Period(BEGIN + 61_001, BEGIN + HOUR + 1)
    assert period.starts()[0] == utc_time(BEGIN + 60_000)
    assert period.origin + period.buckets * period.width >= period.until
    assert period.origin <= period.since < period.origin + period.width


@pytest.mark.parametrize("edge", [(5, 5), (6, 5)])
def test_a_range_without_time_is_none(edge: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="empty"):
        Period(*edge)


def test_all_time_is_a_range() -> None:
    period = Period(-(10**18), 10**18)
    assert period.parameters()["since"] == "1973-03-05 00:00:00.000"
    assert period.parameters()["until"] == "2105-12-31 00:00:00.000"
    assert period.buckets < 400


def test_a_duration_on_a_bound_is_in_the_bin_that_bears_its_name() -> None:
    cells = [{"bucket": 0, "bin": sum(bound < value for bound in BOUNDS), "steps": 1} for value in (2_000, 900_001)]
    figure = page(answers(steps=filled()["steps"], heatmap=cells)).figures["heatmap"]  # type: ignore[arg-type]
    (trace,) = figure.traces
    assert [name for name, row in zip(trace["y"], trace["z"], strict=True) if row[0]] == ["≤ 2 s", "> 15 min"]


def test_a_file_is_replaced_at_once_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("old")
    path.chmod(0o600)
    reader = path.open()
    size = write_page(page(filled()), path)
    assert reader.read() == "old"
    reader.close()
    assert path.stat().st_size == size
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["r.html"]


def test_a_place_that_cannot_be_written_is_named_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"there is no folder .*missing"):
        document.require_writable(tmp_path / "missing" / "r.html")
    with pytest.raises(ConfigError, match="it is a folder; name a file in it"):
        document.require_writable(tmp_path)
    with pytest.raises(ConfigError, match="file is not a folder"):
        document.require_writable(tmp_path / "file" / "r.html")
    document.require_writable(tmp_path / "r.html")
    with pytest.raises(ConfigError, match="file name too long"):
        document.require_writable(tmp_path / ("n" * 300))
    (tmp_path / "one").symlink_to("other")
    (tmp_path / "other").symlink_to("one")
    with pytest.raises(ConfigError, match="its symbolic links form a loop"):
        document.require_writable(tmp_path / "one")


def test_a_pipe_or_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(ConfigError, match="it is not a regular file"):
            document.require_writable(tmp_path / name)


def test_what_fails_while_writing_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory"):
        write_page(page(answers()), tmp_path / "missing" / "r.html")
    with pytest.raises(ConfigError, match="is a directory"):
        write_page(page(answers()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_its_libraries_it_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'runstep\[report\]'"):
        document.require_libraries(("plotly", "no_such_library"))
