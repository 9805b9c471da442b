"""Classifies failures of ClickHouse: by the table of server codes, and without a code by the exception.

Owns the boundary: exceptions of the driver come in, `SinkUnavailable` and `SinkRefused` go out. Their messages name the
cause and, for the environment, the fix; they never contain row values or credentials.
"""

import re
import ssl
import struct
from collections.abc import Iterator
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError, DataError, Error, ProgrammingError
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError
from urllib3.exceptions import SSLError as Urllib3SSLError

from pipeline.errors import ErrorClass, SinkError, SinkRefused, SinkUnavailable
from pipeline.redaction import redact

_AMBIGUOUS = ErrorClass.AMBIGUOUS
_TRANSIENT = ErrorClass.TRANSIENT
_ENVIRONMENT = ErrorClass.ENVIRONMENT
_SHAPE = ErrorClass.SHAPE
_SCHEMA = ErrorClass.SCHEMA

CODES: Final[dict[int, tuple[str, ErrorClass]]] = {
    # The insert, or its first target, may have been written: the second view failed, or the answer was lost.
    159: ("TIMEOUT_EXCEEDED", _AMBIGUOUS),
    160: ("TOO_SLOW", _AMBIGUOUS),
    209: ("SOCKET_TIMEOUT", _AMBIGUOUS),
    210: ("NETWORK_ERROR", _AMBIGUOUS),
    216: ("QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", _AMBIGUOUS),
    236: ("ABORTED", _AMBIGUOUS),
    244: ("UNEXPECTED_ZOOKEEPER_ERROR", _AMBIGUOUS),
    319: ("UNKNOWN_STATUS_OF_INSERT", _AMBIGUOUS),
    394: ("QUERY_WAS_CANCELLED", _AMBIGUOUS),
    395: ("FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", _AMBIGUOUS),
    735: ("QUERY_WAS_CANCELLED_BY_CLIENT", _AMBIGUOUS),
    # The server is busy, or a part of it is away; a retry passes.
    3: ("UNEXPECTED_END_OF_FILE", _TRANSIENT),
    107: ("FILE_DOESNT_EXIST", _TRANSIENT),
    198: ("DNS_ERROR", _TRANSIENT),
    201: ("QUOTA_EXCEEDED", _TRANSIENT),
    202: ("TOO_MANY_SIMULTANEOUS_QUERIES", _TRANSIENT),
    203: ("NO_FREE_CONNECTION", _TRANSIENT),
    225: ("NO_ZOOKEEPER", _TRANSIENT),
    242: ("TABLE_IS_READ_ONLY", _TRANSIENT),
    252: ("TOO_MANY_PARTS", _TRANSIENT),
    279: ("ALL_CONNECTION_TRIES_FAILED", _TRANSIENT),
    285: ("TOO_FEW_LIVE_REPLICAS", _TRANSIENT),
    286: ("UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE", _TRANSIENT),
    289: ("REPLICA_IS_NOT_IN_QUORUM", _TRANSIENT),
    297: ("SHARD_HAS_NO_CONNECTIONS", _TRANSIENT),
    425: ("SYSTEM_ERROR", _TRANSIENT),
    439: ("CANNOT_SCHEDULE_TASK", _TRANSIENT),
    473: ("DEADLOCK_AVOIDED", _TRANSIENT),
    700: ("USER_SESSION_LIMIT_EXCEEDED", _TRANSIENT),
    745: ("SERVER_OVERLOADED", _TRANSIENT),
    749: ("TCP_CONNECTION_LIMIT_REACHED", _TRANSIENT),
    762: ("HTTP_CONNECTION_LIMIT_REACHED", _TRANSIENT),
    999: ("KEEPER_EXCEPTION", _TRANSIENT),
    # An operator has to act. The columns of an insert are fixed, so a missing one is never the fault of a row.
    8: ("THERE_IS_NO_COLUMN", _ENVIRONMENT),
    10: ("NOT_FOUND_COLUMN_IN_BLOCK", _ENVIRONMENT),
    16: ("NO_SUCH_COLUMN_IN_TABLE", _ENVIRONMENT),
    20: ("NUMBER_OF_COLUMNS_DOESNT_MATCH", _ENVIRONMENT),
    47: ("UNKNOWN_IDENTIFIER", _ENVIRONMENT),
    60: ("UNKNOWN_TABLE", _ENVIRONMENT),
    76: ("CANNOT_OPEN_FILE", _ENVIRONMENT),
    81: ("UNKNOWN_DATABASE", _ENVIRONMENT),
    115: ("UNKNOWN_SETTING", _ENVIRONMENT),
    164: ("READONLY", _ENVIRONMENT),
    192: ("UNKNOWN_USER", _ENVIRONMENT),
    193: ("WRONG_PASSWORD", _ENVIRONMENT),
    194: ("REQUIRED_PASSWORD", _ENVIRONMENT),
    195: ("IP_ADDRESS_NOT_ALLOWED", _ENVIRONMENT),
    218: ("TABLE_IS_DROPPED", _ENVIRONMENT),
    243: ("NOT_ENOUGH_SPACE", _ENVIRONMENT),
    291: ("DATABASE_ACCESS_DENIED", _ENVIRONMENT),
    452: ("SETTING_CONSTRAINT_VIOLATION", _ENVIRONMENT),
    472: ("READONLY_SETTING", _ENVIRONMENT),
    497: ("ACCESS_DENIED", _ENVIRONMENT),
    511: ("UNKNOWN_ROLE", _ENVIRONMENT),
    514: ("ACCESS_STORAGE_FOR_INSERTION_NOT_FOUND", _ENVIRONMENT),
    516: ("AUTHENTICATION_FAILED", _ENVIRONMENT),
    774: ("TABLE_IS_PERMANENTLY_READ_ONLY", _ENVIRONMENT),
    # Fewer rows at once would pass. 252 is here too where it counts partitions, see `_class_of`.
    158: ("TOO_MANY_ROWS", _SHAPE),
    173: ("CANNOT_ALLOCATE_MEMORY", _SHAPE),
    241: ("MEMORY_LIMIT_EXCEEDED", _SHAPE),
    307: ("TOO_MANY_BYTES", _SHAPE),
    396: ("TOO_MANY_ROWS_OR_BYTES", _SHAPE),
    # A row is at fault.
    6: ("CANNOT_PARSE_TEXT", _SCHEMA),
    27: ("CANNOT_PARSE_INPUT_ASSERTION_FAILED", _SCHEMA),
    33: ("CANNOT_READ_ALL_DATA", _SCHEMA),
    38: ("CANNOT_PARSE_DATE", _SCHEMA),
    41: ("CANNOT_PARSE_DATETIME", _SCHEMA),
    53: ("TYPE_MISMATCH", _SCHEMA),
    69: ("ARGUMENT_OUT_OF_BOUND", _SCHEMA),
    70: ("CANNOT_CONVERT_TYPE", _SCHEMA),
    72: ("CANNOT_PARSE_NUMBER", _SCHEMA),
    117: ("INCORRECT_DATA", _SCHEMA),
    128: ("TOO_LARGE_ARRAY_SIZE", _SCHEMA),
    131: ("TOO_LARGE_STRING_SIZE", _SCHEMA),
    321: ("VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", _SCHEMA),
    349: ("CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", _SCHEMA),
    407: ("DECIMAL_OVERFLOW", _SCHEMA),
    469: ("VIOLATED_CONSTRAINT", _SCHEMA),
    524: ("ALTER_OF_COLUMN_IS_FORBIDDEN", _SCHEMA),
    691: ("UNKNOWN_ELEMENT_OF_ENUM", _SCHEMA),
}
"""Server error code to its name and what it means."""

