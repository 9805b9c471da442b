"""What two hundred thousand events must become: every offset, step, dead letter and number, against the model."""

import time
from collections import defaultdict
from itertools import islice

from tests.servers.prometheus import PrometheusAddress
from tests.support.daemon import running_daemon
from tests.support.model import MODELLED_METRICS, read_samples
from tests.support.oracle import HOUR, Load, Samples, Truth, place, traffic, wait_until_counted

NEWS, OLD = 190_000, 10_000
DISORDER = {"out_of_order_ratio": 0.08, "duplicate_ratio": 0.05, "poison_ratio": 0.01, "page_ratio": 0.03}


def test_200_000_events_are_in_the_tables_and_in_prometheus_as_the_model_says(kafka, clickhouse, prometheus):
    # The second stream ended more than a day ago: it is in the tables, and in the metrics as backfill only.
    stream = [
        *islice(traffic(20_000, ago=2 * HOUR, **DISORDER), NEWS),
        *islice(traffic(20_001, ago=30 * HOUR, **DISORDER), OLD),
    ]
    with place(kafka, clickhouse) as there, running_daemon(*there) as daemon:
        prometheus.scrape(daemon.address, there.topic)
        with Load(there, stream) as load:
            load.finish()
        daemon.wait_until_accounted(120)
        wait_until_counted(daemon, NEWS + OLD)
        prometheus.wait_for_scrape(there.topic)
        counters = scraped(prometheus, there.topic)
        shown = read_samples(daemon.scrape())
        prometheus.forget(there.topic)
        daemon.stop()

        truth = Truth(there, stream, read_at=int(time.time() * 1000))
        assert truth.records == NEWS + OLD
        truth.check_tables(written_once=True)
        truth.check_dead_letters(sent_once=True)
        assert truth.difference(counters) == ""
        assert truth.difference(shown) == ""
        assert sum(value for name, value in counters.items() if name.startswith("runstep_records_total")) == NEWS + OLD
        assert any(name.startswith("runstep_backfilled_steps_total") for name in counters)


def scraped(prometheus: PrometheusAddress, job: str) -> Samples:
    """Return the counters that Prometheus holds of a job."""
    found: defaultdict[str, float] = defaultdict(float)
    for series in prometheus.query(f'{{job="{job}", __name__=~"{"|".join(MODELLED_METRICS)}"}}'):
        labels = {name: value for name, value in series["metric"].items() if name not in {"job", "instance"}}
        metric = labels.pop("__name__")
        if metric == "runstep_records_total":
            # To Prometheus an empty label is none.
            labels.setdefault("reason", "")
        if "le" in labels:
            labels["le"] = str(float(labels["le"]))
        listed = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        found[f"{metric}{{{listed}}}"] += float(series["value"][1])
    return {name: round(value, 3) for name, value in found.items() if value}
