"""Brokers that call themselves by an address that is not reached: they, the address and the setting are named."""

import json
import re
from pathlib import Path

import pytest

from pipeline.cli import execute
from tests.servers.process import free_port
from tests.support.source_rig import PrivateWorld, numbered

NAMES = {
    "no host of that name": ("no-such-kafka.invalid:9092", "the host name cannot be resolved"),
    "nothing listens there": (f"127.0.0.1:{free_port()}", "nothing listens there (connection refused)"),
}


@pytest.fixture(params=NAMES)
def renamed(request: pytest.FixtureRequest, private_world: PrivateWorld) -> tuple[PrivateWorld, str, str]:
    """A broker with a topic, which calls itself otherwise after its next start."""
    address, why = NAMES[request.param]
    private_world.broker._properties["advertised.listeners"] = f"PLAINTEXT://{address}"
    return private_world, address, why


def restart(world: PrivateWorld) -> None:
    world.broker.stop()
    world.broker.start()


def test_an_address_that_is_not_reached_is_named_and_not_that_the_topic_does_not_exist(
    renamed: tuple[PrivateWorld, str, str],
) -> None:
    world, address, why = renamed
    restart(world)
    reader = world.reader()

    def named() -> bool:
        assert reader.member.progress() == {}
        assert "topics" not in reader.member.troubles
        return "brokers" in reader.member.troubles

    reader.until(named)
    for _ in range(3):
        reader.poll()
        named()
    cause = reader.member.troubles["brokers"]
    assert cause.startswith(f"Kafka answers, but broker 1 calls itself {address}, and from here {why}")
    assert cause.endswith("; correct advertised.listeners of the brokers, or let this host reach what it names")
    del world.broker._properties["advertised.listeners"]
    restart(world)
    world.produce_anew(b"after")
    reader.until(lambda: bool(reader.member.progress()) and reader.values() == [b"after"])
    assert reader.member.troubles == {}


def test_a_coordinator_that_changes_its_name_while_it_is_used_is_named(renamed: tuple[PrivateWorld, str, str]) -> None:
    world, address, _ = renamed
    reader = world.assigned(metadata_max_age=1)
    world.produce(*numbered(0, 5))
    reader.read(*numbered(0, 5))
    restart(world)

    def named() -> bool:
        reader.member.commit({world.partition(): 5})
        reader.member.progress()
        return any(f"broker 1 calls itself {address}, and" in cause for cause in reader.member.troubles.values())

    reader.until(named)


def test_check_and_doctor_do_not_blame_the_address_that_answers(
    renamed: tuple[PrivateWorld, str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    world, address, why = renamed
    restart(world)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_SERVERS", world.bootstrap)
    monkeypatch.setenv("RUNSTEP_KAFKA__TOPICS", world.topic)
    monkeypatch.setenv("RUNSTEP_KAFKA__BOOTSTRAP_TIMEOUT", "3")
    monkeypatch.setenv("RUNSTEP_CLICKHOUSE__URL", "http://127.0.0.1:1")
    monkeypatch.setenv("RUNSTEP_HTTP__BIND", "127.0.0.1:1")
    for command in (["check", "--live", "--json"], ["doctor", "--json"]):
        capsys.readouterr()
        assert execute(command) == 69
        checks = json.loads(capsys.readouterr().out)["checks"]
        (said,) = [each for each in checks if each["subject"] == "kafka" and not each["ok"]]
        assert said["detail"].startswith(f"{world.bootstrap} answers, but broker 1 calls itself {address}, and")
        assert why in said["detail"]
        assert "advertised.listeners" in said["fix"]
        assert not [each for each in checks if re.search("does not exist", each["detail"])]


def test_a_broker_that_is_away_at_an_address_of_the_settings_is_just_away(private_world: PrivateWorld) -> None:
    reader = private_world.assigned()
    private_world.broker.kill()
    reader.until(lambda: reader.member.progress() == {} and "brokers" in reader.member.troubles)
    assert reader.member.troubles["brokers"].startswith("Kafka does not answer: ")
    assert "advertised" not in reader.member.troubles["brokers"]


def test_a_broker_that_was_reached_at_its_own_address_is_just_away(private_world: PrivateWorld) -> None:
    # The settings name the broker otherwise than it calls itself.
    port = private_world.bootstrap.rpartition(":")[2]
    reader = private_world.assigned(bootstrap_servers=(f"localhost:{port}",))
    reader.until(lambda: bool(reader.member.progress()))
    health = reader.member.brokers
    assert health._addresses == {f"localhost:{port}", f"127.0.0.1:{port}"}
    private_world.broker.kill()
    reader.until(lambda: reader.member.progress() == {} and "brokers" in reader.member.troubles)
    assert reader.member.troubles["brokers"].startswith("Kafka does not answer: ")
    assert not health._elsewhere(reader.member._consumer)


def test_a_topic_that_an_answer_lacks_does_not_exist(private_world: PrivateWorld) -> None:
    reader = private_world.reader(topics=("absent",), metadata_max_age=1)
    reader.until(lambda: reader.member.progress() == {} and "topics" in reader.member.troubles)
    assert reader.member.troubles["topics"] == "topic 'absent' does not exist, or may not be described by this user"
