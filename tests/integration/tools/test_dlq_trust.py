"""`runstep dlq` on real Kafka: what a dead letter and a producer are not believed, and what needs a yes."""

import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaProducer

from pipeline.records import InvalidRecord, Reason, Stage
from pipeline.tools.dlq import Identity, ReplayOutcome
from pipeline.tools.dlq.dead_letter_records import marker_headers
from tests.servers.addresses import KafkaAddress
from tests.support.dlq_rig import Box, dead_letter_box
from tests.support.paths import ROOT

OK, BAD_NEWS, USAGE, INTERRUPTED = 0, 1, 64, 130


@pytest.fixture
def box(kafka: KafkaAddress, topic: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    return dead_letter_box(kafka, topic, tmp_path, monkeypatch)


def test_a_dead_letter_that_names_a_foreign_topic_is_not_written_there(box: Box, topic: Callable[..., str]) -> None:
    payments = topic(partitions=3)
    box.send(box.invalid(0, b"0"), box.invalid(1, b'{"transfer": "1000000 EUR"}', topic=payments))
    code, out, _ = box.run("replay", "--yes", "--on-error", "drop")
    assert (code, out.splitlines()) == (
        BAD_NEWS,
        [
            "replayed 1 dead letter",
            f"1 dead letter skipped: from topics outside kafka.topics ({payments} 1); --any-topic replays them, too",
        ],
    )
    assert (box.written(payments), box.answer("list")["found"]) == (0, 1)
    assert box.answer("replay", "--dry-run", code=BAD_NEWS)["elsewhere"] == {payments: 1}
    assert box.answer("replay", "--dry-run", "--any-topic")["topics"] == {payments: 1}
    assert box.answer("replay", "--yes", "--any-topic")["replayed"] == 1
    assert [record.value for record in box.records(payments)] == [b'{"transfer": "1000000 EUR"}']


def test_without_a_terminal_nothing_is_written_that_was_not_confirmed(box: Box) -> None:
    box.refuse([b"one"])
    before = box.written(box.topic)
    code, out, err = box.run("replay", "--origin", f"{box.origin}/0:0-9", "--reason", "invalid_json")
    assert (code, out, err.count("\n")) == (USAGE, "", 1)
    command = err.partition("without being asked: ")[2].strip()
    assert command == f"runstep dlq replay --reason invalid_json --origin {box.origin}/0:0-9 --yes"
    assert (box.written(box.topic), box.written(box.origin)) == (before, 0)
    assert box.run(*shlex.split(command)[2:]) == (OK, "replayed 1 dead letter\n", "")


@pytest.mark.parametrize(("word", "written"), [(b"n\n", 0), (b"\n", 0), (b"y\n", 1)])
def test_at_a_terminal_it_asks_for_a_single_one_too_and_says_where_it_goes(box: Box, word: bytes, written: int) -> None:
    box.refuse([b"one"])
    answering, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "dlq", "replay"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.write(answering, word)
    _, err = process.communicate(timeout=100)
    for end in (answering, terminal):
        os.close(end)
    assert f"Replay 1 dead letter (invalid_json 1) to {box.origin} 1? [y/N]" in err.decode()
    assert (process.returncode, len(box.returned())) == (OK if written else INTERRUPTED, written)


def test_an_attempt_of_a_producer_does_not_keep_a_dead_letter_from_coming_back(box: Box) -> None:
    box.send(box.invalid(1, b"one", headers=(("runstep-attempt", b"999999"),)))
    assert box.answer("replay", "--yes", "--max-attempts", "1", "--dry-run")["exhausted"] == 1
    assert box.answer("replay", "--yes")["replayed"] == 1
    (back,) = box.returned()
    box.send(InvalidRecord(back, Stage.DECODE, Reason.INVALID_JSON, "again"))
    (open_,) = box.answer("list")["letters"]
    assert (open_["attempt"], open_["origin"]["attempt"]) == (2, 2)


def test_the_list_says_how_many_dead_letters_markers_have_closed(box: Box) -> None:
    box.refuse([b"one", b"two"])
    (first, _) = box.answer("list")["letters"]
    forged = Identity(**first["origin"])
    with closing(KafkaProducer(bootstrap_servers=box.bootstrap)) as producer:
        producer.send(box.topic, b"", headers=marker_headers(forged, ReplayOutcome.DROPPED)).get(timeout=30)
    _, out, _ = box.run("list")
    assert "1 open dead letters: invalid_json 1" in out
    assert "closed by markers in the topic: dropped 1; --all lists their dead letters" in out
