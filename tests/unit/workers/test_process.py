"""What a worker makes of the requests of its supervisor."""

from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from pipeline.config import Settings
from pipeline.workers.process import READ, STACKS, STOP, Order, Worker


@pytest.fixture
def pipe() -> Iterator[tuple[Connection, Worker]]:
    """The supervisor's end of a pipe, and a worker at the other end that does not run."""
    near, far = Pipe()
    with near, far:
        yield near, Worker(far, Order("1", "runstep-test-1", Settings(), None))


def test_reports_that_stand_before_another_request_are_answered_by_one(pipe: tuple[Connection, Worker]) -> None:
    supervisor, worker = pipe
    for request in (1, 2, READ):
        supervisor.send(request)
    assert worker._next() == [READ, 2], "a report that is never answered may be the last one that is asked for"
    for request in (3, STACKS, 4, STOP, 5):
        supervisor.send(request)
    assert worker._next() == [STACKS, STOP, 5]


def test_a_pipe_that_ended_holds_no_more_requests(pipe: tuple[Connection, Worker]) -> None:
    supervisor, worker = pipe
    supervisor.close()
    assert worker._next() == []


def test_a_worker_reads_nothing_before_it_is_let(pipe: tuple[Connection, Worker]) -> None:
    _, worker = pipe
    assert worker._pipeline._processor.held()
    worker._pipeline.release()
    assert not worker._pipeline._processor.held()
