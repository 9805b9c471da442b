"""What each failure of ClickHouse is taken for, and what its message does not give away."""

import socket
import ssl
import struct
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, DataError, OperationalError, ProgrammingError
from pydantic import SecretStr
from urllib3.exceptions import MaxRetryError, ProtocolError, ReadTimeoutError
from urllib3.exceptions import SSLError as Urllib3SSLError

from pipeline.clickhouse.connection import address, connect
from pipeline.clickhouse.error_classes import CODES, sink_error
from pipeline.config import ClickHouseSettings
from pipeline.errors import ConfigError, ErrorClass, SinkError, SinkRefused, SinkUnavailable

WHERE = "http://clickhouse:8123"


def from_server(code: int, text: str, name: str = "NAME") -> DatabaseError:
    message = (
        f"Received ClickHouse exception, code: {code}, server response: Code: {code}. DB::Exception: {text}. ({name})"
    )
    return DatabaseError(f"{message} (version 26.7.2.1) (for url {WHERE})", code=code, name=name)


def caused(outer: Exception, *inner: BaseException) -> Exception:
    error: BaseException = outer
    for cause in inner:
        error.__cause__ = cause
        error = cause
    return outer


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *[(code, ErrorClass.AMBIGUOUS) for code in (159, 160, 209, 210, 216, 244, 319, 395)],
        *[(code, ErrorClass.TRANSIENT) for code in (3, 107, 202, 203, 242, 279, 285, 425, 999)],
        *[(code, ErrorClass.ENVIRONMENT) for code in (16, 60, 81, 164, 192, 193, 194, 243, 497, 514, 516)],
        *[(code, ErrorClass.SHAPE) for code in (241, 307, 396)],
        *[(code, ErrorClass.SCHEMA) for code in (6, 27, 33, 41, 53, 69, 117, 131, 349, 469, 524, 691)],
        (9876, ErrorClass.UNKNOWN),
    ],
)
def test_server_codes_have_the_classes_of_the_table(code: int, expected: ErrorClass) -> None:
    error = sink_error(from_server(code, "something"), WHERE)
    assert (error.error_class, error.code) == (expected, code)
    assert isinstance(error, SinkRefused if expected in {ErrorClass.SHAPE, ErrorClass.SCHEMA} else SinkUnavailable)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Too many parts (3 with average size of 1.00 KiB) in table", ErrorClass.TRANSIENT),
        ("Too many partitions for single INSERT block (more than 100)", ErrorClass.SHAPE),
    ],
)
def test_code_252_means_what_its_message_says(text: str, expected: ErrorClass) -> None:
    assert sink_error(from_server(252, text, "TOO_MANY_PARTS"), WHERE).error_class is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, ErrorClass.ENVIRONMENT),
        (403, ErrorClass.ENVIRONMENT),
        (404, ErrorClass.ENVIRONMENT),
        (413, ErrorClass.SHAPE),
        (429, ErrorClass.TRANSIENT),
        (500, ErrorClass.AMBIGUOUS),
        (502, ErrorClass.AMBIGUOUS),
        (503, ErrorClass.AMBIGUOUS),
        (504, ErrorClass.AMBIGUOUS),
    ],
)
def test_statuses_of_proxies(status: int, expected: ErrorClass) -> None:
    error = sink_error(DatabaseError(f"HTTP driver received HTTP status {status}, server response: <html>"), WHERE)
    assert error.error_class is expected
    assert "html" not in str(error)


