"""Numbers and times of providers are read exactly, or refused."""

from decimal import Decimal
from typing import Any

import pytest

from providers.exact import (
    BadValue,
    NotJson,
    block_of,
    decimal_of,
    divided,
    json_of,
    positive,
    scaled_whole,
    time_ms,
    whole_of,
)


def test_json_fractions_keep_every_digit() -> None:
    document = json_of(
        b'\xef\xbb\xbf{"a":0.1234567890123456789,"b":8.3e-07,"c":115792089237316195423}'
    )
    assert document == {
        "a": Decimal("0.1234567890123456789"),
        "b": Decimal("8.3E-7"),
        "c": 115792089237316195423,
    }


@pytest.mark.parametrize(
    ("body", "cut_off"),
    [
        (b'{"a":1', True),
        (b"", True),
        (b'{"a":NaN}', False),
        (b'{"a":Infinity}', False),
        (b"<html></html>", False),
        (b'{"a":1}{"a":2}', False),
        (b'{"a":"\xff"}', False),
        (b"[" * 100_000, False),
    ],
)
def test_what_is_not_json_is_told_from_what_was_cut_off(body: bytes, cut_off: bool) -> None:
    with pytest.raises(NotJson) as raised:
        json_of(body)
    assert raised.value.cut_off is cut_off


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (60997, "60997"),
        ("60997.01000000", "60997.01000000"),
        (Decimal("8.3e-07"), "0.00000083"),
        ("1.234e+17", "123400000000000000"),
        (" -95.960 ", "-95.960"),
    ],
)
def test_numbers(value: Any, number: str) -> None:
    assert decimal_of(value) == Decimal(number)


@pytest.mark.parametrize("value", [None, False, "", "  "])
def test_what_means_none(value: Any) -> None:
    assert decimal_of(value) is None
    assert whole_of(value) is None
    assert time_ms(value, "s") is None


@pytest.mark.parametrize(
    "value",
    [True, "18,974.5602", "NaN", "Infinity", "0x1f", "1_000", "٣", "1e999", [1], {}, 1.5,
     Decimal("NaN"), Decimal("1e999999"), "1" * 100],
)  # fmt: skip
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(BadValue):
        decimal_of(value)


@pytest.mark.parametrize("value", [0, "0", "-1", Decimal("-0.5"), "0.000"])
def test_prices_are_above_zero(value: Any) -> None:
    with pytest.raises(BadValue):
        positive(value)


@pytest.mark.parametrize(
    ("value", "number"),
    [("40891626854930000000000", 40891626854930000000000), ("0x15", 21), (7, 7), ("12.000", 12)],
)
def test_whole_amounts(value: Any, number: int) -> None:
    assert whole_of(value) == number


@pytest.mark.parametrize(
    "value", ["1.234e+17", Decimal("1.234e+17"), -1, "-1", "1.5", True, "0x", 1 << 256, 1.0]
)
def test_amounts_that_are_rounded_or_impossible_are_refused(value: Any) -> None:
    with pytest.raises(BadValue):
        whole_of(value)


def test_gwei_and_sat_per_vb_become_integers_without_floats() -> None:
    assert scaled_whole("32.570418457", 10**9) == 32570418457
    assert scaled_whole(Decimal("0.502"), 1000) == 502
    # By floats these are 1000 and 123456789123456784.
    assert scaled_whole(Decimal("1.001"), 1000) == 1001
    assert scaled_whole("123456789.123456789", 10**9) == 123456789123456789
    assert divided(Decimal("-1.4093"), 100) == Decimal("-0.014093")


@pytest.mark.parametrize(
    ("value", "unit", "ms"),
    [
        (1779092258, "s", 1779092258000),
        ("1788825600", "s", 1788825600000),
        ("1597026383085", "ms", 1597026383085),
        ("2023-07-11T08:40:17Z", "iso", 1689064817000),
        ("2024-09-06T18:37:15.411775316Z", "iso", 1725647835412),
        ("2025-01-15T10:30:00+02:00", "iso", 1736929800000),
        ("2021-07-08 14:37:00", "utc", 1625755020000),
        ("Wed, 30 Sep 2026 17:44:10 +0000", "rfc822", 1790790250000),
        ("Wed, 30 Sep 2026 12:44:10 EST", "rfc822", 1790790250000),
        ("0x66db4c8b", "hex_s", 1725648011000),
    ],
)
def test_times(value: Any, unit: str, ms: int) -> None:
    assert time_ms(value, unit) == ms


@pytest.mark.parametrize(
    ("value", "unit"),
    [(1779092258000, "s"), (1779092258, "ms"), ("yesterday", "iso"), (True, "s"), (5, "iso")],
)
def test_times_in_another_unit_are_refused(value: Any, unit: str) -> None:
    with pytest.raises(BadValue):
        time_ms(value, unit)


@pytest.mark.parametrize(("value", "number"), [("0x1e8480", 2_000_000), (978_398, 978_398)])
def test_numbers_of_blocks(value: Any, number: int) -> None:
    assert block_of(value) == number


@pytest.mark.parametrize("value", ["0xffffffffffffffff", 1_795_185_441_250, "1" * 40])
def test_what_is_no_number_of_a_block_is_refused(value: Any) -> None:
    with pytest.raises(BadValue, match="is not the number of a block"):
        block_of(value)
