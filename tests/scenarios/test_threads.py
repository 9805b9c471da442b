"""A thread of the daemon dies: the process ends and commits nothing more, and the next one does the rest.

What is killed is the real thread, by an exception that comes from nowhere, as one of memory would. Threads that hang
are in tests/acceptance/test_stalls.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands._exit_codes import BUG
from tests.support.daemon import HTTP_OK, Daemon, environment
from tests.support.oracle import Load, Place, Truth, drained, place, repeating, summed, traffic, until
from tests.support.paths import ROOT

QUICK: dict[str, Any] = {"batch__max_rows": 500, "http__final_scrape": 5}
STRIKE = """
import ctypes, pathlib, threading, time

def strike(order):
    while True:
        time.sleep(0.3)
        name = order.read_text() if order.exists() else ""
        for thread in threading.enumerate():
            if thread.name == name:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(MemoryError))
                if thread is threading.main_thread():
                    return

threading.Thread(target=strike, args=(pathlib.Path({order!r}),), name="strike", daemon=True).start()
"""
"""Python runs it before anything else; it waits for the name of a thread.

The writer survives what hits it inside the driver, as it does any failure of that, so it may have to be hit again.
"""


class Mortal:
    """A daemon whose threads can be killed one by one.

    Attributes:
        daemon: the process.
    """

    def __init__(self, there: Place, folder: Path) -> None:
        self._order = folder / "order"
        (folder / "sitecustomize.py").write_text(STRIKE.format(order=str(self._order)))
        own = {"PYTHONPATH": f"{folder}:{ROOT}"}
        self.daemon = Daemon(there.kafka, there.topic, environment(*there, **QUICK) | own)

    def kill(self, thread: str) -> None:
        """Kill the thread of that name."""
        written = self._order.with_suffix(".written")
        written.write_text(thread)
        written.rename(self._order)

    def spare(self) -> None:
        """Kill no thread from now on."""
        self._order.unlink()


@contextmanager
def mortal(there: Place, folder: Path) -> Iterator[Mortal]:
    """Start a daemon whose threads can be killed."""
    made = Mortal(there, folder)
    try:
        made.daemon.start()
        yield made
    except BaseException as error:
        error.add_note(made.daemon.log())
        raise
    finally:
        made.daemon.close()


@pytest.mark.parametrize("thread", ["runstep-writer", "kafka-io-runstep", "MainThread"])
@pytest.mark.chaos
def test_68_a_thread_that_dies_ends_the_process_and_costs_nothing(kafka, clickhouse, tmp_path, thread):
    with (
        place(kafka, clickhouse) as there,
        Load(there, repeating(traffic(68), 68), rate=1_000) as load,
        mortal(there, tmp_path) as victim,
    ):
        load.go_on(1_000)
        until(lambda: bool(summed([victim.daemon.scrape()])), "nothing is counted")
        last = victim.daemon.scrape()
        victim.kill(thread)
        assert victim.daemon.wait_until_ended() == BUG
        assert "this is a bug in runstep" in victim.daemon.log()
        victim.spare()
        victim.daemon.start()
        load.go_on(500)
        load.stop()
        victim.daemon.wait_until_accounted()
        counted = [last, drained(victim.daemon)]
        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
        assert truth.excess(summed(counted)) == ""


@pytest.mark.chaos
def test_68_without_the_thread_that_answers_records_flow_on_and_probes_fail(kafka, clickhouse, tmp_path):
    with (
        place(kafka, clickhouse) as there,
        Load(there, repeating(traffic(681), 681), rate=1_000) as load,
        mortal(there, tmp_path) as victim,
    ):
        load.go_on(500)
        victim.kill("runstep-http")
        until(lambda: "MemoryError" in victim.daemon.log(1_000), victim.daemon.log)
        load.go_on(500)
        load.stop()
        assert victim.daemon.get("/healthz")[0] != HTTP_OK
        victim.daemon.wait_until_committed()
        victim.daemon.stop()
        truth = Truth(there, load.produced)
        truth.check_tables()
        truth.check_dead_letters()
