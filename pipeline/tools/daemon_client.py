"""A client of the daemon's endpoints: where they are, how their certificate is trusted, why there is no answer.

Does not interpret the answers: `checks.daemon_answers` judges them, `top` counts with them.
"""

import ssl
from http.client import HTTPException
from typing import Final, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, build_opener

from pipeline.config import HttpSettings

UNANSWERED: Final = (OSError, ValueError, HTTPException)
"""What `get` and `opener` raise where there is no daemon to ask."""

ANSWER_TIMEOUT_S: Final = 5.0
"""Seconds to wait for each part of an answer."""

_MAX_ANSWER_BYTES: Final = 10_000_000
_ANYWHERE: Final = {"", "0.0.0.0", "[::]"}  # noqa: S104 - these are looked for, not listened on


class HttpAnswer(NamedTuple):
    """A page that was answered, whatever its status."""

    status: int
    text: str


def scheme(http: HttpSettings) -> str:
    """Return the URL scheme of the endpoints of these settings."""
    return "https" if http.cert_file else "http"


def own_address(http: HttpSettings) -> str | None:
    """Return host:port at which this host reaches the daemon of these settings; None where it takes any free port."""
    host = "localhost" if http.host in _ANYWHERE else http.host
    return f"{host}:{http.port}" if http.port else None


def opener(http: HttpSettings, *, trusting: bool) -> OpenerDirector:
    """Return an opener of URLs that uses no proxy.

    Its own certificate is trusted as it is, and shown where the daemon asks its clients for one.

    Args:
        http: the certificates.
        trusting: whether a daemon with that certificate may have any host name.
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


def get(through: OpenerDirector, url: str) -> HttpAnswer:
    """Return a page of a daemon; see `UNANSWERED`."""
    try:
        with through.open(url, timeout=ANSWER_TIMEOUT_S) as answer:
            text = answer.read(_MAX_ANSWER_BYTES).decode(errors="replace")
            if answer.length:
                raise ValueError("its answer is cut off")
            return HttpAnswer(answer.status, text)
    except HTTPError as error:
        with error:
            return HttpAnswer(error.code, error.read(_MAX_ANSWER_BYTES).decode(errors="replace"))


def reason(error: Exception) -> str:
    """Return why there was no answer, in words."""
    inner = error.reason if isinstance(error, URLError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    return str(inner) or type(inner).__name__
