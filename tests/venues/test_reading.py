"""What the parsers share: bounds of times, numbers, names and lists, and what errors say."""

from math import inf
from typing import Any, Final

import msgspec
import pytest

from market.left_out import LeftOut
from market.markets import Exchange
from market.unread_entries import CANNOT_BE_READ, NOT_CLEAR, UNUSABLE_NAME, UnreadEntry
from venues.entries import Unreadable, lenient
from venues.errors import BadPayload
from venues.reading import (
    LONGEST_CODE,
    MOST_ENTRIES,
    MOST_ROWS,
    AnswerFaults,
    AnswerPage,
    ListDecoder,
    Ticker,
    TimeMs,
    decoded_or_none,
    excerpt,
    is_name,
    row_number,
    row_time,
    timed_values,
    turnover,
    usable_name,
)

BOM: Final = b"\xef\xbb\xbf"
NUMBERS: Final = lenient(list[int])


class Entry(msgspec.Struct):
    symbol: str


@pytest.fixture
def faults() -> AnswerFaults:
    return AnswerFaults(Exchange.BYBIT, "klines", "XUSDT")


# --- pages and errors ----------------------------------------------------------------------------


def test_what_a_page_holds_unless_told() -> None:
    assert AnswerPage([]) == ([], None, None, 0, "", (), (), ())
    assert Ticker("A") == ("A", None, None, None)


def test_limits_of_an_answer() -> None:
    # No exchange lists 2,000 contracts or sends more than 1,500 rows.
    assert (MOST_ENTRIES, MOST_ROWS, LONGEST_CODE) == (20_000, 3_000, 40)


def test_an_error_names_exchange_endpoint_and_market(faults: AnswerFaults) -> None:
    error = faults("too bad")
    assert type(error) is BadPayload
    assert (error.exchange, error.endpoint, error.market) == ("bybit", "klines", "XUSDT")
    assert (error.cause, error.status) == ("too bad", None)
    assert str(error) == "bybit klines XUSDT: too bad"


def test_a_row_without_a_time_is_placed_after_the_one_before_it(faults: AnswerFaults) -> None:
    faults.leave_out(Unreadable("a", 7), (3, 0.5))
    faults.leave_out(Unreadable("b", 0), (3, 0.5))
    faults.leave_out(Unreadable("c"), (3, 0.5))
    faults.leave_out(Unreadable("d"))
    assert faults.left_out == [
        LeftOut(7, "a", after=False),
        LeftOut(0, "b", after=False),
        LeftOut(3, "c", after=True),
        LeftOut(0, "d", after=True),
    ]
    assert (faults.skipped, faults.unread) == ([], [])


def test_entries_that_cannot_be_read_are_skipped(faults: AnswerFaults) -> None:
    entries = ["a", Unreadable("odd", symbol="XUSDT"), Unreadable("nameless"), "b"]
    assert faults.readable(entries) == ["a", "b"]
    assert faults.skipped == ["odd", "nameless"]
    assert faults.unread == [UnreadEntry("XUSDT", CANNOT_BE_READ)]
    assert faults.left_out == []


def test_no_entries_are_no_error_but_none_that_can_be_read_are_one(faults: AnswerFaults) -> None:
    assert faults.readable([]) == []
    with pytest.raises(BadPayload) as raised:
        faults.readable([Unreadable("odd"), Unreadable("odder")])
    assert raised.value.cause == "unexpected answer: none of 2 entries can be read: odd"


def test_a_contract_that_meets_all_conditions_is_to_collect(faults: AnswerFaults) -> None:
    assert faults.is_to_collect("AUSDT", "A")
    assert faults.is_to_collect("AUSDT", "A", ("x", ("x", "y")), ("", ("", None)), (None, [None]))
    assert not faults.is_to_collect("AUSDT", "A", ("x", ("x",)), ("z", ("x", "y")))
    assert not faults.is_to_collect("A USDT", "A", ("z", ("x",)))
    assert not faults.is_to_collect("AUSDT", "A", ("", ("x",)), ("z", ("x",)))
    assert (faults.skipped, faults.unread) == ([], [])


