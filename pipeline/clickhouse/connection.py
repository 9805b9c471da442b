"""Connections to ClickHouse: the settings turned into a client, over HTTP(S) or embedded (`chdb:PATH`).

Owns what all connections have in common: no session (it would stay locked after a time-out), a pool of its own (so that
each new client reads certificates and addresses again, and no proxy of the environment is used), bounded waits, and
errors that name the cause.
"""

import fcntl
import logging
import math
import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.httputil import get_pool_manager_options
from urllib3 import PoolManager, ProxyManager, make_headers

from pipeline import __version__
from pipeline.clickhouse import server_version
from pipeline.clickhouse.error_classes import sink_error
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError, ErrorClass, SinkUnavailable

_UNSUPPORTED: Final = 1
"""The code of a ClickHouse that cannot do what is asked of it."""


def connect(settings: ClickHouseSettings, database: str | None = None) -> Client:
    """Return a client that has spoken to the server.

    Secret files and certificates are read here, so a new client follows a rotation. Takes up to
    `connect_timeout` plus `insert_timeout` seconds.

    Args:
        settings: where ClickHouse is, and the credentials.
        database: what unqualified table names refer to. It has to exist.

    Raises:
        SinkUnavailable: naming the cause, without credentials; also of a server that is too old.
        ConfigError: the url is no url.
    """
    # The driver also logs what it raises, with stack traces that quote values; the daemon logs it without values.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    options = _embedded(settings) if settings.is_embedded else _http(settings)
    pool = options.get("pool_mgr")
    try:
        client = clickhouse_connect.get_client(database=database, **options)
    except Exception as error:  # noqa: BLE001 - the driver lets foreign exceptions through; all are classified
        if pool is not None:
            pool.clear()
        raise sink_error(error, address(settings)) from None
    if pool is not None:
        _close_with(client, pool)
    _require_version(client, settings)
    return client


def _close_with(client: Client, pool: PoolManager) -> None:
    """Let the connections end with their client: the driver closes only a pool that it has made itself."""
    close = client.close

    def close_all() -> None:
        close()
        pool.clear()

    client.close = close_all  # type: ignore[method-assign]


def _require_version(client: Client, settings: ClickHouseSettings) -> None:
    """Refuse a server on which statements would fail, or find nothing without an error."""
    version, oldest = str(client.server_version), server_version.OLDEST
    if server_version.is_older(version, oldest):
        client.close()
        message = (
            f"{address(settings)} is ClickHouse {version}, and runstep needs {oldest} or later; "
            f"upgrade the server to {oldest} or later"
        )
        raise SinkUnavailable(message, ErrorClass.ENVIRONMENT, _UNSUPPORTED)


def address(settings: ClickHouseSettings) -> str:
    """Return where ClickHouse is, and the proxy on the way, for messages: without users and passwords."""
    if settings.is_embedded:
        return settings.url.get_secret_value()
    url = _split(settings)
    proxy = f" through the proxy {_origin(urlsplit(_proxy(settings)))}" if settings.proxy else ""
    return f"{_origin(url._replace(netloc=f'{url.netloc}:{_port(url)}') if not url.port else url)}{proxy}"


def _origin(url: SplitResult) -> str:
    """Return scheme, host and port."""
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"


def _split(settings: ClickHouseSettings) -> SplitResult:
    wrong = ConfigError("clickhouse.url is not http[s]://[<user>:<password>@]<host>[:<port>] or chdb:PATH")
    try:
        url = urlsplit(settings.url.get_secret_value())
        known = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        # Not chained: the original message quotes the url, and with it the password.
        raise wrong from None
    if not known:
        raise wrong
    return url


def _port(url: SplitResult) -> int:
    return url.port or (8443 if url.scheme == "https" else 8123)


def _embedded(settings: ClickHouseSettings) -> dict[str, Any]:
    if not settings.directory:
        raise ConfigError("clickhouse.url names no directory: write chdb:PATH")
    _require_unlocked(Path(settings.directory))
    return {"interface": "chdb", "path": settings.directory, "tz_mode": "aware"}


def _require_unlocked(directory: Path) -> None:
    """Look at the engine's own lock first: the engine itself would write to standard error, without a fix.

    Raises:
        SinkUnavailable: another process has the directory open.
    """
    try:
        with (directory / "status").open() as status:
            holder = status.readline().removeprefix("PID:").strip()
            if holder != str(os.getpid()):
                fcntl.flock(status, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"embedded ClickHouse {directory} is in use by process {holder}; stop that one first"
        raise SinkUnavailable(message, ErrorClass.ENVIRONMENT, 76) from None
    except OSError:
        # No process has it open; what else is wrong the engine reports better.
        return


def _http(settings: ClickHouseSettings) -> dict[str, Any]:
    url = _split(settings)
    username = settings.username or unquote(url.username or "") or None
    password = settings.password.get_secret_value() if settings.password else unquote(url.password or "")
    token = _access_token(settings)
    options: dict[str, Any] = {
        "interface": url.scheme,
        "host": url.hostname,
        "port": _port(url),
        "proxy_path": url.path,
        # The driver cuts fractions off, and a time-out of 0 is none it accepts.
        "connect_timeout": math.ceil(settings.connect_timeout),
        "send_receive_timeout": math.ceil(settings.insert_timeout),
        "compress": False if settings.compression == "none" else settings.compression,
        "client_name": f"runstep/{__version__}",
        "autogenerate_session_id": False,
        "tz_mode": "aware",
    }
    options |= {"access_token": token} if token else {"username": username, "password": password}
    if url.scheme == "https":
        options |= {"verify": settings.verify, "server_host_name": settings.server_host_name}
        if settings.cert_file is not None:
            # A client certificate is the login where there is a user and nothing else to prove it. With a password or a
            # token, or without a user, it is for a proxy that asks for one; the server must not take it for the login.
            options |= {"client_cert": str(settings.cert_file)}
            options |= {"tls_mode": "mutual" if username and not password and not token else "strict"}
    return options | {"pool_mgr": _pool(settings, url)}


def _access_token(settings: ClickHouseSettings) -> str | None:
    if settings.access_token is not None:
        return settings.access_token.get_secret_value()
    if settings.access_token_file is None:
        return None
    try:
        return settings.access_token_file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not UTF-8"
        message = f"clickhouse.access_token_file {settings.access_token_file} cannot be read: {cause}"
        raise SinkUnavailable(message, ErrorClass.ENVIRONMENT) from None


def _pool(settings: ClickHouseSettings, url: SplitResult) -> PoolManager:
    """Return the connections of one client; proxies come from the settings only, never from the environment."""
    tls = _tls(settings) if url.scheme == "https" else {}
    options = get_pool_manager_options(**tls)
    if settings.proxy is None:
        return PoolManager(**options)
    proxy = _proxy(settings)
    split = urlsplit(proxy)
    login = f"{unquote(split.username)}:{unquote(split.password or '')}" if split.username else None
    return ProxyManager(proxy, proxy_headers=make_headers(proxy_basic_auth=login), **options)


def _proxy(settings: ClickHouseSettings) -> str:
    return settings.proxy.get_secret_value() if settings.proxy is not None else ""


def _tls(settings: ClickHouseSettings) -> dict[str, Any]:
    files = {"ca_cert": settings.ca_file, "client_cert": settings.cert_file, "client_cert_key": settings.key_file}
    options: dict[str, Any] = {name: str(file) for name, file in files.items() if file is not None}
    options["verify"] = settings.verify
    if settings.server_host_name:
        options["server_hostname"] = settings.server_host_name
        if settings.verify:
            options["assert_hostname"] = settings.server_host_name
    return options
