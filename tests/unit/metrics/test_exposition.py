"""A scrape of the metrics: of one process, of several workers; exemplars; what promtool thinks of it."""

import json
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from pipeline.metrics import MergedMetrics, Metrics
from pipeline.metrics.counts import Counts, Duration
from pipeline.records import Outcome, Partition

BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900)
NOW = 1_732_000_000.25
P0 = Partition("run-steps", 0)


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def metrics(registry):
    return Metrics(registry, BUCKETS, now=lambda: NOW)


def counts_of_a_batch():
    return Counts(
        records=Counter({("stored", ""): 5, ("ignored", "delta"): 2, ("dead_lettered", "not_utf8"): 1}),
        steps=Counter({("tool_calls", "completed"): 4}),
        durations={
            ("tool_calls", "completed"): [
                Duration(0.1, "run_a", "step_a"),
                Duration(0.15, "run_b", "step_b"),
                Duration(0.2, "run_c", "step_c"),
                Duration(1_000.0, "run_d", "step_d"),
            ],
        },
        delays=[0.3, 0.4, 120.0],
    )


def exemplars(registry):
    found = {}
    for family in parse_openmetrics(generate_openmetrics(registry).decode()):
        for sample in family.samples:
            if sample.exemplar:
                found[sample.labels["type"], sample.labels["le"]] = sample.exemplar
    return found


def test_each_bucket_has_the_last_step_of_a_batch_as_its_exemplar(registry, metrics):
    metrics.publish(counts_of_a_batch())
    found = exemplars(registry)
    steps = {le: exemplar.labels["step_id"] for (_, le), exemplar in found.items()}
    assert steps == {"0.1": "step_a", "0.25": "step_c", "+Inf": "step_d"}
    slow = found["tool_calls", "+Inf"]
    assert slow.labels == {"run_id": "run_d", "step_id": "step_d"}
    assert (slow.value, float(slow.timestamp)) == (1_000.0, NOW)


def test_exemplars_are_in_openmetrics_only(registry, metrics):
    metrics.publish(counts_of_a_batch())
    text = generate_latest(registry).decode()
    assert "run_d" not in text
    of_one_process = {family.name for family in registry.collect()}
    assert of_one_process == {family.name for family in parse_text(text)}


@pytest.mark.parametrize(
    ("run_id", "step_id", "labels"),
    [
        pytest.param("r" * 57, "s" * 58, {"run_id": "r" * 57, "step_id": "s" * 58}, id="128 characters fit"),
        pytest.param("r" * 58, "s" * 58, {"step_id": "s" * 58}, id="129: the step alone"),
        pytest.param("r", "s" * 122, None, id="the step alone is too long"),
        pytest.param("r", "s\ud800", None, id="not text"),
        pytest.param("r\n", "s", {"step_id": "s"}, id="the run is not text"),
        pytest.param('r"\\', "step é", {"step_id": "step é"}, id="the run would have to be escaped"),
        pytest.param("bob@example.org", "s", {"step_id": "s"}, id="the run is an address"),
        pytest.param("r", "ghp_" + "a1B2" * 9, None, id="the step is a key"),
    ],
)
def test_an_exemplar_is_cut_to_what_openmetrics_allows(registry, metrics, run_id, step_id, labels):
    metrics.publish(Counts(durations={("activities", "completed"): [Duration(1.5, run_id, step_id)]}))
    found = exemplars(registry)
    assert (found["activities", "2.0"].labels if found else None) == labels


