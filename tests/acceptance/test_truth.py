"""What two hundred thousand events must become: every offset, step, dead letter and number, against the model."""

import time
from itertools import islice

from tests.acceptance.daemon import running_daemon
from tests.acceptance.oracle import HOUR, Load, Truth, place, scraped, traffic, wait_until_counted
from tests.model import read_samples

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
        truth.check_letters(sent_once=True)
        assert truth.difference(counters) == ""
        assert truth.difference(shown) == ""
        assert sum(value for name, value in counters.items() if name.startswith("runstep_records_total")) == NEWS + OLD
        assert any(name.startswith("runstep_backfilled_steps_total") for name in counters)
