"""The scale plan: the page shows what the script prints, and the arithmetic grows as it must."""

import re
from dataclasses import fields, replace

import pytest

from tests.benchmarks.scale import Inputs, Plan, inputs, table
from tests.support.paths import DEPLOY

PAGE = DEPLOY / "scale.md"


def between(mark: str) -> str:
    found = re.search(rf"<!-- {mark}:begin -->\n(.*?)\n<!-- {mark}:end -->", PAGE.read_text(), re.DOTALL)
    assert found is not None, mark
    return found[1]


def test_the_page_shows_the_plan_that_the_script_prints() -> None:
    assert between("plan") == table(Inputs())


def test_the_page_names_each_measured_input_with_its_value() -> None:
    shown = dict(re.findall(r"^\| `--([\w-]+)` \| ([\d.,]+) \|", between("measured"), re.MULTILINE))
    measured = [one for one in fields(Inputs) if one.metadata["text"].startswith("measured")]
    assert {name: float(value.replace(",", "")) for name, value in shown.items()} == {
        one.name.replace("_", "-"): one.default for one in measured
    }


def test_options_replace_the_defaults() -> None:
    assert inputs(["--events-per-second", "5000", "--cpu-us", "31"]) == replace(
        Inputs(), events_per_second=5000, cpu_us=31
    )


def test_a_small_stream_needs_one_of_each_and_three_brokers() -> None:
    plan = Plan(replace(Inputs(), events_per_second=1_000))
    assert (plan.members, plan.shards, plan.brokers) == (1, 1, 3)


@pytest.mark.parametrize("what", ["cpu_us", "insert_us", "merge_us", "rewrites", "ledger_bytes", "retention_days"])
def test_what_costs_more_makes_nothing_cheaper(what: str) -> None:
    cheap, dear = Inputs(), replace(Inputs(), **{what: 10 * getattr(Inputs(), what)})
    less, more = Plan(cheap), Plan(dear)
    assert (more.members, more.shards, more.core_us, more.disk_gb) != (
        less.members,
        less.shards,
        less.core_us,
        less.disk_gb,
    )
    assert more.members >= less.members
    assert more.shards >= less.shards
    assert more.core_us >= less.core_us
    assert more.disk_gb >= less.disk_gb


def test_bytes_bound_an_insert_where_events_are_large() -> None:
    assert Plan(replace(Inputs(), event_bytes=6_710, batch_rows=50_000)).rows == 32_696
