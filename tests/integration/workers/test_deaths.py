"""What ends or freezes a worker, its supervisor or all of them: the right end, and nothing lost or seen twice.

`test_81_…` in tests/scenarios kills single workers; tests/integration/workers/test_workers.py has ends without traffic.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pytest

from tests.scenarios.kills.judge import audited
from tests.support.daemon import running_daemon
from tests.support.oracle import Load, Place, Truth, committed, status, traffic, until
from tests.support.workers_rig import ends, pids, shares, wait_for_process, wait_for_workers

pytestmark = pytest.mark.timeout(600)

LONG: dict[str, Any] = {"kafka__session_timeout": 120, "kafka__heartbeat_interval": 3}
"""Whoever waited for the session of a member that ended would wait longer than any test does."""


@contextmanager
def judged(there: Place) -> Iterator[Load]:
    """Give traffic; once it is all accounted for, tables and audit must tell the truth."""
    with Load(there, traffic(9), rate=60) as load:
        yield load
        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert audited(there) == ""


@pytest.mark.chaos
def test_a_frozen_worker_is_named_and_its_partitions_go_to_the_others_until_it_is_back(there: Place) -> None:
    short: dict[str, Any] = {"kafka__session_timeout": 2, "kafka__heartbeat_interval": 0.3, "http__stalled_after": 3}
    with judged(there) as load, running_daemon(*there, workers=2, **short) as daemon:
        load.go_on(100)
        frozen = pids(daemon)["2"]
        os.kill(frozen, signal.SIGSTOP)
        until(lambda: len(shares(daemon)["1"]) == 4, daemon.log)
        until(lambda: "worker 2: has not answered for " in daemon.get("/healthz")[1], daemon.log)
        load.go_on(100)
        os.kill(frozen, signal.SIGCONT)
        until(lambda: [len(share) for share in shares(daemon).values()] == [2, 2], daemon.log)
        assert pids(daemon)["2"] == frozen
        assert daemon.get("/healthz")[0] == 200
        load.go_on(100)
        load.stop()
        daemon.wait_until_accounted()


@pytest.mark.chaos
def test_workers_of_a_killed_supervisor_leave_their_partitions_to_the_next_daemon(there: Place) -> None:
    with judged(there) as load, running_daemon(*there, workers=2, **LONG) as daemon:
        load.go_on(100)
        orphans = [ends(pid) for pid in pids(daemon).values()]
        daemon.kill()
        daemon.start(wait=False)
        until(lambda: all(ended() for ended in orphans), "workers are left behind")
        load.go_on(100)
        load.stop()
        daemon.wait_until_accounted()


@pytest.mark.chaos
def test_a_worker_that_is_asked_to_end_alone_drains_and_another_takes_its_place(there: Place) -> None:
    with judged(there) as load, running_daemon(*there, workers=2, **LONG) as daemon:
        load.go_on(100)
        asked = pids(daemon)["1"]
        os.kill(asked, signal.SIGTERM)
        until(lambda: pids(daemon).get("1") not in {None, asked}, daemon.log)
        load.go_on(100)
        load.stop()
        daemon.wait_until_accounted()
        until(lambda: [len(share) for share in shares(daemon).values()] == [2, 2], daemon.log)
        assert "ended with exit code 0" in daemon.log(1_000)


@pytest.mark.chaos
def test_a_signal_to_all_processes_at_once_ends_them_cleanly_and_none_is_restarted(there: Place) -> None:
    with judged(there) as load, running_daemon(*there, workers=2, **LONG) as daemon:
        load.go_on(100)
        load.stop()
        daemon.wait_until_accounted()
        workers = pids(daemon)
        ended = [ends(pid) for pid in workers.values()]
        daemon.send(signal.SIGTERM)
        for pid in workers.values():
            os.kill(pid, signal.SIGTERM)
        assert daemon.wait_until_ended() == 0
        assert all(gone() for gone in ended)
        assert "worker_died" not in daemon.log(1_000)


def test_workers_begin_to_read_when_all_are_in_the_group(there: Place) -> None:
    with Load(there, islice(traffic(10), 3_000)) as load:
        load.finish()
        with running_daemon(*there, wait=False, workers=2, **LONG) as daemon:
            late = wait_for_process(daemon, "2")
            os.kill(late, signal.SIGSTOP)
            cause = "worker 1: waits for the other workers to join the group"
            until(lambda: cause in daemon.get("/readyz")[1], daemon.log)
            assert committed(there, daemon.group) == {}
            os.kill(late, signal.SIGCONT)
            sizes = daemon.wait_until_committed()
            daemon.wait_until_accounted()
            for worker in status(daemon)["workers"]:
                own = sum(sizes[name] for name in worker["partitions"])
                assert sum(worker["counts"].values()) == own, "a worker read what became another's share"


@pytest.mark.chaos
def test_a_worker_that_cannot_join_does_not_stop_the_others_for_ever(there: Place) -> None:
    with Load(there, islice(traffic(11), 500)) as load:
        load.finish()
        with running_daemon(*there, wait=False, workers=2, **LONG) as daemon:
            stuck = wait_for_process(daemon, "2")
            os.kill(stuck, signal.SIGSTOP)
            daemon.wait_until_accounted()
            assert '"event": "workers_missing"' in daemon.log(1_000)
            os.kill(stuck, signal.SIGCONT)
            wait_for_workers(daemon)
