"""Which daemons to ask: the addresses given, all that their names resolve to, or the members that Kafka lists."""

import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from pipeline.config import HttpSettings, Settings
from pipeline.errors import SourceUnavailable
from pipeline.kafka.client import client_options, connect
from pipeline.text import visible_line
from pipeline.tools.checks.kafka_access import cause_of, described_group
from pipeline.tools.daemon_client import own_address, scheme

_SCHEMES: Final = ("http", "https")


class Address(NamedTuple):
    """A daemon to ask.

    Attributes:
        name: host:port, as it is shown.
        url: without a path.
        trusted: whether its certificate may be made for another name, since the address was found and not given.
    """

    name: str
    url: str
    trusted: bool


class _Endpoint(NamedTuple):
    scheme: str
    host: str
    port: int
    trusted: bool


def named_daemons(texts: Sequence[str], http: HttpSettings) -> Callable[[], list[Address]]:
    """Return a function that finds the daemons at these addresses, or the one of the settings where none is given.

    Raises:
        ValueError: a text is no address; the message is for the user.
    """
    if not texts:
        own = own_address(http)
        if own is None:
            raise ValueError("http.bind lets the daemon take any free port; give its address as host:port")
        asked = [_parsed(own, http, trusted=True)]
    else:
        asked = [_parsed(text, http, trusted=False) for text in texts]
    return lambda: list(dict.fromkeys(address for each in asked for address in _resolved(each)))


def group_members(settings: Settings) -> Callable[[], list[Address]]:
    """Return a function that finds the members of the consumer group, each on its host and the port of `http.bind`.

    Raises:
        ValueError: `http.bind` has no port of its own.
    """
    port = settings.http.port
    if port == 0:
        raise ValueError("http.bind lets the daemon take any free port; --group needs one that all members listen on")
    return lambda: [
        _address(_Endpoint(scheme(settings.http), host, port, trusted=True)) for host in _hosts_of_group(settings)
    ]


def _hosts_of_group(settings: Settings) -> list[str]:
    """Return the hosts of the group's members.

    Raises:
        SourceUnavailable: Kafka does not describe the group.
    """
    kafka = settings.kafka
    with closing(connect(KafkaAdminClient, **client_options(kafka))) as admin:
        try:
            members = described_group(admin, kafka.group_id)["members"]
        except KafkaError as error:
            raise SourceUnavailable(f"group {kafka.group_id}: {cause_of(error)}") from error
    return sorted({visible_line(str(member["client_host"])).lstrip("/") for member in members})


def _parsed(text: str, http: HttpSettings, *, trusted: bool) -> _Endpoint:
    given = text if "://" in text else f"{scheme(http)}://{text}"
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not an address: {error}") from error
    if (
        parts.scheme not in _SCHEMES
        or not host
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or not text.isprintable()
        or " " in text
    ):
        raise ValueError(f"{text!r} is not an address; give [http[s]://]host[:port]")
    if port is None:
        port = http.port
    if port == 0:
        raise ValueError(f"{text!r} names no port, and http.bind lets the daemon take any free one; give host:port")
    return _Endpoint(parts.scheme, host, port, trusted)


def _resolved(asked: _Endpoint) -> list[Address]:
    """Return the address, or all addresses that its name resolves to.

    A host with IPv4 and IPv6 addresses counts once: only those of one kind are used. A name that cannot be resolved is
    returned as it is; asking it reports why there is no answer.
    """
    try:
        found = socket.getaddrinfo(asked.host, asked.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter: no name can be so
        return [_address(asked)]
    kinds = {entry[0] for entry in found}
    kind = socket.AF_INET if socket.AF_INET in kinds else socket.AF_INET6
    hosts = sorted({str(entry[4][0]) for entry in found if entry[0] == kind})
    if len(hosts) <= 1:
        return [_address(asked)]
    return [_address(asked._replace(host=host, trusted=True)) for host in hosts]


def _address(asked: _Endpoint) -> Address:
    host = f"[{asked.host}]" if ":" in asked.host else asked.host
    name = f"{host}:{asked.port}"
    return Address(name, f"{asked.scheme}://{name}", asked.trusted)