@pytest.mark.parametrize(
    "error",
    [
        DataError("Unable to create native array"),
        TypeError("object of type 'NoneType' has no len()"),
        ValueError("bad"),
        AttributeError("'int' object has no attribute 'encode'"),
        OverflowError("too large"),
        struct.error("ushort format requires"),
        UnicodeEncodeError("utf-8", "secret \ud800", 7, 8, "surrogates not allowed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_value_that_cannot_be_encoded_is_refused_by_its_column_and_not_quoted(error: Exception) -> None:
    refusal = sink_error(error, WHERE, "thread_id")
    assert (type(refusal), refusal.error_class) == (SinkRefused, ErrorClass.SCHEMA)
    assert "column thread_id" in str(refusal)
    assert "secret" not in str(refusal)


def test_ways_to_the_server_that_broke_are_ambiguous() -> None:
    reset = caused(OperationalError("Error"), ProtocolError("aborted", ConnectionResetError(104, "Connection reset")))
    silent = caused(OperationalError("Error"), ReadTimeoutError(None, "/", "Read timed out"))  # type: ignore[arg-type]
    cut = caused(OperationalError("Error"), ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))
    for error in (reset, silent, cut):
        assert sink_error(error, WHERE).error_class is ErrorClass.AMBIGUOUS
    assert "did not answer in time" in str(sink_error(silent, WHERE))
    assert "connection reset" in str(sink_error(reset, WHERE))


def test_tls_trouble_is_for_a_human_wherever_it_hides() -> None:
    inner = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    inner.verify_message = "unable to get local issuer certificate"
    outer = MaxRetryError(None, "/", Urllib3SSLError(inner))  # type: ignore[arg-type]
    error = sink_error(caused(OperationalError("Error"), outer), WHERE)
    assert error.error_class is ErrorClass.ENVIRONMENT
    assert "unable to get local issuer certificate" in str(error)
    assert "clickhouse.ca_file" in str(error)


def test_a_refused_connection_wrote_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        settings = ClickHouseSettings(url=SecretStr(f"http://bob:hunter2@127.0.0.1:{unused.getsockname()[1]}"))
        with pytest.raises(SinkUnavailable) as caught:
            connect(settings)
    assert caught.value.error_class is ErrorClass.TRANSIENT
    assert "connection refused" in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__suppress_context__


def test_what_the_driver_does_not_explain_is_unknown() -> None:
    for error in (RuntimeError("whatever"), ProgrammingError("Attempting to insert new data"), KeyError("x")):
        assert sink_error(error, WHERE).error_class is ErrorClass.UNKNOWN


def test_a_setting_that_may_not_be_changed_is_for_a_human() -> None:
    error = sink_error(ProgrammingError("Setting async_insert is readonly"), WHERE)
    assert error.error_class is ErrorClass.ENVIRONMENT
    assert "async_insert" in str(error)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("engine at '/data': Failed to create connection: Error initializing EmbeddedServer", "cannot be opened"),
        (
            "engine at '/data': Code: 36. DB::Exception: EmbeddedServer already initialized with path '/x'",
            "one process",
        ),
    ],
)
def test_an_embedded_database_that_cannot_be_opened_names_the_fix(text: str, fix: str) -> None:
    error = sink_error(ProgrammingError(f"Unable to open the chdb {text}"), "chdb:/data")
    assert error.error_class is ErrorClass.ENVIRONMENT
    assert "/data" in str(error)
    assert fix in str(error)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (469, "Constraint `c` for table t is violated at row 6. Column values: thread_id = 'patient 0815', n = 4711"),
        (27, "Cannot parse input: expected ',' before: 'patient 0815 4711"),
        (6, "Cannot parse string 'patient 0815\\' 4711' as UInt64: syntax error at position 3"),
        (9999, 'Strange value "patient 0815 4711" met'),
    ],
)
def test_values_that_the_server_quotes_are_cut(code: int, text: str) -> None:
    message = str(sink_error(from_server(code, text), WHERE))
    assert "0815" not in message
    assert "4711" not in message


def test_a_message_is_one_bounded_line_with_cause_and_fix() -> None:
    missing = sink_error(from_server(60, "Table runsteps.run_step_ingest does not exist\nStack trace: 0."), WHERE)
    assert str(missing) == (
        "ClickHouse error 60 (UNKNOWN_TABLE): Table runsteps.run_step_ingest does not exist; run `runstep migrate`"
    )
    assert len(str(sink_error(from_server(252, "Too many parts " + "x" * 5_000), WHERE))) < 400
    secret = sink_error(from_server(516, "Bearer abcdef0123456789abcdef is not valid"), WHERE)
    assert "abcdef0123456789" not in str(secret)


def test_an_error_that_is_ours_already_stays_as_it_is() -> None:
    error = SinkUnavailable("down", ErrorClass.TRANSIENT)
    assert sink_error(error, WHERE) is error


def test_no_code_is_listed_under_two_names() -> None:
    names = [name for name, _ in CODES.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://bob:p%40ss@ch:9000/path", "http://ch:9000"),
        ("https://ch", "https://ch:8443"),
        ("http://[::1]", "http://[::1]:8123"),
        ("chdb:/data", "chdb:/data"),
    ],
)
def test_address_shows_the_place_and_no_credentials(url: str, shown: str) -> None:
    assert address(ClickHouseSettings(url=SecretStr(url))) == shown


@pytest.mark.parametrize(
    "url", ["clickhouse", "ftp://bob:hunter2@ch", "http://bob:hunter2@ch:port", "http://", "chdb:"]
)
def test_a_url_that_is_none_is_a_matter_of_configuration(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        connect(ClickHouseSettings(url=SecretStr(url)))
    assert "clickhouse.url" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_token_file_that_cannot_be_read_keeps_the_daemon_waiting_not_ending(tmp_path: Path) -> None:
    with pytest.raises(SinkError) as caught:
        connect(ClickHouseSettings(access_token_file=tmp_path / "token"))
    assert caught.value.error_class is ErrorClass.ENVIRONMENT
    assert "token" in str(caught.value)
