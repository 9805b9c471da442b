"""The metrics of one process: names, labels, zeros, sums, and that they stay few."""

import threading
from collections import Counter
from itertools import product

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.registry import DuplicateTimeseries

from pipeline import __version__
from pipeline.errors import ConfigError, ErrorClass
from pipeline.metrics import Metrics
from pipeline.metrics.catalogue import RECORDS, SPECS
from pipeline.metrics.counts import Counts, Duration
from pipeline.records import Partition, Reason
from schemas.vocabulary import ANOMALIES, ERROR_CATEGORIES, STEP_TYPES, TERMINAL_STATUSES, TOOL_TYPES

BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900)
NOW = 1_732_000_000.25
P0 = Partition("run-steps", 0)

# Written out from the design, so that a renamed metric fails here and not on a user's dashboard.
CONTRACT = {
    "runstep_step_duration_seconds": ("histogram", {"type", "status"}),
    "runstep_steps_total": ("counter", {"type", "status"}),
    "runstep_step_failures_total": ("counter", {"type", "error_category"}),
    "runstep_tokens_total": ("counter", {"token_type"}),
    "runstep_tool_calls_total": ("counter", {"tool_type"}),
    "runstep_backfilled_steps_total": ("counter", {"type", "status"}),
    "runstep_anomalies_total": ("counter", {"anomaly"}),
    "runstep_records_total": ("counter", {"outcome", "reason"}),
    "runstep_records_lost_total": ("counter", {"topic", "partition"}),
    "runstep_inserts_total": ("counter", {"outcome"}),
    "runstep_insert_duration_seconds": ("histogram", {"outcome"}),
    "runstep_insert_rows": ("histogram", set()),
    "runstep_insert_retries_total": ("counter", {"error_class"}),
    "runstep_insert_splits_total": ("counter", {"error_class"}),
    "runstep_ingest_delay_seconds": ("histogram", set()),
    "runstep_buffer_rows": ("gauge", set()),
    "runstep_buffer_oldest_timestamp_seconds": ("gauge", set()),
    "runstep_sink_available": ("gauge", set()),
    "runstep_source_available": ("gauge", set()),
    "runstep_consumer_lag_records": ("gauge", {"topic", "partition"}),
    "runstep_throttled_seconds_total": ("counter", set()),
    "runstep_unstable_records": ("gauge", {"topic", "partition"}),
    "runstep_consumer_position_timestamp_seconds": ("gauge", {"topic", "partition"}),
    "runstep_last_poll_timestamp_seconds": ("gauge", set()),
    "runstep_last_insert_timestamp_seconds": ("gauge", set()),
    "runstep_assigned_partitions": ("gauge", set()),
    "runstep_halted_partitions": ("gauge", set()),
    "runstep_commits_total": ("counter", {"outcome"}),
    "runstep_rebalances_total": ("counter", {"kind"}),
    "runstep_build_info": ("gauge", {"version", "revision", "python"}),
}


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    return Metrics(registry, BUCKETS, revision="abc123", now=lambda: NOW)


@pytest.fixture
def value(registry):
    return lambda name, **labels: registry.get_sample_value(name, labels)


def counts_of_a_batch():
    return Counts(
        records=Counter({("stored", ""): 5, ("ignored", "delta"): 2, ("dead_lettered", "not_utf8"): 1}),
        steps=Counter({("tool_calls", "completed"): 3, ("message_creation", "failed"): 1}),
        failures=Counter({("message_creation", "rate_limit"): 1}),
        backfilled=Counter({("tool_calls", "expired"): 7}),
        tokens=Counter(input=100, output=40),
        tool_calls=Counter(function=4, code_interpreter=1),
        anomalies=Counter(unknown_field=2),
        durations={
            ("tool_calls", "completed"): [
                Duration(0.1, "run_a", "step_a"),
                Duration(0.2, "run_b", "step_b"),
                Duration(1_000.0, "run_c", "step_c"),
            ],
            ("message_creation", "failed"): [Duration(3.0, "run_d", "step_d")],
        },
        delays=[0.3, 0.4, 120.0],
    )


def test_the_catalogue_is_the_contract():
    assert {spec.name: (spec.kind, set(spec.labels)) for spec in SPECS} == CONTRACT


@pytest.mark.usefixtures("metrics")
def test_every_metric_has_a_help_text(registry):
    families = {family.name: family for family in registry.collect()}
    for name in CONTRACT:
        assert families[name.removesuffix("_total")].documentation.endswith(".")


def test_every_reason_belongs_to_one_outcome():
    reasons = Counter(reason for _, reason in RECORDS.start() if reason)
    assert reasons == Counter(dict.fromkeys(Reason, 1))


