"""Numbers as exchanges write them: what is one, up to which size, and how messages show others."""

from math import inf, nan
from typing import Any

import pytest

from venues.numbers import (
    float_or_none,
    funding_interval,
    int_or_0,
    is_decimal,
    plain_decimal,
    shown,
    whole_number,
)

FORTY = "1234567890" * 4
NO_NUMBERS = [
    *("", " ", " 1", "1 ", "1\n", "+1", "--1", "1_0", "0x1", "nan", "inf", "Infinity", "²", "٣"),
    *("1.", ".5", ".", "-", "1.2.3", "1,2", "e5", "1e", "1e+", "1e1234", "1E5.0", f"{FORTY}1"),
    f"1.{FORTY}1",
]


@pytest.mark.parametrize("text", ["0", "00", "7", "0.0", "10.50", FORTY, f"{FORTY}.{FORTY}"])
def test_a_plain_decimal_is_kept_to_the_letter(text: str) -> None:
    assert is_decimal(text)
    assert plain_decimal(text) == text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("1e0", "1"),
        ("1.50e1", "15.0"),
        ("12.5E-3", "0.0125"),
        ("1e+3", "1000"),
        ("0e5", "0"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("0.00e-7", "0"),
        ("1e39", "1" + "0" * 39),
        ("1e40", None),
        ("1e-40", "0." + "0" * 39 + "1"),
        ("1e-41", None),
        ("9e999", None),
        ("-1", None),
        ("-1e-5", None),
    ],
)
def test_an_exponent_is_written_out(text: str, plain: str | None) -> None:
    assert not is_decimal(text)
    assert plain_decimal(text) == plain


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_only_python_reads_is_no_number(text: str) -> None:
    assert not is_decimal(text)
    assert plain_decimal(text) is None
    assert float_or_none(text) is None
    assert whole_number(text) is None
    assert int_or_0(text) == 0


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None),
        ("1.5", 1.5),
        ("-2.5e-3", -0.0025),
        ("1E+2", 100.0),
        (f"{FORTY}.{FORTY}e-39", 1.2345678901234568),
        ("1e308", 1e308),
        ("1e309", None),
        ("-1e309", None),
        (0, 0.0),
        (-7, -7.0),
        (1e10, 1e10),
        (nan, None),
        (inf, None),
        (-inf, None),
        (10**300 - 1, 1e300),
        (10**300, None),
        (1 - 10**300, -1e300),
        (-(10**300), None),
        (10**400, None),
    ],
)
def test_floats(value: Any, number: float | None) -> None:
    assert float_or_none(value) == number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None),
        (0, 0),
        ("0", 0),
        ("-0", 0),
        (1, 1),
        ("01", 1),
        (-1, None),
        ("-1", None),
        (1.0, 1),
        ("1.0", 1),
        ("1.5", None),
        (1.5, None),
        ("15e2", 1500),
        ("1e-1", None),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, None),
        ("0" * 18 + "5", 5),
        (10**18 - 1, 10**18 - 1),
        (10**18, None),
        ("1e17", 10**17),
        ("1e18", None),
        (1e18, None),
        (nan, None),
        (inf, None),
        ("1e999", None),
    ],
)
def test_whole_numbers(value: Any, number: int | None) -> None:
    assert whole_number(value) == number
    assert type(whole_number(value)) is type(number)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (10**15 - 1, 10**15 - 1),
        (str(10**15 - 1), 10**15 - 1),
        (10**15, 0),
        ("1e15", 0),
        (0, 0),
        (1, 1),
        (None, 0),
        ("", 0),
        (-5, 0),
    ],
)
def test_a_time_ends_before_the_year_33658(value: Any, number: int) -> None:
    assert int_or_0(value) == number


def test_funding_intervals_divide_a_day() -> None:
    whole = {hours for hours in range(-50, 100) if funding_interval(hours) == hours}
    assert whole == {1, 2, 3, 4, 6, 8, 12, 24}
    assert {funding_interval(hours) for hours in range(-50, 100)} == {*whole, None}
    assert funding_interval(None) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "blank"),
        ("", "blank"),
        (0, "'0'"),
        (" ", "''"),
        (-1.5, "'-1.5'"),
        ([], "'[]'"),
        ("a\nb\x1b", "'a b'"),
        ("x" * 40, repr("x" * 40)),
        ("x" * 41, repr("x" * 40)),
        (10**30 - 1, repr("9" * 30)),
        (10**30, "a number of more than 30 digits"),
        (-(10**30), "a number of more than 30 digits"),
    ],
)
def test_how_messages_show_a_value(value: Any, text: str) -> None:
    assert shown(value) == text


def test_how_messages_show_a_longer_value() -> None:
    assert shown(10**5000) == "a number of more than 30 digits"  # repr() raises
    assert shown("x" * 41, 41) == repr("x" * 41)
