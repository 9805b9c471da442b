"""TLS for tests: a certificate factory, and a proxy that puts TLS (also with client certificates) before a server."""

import asyncio
import datetime as dt
import ipaddress
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CHUNK = 65_536


@dataclass(frozen=True)
class Certificate:
    """The files of one certificate: PEM each, `bundle` holds key and certificate together."""

    cert_file: Path
    key_file: Path
    bundle: Path


class Certificates:
    """A certificate authority of its own, in a folder.

    Two of them do not trust each other, which makes the wrong authority of a test.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca_file = folder / "ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "runstep test authority")])
        self._certificate = self._authority()
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    @cached_property
    def server(self) -> Certificate:
        """A certificate for 127.0.0.1 and localhost."""
        return self.issue("server")

    @cached_property
    def client(self) -> Certificate:
        """A certificate with the name `CN=client`."""
        return self.issue("client")

    def issue(
        self,
        name: str,
        *,
        hosts: tuple[str, ...] = ("127.0.0.1", "localhost"),
        expired: bool = False,
        password: str | None = None,
    ) -> Certificate:
        """Make a certificate for server and client use, valid for a day, or expired yesterday.

        Args:
            name: its common name, and the stem of its files.
            hosts: names and addresses it is valid for.
            expired: make one that no peer should accept.
            password: encrypts the key file (not the bundle).
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._builder(subject, key.public_key(), ends_in_days=-1 if expired else 1)
            .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return self._write(name, key, certificate, password)

    def _authority(self) -> x509.Certificate:
        return (
            self._builder(self._name, self._key.public_key(), ends_in_days=2)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ends_in_days: int
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=3))
            .not_valid_after(now + dt.timedelta(days=ends_in_days))
        )

    def _write(
        self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, password: str | None
    ) -> Certificate:
        files = Certificate(*(self.folder / f"{name}.{kind}" for kind in ("crt", "key", "pem")))
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        files.cert_file.write_bytes(pem)
        files.key_file.write_bytes(_private(key, password))
        files.bundle.write_bytes(_private(key, None) + pem)
        return files


class TlsProxy:
    """A TLS listener on a free port that hands everything to a plain port of this machine.

    It runs on a thread of its own and is a context manager; `port` is where clients connect.

    Args:
        target_port: the plain server's port on 127.0.0.1.
        certificate: what it shows to clients.
        client_ca: authority of the client certificates it asks for; without one it asks for none.
    """

    def __init__(self, target_port: int, certificate: Certificate, client_ca: Path | None = None) -> None:
        self._target_port = target_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.cert_file, certificate.key_file)
        if client_ca is not None:
            self._context.load_verify_locations(client_ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tls-proxy", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._context)

    async def _end(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with suppress(OSError, asyncio.CancelledError):
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            await asyncio.gather(_copy(reader, target_writer), _copy(target_reader, writer))
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey, password: str | None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
