"""From settings to a listening socket and a TLS context, or to one sentence about what is wrong with them."""

import errno
import socket
import ssl
from pathlib import Path
from typing import Final

import structlog

from pipeline.config import HttpSettings, host_port
from pipeline.errors import ConfigError

log = structlog.get_logger(__name__)

_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})
_FIXES: Final = {
    errno.EADDRINUSE: "another process listens there; stop it, or choose another port (0 takes a free one)",
    errno.EACCES: "not allowed; ports below 1024 need a privilege, choose a higher one",
    errno.EADDRNOTAVAIL: "this host has no such address; use one of its own, or 0.0.0.0 for all of them",
}


def listen(bind: str) -> socket.socket:
    """Return a socket that listens on `host:port`, `[ipv6]:port` or, on all addresses, `:port`.

    Raises:
        ConfigError: naming the address and the fix.
    """
    given = host_port(bind)
    if given is None:
        raise ConfigError(f"http.bind = {bind!r} is not an address; write host:port or [ipv6]:port")
    host, port = given.host.strip("[]"), given.port
    try:
        if not host:
            return _everywhere(port)
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        raise ConfigError(f"http.bind = {bind!r}: the host is unknown ({error.strerror})") from error
    except OSError as error:
        fix = _FIXES.get(error.errno or 0, error.strerror)
        raise ConfigError(f"http.bind = {bind!r}: cannot listen: {fix}") from error


def _everywhere(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return socket.create_server(("", port))


class Tls:
    """The TLS context of three files, which are read again when they change: certificates expire before daemons end."""

    def __init__(self, cert: Path, key: Path | None, client_ca: Path | None) -> None:
        """Read the files; without `client_ca` any client may ask.

        Raises:
            ConfigError: a file is missing, is not PEM, or does not fit the others.
        """
        self._files = (cert, key, client_ca)
        self._seen = self._stamps()
        self._context = _context(*self._files)

    def wrap(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return the connection with TLS around it, the handshake still to be done."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            try:
                self._context = _context(*self._files)
                log.info("http_certificates_changed", message="the endpoints' certificates changed and were read again")
            except ConfigError as error:
                # Seen between two writes, perhaps; the next write changes the stamps again.
                message = "the endpoints' certificates changed but cannot be used; the former ones stay"
                log.warning("http_certificates_rejected", message=message, cause=str(error))
        return self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(file) for file in self._files if file is not None]


def tls(settings: HttpSettings) -> Tls | None:
    """Return the TLS that the settings ask for, None where they ask for none.

    Raises:
        ConfigError: as `Tls`, and for settings that make no sense without a certificate.
    """
    if settings.cert_file is not None:
        return Tls(settings.cert_file, settings.key_file, settings.client_ca_file)
    for name in ("key_file", "client_ca_file"):
        if getattr(settings, name) is not None:
            raise ConfigError(f"http.{name} is set but http.cert_file is not; set both, or neither for plain HTTP")
    return None


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_ino)


def _context(cert: Path, key: Path | None, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, file in (("cert_file", cert), ("key_file", key), ("client_ca_file", client_ca)):
        if file is not None and not file.is_file():
            raise ConfigError(f"http.{name}: there is no file {file}")
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except OSError as error:
        raise ConfigError(
            f"http.cert_file {cert} cannot be used with the key in {key or 'it'}: {error}; "
            "both must be PEM, and the key must be that of the certificate"
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except OSError as error:
            raise ConfigError(f"http.client_ca_file {client_ca}: {error}; it must be PEM") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_password() -> str:
    """Reject encrypted keys: OpenSSL would ask the terminal and wait."""
    raise ConfigError("http.key_file is encrypted; give a key without a password, readable by the daemon only")
