"""`runstep dlq replay`, killed at any moment and run by several at a time: each dead letter comes back exactly once."""

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands import _dlq_output
from pipeline.tools.dlq.transactions import Transactions
from tests.servers.addresses import KafkaAddress
from tests.support.dlq_rig import Box, dead_letter_box
from tests.support.oracle import until

OK, BAD_NEWS = 0, 1
MANY = 3_000
"""Six slices, each a transaction."""


@pytest.fixture
def box(kafka: KafkaAddress, topic: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    made = dead_letter_box(kafka, topic, tmp_path, monkeypatch)
    made.refuse(b"value %d" % number for number in range(MANY))
    return made


def each_once(box: Box) -> None:
    found = Counter(record.value for record in box.records(box.origin))
    twice = [value for value, number in found.items() if number > 1]
    assert (len(found), twice) == (MANY, [])


@pytest.mark.chaos
def test_a_replay_that_is_killed_again_and_again_brings_each_dead_letter_once(box: Box) -> None:
    draw = random.Random(56)
    killed = 0
    for _ in range(3):
        goal = box.written(box.origin) + draw.randrange(1, MANY // 6)
        process = box.replaying()
        until(lambda: process.poll() is not None or box.written(box.origin) >= goal, "the replay writes nothing")  # noqa: B023
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed, "it was never in the middle"
    assert box.answer("replay", "--yes")["failures"] == []
    each_once(box)
    last = box.answer("replay", "--yes")
    assert (last["replayed"], last["closed_before"]) == (0, MANY)
    each_once(box)


def test_a_replay_between_whose_slices_another_one_begins_ends_and_doubles_nothing(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[dict[str, Any]] = []

    @contextmanager
    def interrupted(what: str) -> Iterator[Callable[[int, int], None]]:
        def tell(_done: int, _total: int) -> None:
            if what == "replaying" and not answers:
                answers.append({})
                answers[0] |= box.answer("replay", "--yes")

        yield tell

    monkeypatch.setattr(_dlq_output, "progress", interrupted)
    code, out, err = box.run("replay", "--yes")
    assert (code, out, err.count("\n")) == (BAD_NEWS, "", 1)
    assert f"another `runstep dlq replay` of {box.topic} has taken over" in err
    assert (answers[0]["replayed"], answers[0]["closed_before"]) == (MANY - 500, 500)
    each_once(box)


def test_a_replay_in_whose_transaction_another_one_begins_loses_it_whole(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Transactions._end
    answers: list[dict[str, Any]] = []

    def late(transactions: Transactions, call: Callable[[], None]) -> None:
        if "commit" in call.__name__ and not answers:
            answers.append({})
            answers[0] |= box.answer("replay", "--yes")
        commit(transactions, call)

    monkeypatch.setattr(Transactions, "_end", late)
    code, out, err = box.run("replay", "--yes")
    assert (code, out, err.count("\n")) == (BAD_NEWS, "", 1)
    assert "has taken over" in err
    assert answers[0]["replayed"] == MANY
    each_once(box)


def test_a_replay_that_becomes_the_only_one_sees_what_was_done_until_then(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    become = Transactions.open
    answers: list[dict[str, Any]] = []

    def late(transactions: Transactions) -> None:
        if not answers:
            answers.append({})
            answers[0] |= box.answer("replay", "--yes", "--limit", "600")
        become(transactions)

    monkeypatch.setattr(Transactions, "open", late)
    last = box.answer("replay", "--yes")
    assert (answers[0]["replayed"], last["replayed"], last["closed_before"]) == (600, MANY - 600, 600)
    each_once(box)


def test_two_replays_at_the_same_time_bring_each_dead_letter_once(box: Box) -> None:
    both = [box.replaying() for _ in range(2)]
    ended = [(*process.communicate(), process.returncode) for process in both]
    assert {code for _, _, code in ended} <= {OK, BAD_NEWS}, ended
    assert all("has taken over" in err for _, err, code in ended if code), ended
    box.answer("replay", "--yes")
    each_once(box)
