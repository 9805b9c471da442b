"""What a running daemon says of itself, over its own endpoints: is it alive, is it ready, and if not, why not."""

import json
import re
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, build_opener

from pipeline.checks.finding import Finding, away, bad, fine, warning
from pipeline.config import HttpSettings

_TIMEOUT: Final = 5.0
_LONGEST: Final = 1_000_000
_ANYWHERE: Final = {"", "0.0.0.0", "[::]"}  # noqa: S104 - these are looked for, not listened on
_ITSELF: Final = "mend that; the daemon goes on by itself"
_CURE: Final = re.compile(
    r"; (?P<cure>(?:ALTER|GRANT|run|check|grant|correct|look|lift|give|make|let|stop|allow)\b.*)$"
)
"""Most causes end with their cure."""


class _Answer(NamedTuple):
    status: int
    text: str


def daemon_findings(http: HttpSettings, urls: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Yield how the daemons fare.

    Takes up to 15 seconds for one that is stuck.

    Args:
        http: where the daemon of these settings listens, and the certificates of its endpoints.
        urls: where daemons are to be, instead; then it is bad news if one is not.
    """
    for url in urls:
        given = url if "://" in url else f"{_scheme(http)}://{url}"
        yield from _asked(given.rstrip("/"), http, required=True)
    if urls:
        return
    host, _, port = http.bind.rpartition(":")
    if int(port) == 0:
        yield warning("daemon", "http.bind takes any free port, so it cannot be asked", "name it: --url host:port")
        return
    yield from _asked(f"{_scheme(http)}://{'localhost' if host in _ANYWHERE else host}:{port}", http, required=False)


def _scheme(http: HttpSettings) -> str:
    return "https" if http.cert_file else "http"


def _asked(url: str, http: HttpSettings, *, required: bool) -> Iterator[Finding]:
    subject = f"daemon {url}"
    try:
        opener = _opener(http, trusting=not required)
        health, ready, status = (_get(opener, f"{url}/{page}") for page in ("healthz", "readyz", "status"))
    except (OSError, ValueError, HTTPException) as error:
        cause = f"does not answer: {_reason(error)}"
        if required:
            yield away(subject, cause, "start it, or correct --url")
        else:
            yield warning(subject, f"{cause}; is it running here?", "start `runstep run`, or name it: --url host:port")
        return
    try:
        told = json.loads(status.text)
        state = told["state"]
    except (ValueError, KeyError, TypeError):
        yield bad(
            subject, f"answers, but /status is not runstep's (HTTP {status.status})", "correct http.bind or --url"
        )
        return
    yield from _troubles(subject, health, ready, told)
    if not told.get("causes"):
        yield fine(subject, f"{state}, {_ownership(told.get('partitions', {}))}")
    yield from _remarks(subject, told)


def _opener(http: HttpSettings, *, trusting: bool) -> OpenerDirector:
    """Return a way to ask that goes through no proxy.

    Its own certificate is trusted as it stands, and shown where the daemon asks its clients for one.
    """
    context = ssl.create_default_context()
    if http.cert_file is not None:
        context.load_verify_locations(http.cert_file)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        # It is made for the name by which others know this host.
        context.check_hostname = not trusting
        if http.client_ca_file is not None:
            context.load_cert_chain(http.cert_file, http.key_file)
    return build_opener(ProxyHandler({}), HTTPSHandler(context=context))


def _get(opener: OpenerDirector, url: str) -> _Answer:
    try:
        with opener.open(url, timeout=_TIMEOUT) as answer:
            return _Answer(answer.status, answer.read(_LONGEST).decode(errors="replace"))
    except HTTPError as error:
        with error:
            return _Answer(error.code, error.read(_LONGEST).decode(errors="replace"))


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror.lower()
    return str(reason) or type(reason).__name__


def _troubles(subject: str, health: _Answer, ready: _Answer, told: Mapping[str, Any]) -> Iterator[Finding]:
    if health.status != HTTPStatus.OK:
        cure = "its log has the stacks of all threads: report them, and restart it"
        yield bad(subject, f"makes no progress: {health.text.strip()}", cure)
    causes = told.get("causes") or (ready.text.splitlines() if ready.status != HTTPStatus.OK else [])
    for cause in causes:
        if cause.strip() == health.text.strip():
            continue
        found = _CURE.search(cause)
        detail = cause[: found.start()] if found else cause
        yield bad(subject, f"is not ready: {detail}", found["cure"] if found else _ITSELF)


def _ownership(partitions: Mapping[str, Mapping[str, Any]]) -> str:
    lag = sum(partition.get("lag") or 0 for partition in partitions.values())
    return f"{len(partitions)} partition{'' if len(partitions) == 1 else 's'}, {lag:,} records behind"


def _remarks(subject: str, told: Mapping[str, Any]) -> Iterator[Finding]:
    sink = told.get("sink", {})
    if sink.get("breaker", "closed") != "closed":
        row = f"{sink.get('failures_in_a_row', 'some')} failures in a row"
        yield warning(subject, f"its breaker is {sink['breaker']} after {row}", "it closes when a probe passes")
    if sink.get("most_rows"):
        cure = "give its user more memory, or set batch.max_rows to that"
        yield warning(subject, f"ClickHouse refuses more than {sink['most_rows']:,} rows at once", cure)
    if told["state"] == "running" and not told.get("partitions"):
        yield warning(subject, "has no partitions", "nothing, if the group has more members than partitions")
    for kind, cause in sorted(told.get("last_error", {}).items()):
        yield fine(subject, f"its last {kind} error: {cause}")
