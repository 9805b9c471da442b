"""Several workers behind one address: what befalls one of them costs the others nothing."""

import os
import signal
from functools import partial
from typing import Any

import pytest

from tests.scenarios.kills.judge import audited
from tests.support.daemon import Daemon, running_daemon
from tests.support.oracle import Load, Truth, committed, drained, place, repeating, summed, traffic, until
from tests.support.workers_rig import pids, shares

pytestmark = pytest.mark.timeout(600)

LONG: dict[str, Any] = {"kafka__session_timeout": 120, "kafka__heartbeat_interval": 3}
"""Whoever waited for the session of a member that died would wait longer than any test does."""


def rebalances(daemon: Daemon) -> dict[str, float]:
    """Return how many partitions were assigned, revoked and lost, over all workers."""
    kinds = ("assigned", "revoked", "lost")
    samples = daemon.metrics()
    return {kind: samples.get(("runstep_rebalances_total", frozenset({("kind", kind)})), 0) for kind in kinds}


def shared_as(daemon: Daemon, shared: dict[str, set[str]]) -> bool:
    """Return whether each worker has these partitions."""
    return shares(daemon) == shared


@pytest.mark.parametrize("named", [{}, pytest.param({"kafka__group_instance_id": "set"}, marks=pytest.mark.chaos)])
def test_81_a_killed_worker_costs_its_own_partitions_and_the_others_flow_on(kafka, clickhouse, named: dict[str, Any]):
    with (
        place(kafka, clickhouse) as there,
        Load(there, repeating(traffic(81), 81), rate=60) as load,
        running_daemon(*there, workers=2, http__final_scrape=20, **LONG | named) as daemon,
    ):
        load.go_on(100)
        for name, share in sorted(shares(daemon).items()):
            shared, victim, before = shares(daemon), pids(daemon)[name], rebalances(daemon)
            os.kill(victim, signal.SIGKILL)
            load.go_on(100)
            ends = daemon.wait_until_committed()
            until(partial(shared_as, daemon, shared), daemon.log)
            assert pids(daemon)[name] != victim
            assert all(
                committed(there, daemon.group)[int(part.rpartition("/")[2])] >= end for part, end in ends.items()
            )
            after = rebalances(daemon)
            assert after == before | {"assigned": before["assigned"] + len(share)}, "the group was rebalanced"
        load.stop()
        daemon.wait_until_accounted()
        last = drained(daemon)
        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.excess(summed([last])) == ""
        assert audited(there) == ""
