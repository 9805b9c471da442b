"""The kill run, in short, and its judge: `make kills` does two hundred of them."""

from collections import Counter

from tests.scenarios.kills.__main__ import kill_run
from tests.scenarios.kills.judge import judge
from tests.scenarios.kills.plan import BROKER, CLICKHOUSE, DAEMON, Strike, planned
from tests.scenarios.kills.rig import standing


def test_eight_kills_of_daemons_clickhouse_and_broker_lose_double_and_overcount_nothing():
    verdict = kill_run(8, seed=16, rate=500, report=print)
    assert verdict.faults == []
    assert verdict.seconds.keys() == set(range(1, 9))
    assert verdict.dead_letters > 0
    records = verdict.metrics["runstep_records_total"]
    assert records.truth == verdict.records > 1_000
    # How much of it was not scraped before a kill depends on the machine.
    assert records.counted > 0, "the scrapes were to see something"


def test_the_judge_sees_what_is_lost_what_is_doubled_and_what_is_counted_twice():
    strike = Strike(1, CLICKHOUSE, member=0, calm=True, wait=0.5, aimed=False, absence=0)
    with standing(seed=5, rate=500) as rig:
        rig.load.go_on(500)
        rig.strike(strike)
        rig.finish()
        partition, offset = next(place for place, end in rig.ends[1].items() if end > 3), 3
        here = f"kafka_partition = {partition} AND kafka_offset = {offset}"
        tables = rig.there.database
        rig.there.clickhouse.query(
            f"ALTER TABLE {tables}.run_step_ledger DELETE WHERE {here}",
            mutations_sync="1",
        )
        rig.there.clickhouse.query(
            f"INSERT INTO {tables}.run_steps SELECT * REPLACE (created_at - INTERVAL 2 HOUR AS created_at) "  # noqa: S608
            f"FROM {tables}.run_steps FINAL ORDER BY kafka_offset DESC LIMIT 1"
        )
        life = max(rig.members[0].scraped, key=len)
        rig.members[1]._seen[-1] = life
        verdict = judge(rig, [strike])

    assert verdict.lost == {CLICKHOUSE: 1}
    assert sum(verdict.doubled.values()) == 1
    assert verdict.metrics["runstep_records_total"].above > 0
    found = "\n".join(verdict.faults)
    for what in ("tables: ", "counters above the truth: ", "audit: exit code 1", "1 lost, as", "1 doubled, as"):
        assert what in found
    assert "dead letters: " not in found


def test_a_plan_is_the_same_for_the_same_seed_and_half_of_it_are_daemons():
    assert planned(200, 1) == planned(200, 1) != planned(200, 2)
    assert Counter(strike.victim for strike in planned(200, 1)) == {DAEMON: 100, CLICKHOUSE: 50, BROKER: 50}
