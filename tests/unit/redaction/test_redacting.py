"""Redaction: no secret survives, JSON stays JSON, twice is once, and a megabyte of traps takes no time."""

import json
import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.redaction import redact

HEX = "0123456789abcdef0123456789abcdef"

SECRETS = {
    "sk-abcdefghijklmnop1234": "api_key",
    "sk-proj-Ab12_Cd34-Ef56Gh78": "api_key",
    "sk-proj-abc1********************wxyz": "api_key",
    "AKIAIOSFODNN7EXAMPLE": "api_key",
    "AIza" + "Sy" * 17 + "1": "api_key",
    "ghp_" + "a1B2" * 9: "api_key",
    "github_pat_" + "a1B2_" * 9: "api_key",
    "xoxb-1234567890-abcdefABCDEF": "api_key",
    "gsk_" + "a1B2" * 9: "api_key",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "jwt",
    "carol.o+x@mail.example.org": "email",
    "борис@пример.рф": "email",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Incorrect API key provided: " + HEX + ".", "Incorrect API key provided: [redacted:api_key]."),
        ("Authorization: Bearer abc.def-1234567", "Authorization: Bearer [redacted:token]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted:token]"),
        ("a basic understanding, the bearer of news", "a basic understanding, the bearer of news"),
        ("postgres://u:p4ss@db:5432/x", "postgres://u:[redacted:password]@db:5432/x"),
        ("redis://:p4ss@db/0", "redis://:[redacted:password]@db/0"),
        ("AccountName=n;AccountKey=ab+/12==;End=x", "AccountName=n;AccountKey=[redacted:api_key];End=x"),
        (
            "Endpoint=sb://x/;SharedAccessKeyName=r;SharedAccessKey=aBc1=",
            "Endpoint=sb://x/;SharedAccessKeyName=r;SharedAccessKey=[redacted:api_key]",
        ),
        ("Server=s;User Id=u;Password=a,b;Db=x", "Server=s;User Id=u;Password=[redacted:password];Db=x"),
        ("https://x/y?sv=1&sig=ab%2Fc&se=2", "https://x/y?sv=1&sig=[redacted:secret]&se=2"),
        (
            "--password 'x' password='a b' pwd=\"c d\"",
            "--password 'x' password='[redacted:password]' pwd=\"[redacted:password]\"",
        ),
        ("API_KEY=abc X-Api-Key: def", "API_KEY=[redacted:api_key] X-Api-Key: [redacted:api_key]"),
        (
            "client_secret: abc, aws_secret_access_key=x/y+z",
            "client_secret: [redacted:secret] aws_secret_access_key=[redacted:api_key]",
        ),
        ('{"password": "a\\"b\\\\", "x": "y"}', '{"password": "[redacted:password]", "x": "y"}'),
        ('{"pin": 1, "pwd" : 12345}', '{"pin": 1, "pwd" : "[redacted:password]"}'),
        (
            '{"api_key": "k", "token": 5, "max_tokens": 7}',
            '{"api_key": "[redacted:api_key]", "token": 5, "max_tokens": 7}',
        ),
        (
            '{"secret": true, "password": null, "credentials": []}',
            '{"secret": true, "password": null, "credentials": []}',
        ),
        ('["password=", "x:"]', '["password=", "x:"]'),
        ('"password="', '"password="'),
        (r'"{\"password\": \"a\\\"b\\\\\", \"x\": 1}"', r'"{\"password\": \"[redacted:password]\", \"x\": 1}"'),
        (r'"\nbob@x.com \u000acarol@y.org"', r'"\n[redacted:email] \u000a[redacted:email]"'),
        (r'"\nsk-abcdefghijkl1234"', r'"\n[redacted:api_key]"'),
        ("task-1234567890123456 risk-adjusted-2024-returns", "task-1234567890123456 risk-adjusted-2024-returns"),
        ("-----BEGIN RSA PRIVATE KEY-----\nab+/\n-----END RSA PRIVATE KEY----- x", "[redacted:private_key] x"),
        ("-----BEGIN PRIVATE KEY-----\\nab+/\\ncd", "[redacted:private_key]"),
        ("(mail <bob@example.com>).", "(mail <[redacted:email]>)."),
        ("@mention, a@b, x@y.1", "@mention, a@b, x@y.1"),
        ("key: value, the keyboard, monkeys", "key: value, the keyboard, monkeys"),
        ("提供的密钥sk-abCDef0123456789无效", "提供的密钥[redacted:api_key]无效"),
        ("请联系a@example.cn获取新的密钥sk-abCDef0123456789", "请联系[redacted:email]获取新的密钥[redacted:api_key]"),
        ("メールはbob@example.comです", "メールは[redacted:email]です"),
        ("GET /?q=password%3Dhunter2%26a%3D1 200", "GET /?q=password%3D[redacted:password]%26a%3D1 200"),
        ("to%3Abob%40example.org%2C%20and%20on", "to%3A[redacted:email]%2C%20and%20on"),
        ("%E6%97%A5sk-abCDef0123456789%3B", "%E6%97%A5[redacted:api_key]%3B"),
        (r'"\nbob%40example.org"', r'"\n[redacted:email]"'),
        ("postgres://u:p/4ss@db:5432/x", "postgres://u:[redacted:password]@db:5432/x"),
        ("postgres://u:p@4ss@db:5432/x", "postgres://u:[redacted:password]@db:5432/x"),
        ("http://host:8080/users/@bob", "http://host:8080/users/@bob"),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: x (y)\n\nab+/\n-----END PGP PRIVATE KEY BLOCK----- z",
            "[redacted:private_key] z",
        ),
        ("Cookie: sid=abc; theme=dark", "Cookie: [redacted:secret]"),
        ("Authorization: hunter2hunter2", "Authorization: [redacted:token]"),
        ("curl -u bob:hunter2 https://x", "curl -u bob:[redacted:password] https://x"),
        ("mysql -uroot -phunter2 shop", "mysql -uroot -p[redacted:password] shop"),
        ("mysql -u root -p shop", "mysql -u root -p shop"),
        ("https://f/api?code=Ab3_defGHI456jkl==&x=1", "https://f/api?code=[redacted:secret]&x=1"),
        (r"https://f?a=1\u0026sig=abc\u0026b=2", r"https://f?a=1\u0026sig=[redacted:secret]\u0026b=2"),
        ("password = \"a b\"; api_key := 'x1'", "password = \"[redacted:password]\"; api_key := '[redacted:api_key]'"),
        ("<password>hunter2</password>", "<password>[redacted:password]</password>"),
        ("the password is hunter2, not required", "the password is [redacted:password] not required"),
        ("Unexpected token: password=hunter2", "Unexpected token: password=[redacted:password]"),
        ("a \ud800 b", "a ? b"),
    ],
)
def test_what_is_replaced_and_what_is_not(text, expected):
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize(("secret", "kind"), SECRETS.items())
def test_a_secret_is_replaced_wherever_it_stands(secret, kind):
    for before, after in product(("", " ", "\n", "x ", "(", "'"), ("", " ", ".", ")", "\n")):
        text = f"{before}{secret}{after}"
        assert redact(text) == f"{before}[redacted:{kind}]{after}"
        for document in (json.dumps({"a": text}), json.dumps(json.dumps({"a": text}))):
            assert secret not in redact(document)
            json.loads(redact(document))


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000 + "@",
        "a@" * 500_000,
        "a@b." * 250_000,
        "eyJ" * 330_000,
        "sk-" * 330_000,
        "secret_" * 140_000,
        "password" * 125_000,
        'password="' + "a" * 1_000_000,
        'password=\\"' * 90_000,
        "-----BEGIN PRIVATE KEY-----" * 37_000,
        "://" + "a" * 1_000_000 + "@",
        "://a:" * 200_000 + "@",
        "\\" * 1_000_000 + "@secret",
        "key " * 250_000,
        "Bearer " * 140_000,
        "%41" * 330_000,
        "a" * 1_000_000 + "%",
        "token=" * 160_000,
        "cookie: a=" * 100_000,
        "curl -u a:" * 100_000,
        "mysql -p" * 120_000,
        "a/" * 500_000 + "==",
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.timeout(30)
def test_a_megabyte_of_traps_ends_in_time(text):
    assert len(redact(text)) <= len(text) + 2_000_000


