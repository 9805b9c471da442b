"""A real Apache Kafka broker (KRaft, one node), started in a second, on free ports, with or without security."""

import shutil
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from tests.servers import kafka_image
from tests.servers.addresses import KafkaAddress
from tests.servers.cache import locked, progress
from tests.servers.process import free_port, listening
from tests.servers.server import Home, Server, write_properties
from tests.servers.tls import Certificates

# Small and quick; the session time-out is what a restart after SIGKILL has to wait for.
FAST: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "broker.heartbeat.interval.ms": "100",
    "broker.session.timeout.ms": "1000",
    "controller.quorum.append.linger.ms": "0",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "auto.create.topics.enable": "false",
    # The daemon takes messages of up to 32 MB.
    "message.max.bytes": "41943040",
    "replica.fetch.max.bytes": "41943040",
    "socket.request.max.bytes": "104857600",
}
LISTENERS = {
    "PLAINTEXT": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT",
    "SASL": "SASL_PLAINTEXT",
    "SASLS": "SASL_SSL",
    "TLS": "SSL",
    "MTLS": "SSL",
}
PLAIN_USERS: Mapping[str, str] = {"admin": "admin-pw", "bob": "bob-pw"}


class KafkaServer(Server):
    """One broker: `bootstrap` is its address, `start`, `kill`, `pause`, `restart` … its life.

    With `secure=True` it also listens for SASL and TLS (`addresses`: SASL, SASLS, TLS, MTLS), knows `PLAIN_USERS`,
    takes unsecured OAUTHBEARER tokens and enforces ACLs: `ANONYMOUS` (the plain listener), `admin` and the certificate
    `CN=client` may do everything, everybody else what ACLs allow. `certificates` has the files for the clients.

    Args:
        properties: broker properties that win over the fast ones.
        java_options: `kafka_image.FULL_SPEED` for a benchmark.
        secure: with SASL, TLS and ACLs.
        home: where it lives; a temporary folder by default.
    """

    name = "kafka"

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        *,
        java_options: Sequence[str] = kafka_image.QUICK_START,
        secure: bool = False,
        home: Home | None = None,
    ) -> None:
        super().__init__(home)
        self.secure = secure
        names = LISTENERS if secure else ("PLAINTEXT", "CONTROLLER")
        self.ports = {name: free_port() for name in names}
        self.addresses = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.bootstrap = self.addresses["PLAINTEXT"]
        self._java_options = tuple(java_options)
        self._properties = {**FAST, **self._places(), **(self._security() if secure else {}), **(properties or {})}

    @property
    def address(self) -> KafkaAddress:
        """Where clients find it."""
        return KafkaAddress(self.bootstrap)

    @cached_property
    def certificates(self) -> Certificates:
        """The certificate authority of this broker, with its server and client certificates."""
        return Certificates(self.folder / "certificates")

    def add_scram_user(self, name: str, password: str) -> None:
        """Create a SCRAM user for both mechanisms, or change its password."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            # The broker refuses a user that stands twice in one request, and the client only returns the refusal.
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
                answer = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(name, mechanism, password)])
                if answer[name] is not None:
                    raise RuntimeError(f"kafka refused the user {name}: {answer[name]}")
        finally:
            admin.close()

    def _places(self) -> dict[str, str]:
        protocols = ",".join(f"{name}:{LISTENERS[name]}" for name in self.ports)
        listeners = ",".join(f"{name}://{address}" for name, address in self.addresses.items())
        return {
            "listeners": listeners,
            "listener.security.protocol.map": protocols,
            "controller.quorum.voters": f"1@{self.addresses['CONTROLLER']}",
            "log.dirs": str(self.folder / "log"),
        }

    def _security(self) -> dict[str, str]:
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        users = " ".join(f'user_{name}="{password}"' for name, password in PLAIN_USERS.items())
        bearer = "org.apache.kafka.common.security.oauthbearer"
        modules = {
            "plain": f"{plain} {users};",
            "scram-sha-256": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "scram-sha-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "oauthbearer": f'{bearer}.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="admin";',
        }
        validator = f"{bearer}.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
        properties = {
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.certificates.server.bundle),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificates.ca_file),
            "listener.name.mtls.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:admin;User:CN=client",
        }
        for listener in ("sasl", "sasls"):
            prefix = f"listener.name.{listener}"
            properties |= {f"{prefix}.{name}.sasl.jaas.config": module for name, module in modules.items()}
            properties[f"{prefix}.oauthbearer.sasl.server.callback.handler.class"] = validator
        return properties

    def _command(self) -> list[str]:
        return self._java(*self._archive_options())

    def _java(self, *options: str) -> list[str]:
        log, properties = self.folder / "log", self.folder / "server.properties"
        if not log.exists():
            shutil.copytree(kafka_image.template(), log)
        write_properties(properties, self._properties)
        return [*kafka_image.java_command("kafka.Kafka", *self._java_options, *options), str(properties)]

    def _archive_options(self) -> tuple[str, ...]:
        if self._java_options != kafka_image.QUICK_START:
            return ()
        with locked("kafka-archive"):
            if not kafka_image.archive().exists():
                _make_archive()
        return kafka_image.reading_archive()

    def _ready(self) -> bool:
        return listening(self.ports["PLAINTEXT"])


class _ArchivingServer(KafkaServer):
    """A broker that writes the class-data archive when it ends."""

    @cached_property
    def written(self) -> Path:
        return self.folder / kafka_image.archive().name

    def _archive_options(self) -> tuple[str, ...]:
        return kafka_image.writing_archive(self.written)


def _make_archive() -> None:
    """Let a broker do once what every test's broker does, so that the archive holds those classes."""
    progress("preparing Kafka's class-data archive (once, about 10 s)")
    with _ArchivingServer() as server:
        producer = KafkaProducer(bootstrap_servers=server.bootstrap, acks="all")
        admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
        consumer = KafkaConsumer(bootstrap_servers=server.bootstrap, group_id="training", auto_offset_reset="earliest")
        try:
            admin.create_topics({"training": {"num_partitions": 2, "replication_factor": 1}})
            producer.send("training", b"value").get(timeout=20)
            consumer.subscribe(["training"])
            consumer.poll(timeout_ms=5000)
            consumer.commit()
        finally:
            consumer.close()
            admin.close()
            producer.close()
        kafka_image.finish_archive(server.process, server.written)