@pytest.mark.usefixtures("metrics")
def test_every_known_label_set_exists_at_zero(value):
    types = (*STEP_TYPES, "other")
    for kind, status in product(types, TERMINAL_STATUSES):
        assert value("runstep_steps_total", type=kind, status=status) == 0
        assert value("runstep_backfilled_steps_total", type=kind, status=status) == 0
        assert value("runstep_step_duration_seconds_count", type=kind, status=status) == 0
        assert value("runstep_step_duration_seconds_bucket", type=kind, status=status, le="600.0") == 0
    for kind, category in product(types, ERROR_CATEGORIES):
        assert value("runstep_step_failures_total", type=kind, error_category=category) == 0
    for tool in (*TOOL_TYPES, "other"):
        assert value("runstep_tool_calls_total", tool_type=tool) == 0
    for name, label, values in (
        ("runstep_tokens_total", "token_type", ("input", "output")),
        ("runstep_anomalies_total", "anomaly", ANOMALIES),
        ("runstep_inserts_total", "outcome", ("ok", "failed")),
        ("runstep_insert_duration_seconds_count", "outcome", ("ok", "failed")),
        ("runstep_insert_retries_total", "error_class", ErrorClass),
        ("runstep_commits_total", "outcome", ("ok", "deferred", "fenced")),
        ("runstep_rebalances_total", "kind", ("assigned", "revoked", "lost")),
    ):
        assert [value(name, **{label: each}) for each in values] == [0] * len(values)
    assert value("runstep_records_total", outcome="stored", reason="") == 0
    assert value("runstep_records_total", outcome="ignored", reason="delta") == 0
    assert value("runstep_records_total", outcome="dead_lettered", reason="refused_by_sink") == 0
    assert value("runstep_records_total", outcome="ignored", reason="not_utf8") is None


def test_no_series_is_a_created_one_and_their_number_stays_small(registry, metrics):
    metrics.publish(counts_of_a_batch())
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert not [sample.name for sample in samples if sample.name.endswith("_created")]
    assert len(samples) < 700


def test_publish_adds_what_was_counted(metrics, value):
    metrics.publish(counts_of_a_batch())
    metrics.publish(counts_of_a_batch())
    assert value("runstep_records_total", outcome="ignored", reason="delta") == 4
    assert value("runstep_steps_total", type="tool_calls", status="completed") == 6
    assert value("runstep_step_failures_total", type="message_creation", error_category="rate_limit") == 2
    assert value("runstep_backfilled_steps_total", type="tool_calls", status="expired") == 14
    assert value("runstep_tokens_total", token_type="output") == 80  # noqa: S106 - not that kind of token
    assert value("runstep_tool_calls_total", tool_type="function") == 8
    assert value("runstep_anomalies_total", anomaly="unknown_field") == 4
    assert metrics.totals() == {"stored": 10, "dead_lettered": 2, "ignored": 4}


def test_a_scrape_sees_a_batch_as_a_whole(registry, metrics):
    labels = {"type": "tool_calls", "status": "completed"}
    publisher = threading.Thread(target=lambda: [metrics.publish(counts_of_a_batch()) for _ in range(300)])
    publisher.start()
    try:
        while publisher.is_alive():
            samples = {
                sample.name: sample.value
                for family in metrics.collect()
                for sample in family.samples
                if labels.items() <= sample.labels.items()
            }
            assert samples["runstep_steps_total"] == samples["runstep_step_duration_seconds_count"]
    finally:
        publisher.join()
    assert registry.get_sample_value("runstep_steps_total", labels) == 900


def test_a_bucket_counts_what_is_at_most_its_bound(metrics, value):
    metrics.publish(counts_of_a_batch())
    labels = {"type": "tool_calls", "status": "completed"}
    bounds = ("0.1", "0.25", "900.0", "+Inf")
    assert [value("runstep_step_duration_seconds_bucket", le=le, **labels) for le in bounds] == [1, 2, 2, 3]
    assert value("runstep_step_duration_seconds_sum", **labels) == pytest.approx(1_000.3)
    assert value("runstep_step_duration_seconds_count", **labels) == 3
    assert [value("runstep_ingest_delay_seconds_bucket", le=le) for le in ("0.25", "0.5", "60.0", "300.0")] == [
        0,
        2,
        2,
        3,
    ]


def test_a_producer_whose_clock_is_ahead_does_not_make_a_sum_shrink(metrics, value):
    metrics.publish(Counts(delays=[-5.0, 1.0]))
    assert value("runstep_ingest_delay_seconds_sum") == 1.0
    assert value("runstep_ingest_delay_seconds_bucket", le="0.25") == 1


def test_what_is_not_in_a_vocabulary_counts_as_other(registry, metrics, value):
    before = sum(len(family.samples) for family in registry.collect())
    for number in range(100):
        metrics.publish(
            Counts(
                steps=Counter({(f"type {number}", "completed"): 1}),
                tool_calls=Counter({f"tool {number}": 1}),
                durations={(f"type {number}", "completed"): [Duration(1.0, "run", "step")]},
            )
        )
        metrics.committed(f"commit {number}")
    assert value("runstep_steps_total", type="other", status="completed") == 100
    assert value("runstep_step_duration_seconds_count", type="other", status="completed") == 100
    assert value("runstep_tool_calls_total", tool_type="other") == 100
    assert value("runstep_commits_total", outcome="other") == 100
    assert sum(len(family.samples) for family in registry.collect()) == before + 1