@pytest.mark.parametrize("unclear", ["", None, " ", "x ", " x", "x\n", "\x00"])
def test_a_contract_whose_state_is_unclear_is_skipped(
    faults: AnswerFaults, unclear: str | None
) -> None:
    assert not faults.is_to_collect("AUSDT", "A", ("x", ("x",)), (unclear, ("x", "y")))
    assert faults.skipped == [f"{NOT_CLEAR}: 'AUSDT', 'A'"]
    assert faults.unread == [UnreadEntry("AUSDT", NOT_CLEAR, expected=True)]
    assert not faults.is_to_collect("B:USDT", None, (unclear, ("x",)))
    assert faults.skipped[1:] == [f"{NOT_CLEAR}: 'B:USDT', blank"]


def test_a_contract_without_usable_names_is_skipped(faults: AnswerFaults) -> None:
    for symbol, base in [("AUSDT", None), ("A USDT", "A"), ("B:USDT", "B/")]:
        assert not faults.is_to_collect(symbol, base, ("x", ("x",)))
    assert faults.skipped == [
        f"{UNUSABLE_NAME}: 'AUSDT', blank",
        f"{UNUSABLE_NAME}: 'A USDT', 'A'",
        f"{UNUSABLE_NAME}: 'B:USDT', 'B/'",
    ]
    assert faults.unread == [
        UnreadEntry("AUSDT", UNUSABLE_NAME, expected=True),
        UnreadEntry("AUSDT", UNUSABLE_NAME, expected=True),
        UnreadEntry("B:USDT", UNUSABLE_NAME, expected=True),
    ]


def test_only_ten_skipped_entries_are_shown(faults: AnswerFaults) -> None:
    for number in range(12):
        assert not faults.is_to_collect(f"A{number}", "")
    named = [f"{UNUSABLE_NAME}: 'A{number}', blank" for number in range(10)]
    assert faults.skipped == [*named, UNUSABLE_NAME, UNUSABLE_NAME]
    assert [entry.symbol for entry in faults.unread] == [f"A{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("AUSDT", "AUSDT"),
        (" A USDT\n", "AUSDT"),
        ("A:USDT", "A:USDT"),
        (" A:B", " A:B"),
        (" ", " "),
        (" " + "x" * 64, "x" * 64),
        ("x" * 501, "x" * 500),
        (" " * 499 + "xy", "x"),
    ],
)
def test_a_name_without_what_makes_it_unusable(sent: str, name: str) -> None:
    assert usable_name(sent) == name


# --- decoding ------------------------------------------------------------------------------------


def test_decoding_a_whole_answer(faults: AnswerFaults) -> None:
    assert faults.decode(NUMBERS, b'[1,"2"]') == [1, 2]
    assert faults.decode(NUMBERS, BOM + b"[1]") == [1]
    with pytest.raises(BadPayload) as wrong:
        faults.decode(NUMBERS, b"[[]]")
    assert wrong.value.cause == "unexpected answer: Expected `int`, got `array` - at `$[0]`"
    with pytest.raises(BadPayload) as cut_short:
        faults.decode(NUMBERS, b"[1")
    assert cut_short.value.cause == "not JSON: [1"


def test_the_error_of_an_unexpected_answer_has_200_characters_at_most(faults: AnswerFaults) -> None:
    nested: Any = int
    for _ in range(60):
        nested = list[nested]
    whole = f"unexpected answer: Expected `int`, got `bool` - at `${'[0]' * 60}`"
    with pytest.raises(BadPayload) as raised:
        faults.decode(msgspec.json.Decoder(nested), b"[" * 60 + b"true" + b"]" * 60)
    assert raised.value.cause == whole[:200]


def test_decoding_or_none() -> None:
    assert decoded_or_none(NUMBERS, b"[1]") == [1]
    assert decoded_or_none(NUMBERS, BOM + b"[1]") == [1]
    assert decoded_or_none(NUMBERS, b"[[]]") is None
    assert decoded_or_none(NUMBERS, b"\xff") is None


def test_a_list_longer_than_any_exchange_sends(faults: AnswerFaults) -> None:
    assert faults.cut(b"[1,2]", most=2).entries == [b"1", b"2"]
    assert faults.cut(BOM + b'{"a":[1]}', "a", most=1).entries == [b"1"]
    with pytest.raises(BadPayload) as long:
        faults.cut(b"[1,2,3]", most=2)
    assert long.value.cause == "unexpected answer: 3 entries, more than 2"
    with pytest.raises(BadPayload) as none:
        faults.cut(b'{"b":[1]}', "a", most=1)
    assert none.value.cause == 'unexpected answer, or not JSON: no list in {"b":[1]}'


