"""The running daemons, over their own endpoints: whether each is alive and ready, and if not, why."""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final

from pydantic import ValidationError

from pipeline.config import HttpSettings
from pipeline.endpoints.status import PartitionStatus, SinkStatus, Status
from pipeline.tools.checks.finding import Finding, away, bad, fine, guarded, warning
from pipeline.tools.daemon_client import UNANSWERED, HttpAnswer, get, opener, own_address, reason, scheme

_RECOVERS: Final = "fix that; the daemon recovers by itself"
_FIX: Final = re.compile(
    r"; (?P<fix>(?:ALTER|GRANT|run|check|grant|correct|look|lift|give|make|let|stop|allow|recreate|raise)\b.*)$"
)
"""Most causes end with their fix."""


def daemon_findings(http: HttpSettings, urls: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Yield the state of the daemons.

    Takes up to 15 seconds for one that hangs.

    Args:
        http: where the daemon of these settings listens, and the certificates of its endpoints.
        urls: where daemons have to be, instead; one that is not there is a fault then.
    """
    for url in urls:
        given = url if "://" in url else f"{scheme(http)}://{url}"
        yield from guarded(f"daemon {url}", _asked(given.rstrip("/"), http, required=True))
    if urls:
        return
    address = own_address(http)
    if address is None:
        yield warning("daemon", "http.bind takes any free port, so its address is unknown", "name it: --url host:port")
        return
    yield from guarded(f"daemon {address}", _asked(f"{scheme(http)}://{address}", http, required=False))


def _asked(url: str, http: HttpSettings, *, required: bool) -> Iterator[Finding]:
    subject = f"daemon {url}"
    try:
        through = opener(http, trusting=not required)
        health, ready, status = (get(through, f"{url}/{page}") for page in ("healthz", "readyz", "status"))
    except UNANSWERED as error:
        cause = f"does not answer: {reason(error)}"
        if required:
            yield away(subject, cause, "start it, or correct --url")
        else:
            yield warning(subject, f"{cause}; is it running here?", "start `runstep run`, or name it: --url host:port")
        return
    try:
        said = Status.read(status.text)
    except ValidationError:
        yield bad(
            subject, f"answers, but /status is not runstep's (HTTP {status.status})", "correct http.bind or --url"
        )
        return
    yield from _causes(subject, health, ready, said)
    if not said.causes:
        yield fine(subject, f"{said.state}, {_ownership(said.partitions)}")
    yield from _remarks(subject, said)


def _causes(subject: str, health: HttpAnswer, ready: HttpAnswer, said: Status) -> Iterator[Finding]:
    if health.status != HTTPStatus.OK:
        fix = "its log has the stacks of all threads: report them, and restart it"
        yield bad(subject, f"makes no progress: {health.text.strip()}", fix)
    for cause in said.causes or (ready.text.splitlines() if ready.status != HTTPStatus.OK else []):
        if cause.strip() == health.text.strip():
            continue
        detail, fix = _split(cause)
        yield bad(subject, f"is not ready: {detail}", fix)


def _split(cause: str) -> tuple[str, str]:
    """Return a cause and its fix."""
    found = _FIX.search(cause)
    return (cause[: found.start()], found["fix"]) if found else (cause, _RECOVERS)


def _ownership(partitions: Mapping[str, PartitionStatus]) -> str:
    lag = sum(partition.lag or 0 for partition in partitions.values())
    return f"{len(partitions)} partition{'' if len(partitions) == 1 else 's'}, {lag:,} records behind"


def _remarks(subject: str, said: Status) -> Iterator[Finding]:
    for remark in said.remarks:
        yield warning(subject, *_split(remark))
    sink = said.sink or SinkStatus()
    if sink.breaker not in {"", "closed"}:
        row = "some" if sink.failures_in_a_row is None else sink.failures_in_a_row
        fix = "it closes when a probe passes"
        yield warning(subject, f"its breaker is {sink.breaker} after {row} failures in a row", fix)
    if sink.most_rows:
        fix = "give its user more memory, let the way to it carry larger requests, or set batch.max_rows to that"
        cause = f": {sink.most_rows_cause}" if sink.most_rows_cause else ""
        yield warning(subject, f"inserts of more than {sink.most_rows:,} rows do not pass{cause}", fix)
    if sink.pending_migrations:
        yield warning(subject, f"its migrations {', '.join(sink.pending_migrations)} are pending", "runstep migrate")
    if said.state == "running" and not said.partitions:
        yield warning(subject, "has no partitions", "nothing, if the group has more members than partitions")
    for kind, cause in sorted(said.last_error.items()):
        yield fine(subject, f"its last {kind} error: {cause}")
