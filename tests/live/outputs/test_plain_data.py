"""Numbers and moments on their way into JSON: exact, plain, and as short as they can be."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live.data_types import DataType
from live.outputs.plain_data import NotPlain, number_text, plain, time_ms


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("85885.40", "85885.4"),
        ("100.00", "100"),
        ("100", "100"),
        ("1E-7", "0.0000001"),
        ("0.000000100", "0.0000001"),
        ("1.5E+4", "15000"),
        ("1E+2", "100"),
        ("0", "0"),
        ("0.000", "0"),
        ("0E-10", "0"),
        ("-0.00", "0"),
        ("-0.00003629", "-0.00003629"),
        ("-10", "-10"),
        ("1" * 100, "1" * 100),
    ],
)
def test_a_number_is_plain_and_short(number: str, text: str) -> None:
    assert number_text(Decimal(number)) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-1000, max_value=10**30))
def test_any_number_stays_exact(number: Decimal) -> None:
    try:
        text = number_text(number)
    except NotPlain:
        assert len(f"{number:f}") > 100
        return
    assert Decimal(text) == number
    assert "E" not in text
    assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize("number", ["NaN", "sNaN", "NaN12", "Infinity", "-Infinity", "1E+101"])
@pytest.mark.parametrize("shape", [lambda number: number, lambda number: {"a": [(number, 1)]}])
def test_what_is_no_plain_number_is_refused(number: str, shape: Callable[[Any], Any]) -> None:
    with pytest.raises(NotPlain):
        plain(shape(Decimal(number)))


def test_an_endless_exponent_takes_no_memory() -> None:
    for number in ("1E+999999", "1E-999999"):
        with pytest.raises(NotPlain, match="more than 100 digits"):
            number_text(Decimal(number))


def test_moments_are_exact_milliseconds() -> None:
    moment = datetime(2026, 11, 29, 20, 46, 7, 334_000, tzinfo=UTC)
    assert time_ms(moment) == 1_795_985_167_334  # by `date -d 2026-11-29T20:46:07Z +%s`
    assert time_ms(moment.astimezone(timezone(timedelta(hours=5)))) == 1_795_985_167_334
    assert time_ms(moment.replace(tzinfo=None)) == 1_795_985_167_334


def test_data_of_users_become_what_json_has() -> None:
    moment = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert plain(
        {"a": (Decimal("1.0"), None, True, 7, 0.5), 8: moment, "kind": DataType.TRADE, "b": {}}
    ) == {"a": ["1", None, True, 7, 0.5], "8": 1000, "kind": "trade", "b": {}}


@pytest.mark.parametrize("value", [{1, 2}, b"x", object(), float("nan"), float("inf"), 1j])
def test_what_json_does_not_have_is_refused(value: object) -> None:
    with pytest.raises(NotPlain):
        plain({"a": value})


def test_lists_in_lists_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotPlain, match="lists in lists"):
        plain(endless)