def test_lists_of_contracts_have_20000_entries_at_most(faults: AnswerFaults) -> None:
    assert faults.cut(b"[%b]" % b",".join([b"1"] * 20_000)).length == 20_000
    with pytest.raises(BadPayload, match="20001 entries, more than 20000"):
        faults.cut(b"[%b]" % b",".join([b"1"] * 20_001))


@pytest.mark.parametrize("key", ["", "rows"])
def test_a_list_is_decoded_as_a_whole_or_entry_by_entry(faults: AnswerFaults, key: str) -> None:
    def body(listed: str) -> bytes:
        return (f'{{"{key}":{listed}}}' if key else listed).encode()

    decoder = ListDecoder(Entry, key)
    good = body('[{"symbol":"A"},{"symbol":"B"}]')
    assert isinstance(decoder(good, faults, 2), list) is (key == "")  # as a whole
    assert list(decoder(good, faults, 2)) == [Entry("A"), Entry("B")]
    assert decoder.readable(good, faults) == [Entry("A"), Entry("B")]
    odd = body('[{"symbol":"A"},7,{"symbol":"B"}]')
    a, seven, b = decoder(odd, faults, 3)
    assert (a, b) == (Entry("A"), Entry("B"))
    assert isinstance(seven, Unreadable)
    assert faults.skipped == []
    assert decoder.readable(odd, faults) == [Entry("A"), Entry("B")]
    assert faults.skipped == ["Expected `object`, got `int`"]
    with pytest.raises(BadPayload, match="3 entries, more than 2"):
        list(decoder(odd, faults, 2))


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"<html>\n\x1b[0m a", "<html> [0m a"),
        (b"\xff{", "�{"),
        (b"x" * 81, "x" * 80),
        (b" " * 319 + b"x", "x"),
        (b" " * 320 + b"x", "empty"),
    ],
)
def test_how_messages_show_a_body(body: bytes, shown: str) -> None:
    assert excerpt(body) == shown


def test_how_messages_show_a_shorter_part_of_a_body() -> None:
    assert excerpt(b"x" * 9, 8) == "x" * 8
    assert excerpt(b" " * 32 + b"x", 8) == "empty"


@pytest.mark.parametrize("value", [1, "1", 1.0, 10**15 - 1, "1786816800000"])
def test_times_of_rows(value: Any) -> None:
    assert row_time(value) == int(value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "'0'"), (-1, "'-1'"), (10**15, f"'{10**15}'"), (1.5, "'1.5'"), (None, "blank")],
)
def test_what_is_no_time_of_a_row(value: Any, shown: str) -> None:
    with pytest.raises(Unreadable) as raised:
        row_time(value)
    assert raised.value.reason == f"its time cannot be read: {shown}"
    assert raised.value.time_ms is None


def test_a_time_that_is_decoded_lies_below_10_to_the_15() -> None:
    times = lenient(list[TimeMs])
    good = [10**15 - 1, 0, 1 - 10**15]
    assert times.decode(str(good)) == good
    for bad in (10**15, -(10**15)):
        assert decoded_or_none(times, b"[%d]" % bad) is None


def test_numbers_of_rows() -> None:
    assert row_number("its rate", "-0.5", 7) == -0.5
    with pytest.raises(Unreadable) as raised:
        row_number("its rate", "x", 7)
    assert (raised.value.reason, raised.value.time_ms) == ("its rate is not a number: 'x'", 7)


@pytest.mark.parametrize(
    ("value", "number"),
    [("15.5", 15.5), (0, 0.0), ("0", 0.0), ("-0.1", None), ("", None), (None, None), (inf, None)],
)
def test_turnovers(value: Any, number: float | None) -> None:
    assert turnover(value) == number


def test_a_series_of_numbers() -> None:
    series = timed_values([5, 3], [0.5, 7])
    assert list(series) == [(5, 0.5), (3, 7.0)]
    assert (str(series.times.dtype), str(series.values.dtype)) == ("int64", "float64")
    assert len(timed_values([], [])) == 0


@pytest.mark.parametrize("name", ["A", "XUSDT", "龙虾USDT", "a-b_c.d", "A" * 64])
def test_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [None, "", " ", "A B", "A" * 65, "A/B", "A:B", "A,B", 'A"B', "A\\B", "A\nB", "A\u202eB"],
)
def test_what_is_no_name(name: str | None) -> None:
    assert not is_name(name)