_STATUSES: Final[dict[int, ErrorClass]] = {
    401: _ENVIRONMENT,
    403: _ENVIRONMENT,
    404: _ENVIRONMENT,
    413: _SHAPE,
    429: _TRANSIENT,
}
"""Meaning of an HTTP status that no ClickHouse sent (it always gives a code): a proxy in between sent it."""

_CREDENTIALS = "check clickhouse.username and clickhouse.password"
_MIGRATE = "run `runstep migrate`"
_ALTER = f"{_MIGRATE}, or the ALTER that `runstep doctor` names"
_FIXES: Final[dict[int, str]] = {
    8: _ALTER,
    10: _ALTER,
    16: _ALTER,
    20: _ALTER,
    47: _ALTER,
    60: _MIGRATE,
    76: "stop the other process that has this data directory open",
    81: _MIGRATE,
    164: "give the user a profile that may write",
    192: "the views belong to a user who is gone: recreate that user, or do what `runstep doctor` names",
    193: _CREDENTIALS,
    194: _CREDENTIALS,
    195: "allow this host's address in the user's networks",
    218: _MIGRATE,
    243: "make room on the server's disk",
    452: "lift the constraint in the user's profile",
    472: "give the user a profile that may change settings",
    497: "grant it to the user",
    516: _CREDENTIALS,
}

