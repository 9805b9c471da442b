"""Fingerprints: what varies from case to case is masked, what distinguishes faults is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.normalize.error_fingerprints import fingerprint, masked
from pipeline.normalize.rules import Rules
from pipeline.normalize.step_errors import read_error

FAMILIES = {
    "request ids in four spellings": [
        "The server had an error. (Include the request ID req_82e33d912a13528ed9a4d31bf8b83617 in it.)",
        "The server had an error. (Include the request ID 2c3bcea5-0d3e-44fd-8491-440998504414 in it.)",
        "The server had an error. (Include the request ID 408cbe225a9fc51e5165624c6ac16877 in it.)",
        "The server had an error. (Include the request ID sess_AdZO6AXFD13jXJevRD7yY in it.)",
    ],
    "organizations, masked ones too": [
        "Rate limit reached for gpt-4 in organization org-uVqpjtJiKqvVJMVfvpaounIh on tokens",
        "Rate limit reached for gpt-4 in organization org-********** on tokens",
        "Rate limit reached for gpt-4 in organization org-xxxxx on tokens",
        "Rate limit reached for gpt-4 in organization ***** on tokens",
        "Rate limit reached for gpt-4 in organization XXXXXXXXX on tokens",
        "Rate limit reached for gpt-4 in organization `org_01k\u2026` on tokens",
    ],
    "delays": [f"Slow down, wait {delay} now" for delay in ("644ms", "18.642s", "8m45.312s", "12", "1h2m3s")],
    "units of delays": ["Wait 1 second now", "Wait 86400 seconds now", "Wait 2.5 seconds now"],
    "counts": [f"Limit {a}, Used {b}, Requested 7" for a, b in (("30000", "14567"), ("1,000", "1"), ("10.5", "0"))],
    "the other counts": ["This has 5 tokens (4 in messages)", "This has 1543 tokens (999 in messages)"],
    "urls": [
        "Cannot read https://a.example.com/x?y=1.",
        "Cannot read http://8e5c3d750dc4.ngrok-free.app:443/.",
        "Cannot read amqp://queue:5672/vhost.",
    ],
    "hosts with ports": [
        f"Cannot connect to host {host} ssl:default"
        for host in (
            *("azureaiservice.search.windows.net:443", "10.0.0.12:8080", "localhost:9000", "db-1.prod.svc"),
            *("my_app-1.prod.example.com:443", "a.b.c.d.e.f.g.h.i.j.k.internal"),
        )
    ],
    "resource paths": [
        "The ID '/subscriptions/5b742c40-bc2b-4a4f-902f-ee9f644d8844/resourcegroups/x/connections/y' was not found",
        "The ID '/subscriptions/<subscription_id>/resourceGroups/<name>/connections/<c>' was not found",
    ],
    "e-mail addresses": ["Ask carol@example.com for access", "Ask d.dave@mail.example.org for access"],
    "secrets": ["Bad key sk-abcdefghijklmnop12 given", "Bad key sk-zyxwvutsrqponmlk98 given"],
    "ids in quotes": ["No item 'item_AGEqweASABEtfGc3R5McG' here", "No item 'WeatherAgent' here", "No item 'a-7' here"],
    "kinds of apostrophes": ["You've exceeded it", "You\u2019ve exceeded it"],
    "advice at the end": [
        "Rate limit is exceeded. Try again in 60 seconds.",
        "Rate limit is exceeded. Please retry after 9 seconds. Please go here: https://aka.ms/x if you want.",
        "Rate limit is exceeded. Visit https://platform.openai.com/account/rate-limits to learn more.",
        "Rate limit is  exceeded.",
    ],
    "dead letter case and white space": ["Resource  Not found", "resource not\nfound "],
}

DISTINCT = [
    "does not indicate success: 401 (Unauthorized)",
    "does not indicate success: 405 (Method Not Allowed).",
    "does not indicate success: 405 (Unauthorized)",
    "does not indicate success: 415 (Unauthorized)",
    "HTTP 500",
    "HTTP 502",
    "Error: invalid_tool_input; no",
    "Error: list_tools_server_error; no",
    "under API version 2023-05-15 have exceeded",
    "under API version 2024-08-01-preview have exceeded",
    "under API version 2024-02-01 have exceeded",
    "Rate limit reached for gpt-4.1",
    "Rate limit reached for gpt-4",
    "Rate limit reached for gpt-4o",
    "Rate limit reached for gpt-4o-2024-08-06",
    "Rate limit reached for gpt-4o-2024-05-13",
    "Rate limit reached for 10KTPM-200RPM",
    "Rate limit reached for `llama-3.3-70b-versatile`",
    "Rate limit reached for `llama-3.1-8b-instant`",
    "Missing required parameter: 'tools[0].fabric_dataagent'.",
    "Missing required parameter: 'tools[0].function'.",
    "Encountered <class 'AssertionError'>",
    "Encountered <class 'KeyError'>",
    "on tokens per min (TPM)",
    "on requests per day (RPD)",
    "current OpenAI S0 pricing tier",
    "Sorry about that!",
    "Please contact us.",
]


def of(message):
    return read_error({"code": "", "message": message}, "failed", Rules(), []).fingerprint


@pytest.mark.parametrize("family", FAMILIES)
def test_one_fault_has_one_fingerprint(family):
    assert len({of(message) for message in FAMILIES[family]}) == 1, [masked(message) for message in FAMILIES[family]]


def test_faults_are_distinguished():
    messages = DISTINCT + [messages[0] for messages in FAMILIES.values()]
    assert len({of(message) for message in messages}) == len(messages)


def test_a_fingerprint_is_sixteen_hexadecimal_digits_and_stable():
    assert fingerprint("Sorry, something went wrong.") == "ba48a94145eff8ce"
    assert fingerprint("") == ""


hexadecimal = st.text("0123456789abcdef", min_size=32, max_size=32).filter(
    lambda text: not text.isdigit() and not text.isalpha()
)
tails = st.from_regex(r"[A-Za-z]{3}[0-9][A-Za-z0-9]{8,20}", fullmatch=True)
ids = st.one_of(
    hexadecimal.map("req_{}".format),
    hexadecimal,
    st.uuids().map(str),
    tails.map("sess_{}".format),
    tails.map("call_{}".format),
)
numbers = st.one_of(
    st.integers(0, 10**12).map(str),
    st.floats(0, 1e6).map("{:.3f}".format),
    st.integers(0, 99_999).map("{}ms".format),
    st.tuples(st.integers(1, 59), st.integers(0, 59)).map("{0[0]}m{0[1]}s".format),
)
urls = st.from_regex(r"https?://[a-z0-9]{1,12}\.[a-z]{2,5}(?::[0-9]{2,5})?/[a-z0-9/_-]{0,20}[a-z0-9]", fullmatch=True)
cases = st.tuples(ids, numbers, numbers, urls)


@settings(deadline=None, max_examples=150)
@given(cases, cases)
def test_ids_numbers_and_urls_do_not_change_it(one, other):
    template = "Run {} used {} of {} words while it fetched {} and stopped."
    assert masked(template.format(*one)) == masked(template.format(*other))
    assert of(template.format(*one)) == of(template.format(*other))


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=200))
def test_no_text_raises(text):
    assert len(fingerprint(text)) == (16 if text else 0)


@pytest.mark.parametrize(
    "text",
    ["a" * 8_000, "a-" * 4_000, "1." * 4_000, "org-" * 2_000, "'" * 8_000, "a." * 4_000, "://" * 2_500, "req_" * 2_000],
)
@pytest.mark.timeout(10)
def test_traps_end_in_time(text):
    assert len(fingerprint(text)) == 16
