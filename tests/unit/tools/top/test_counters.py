"""Rates, sums and quantiles of counters, over restarts of who counts."""

import pytest

from pipeline.tools.top.counters import Flow, Tally, grouped, labels, total

RECORDS = "records_total"
STORED, IGNORED = labels(outcome="stored", reason=""), labels(outcome="ignored", reason="delta")


def shown(stored: float, ignored: float = 0.0) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    return {RECORDS: {STORED: stored, IGNORED: ignored}, "lag": {labels(partition="0"): 7.0}}


def histogram(*counts: float) -> Flow:
    """Return what was observed up to 0.1, 1, 10 and more."""
    bounds = ("0.1", "1.0", "10.0", "+Inf")
    return Flow({"seconds_bucket": {labels(le=bound): count for bound, count in zip(bounds, counts, strict=True)}})


def test_a_rate_is_the_growth_over_the_window() -> None:
    tally = Tally(60.0)
    for second in range(31):
        tally.take(float(second), shown(100.0 * second if second < 20 else 2_000.0), 5.0)
    assert tally.flow(5.0).rate(RECORDS) == 0.0
    assert tally.flow(20.0).rate(RECORDS) == pytest.approx(50.0)
    assert tally.flow(1_000.0).rate(RECORDS, outcome="stored") == pytest.approx(2_000 / 30)
    assert "lag" not in tally.flow(5.0).growth


def test_one_look_gives_no_rate_and_the_whole_sum() -> None:
    tally = Tally(60.0)
    tally.take(1.0, shown(500.0, 20.0), 5.0)
    assert tally.flow(10.0).rate(RECORDS) == 0.0
    assert total(tally.sums, RECORDS) == 520.0
    assert grouped(tally.sums, RECORDS, "reason") == {"": 500.0, "delta": 20.0}


@pytest.mark.parametrize("after", [30.0, 700.0], ids=["fewer than before", "already more than before"])
def test_a_restarted_process_counts_from_nothing(after: float) -> None:
    tally = Tally(60.0)
    tally.take(0.0, shown(500.0), 5.0)
    tally.take(10.0, shown(600.0), 5.0)
    tally.take(20.0, shown(after), 15.0)
    assert tally.flow(10.0).rate(RECORDS) == pytest.approx(after / 10)
    assert tally.flow(20.0).rate(RECORDS) == pytest.approx((100 + after) / 20)
    assert total(tally.sums, RECORDS) == 600 + after


def test_a_counter_that_falls_has_begun_anew_even_if_nobody_says_when_the_process_began() -> None:
    tally = Tally(60.0)
    tally.take(0.0, shown(500.0), 0.0)
    tally.take(10.0, shown(40.0), 0.0)
    assert tally.flow(10.0).rate(RECORDS) == pytest.approx(4.0)


def test_what_is_older_than_the_widest_window_is_forgotten() -> None:
    tally = Tally(10.0)
    for second in range(100):
        tally.take(float(second), shown(float(second**2)), 5.0)
    assert tally.flow(1_000.0).rate(RECORDS) == pytest.approx((99**2 - 89**2) / 10)


def test_flows_of_several_are_added() -> None:
    both = Flow.together([Flow({RECORDS: {STORED: 2.0}}), Flow({RECORDS: {STORED: 3.0, IGNORED: 1.0}}), Flow({})])
    assert both.rate(RECORDS) == 6.0
    assert both.by(RECORDS, "outcome") == {"stored": 5.0, "ignored": 1.0}


def test_quantiles_are_those_of_promql() -> None:
    assert histogram(0, 0, 0, 0).quantile(0.5, "seconds") is None
    assert Flow({}).quantile(0.5, "seconds") is None
    assert histogram(10, 10, 10, 10).quantile(0.5, "seconds") == pytest.approx(0.05)
    assert histogram(10, 20, 20, 20).quantile(0.75, "seconds") == pytest.approx(0.55)
    assert histogram(0, 0, 0, 5).quantile(0.95, "seconds") == 10.0
    assert histogram(5, 5, 10, 10).quantile(0.5, "seconds") == pytest.approx(0.1)


def test_a_mean_is_that_of_the_window() -> None:
    flow = Flow({"rows_sum": {labels(): 5_000.0}, "rows_count": {labels(): 2.0}})
    assert flow.mean("rows") == 2_500.0
    assert flow.mean("bytes") is None
