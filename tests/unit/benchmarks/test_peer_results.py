"""Medians, ratios and tables of `make bench-peers`."""

from dataclasses import replace

from tests.benchmarks.peers.faults import Loss
from tests.benchmarks.peers.latency import Delay
from tests.benchmarks.peers.rates import Rate, steady_rate
from tests.benchmarks.peers.results import Results, half_of, loss_cell, rate_table, ratio, report
from tests.benchmarks.peers.watching import Sample

GOOD = Rate(
    "runstep-2", "plain", 1, 300, steady=50_000.0, reading=40_000.0, whole=30_000.0, client_cpu=20.0, server_cpu=6.0,
    broker_cpu=1.0, client_mib=300.0, server_mib=900.0,
)  # fmt: skip
ENGINE = replace(GOOD, system="engine", reading=80_000.0, client_cpu=0.0)


def test_a_round_that_misses_rows_does_not_count() -> None:
    void = replace(GOOD, round=2, void="other rows", reading=1e9)
    assert half_of([GOOD, void], "runstep-2", 1e9) == 20_000
    assert "1 of 2" in rate_table([GOOD, void])


def test_the_median_is_of_the_rounds() -> None:
    rounds = [replace(GOOD, round=number, reading=rate) for number, rate in ((1, 10.0), (2, 1000.0), (3, 20.0))]
    assert half_of(rounds, "runstep-2", 1e9) == 10


def test_systems_are_compared_within_a_round() -> None:
    """A machine that slows down for one round slows down both."""
    slow_mine, slow_theirs = replace(GOOD, round=2, reading=4.0), replace(ENGINE, round=2, reading=8.0)
    lonely = replace(GOOD, round=3, reading=1e9)
    assert ratio([GOOD, slow_mine, lonely], [ENGINE, slow_theirs]) == 0.5
    assert ratio([GOOD], []) is None


def test_half_of_a_rate_that_was_not_measured_is_the_most() -> None:
    assert half_of([], "naive", 5_000) == 5_000
    assert half_of([GOOD], "runstep-2", 5_000) == 5_000


def test_the_steady_rate_leaves_out_the_first_batch_and_the_last_rows() -> None:
    samples = [Sample(0.0, 0), Sample(5.0, 100), Sample(6.0, 500), Sample(7.0, 960), Sample(60.0, 1000)]
    assert steady_rate(samples, 1000) == 430


def test_rows_that_come_at_once_have_no_steady_rate() -> None:
    assert steady_rate([Sample(0.0, 0), Sample(5.0, 1000)], 1000) is None


def test_what_a_fault_costs_in_words() -> None:
    loss = Loss("quix", "poison", 900, lost=0, waiting=400, doubled=3, stood=2.0, restarts=9, became="dropped")
    assert loss_cell(loss) == "0 lost, 3 doubled; **400 held back for good**; the record: dropped; 9 restarts"
    assert loss_cell(replace(loss, waiting=0, restarts=0, became="")) == "0 lost, 3 doubled; stood for 2.0 s"
    assert loss_cell(None) == "–"  # noqa: RUF001 - the sign for what was not measured


def test_the_report_names_what_did_not_count_and_what_was_not_measured() -> None:
    results = Results({"cores": "2"}, [GOOD, ENGINE, replace(GOOD, round=2, void="no row came")])
    results.delays.append(Delay("engine", 500.0, 0.5, 1.25))
    text = report(results)
    assert text.startswith("cores 2\n")
    assert (
        "| `runstep run --workers 2` | 1 of 2 | 50,000 | 40,000 | 30,000 | 0.50 | 20.0 + 6.0 + 1.0 | 300, 900 |" in text
    )
    assert "* round 2 of `runstep run --workers 2`: no row came" in text
    assert "| 500 | 0.50 | 1.25 |" in text
    assert "OpenTelemetry Collector" in text


def test_results_are_read_as_they_were_saved(tmp_path) -> None:
    loss = Loss("naive", "kill", 900, lost=0, waiting=0, doubled=3, stood=2.0, restarts=0)
    results = Results({"cores": "2"}, [GOOD, replace(GOOD, steady=None)], [Delay("engine", 5.0)], [loss])
    results.save(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results
