"""What `make bench-peers` makes of processes, offsets and stamps; and its topics."""

from collections import Counter
from pathlib import Path

import pytest

from tests.benchmarks.naive_rows import COLUMNS, to_row
from tests.benchmarks.peers.faults import fate, longest_gap, missing
from tests.benchmarks.peers.gauges import cpu_seconds, family, peak_mib
from tests.benchmarks.peers.latency import Look, delays, percentile
from tests.benchmarks.peers.traffic import ODD, PLAIN, POISON, records
from tests.benchmarks.peers.watching import Sample

NOW = 1_790_000_000.0


def process(proc: Path, pid: int, parent: int, ticks: tuple[int, int] = (0, 0), peak: int = 0) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    user, system = ticks
    (folder / "stat").write_text(f"{pid} (a (b) c) S {parent} 1 1 0 -1 0 0 0 0 0 {user} {system} 0 0 20 0 1 0 7\n")
    (folder / "status").write_text(f"Name:\ta\nVmPeak:\t 999999 kB\nVmHWM:\t {peak} kB\n")


def test_a_family_is_a_process_and_all_below_it(tmp_path: Path) -> None:
    for pid, parent in ((10, 1), (11, 10), (12, 11), (13, 1), (9, 12)):
        process(tmp_path, pid, parent)
    assert sorted(family(10, tmp_path)) == [9, 10, 11, 12]


def test_cpu_and_memory_of_several_processes(tmp_path: Path) -> None:
    process(tmp_path, 10, 1, (150, 50), 2048)
    process(tmp_path, 11, 10, (100, 0), 4096)
    assert cpu_seconds([10, 11, 12], tmp_path) == 3.0
    assert peak_mib([10, 11, 12], tmp_path) == 4.0
    assert peak_mib([], tmp_path) == 0


def test_an_event_is_visible_with_the_first_look_that_shows_its_offset_or_a_later_one() -> None:
    produced = {0: [1.0, 1.5, 2.0], 1: [1.0]}
    looks = [Look(1.2, {}), Look(2.0, {0: 1}), Look(3.0, {0: 2})]
    assert delays(produced, looks) == [(1.0, 1.0), (1.5, 0.5), (2.0, 1.0)]


def test_percentiles() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(value) for value in range(100)], 0.99) == 99.0
    assert percentile([1.0], 0.99) == 1.0


def test_what_is_committed_and_not_there_is_lost_and_the_rest_waits() -> None:
    stored = {0: {0, 1, 4}}
    assert missing(stored, {0: 6, 1: 2}, {0: 4}, None) == (2, 3)


def test_a_poison_record_that_is_not_stored_is_no_loss() -> None:
    assert missing({0: {0, 2}}, {0: 3}, {0: 3}, (0, 1)) == (0, 0)


@pytest.mark.parametrize(
    ("stored", "accounted", "committed", "word"),
    [
        ({0: {5}}, {0: {5}}, {0: 9}, "a row like any other"),
        ({0: {4}}, {0: {4, 5}}, {0: 9}, "rejected, with an account"),
        ({0: {4}}, {0: {4}}, {0: 9}, "dropped"),
        ({0: {4}}, {0: {4}}, {0: 5}, "read again and again"),
        ({}, {}, {}, "read again and again"),
    ],
)
def test_what_becomes_of_a_poison_record(stored, accounted, committed, word) -> None:
    assert fate((0, 5), stored, accounted, committed) == word


def test_the_longest_gap_is_looked_for_from_the_fault_on() -> None:
    samples = [Sample(0.0, 0), Sample(20.0, 5), Sample(29.0, 8), Sample(31.0, 9), Sample(34.0, 10)]
    assert longest_gap(samples, 30.0) == 3.0
    assert longest_gap(samples, 25.0) == 9.0
    assert longest_gap(samples[:2], 10.0) == 0.0


@pytest.mark.parametrize("mix", [PLAIN, ODD])
def test_a_topic_has_three_events_a_step_in_two_dialects_that_the_naive_reference_can_read(mix) -> None:
    made = list(records(mix, 1_000, NOW))
    place = COLUMNS.keys()
    rows = [dict(zip(place, to_row(0, 0, record.value), strict=True)) for record in made]
    assert set(Counter(row["step_id"] for row in rows).values()) == {3}
    assert len(rows) == 3_000
    enveloped = sum(record.value.startswith(b'{"event"') for record in made) / len(made)
    assert 0.4 < enveloped < 0.6
    assert 450 < sum(len(record.value) for record in made) / len(made) < 650


def test_the_odd_topic_has_its_share_of_odd_records_and_failed_steps() -> None:
    plain, odd = (list(records(mix, 2_000, NOW)) for mix in (PLAIN, ODD))
    assert not any(b'"status":"failed"' in record.value for record in plain)
    ended = sum(b'"status":"' in record.value and b'"usage":{' in record.value for record in odd)
    failed = sum(b'"last_error":{' in record.value for record in odd)
    assert 0.02 < failed / ended < 0.06
    strange = sum(
        b"service_tier" in value or b'"cancelled_at"' not in value or b'.0,"run_id"' in value for _, value in odd
    )
    assert 0.08 < strange / len(odd) < 0.12


def test_a_topic_is_the_same_each_time() -> None:
    assert list(records(ODD, 50, NOW)) == list(records(ODD, 50, NOW))


def test_the_poison_record_is_one() -> None:
    with pytest.raises(ValueError, match="EOF"):
        to_row(0, 0, POISON)
