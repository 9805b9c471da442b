"""Errors: every shape of `last_error`, the category that the code or the message tells, bounds, redaction."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.normalize.rules import Rules
from pipeline.normalize.step_errors import NO_ERROR, StepError, read_error
from schemas.vocabulary import ERROR_CATEGORIES, RETRYABLE

MAX = 8_192
QUOTA = "You exceeded your current quota, please check your plan and billing details."


def read(last_error, status="failed", max_text=MAX):
    return read_error(last_error, status, Rules(max_text=max_text), [])


def category(code, message):
    return read({"code": code, "message": message}).category


NOTHING: list[Any] = [
    None,
    {},
    "",
    "  ",
    [],
    0,
    False,
    {"code": "", "message": ""},
    {"code": None, "message": None},
    {"message": "", "type": "", "param": None, "code": None},
    {"error": {}},
    {"error": None},
    {"error": {"code": "", "message": ""}},
]


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("status", ["completed", "in_progress", "", "queued"])
def test_all_forms_of_no_error_are_none(nothing, status):
    assert read(nothing, status) is NO_ERROR


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize(
    ("status", "expected"), [("failed", "unknown"), ("expired", "expired"), ("cancelled", "cancelled")]
)
def test_a_step_that_ended_badly_has_a_category_without_an_error(nothing, status, expected):
    assert read(nothing, status) == StepError("", expected, None, "", "")


@pytest.mark.parametrize(
    ("last_error", "code", "message"),
    [
        ({"code": "server_error", "message": "Sorry"}, "server_error", "Sorry"),
        ({"type": "server_error", "message": "Sorry"}, "server_error", "Sorry"),
        ({"message": "Sorry", "type": "server_error", "param": None, "code": None}, "server_error", "Sorry"),
        ({"error": {"message": "Sorry", "type": "server_error", "code": None}}, "server_error", "Sorry"),
        ({"error": "Sorry"}, "", "Sorry"),
        ("Sorry", "", "Sorry"),
        ({"code": 429, "message": "Sorry"}, "429", "Sorry"),
        ({"code": "429", "message": None}, "429", ""),
        ({"code": "x", "message": {"detail": [1]}}, "x", '{"detail":[1]}'),
        ({"detail": "Sorry"}, "", '{"detail":"Sorry"}'),
        ({"code": {"a": 1}, "message": ""}, '{"a":1}', ""),
        (["Sorry"], "", '["Sorry"]'),
        (True, "", "true"),
    ],
)
def test_every_shape_is_read(last_error, code, message):
    error = read(last_error)
    assert (error.code, error.message) == (code, message)
    assert error.category in ERROR_CATEGORIES
    assert len(error.fingerprint) == 16


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        # the code settles it
        ("server_error", "Sorry, something went wrong.", "server"),
        ("rate_limit_exceeded", "Rate limit is exceeded. Try again in 60 seconds.", "rate_limit"),
        ("insufficient_quota", QUOTA, "quota"),
        ("content_filter", "Incomplete response returned, reason: content_filter", "content_filter"),
        ("context_length_exceeded", "This model's maximum context length is 4097 tokens.", "invalid_request"),
        ("invalid_engine_error", "Failed to resolve model info for: gpt-4.1", "invalid_request"),
        ("missing_required_parameter", "Bing Search API key is missing for Bing Grounding tool.", "invalid_request"),
        ("string_above_max_length", "string too long", "invalid_request"),
        ("PermissionDenied", "The principal lacks the required data action", "auth"),
        ("invalid_api_key", "", "auth"),
        ("429", "", "rate_limit"),
        ("503", "", "server"),
        ("504", "", "timeout"),
        ("InternalServerError", "boom", "server"),
        ("tool_user_error", "Create assistant failed", "tool"),
        ("tool_server_error", "... does not indicate success: 405 (Method Not Allowed).", "tool"),
        ("tool_user_error", "... does not indicate success: 400 (Bad Request)", "tool"),
        ("tool_brand_new_error", "", "tool"),
        # the message says more
        ("server_error", "Incorrect API key provided: sk-abcd1234****. You can find", "auth"),
        ("server_error", "The operation timed out.", "timeout"),
        ("server_error", QUOTA, "quota"),
        ("rate_limit_exceeded", QUOTA, "quota"),
        ("rate_limit_exceeded", "Request too large for gpt-4o on tokens per min (TPM): Limit 30000", "invalid_request"),
        ("tool_user_error", "400 Failed to fetch agent card: ... success: 401 (PermissionDenied)", "auth"),
        ("tool_user_error", "HTTP 403 from the tool", "auth"),
        ("tool_server_error", "Too Many Requests", "rate_limit"),
        ("tool_server_error", "HTTP 504", "timeout"),
        ("ValidationError", "('HTTP error 401: Unauthorized', 'http_client_error', {})", "auth"),
        ("invalid_request_error", "Incorrect API key provided", "auth"),
        ("400", "The response was filtered by the content management policy", "content_filter"),
        # no code, or an unknown one
        ("", "Rate limit is exceeded. Try again in 30 seconds.", "rate_limit"),
        ("", "You\u2019ve exceeded the rate limit", "rate_limit"),
        ("", "No assistant found with id 'asst_1'.", "invalid_request"),
        ("", "Invalid 'assistant_id': 'X'.", "invalid_request"),
        ("", "Failed to enumerate tools from remote server: 405 (Method Not Allowed).", "tool"),
        ("", "HTTP 502", "server"),
        ("", "HTTP 404 Not Found", "invalid_request"),
        ("brand_new", "The server had an error processing your request.", "server"),
        ("brand_new", "no idea", "unknown"),
        ("", "took 429 tokens and 503 words", "unknown"),
        ("run_expired", "", "expired"),
    ],
)
def test_the_category(code, message, expected):
    error = read({"code": code, "message": message})
    assert (error.category, error.retryable) == (expected, RETRYABLE.get(expected))


def test_an_error_of_a_step_that_did_not_fail_is_kept():
    for status in ("completed", "in_progress", "cancelled", "expired"):
        error = read({"code": "server_error", "message": "Sorry"}, status)
        assert (error.code, error.category, error.retryable) == ("server_error", "server", True)


def test_the_status_tells_where_the_error_does_not():
    unclear = {"code": "brand_new", "message": "no idea"}
    assert [read(unclear, status).category for status in ("failed", "expired", "cancelled", "in_progress")] == [
        "unknown",
        "expired",
        "cancelled",
        "unknown",
    ]
    assert read(unclear, "expired").message == "no idea"


def test_an_error_with_a_code_only_is_grouped_by_its_code():
    first, second, other = (read({"code": code, "message": ""}).fingerprint for code in ("x_y", "x_y", "x_z"))
    assert first == second != other


def test_bounds():
    error = read({"code": "c" * 500, "message": "wörter " * 5_000}, max_text=100)
    assert (len(error.code), len(error.message), len(error.fingerprint)) == (128, 100, 16)
    assert len(read({"code": "", "message": "x" * 100_000}).message) == MAX


def test_the_fingerprint_does_not_hang_on_the_bound():
    message = "The tool said: " + "word " * 500
    assert len({read(message, max_text=bound).fingerprint for bound in (64, 100, 2_000, MAX)}) == 1


@pytest.mark.parametrize("position", [0, 40, 4_090, 4_096, 5_100, 5_110, 5_119, 5_120, 8_190])
@pytest.mark.parametrize("bound", [64, 4_096, MAX])
def test_a_secret_at_the_cut_does_not_survive(position, bound):
    message = ("x " * 5_000)[:position] + " sk-proj-abcdefgh12345678ijklmnop mail carol@example.org" + " y" * 5_000
    kept = read({"code": "server_error", "message": message}, max_text=bound).message
    assert "sk-" not in kept
    assert "carol" not in kept


def test_a_code_is_redacted_too():
    assert read({"code": "password=hunter2", "message": ""}).code == "password=[redacted:password]"


def test_lone_surrogates_can_be_stored():
    error = read({"code": "\ud800", "message": "a \udfff"})
    (error.code + error.message).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["code", "message", "type", "error", "param"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=200)
@given(json_values, st.sampled_from(["failed", "expired", "cancelled", "completed", "in_progress", ""]))
def test_no_value_raises_and_the_vocabulary_is_closed(last_error, status):
    error = read(last_error, status, 64)
    assert error.category in (*ERROR_CATEGORIES, "")
    assert error.retryable == RETRYABLE.get(error.category)
    assert len(error.message) <= 64
    assert len(error.code) <= 128
    assert bool(error.fingerprint) == bool(error.code or error.message)
    if status in ("failed", "expired", "cancelled"):
        assert error.category