def test_an_insert_is_counted_by_how_it_ended(metrics, value):
    metrics.insert_finished("failed", 0.02, 500)
    assert value("runstep_last_insert_timestamp_seconds") == 0
    metrics.insert_finished("ok", 0.3, 500)
    assert value("runstep_last_insert_timestamp_seconds") == NOW
    assert value("runstep_inserts_total", outcome="failed") == 1
    assert value("runstep_insert_duration_seconds_bucket", outcome="ok", le="0.25") == 0
    assert value("runstep_insert_duration_seconds_bucket", outcome="ok", le="0.5") == 1
    assert value("runstep_insert_rows_sum") == 500
    metrics.insert_retried(ErrorClass.TRANSIENT)
    assert value("runstep_insert_retries_total", error_class="transient") == 1
    metrics.insert_split(ErrorClass.AMBIGUOUS)
    assert value("runstep_insert_splits_total", error_class="ambiguous") == 1


def test_gauges_show_the_last_value(metrics, value):
    metrics.sink_available(up=True)
    metrics.source_available(up=True)
    metrics.polled(NOW)
    metrics.assigned(4)
    metrics.halted(1)
    metrics.buffered(120, NOW - 1)
    assert value("runstep_sink_available") == 1
    assert value("runstep_source_available") == 1
    assert value("runstep_last_poll_timestamp_seconds") == NOW
    assert value("runstep_assigned_partitions") == 4
    assert value("runstep_halted_partitions") == 1
    assert value("runstep_buffer_rows") == 120
    assert value("runstep_buffer_oldest_timestamp_seconds") == NOW - 1
    metrics.source_available(up=False)
    metrics.buffered(0, None)
    assert value("runstep_source_available") == 0
    assert value("runstep_buffer_oldest_timestamp_seconds") == 0


def test_a_partition_that_is_forgotten_has_no_gauges_but_keeps_its_losses(metrics, value):
    at = {"topic": "run-steps", "partition": "0"}
    metrics.lag(P0, 17)
    metrics.unstable(P0, 501)
    metrics.position(P0, NOW)
    metrics.records_lost(P0, 3)
    assert value("runstep_unstable_records", **at) == 501
    assert value("runstep_consumer_lag_records", **at) == 17
    assert value("runstep_consumer_position_timestamp_seconds", **at) == NOW
    metrics.position(P0, -0.001)  # a record without a timestamp
    assert value("runstep_consumer_position_timestamp_seconds", **at) == NOW
    metrics.forget(P0)
    metrics.forget(P0)
    assert value("runstep_consumer_lag_records", **at) is None
    assert value("runstep_unstable_records", **at) is None
    assert value("runstep_consumer_position_timestamp_seconds", **at) is None
    assert value("runstep_records_lost_total", **at) == 3


def test_an_unknown_lag_is_not_shown(metrics, value):
    metrics.lag(P0, 17)
    metrics.lag(P0, None)
    metrics.lag(P0, None)
    assert value("runstep_consumer_lag_records", topic="run-steps", partition="0") is None


def test_what_waits_for_a_producer_is_not_shown_while_it_is_unknown(metrics, value):
    metrics.unstable(P0, 0)
    assert value("runstep_unstable_records", topic="run-steps", partition="0") == 0
    metrics.unstable(P0, None)
    assert value("runstep_unstable_records", topic="run-steps", partition="0") is None


def test_rebalances_and_commits_are_counted(metrics, value):
    metrics.rebalanced("lost")
    metrics.committed("fenced")
    assert value("runstep_rebalances_total", kind="lost") == 1
    assert value("runstep_commits_total", outcome="fenced") == 1


@pytest.mark.usefixtures("metrics")
def test_build_info_names_the_build(registry):
    (family,) = [family for family in registry.collect() if family.name == "runstep_build_info"]
    (sample,) = family.samples
    assert (sample.labels["version"], sample.labels["revision"], sample.value) == (__version__, "abc123", 1)


@pytest.mark.usefixtures("metrics")
def test_process_and_python_are_shown_too(value, registry):
    assert value("process_resident_memory_bytes") > 0
    assert "python_info" in {family.name for family in registry.collect()}


@pytest.mark.parametrize("buckets", [(), (1, 1), (2, 1), (0, 1), (-1, 1), (1, float("inf")), (float("nan"),)])
def test_invalid_buckets_are_rejected(buckets):
    with pytest.raises(ConfigError, match=r"http\.buckets"):
        Metrics(CollectorRegistry(), buckets)


@pytest.mark.usefixtures("metrics")
def test_a_registry_takes_one_set_only(registry):
    with pytest.raises(DuplicateTimeseries):
        Metrics(registry, BUCKETS)