names = st.sampled_from(["password", "Pwd", "client_secret", "api_key", "access-token", "SECRET_KEY", "AccountKey"])
values = st.text(st.characters(codec="utf-8"), min_size=12, max_size=40).filter(lambda text: "redacted" not in text)
plain_values = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9+/=_.!$%^*-]{11,30}", fullmatch=True)
noise = st.text(st.sampled_from("ab @.:=/\\\"',;&{}[]\n\u00e9-_") | st.characters(codec="utf-8"), max_size=20)
parts = st.one_of(
    noise,
    st.sampled_from(
        [
            *(*SECRETS, "password=", "pwd: '", '"secret":"', "Bearer ", "://u:p@", "key ", HEX, "[redacted:", "\\n"),
            *("%40", "%3D", "%22", "%5C", "token: ", "api key provided: ", "Cookie: a=", "curl -u a:", "mysql -p"),
            *("sig=", "&code=", "pass=", "signature=", "<password>", "</", "authorization: ", "\\u00", "hf_" + HEX),
        ]
    ),
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.lists(parts, max_size=6).map("".join),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | noise, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(st.lists(parts, max_size=10).map("".join))
def test_redacting_twice_changes_nothing_more(text):
    once = redact(text)
    assert redact(once) == once


@settings(deadline=None, max_examples=200)
@given(documents)
def test_json_stays_json_and_keeps_its_shape(document):
    for ascii_only, separators in product((True, False), ((",", ":"), (", ", ": "))):
        text = json.dumps(document, ensure_ascii=ascii_only, separators=separators)
        nested = json.dumps(text, ensure_ascii=ascii_only)
        assert type(json.loads(redact(text))) is type(document)
        json.loads(redact(nested))


@settings(deadline=None, max_examples=100)
@given(names, values)
def test_the_value_of_a_secret_member_never_survives(name, value):
    document = json.dumps({"a": 1, name: value, "z": "kept"}, ensure_ascii=False)
    after = json.loads(redact(document))
    assert set(after) == {"a", name, "z"}
    assert re.fullmatch(r"\[redacted:[a-z_]+\]", after[name])
    assert after["z"] == "kept"
    inner = json.loads(json.loads(redact(json.dumps(document, ensure_ascii=False))))
    assert re.fullmatch(r"\[redacted:[a-z_]+\]", inner[name])
    assert inner["z"] == "kept"


@settings(deadline=None, max_examples=100)
@given(names, plain_values, st.sampled_from(["=", ": ", " = "]))
def test_an_assigned_secret_never_survives(name, value, sign):
    assert value not in redact(f"failed with {name}{sign}{value} at the end")
