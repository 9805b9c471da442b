"""Tokens for OAUTHBEARER: a fixed one, one from a file, or one that an issuer gives for this client's own credentials.

kafka-python asks for a token at each login, on the thread that also sends the heartbeats. So a token is renewed ahead
of time, on a thread of its own. A login waits for the issuer only where there is no token that is still good.
"""

import base64
import json
import ssl
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

import structlog

from pipeline.config import KafkaSettings
from pipeline.errors import SourceUnavailable
from pipeline.kafka.internals import TokenProvider
from pipeline.logs import clean

log = structlog.get_logger(__name__)

ISSUER_TIMEOUT_S: Final = 5.0
RENEWED_AFTER: Final = 0.8
"""The share of a token's life after which another one is asked for."""
RETRY_AFTER_S: Final = 10.0
"""Before an issuer that gave no token is asked ahead of time again."""
UNKNOWN_LIFE_S: Final = 60.0
"""Assumed where the issuer does not say how long a token is good."""
_MAX_ANSWER_BYTES: Final = 1_000_000
_REMEMBERED: Final = 8


class Token(TokenProvider):  # type: ignore[misc]  # kafka-python is not typed
    """Gives the token of the settings, and the extensions that go with it."""

    def __init__(self, settings: KafkaSettings) -> None:
        super().__init__()
        fixed, secret = settings.sasl_oauth_token, settings.sasl_oauth_client_secret
        self._fixed = "" if fixed is None else fixed.get_secret_value()
        self._file = settings.sasl_oauth_token_file
        self._extensions = dict(entry.split("=", 1) for entry in settings.sasl_oauth_extensions)
        self._issuer: Issuer | None = None
        if settings.sasl_oauth_token_url is not None:
            self._issuer = issuer(
                Credentials(
                    settings.sasl_oauth_token_url,
                    settings.sasl_oauth_client_id or "",
                    "" if secret is None else secret.get_secret_value(),
                    settings.sasl_oauth_scope or "",
                    settings.sasl_oauth_ca_file,
                )
            )

    def token(self) -> str:
        """Return the token as it is now.

        Raises:
            SourceUnavailable: the issuer gives none, and the last one has expired.
        """
        if self._issuer is not None:
            return self._issuer.token()
        return self._fixed if self._file is None else self._file.read_text(encoding="utf-8-sig").strip()

    def extensions(self) -> Mapping[str, str]:
        """Return what the broker wants to know beside the token, such as its logical cluster."""
        return self._extensions


class Credentials(NamedTuple):
    """Who asks which issuer, and for what."""

    url: str
    client_id: str
    client_secret: str
    scope: str
    ca_file: Path | None


class _Issued(NamedTuple):
    """A token, and the monotonic times at which it is renewed and at which it expires."""

    token: str
    renewed_at: float
    expires_at: float


class Issuer:
    """An issuer of tokens by the client-credentials flow (RFC 6749, section 4.4). For any thread."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._issued = _Issued("", 0.0, 0.0)
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self._renewing = threading.Lock()

    def token(self) -> str:
        """Return a token that is still good; the last one, too, while the issuer is away.

        Raises:
            SourceUnavailable: there is none; it names the issuer and why.
        """
        now, issued = time.monotonic(), self._issued
        if now < issued.renewed_at:
            return issued.token
        if now < issued.expires_at:
            self._renew_aside(now)
            return issued.token
        with self._lock:
            if time.monotonic() >= self._issued.expires_at:
                self._issued = _asked(self._credentials)
            return self._issued.token

    def _renew_aside(self, now: float) -> None:
        if now >= self._retry_at and self._renewing.acquire(blocking=False):
            self._retry_at = now + RETRY_AFTER_S
            threading.Thread(target=self._renew, name="runstep-token", daemon=True).start()

    def _renew(self) -> None:
        try:
            self._issued = _asked(self._credentials)
        except SourceUnavailable as error:
            message = "the token issuer gives no new token, so the one before is used until it expires"
            log.warning("oauth_token_kept", message=message, cause=str(error))
        finally:
            self._renewing.release()


@lru_cache(maxsize=_REMEMBERED)
def issuer(credentials: Credentials) -> Issuer:
    """Return the issuer of these credentials: one for all clients of the process, and for those that follow them."""
    return Issuer(credentials)


class _NoRedirect(HTTPRedirectHandler):
    """Does not send the secret anywhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow no redirect."""


def _asked(credentials: Credentials) -> _Issued:
    """Ask for a token.

    Raises:
        SourceUnavailable: there is none; it names the issuer and why.
    """
    where = f"token issuer {credentials.url}"
    asked_at = time.monotonic()
    try:
        context = ssl.create_default_context(cafile=credentials.ca_file)
        through = build_opener(ProxyHandler({}), HTTPSHandler(context=context), _NoRedirect())
        with through.open(_request(credentials), timeout=ISSUER_TIMEOUT_S) as answer:
            said = json.loads(answer.read(_MAX_ANSWER_BYTES))
        token, life = _granted(said)
    except HTTPError as error:
        with error:
            raise SourceUnavailable(f"{where} answers HTTP {error.code}{_refusal(error)}") from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise SourceUnavailable(f"{where} does not answer: {clean(str(reason) or type(reason).__name__)}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceUnavailable(f"{where} answers without a token; correct kafka.sasl_oauth_token_url") from error
    return _Issued(token, asked_at + life * RENEWED_AFTER, asked_at + life)


def _request(credentials: Credentials) -> Request:
    login = f"{quote(credentials.client_id, safe='')}:{quote(credentials.client_secret, safe='')}"
    form = {"grant_type": "client_credentials"} | ({"scope": credentials.scope} if credentials.scope else {})
    headers = {
        "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
    }
    return Request(credentials.url, urlencode(form).encode(), headers)  # noqa: S310 - the settings allow https only


def _granted(said: Any) -> tuple[str, float]:
    """Return the token of an answer, and for how many seconds it is good: as the issuer says, else as the token does.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it has none.
    """
    token = said["access_token"]
    if not token.isprintable():
        raise ValueError("a token is printable text")
    if said.get("expires_in") is not None:
        return token, float(said["expires_in"])
    return token, _life(token)


def _life(token: str) -> float:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return max(float(claims["exp"]) - time.time(), 0.0)
    except (ValueError, KeyError, TypeError, IndexError):
        return UNKNOWN_LIFE_S


def _refusal(error: HTTPError) -> str:
    """Return the error that an issuer names (RFC 6749, section 5.2), or nothing."""
    try:
        said = json.loads(error.read(_MAX_ANSWER_BYTES))
        words = [str(said[name]) for name in ("error", "error_description") if said.get(name)]
    except (ValueError, TypeError, AttributeError, OSError):
        return ""
    return f": {clean(': '.join(words))}" if words else ""
