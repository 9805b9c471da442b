"""Real Kafka that goes, moves, comes back, or wants other credentials: the source finds its way without a restart."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from pipeline.config import KafkaSettings
from pipeline.contracts import Withdrawn
from pipeline.kafka.source import KafkaSource
from tests.servers.kafka import KafkaServer
from tests.servers.process import free_port
from tests.support.source_rig import PrivateWorld, Reader, numbered


def asking(reader: Reader) -> Callable[[], bool]:
    """Return what asks for the lag, as the processor does now and then, and says whether there was an answer."""
    return lambda: bool(reader.member.progress())


def test_brokers_that_crash_and_come_back_cost_nothing_but_time(private_world: PrivateWorld) -> None:
    reader = private_world.assigned(session_timeout=60.0)
    private_world.produce(*numbered(0, 5))
    reader.read(*numbered(0, 5))
    private_world.broker.kill()
    assert reader.member.commit({private_world.partition(): 5}) is None
    reader.poll()
    private_world.broker.start()
    reader.commit({private_world.partition(): 5})
    private_world.produce_anew(b"next")
    reader.read(b"next")
    assert reader.values() == [*numbered(0, 5), b"next"]
    assert not reader.reported(Withdrawn)


def test_brokers_that_all_come_back_at_another_address_are_found(private_world: PrivateWorld) -> None:
    old = private_world.broker
    moved = KafkaServer(home=old.home)
    reader = private_world.assigned(
        bootstrap_servers=(old.bootstrap, moved.bootstrap), session_timeout=60.0, metadata_max_age=2.0
    )
    private_world.produce(*numbered(0, 5))
    reader.read(*numbered(0, 5))
    old.stop()
    try:
        moved.start()
        private_world.bootstrap = moved.bootstrap
        private_world.produce_anew(*numbered(5, 9))
        answered = asking(reader)
        reader.until(lambda: answered() and numbered(5, 9)[-1] in reader.values())
        reader.commit({private_world.partition(): 9})
        assert reader.values() == numbered(0, 9)
        assert not reader.member.troubles
    finally:
        moved.kill()


WAITING = """
import sys
from pipeline.config import KafkaSettings
from pipeline.kafka.source import KafkaSource

settings = KafkaSettings(bootstrap_servers=(sys.argv[1],), bootstrap_timeout=3_600.0)
member = KafkaSource(lambda: settings, 1_000)
for _ in range(3):
    assert member.poll(0.01, 1_000) == {}
assert not member.joined()
member.close()
"""


def test_who_waits_for_kafka_is_never_kept_from_ending() -> None:
    # In a process of its own: the attempt that is given up would fail beside all later tests, for an hour.
    subprocess.run([sys.executable, "-c", WAITING, f"127.0.0.1:{free_port()}"], check=True, timeout=120)


@pytest.fixture(scope="module")
def guarded() -> Iterator[KafkaServer]:
    """A broker that wants a login, and a topic on it."""
    with KafkaServer(secure=True) as server:
        admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
        admin.create_topics([NewTopic("guarded", 1, 1)])
        admin.close()
        yield server


def produce(server: KafkaServer, value: bytes) -> None:
    world = PrivateWorld.__new__(PrivateWorld)
    world.topic, world.bootstrap, world.readers = "guarded", server.bootstrap, []
    world.producer = world.new_producer()
    world.produce(value)
    world.close()


@pytest.mark.chaos
def test_a_password_that_was_renewed_is_used_when_the_old_one_fails(guarded: KafkaServer) -> None:
    guarded.add_scram_user("admin", "first")
    current: dict[str, Any] = {"sasl_password": "first"}

    def settings() -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=(guarded.addresses["SASL"],),
            topics=("guarded",),
            group_id="renewed",
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="SCRAM-SHA-256",
            sasl_username="admin",
            bootstrap_timeout=2.0,
            session_timeout=60.0,
            **current,
        )

    reader = Reader(KafkaSource(settings, 1_000))
    produce(guarded, b"before")
    reader.read(b"before")
    guarded.add_scram_user("admin", "second")
    guarded.restart()
    produce(guarded, b"after")
    answered = asking(reader)
    reader.until(lambda: not answered() and bool(reader.member.troubles or reader.reported(Withdrawn)))
    assert b"after" not in reader.values()
    current["sasl_password"] = "second"  # noqa: S105 - of this test's broker
    reader.until(lambda: answered() and b"after" in reader.values())
    reader.until(lambda: not reader.member.troubles)
    reader.member.close()