_ENCODING = (DataError, TypeError, ValueError, AttributeError, OverflowError, struct.error)
"""What the driver raises for a value that does not fit its column; most are not exceptions of its own."""

_MAX_TEXT_CHARS: Final = 300
_SERVER_TEXT = re.compile(r"DB::Exception:\s*(?P<text>[^\n]*)")
# Blanks are taken from the first of them only, and at once: a search that tries each of them is quadratic.
_TRAILER = re.compile(r"(?<!\s)\s*+(\([A-Z][A-Z0-9_]+\)|\(version .*|\(for url .*|Stack trace:.*|[Ii]n scope .*)\s*$")
_VALUES = re.compile(r"(?<!\s)\s*+(Column values:|before:|While executing|while converting source).*$", re.DOTALL)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*(?:'|$)|\"(?:[^\"\\]|\\.)*(?:\"|$)")
_STATUS = re.compile(r"HTTP driver received HTTP status (\d{3})")


def sink_error(error: Exception, address: str, column: str | None = None) -> SinkError:
    """Return the error to raise in place of what the driver raised.

    Raise it `from None`: the driver's own message may quote row values, and log formatters print causes.

    Args:
        error: what the driver raised.
        address: where ClickHouse is, without credentials, for the message.
        column: the column that was being encoded, where there was one.
    """
    if isinstance(error, SinkError):
        return error
    code = error.code if isinstance(error, Error) else None
    if code is not None:
        return _from_server(error, code)
    if isinstance(error, _ENCODING):
        where = f" in column {column}" if column else ""
        return SinkRefused(f"a value{where} does not fit its type ({type(error).__name__})", _SCHEMA)
    if isinstance(error, ProgrammingError):
        return _from_driver(error)
    if isinstance(error, (ClickHouseError, HTTPError, OSError)):
        return _from_transport(error, address)
    return SinkUnavailable(f"the ClickHouse driver failed with {type(error).__name__}", ErrorClass.UNKNOWN)


def _make(message: str, error_class: ErrorClass, code: int | None = None) -> SinkError:
    kind = SinkRefused if error_class in {_SHAPE, _SCHEMA} else SinkUnavailable
    return kind(message, error_class, code)


def _from_server(error: Exception, code: int) -> SinkError:
    name, error_class = CODES.get(code, (getattr(error, "name", None) or "unlisted", ErrorClass.UNKNOWN))
    text = str(error)
    if code == 252 and "Too many partitions" in text:  # noqa: PLR2004 - the one code with two meanings
        error_class = _SHAPE
    fix = f"; {_FIXES[code]}" if code in _FIXES else ""
    return _make(f"ClickHouse error {code} ({name}): {safe_line(text, error_class)}{fix}", error_class, code)


def safe_line(text: str, error_class: ErrorClass) -> str:
    """Return the server's first line, shortened, without credentials and without what could be a row's value."""
    line = _VALUES.sub("", server_line(text))
    if error_class is not _ENVIRONMENT:
        line = _QUOTED.sub("'…'", line)
    return _bounded(redact(line).rstrip(" .:,"))


def server_line(text: str) -> str:
    """Return the first line of what the server said, without the driver's words around it; it may quote values."""
    found = _SERVER_TEXT.search(text)
    line = found["text"] if found else text.partition("\n")[0]
    previous = ""
    while previous != line:
        previous, line = line, _TRAILER.sub("", line)
    return _bounded(line.rstrip(" .:,"))


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_TEXT_CHARS else text[: _MAX_TEXT_CHARS - 1] + "…"


def _from_driver(error: ProgrammingError) -> SinkError:
    """Classify what the driver rejects by itself, before it asks a server."""
    text = str(error)
    if "chdb engine" in text:
        return SinkUnavailable(_embedded(text), _ENVIRONMENT)
    if "is readonly" in text:
        return SinkUnavailable(f"ClickHouse user may not change settings: {text}; {_FIXES[472]}", _ENVIRONMENT, 472)
    return SinkUnavailable(
        f"the ClickHouse driver rejects the call: {safe_line(text, ErrorClass.UNKNOWN)}", ErrorClass.UNKNOWN
    )


def _embedded(text: str) -> str:
    found = re.search(r"chdb engine at '(?P<path>[^']*)'", text)
    place = f"embedded ClickHouse {found['path']}" if found else "embedded ClickHouse"
    if "already initialized" in text:
        return f"{place}: this process has another data directory open; one process can have one"
    return f"{place} cannot be opened: {safe_line(text, _ENVIRONMENT)}"


def _from_transport(error: Exception, address: str) -> SinkError:
    """Classify a failure of the connection; what may have happened on the server is ambiguous."""
    status = _STATUS.search(str(error))
    if status is not None:
        number = int(status[1])
        return _make(f"{address} answered HTTP {number}, not as ClickHouse does", _STATUSES.get(number, _AMBIGUOUS))
    chain = tuple(_chain(error))
    if _find(chain, FileNotFoundError, PermissionError):
        return SinkUnavailable(f"cannot use a certificate or key for {address}: {_cause(chain)}", _ENVIRONMENT)
    # A TLS connection that is cut is a broken connection, not a fault of TLS.
    if _find(chain, ssl.SSLError, Urllib3SSLError) and not _find(chain, ssl.SSLEOFError):
        return SinkUnavailable(f"TLS with {address} fails: {_tls_cause(chain)}", _ENVIRONMENT)
    if _find(chain, NewConnectionError, ConnectTimeoutError, ConnectionRefusedError):
        return SinkUnavailable(f"cannot connect to {address}: {_cause(chain)}", _TRANSIENT)
    if _find(chain, ReadTimeoutError, TimeoutError):
        return SinkUnavailable(f"{address} did not answer in time", _AMBIGUOUS)
    return SinkUnavailable(f"the connection to {address} broke: {_cause(chain)}", _AMBIGUOUS)


def _find(chain: tuple[BaseException, ...], *kinds: type[BaseException]) -> bool:
    return any(isinstance(link, kinds) for link in chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that are behind it, outermost first."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        link = waiting.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]


def _tls_cause(chain: tuple[BaseException, ...]) -> str:
    errors = [link for link in chain if isinstance(link, ssl.SSLError)]
    for link in errors:
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"certificate verification failed: {link.verify_message}; check clickhouse.ca_file"
    reasons = [link.reason for link in errors if link.reason]
    return reasons[0].lower().replace("_", " ") if reasons else "handshake failed"


def _cause(chain: tuple[BaseException, ...]) -> str:
    for link in reversed(chain):
        if isinstance(link, OSError) and link.strerror:
            return f"{link.strerror.lower()} ({link.filename})" if link.filename else link.strerror.lower()
    return type(chain[-1]).__name__
