"""Timestamps: one instant in every unit and form, what means "not set", what SDKs spoil, what cannot be read."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.normalize.timestamps import millis

INSTANT = 1_714_853_365_637

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def read(value):
    anomalies: list[str] = []
    return millis(value, anomalies), anomalies


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_714_853_365, 1_714_853_365_000),
        (1_714_853_365.637, INSTANT),
        (INSTANT, INSTANT),
        (float(INSTANT), INSTANT),
        (1_714_853_365_637_499, INSTANT),
        (1_714_853_365_637_500, INSTANT + 1),
        (1_714_853_365_637_000_000, INSTANT),
        ("1714853365", 1_714_853_365_000),
        (" 1714853365.637 ", INSTANT),
        ("1714853365637", INSTANT),
        ("1.714853365637e9", INSTANT),
        ("2024-05-04T20:09:25.637Z", INSTANT),
        ("2024-05-04T20:09:25.637", INSTANT),
        ("2024-05-04 20:09:25.637", INSTANT),
        ("2024-05-04 20:09:25.637 UTC", INSTANT),
        ("2024-05-04 20:09:25.637 +0000 UTC", INSTANT),
        ("2024-05-04T22:09:25,637+02:00", INSTANT),
        ("2024-05-04T14:39:25.637-0530", INSTANT),
        ("2024-05-04T20:09:25.637000123Z", INSTANT),
        ("2024-05-04T20:09:25.6369999999999", INSTANT),
        ("20240504T200925Z", 1_714_853_365_000),
        ("+002024-05-04T20:09:25.637Z", INSTANT),
        ("2024-05-04t20:09:25.637z", INSTANT),
        ("2024-05-04", 1_714_780_800_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        (13, 13_000),
        (1, 1_000),
        (10_413_791_999, 10_413_791_999_000),
        ("2299-12-31T23:59:59.999Z", 10_413_791_999_999),
    ],
)
def test_an_instant_is_read_in_every_unit_and_form(value, expected):
    assert read(value) == (expected, [])


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        -1,
        0.0,
        -1.0,
        "",
        "  ",
        "0",
        "-1",
        "0.0",
        "null",
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00",
        "1970-01-01 00:00:00+00:00",
        "1970-01-01T08:00:00+08:00",
        "1970-01-01T00:00:00+08:00",
        "1970-01-01T00:00:00-05:00",
        "1969-12-31T23:59:59.000Z",
        "1969-12-31T23:59:59",
        "1969-12-31T23:59:59.999Z",
    ],
)
def test_not_set_is_no_anomaly(value):
    assert read(value) == (None, [])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # @azure/openai-assistants before beta.5 read seconds as milliseconds.
        ("1970-01-20T18:23:54.926Z", 1_707_834_926_000),
        ("1970-01-18T08:40:00.000Z", 1_500_000_000_000),
        (1_707_834.926, 1_707_834_926_000),
        # The SDKs multiply milliseconds, sent by DashScope, by 1000.
        ("+056299-01-30T17:57:16.000Z", 1_714_460_234_236),
        ("+056249-12-04T17:37:14.000Z", 1_712_909_007_434),
    ],
)
def test_dates_that_known_sdks_spoil_are_repaired(value, expected):
    assert read(value) == (expected, ["unit_repaired"])


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        {},
        [],
        [1714853365],
        {"seconds": 1714853365},
        float("nan"),
        float("inf"),
        float("-inf"),
        1e300,
        2**70,
        -(2**70),
        -2,
        -0.5,
        -1714853365,
        "-1714853365",
        "yesterday",
        "NaN",
        "inf",
        "1_714_853_365",
        "٠١٢",
        "9" * 5000,
        "1e999",
        "2024-13-01T00:00:00Z",
        "2024-02-30 00:00:00 UTC",
        "2024-05-04T25:00:00 UTC",
        "2024-05-04T20:09:25+25:00",
        "2024-05-04T20:61:00Z",
        "0001-01-01T00:00:00Z",
        "1968-05-04T20:09:25Z",
        "2300-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999Z",
        "-000001-01-01T00:00:00Z",
        "+012000-01-01T00:00:00Z",
        "+999999-01-01T00:00:00Z",
        10_413_792_000,
        10_413_792_000_000,
        10**17 - 1,
        "\ud800",
        "2024-05-04\ud80020:09:25",
    ],
)
def test_what_cannot_be_read_is_an_anomaly_and_never_a_guess(value):
    assert read(value) == (None, ["unreadable_timestamp"])


def test_an_anomaly_is_noted_once():
    anomalies = ["unknown_type"]
    for value in ("x", "y", "1970-01-20T18:23:54.926Z", "1970-01-20T18:23:54.926Z"):
        millis(value, anomalies)
    assert anomalies == ["unknown_type", "unreadable_timestamp", "unit_repaired"]


@settings(deadline=None, max_examples=100)
@given(st.integers(min_value=200_000_000_000, max_value=7_000_000_000_000), st.integers(min_value=-14, max_value=14))
def test_all_forms_of_an_instant_agree(instant, hours):
    moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=instant)
    local = moment.astimezone(timezone(timedelta(hours=hours)))
    forms = [
        instant,
        float(instant),
        instant / 1000,
        instant * 1000,
        instant * 1_000_000,
        str(instant),
        str(instant / 1000),
        moment.isoformat(),
        local.isoformat(),
        local.isoformat(" ", "milliseconds"),
        moment.replace(tzinfo=None).isoformat(),
        moment.strftime("%Y-%m-%d %H:%M:%S.%f UTC"),
        moment.strftime("+00%Y-%m-%dT%H:%M:%S.%fZ"),
    ]
    assert [read(form) for form in forms] == [(instant, [])] * len(forms)
    assert read(instant // 1000) == (instant // 1000 * 1000, [])


@settings(deadline=None, max_examples=200)
@given(json_values | st.from_regex(r"[+-]?[0-9]{1,6}-[0-9]{2}-[0-9]{2}[T ][0-9:.+-]{0,20}Z?", fullmatch=True))
def test_no_value_raises_or_leaves_the_range_of_the_table(value):
    instant, anomalies = read(value)
    assert instant is None or 0 < instant < 10_413_792_000_000
    assert set(anomalies) <= {"unit_repaired", "unreadable_timestamp"}
    assert len(anomalies) <= 1