def test_promtool_has_nothing_to_say(registry, metrics, promtool):
    metrics.publish(counts_of_a_batch())
    metrics.lag(P0, 1)
    metrics.records_lost(P0, 1)
    merged = CollectorRegistry()
    MergedMetrics(merged).update("0", metrics.snapshot())
    for each in (registry, merged):
        done = promtool("check", "metrics", stdin=generate_latest(each).decode())
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class TestWorkers:
    """Several processes, scraped at their supervisor."""

    @pytest.fixture
    def scraped(self):
        return CollectorRegistry()

    @pytest.fixture
    def merged(self, scraped):
        return MergedMetrics(scraped)

    @staticmethod
    def worker():
        return Metrics(CollectorRegistry(), BUCKETS, now=lambda: NOW)

    @staticmethod
    def sent(metrics):
        """Return a snapshot as it comes out of a pipe."""
        return json.loads(json.dumps(metrics.snapshot()))

    def test_counters_and_histograms_are_sums_and_gauges_say_whose(self, scraped, merged):
        for number, name in enumerate("ab"):
            worker = self.worker()
            worker.publish(counts_of_a_batch())
            worker.assigned(number + 1)
            worker.lag(Partition("run-steps", number), 10 + number)
            worker.unstable(Partition("run-steps", number), 500 + number)
            merged.update(name, self.sent(worker))
        value = scraped.get_sample_value
        tool_calls = {"type": "tool_calls", "status": "completed"}
        assert value("runstep_steps_total", tool_calls) == 8
        assert value("runstep_step_duration_seconds_bucket", {**tool_calls, "le": "0.25"}) == 6
        assert value("runstep_step_duration_seconds_sum", tool_calls) == pytest.approx(2_000.9)
        assert value("runstep_assigned_partitions", {"worker": "b"}) == 2
        assert value("runstep_consumer_lag_records", {"topic": "run-steps", "partition": "1", "worker": "b"}) == 11
        assert value("runstep_unstable_records", {"topic": "run-steps", "partition": "1", "worker": "b"}) == 501
        assert value("process_resident_memory_bytes", {"worker": "a"}) > 0
        assert value("process_resident_memory_bytes", {"worker": "supervisor"}) > 0
        assert merged.totals() == {"stored": 10, "dead_lettered": 2, "ignored": 4}

    def test_a_later_snapshot_replaces_the_one_before(self, scraped, merged):
        worker = self.worker()
        for _ in range(3):
            worker.committed("ok")
            merged.update("a", self.sent(worker))
        assert scraped.get_sample_value("runstep_commits_total", {"outcome": "ok"}) == 3

    @pytest.mark.parametrize("reported", [True, False], ids=["the supervisor says so", "another process has its name"])
    def test_what_a_worker_that_ended_has_counted_is_kept(self, scraped, merged, reported):
        for _ in range(3):
            worker = self.worker()
            worker.publish(counts_of_a_batch())
            worker.assigned(1)
            last = self.sent(worker)
            merged.update("a", last)
            if reported:
                merged.ended("a")
                merged.ended("a")
                merged.update("a", last)  # too late: it is in the sums
                assert scraped.get_sample_value("runstep_assigned_partitions", {"worker": "a"}) is None
        assert scraped.get_sample_value("runstep_records_total", {"outcome": "stored", "reason": ""}) == 15
        assert merged.totals()[Outcome.STORED] == 15

    def test_a_snapshot_of_the_process_before_does_not_end_the_present_one(self, scraped, merged):
        first, second = self.worker(), self.worker()
        first.committed("ok")
        second.committed("ok")
        for worker in (first, second, first):
            merged.update("a", self.sent(worker))
        second.committed("ok")
        merged.update("a", self.sent(second))
        assert scraped.get_sample_value("runstep_commits_total", {"outcome": "ok"}) == 3

    def test_exemplars_come_through_the_newest_first(self, scraped, merged):
        for name, now in (("a", NOW + 5), ("b", NOW)):
            worker = Metrics(CollectorRegistry(), BUCKETS, now=lambda now=now: now)  # type: ignore[misc]  # mypy infers no lambda with a default
            worker.publish(Counts(durations={("activities", "completed"): [Duration(1.5, "run", f"step_{name}")]}))
            merged.update(name, self.sent(worker))
        assert exemplars(scraped)["activities", "2.0"].labels["step_id"] == "step_a"

    def test_a_scrape_without_workers_is_one_that_can_be_read(self, scraped, merged):
        assert {family.name for family in parse_openmetrics(generate_openmetrics(scraped).decode())} >= {"python_info"}
        assert merged.totals() == {"stored": 0, "dead_lettered": 0, "ignored": 0}
