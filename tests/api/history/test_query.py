"""The parameters of /api/historical: what they mean, and what is said of wrong ones."""

import pytest

from api.documents.query import InvalidQuery
from api.formats import Format, accepted_format
from api.history.cursor import BadCursor, Cursor
from api.history.query import HistoryQuery, read_history_query
from api.moments import read_moment
from history.selection import END_MS, Kind, MarketName, Place

DECEMBER_MS = 1_764_547_200_000  # 2025-12-01 00:00 UTC, by date(1)


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("0", 0),
        ("1764547200000", DECEMBER_MS),
        ("2025-12-01", DECEMBER_MS),
        ("2025-12-01T00:00:00Z", DECEMBER_MS),
        ("2025-12-01T01:00:00+01:00", DECEMBER_MS),
        ("2025-12-01T01:00:00 01:00", DECEMBER_MS),  # a + that was not encoded
        ("2025-12-01 00:00", DECEMBER_MS),
        ("2025-12-01T00:00:00.250", DECEMBER_MS + 250),
        ("20251201", None),
        ("1764547200", None),
        ("1764547200000000", None),
        ("tomorrow", None),
        ("-1", None),
        ("", None),
        ("9999-12-31", END_MS),
        ("0001-01-01T00:00:00+14:00", 0),
    ],
)
def test_times(text: str, time_ms: int | None) -> None:
    if time_ms is None:
        with pytest.raises(ValueError, match="must be"):
            read_moment(text)
    else:
        assert read_moment(text) == time_ms


def read(query: str, kind: Kind = "candles", *, several: bool = False) -> HistoryQuery:
    return read_history_query(query.encode(), kind, several=several)


def test_what_a_query_asks_for() -> None:
    query = read(
        "timeframe=4h&from=2025-12-01&to=2025-12-02&limit=7&as_of=2025-12-03&unrecorded=closed"
        "&columns=close,open&columns=known_at&format=csv"
    )
    assert (query.from_ms, query.to_ms) == (DECEMBER_MS, DECEMBER_MS + 86_400_000)
    assert (query.limit, query.as_of_ms, query.unrecorded) == (7, DECEMBER_MS + 172_800_000, True)
    assert query.layout.names == ("open_time", "open", "close", "known_at")
    assert query.format is Format.CSV
    whole = read("timeframe=1d")
    assert (whole.from_ms, whole.to_ms, whole.limit, whole.as_of_ms) == (0, END_MS, None, None)
    assert whole.layout.names == (
        *("open_time", "open", "high", "low", "close", "volume", "turnover"),
        *("open_interest", "funding_rate", "known_at"),
    )
    selection = whole.selection((MarketName("binance", "BTCUSDT"),))
    assert (selection.interest, selection.rates) == (True, True)
    selection = query.selection((MarketName("binance", "BTCUSDT"),))
    assert (selection.interest, selection.rates) == (False, False)


def test_revisions_have_columns_of_their_own() -> None:
    query = read("timeframe=4h&revisions=all")
    assert query.layout.names[-3:] == ("turnover", "known_from", "known_to")
    assert read("revisions=all", "funding").layout.names == (
        *("funding_time", "funding_rate", "known_from", "known_to"),
    )


def test_symbols() -> None:
    query = read("timeframe=4h&symbols=bybit:BTCUSDT,ethusdt&symbols=Binance:XUSDT", several=True)
    assert query.symbols == (("binance", "XUSDT"), ("bybit", "BTCUSDT"), (None, "ethusdt"))


@pytest.mark.parametrize(
    ("query", "kind", "several", "told"),
    [
        ("", "candles", False, "is needed: one of 5m"),
        ("timeframe=7h", "candles", False, "must be one of 5m, 15m, 30m"),
        ("timeframe=4h&form=csv", "candles", False, "did you mean"),
        ("timeframe=4h", "funding", False, "unknown parameter"),
        ("timeframe=4h&symbols=A", "candles", False, "unknown parameter"),
        ("timeframe=4h&columns=clse", "candles", False, "did you mean close?"),
        ("timeframe=4h&columns=", "candles", False, "must be one or more of open_time"),
        ("columns=close", "funding", False, "must be some of funding_time, funding_rate"),
        ("timeframe=4h&revisions=all&columns=open_interest", "candles", False, "must be some of"),
        ("timeframe=4h&format=arow", "candles", False, "did you mean arrow?"),
        ("timeframe=4h&from=1764547200", "candles", False, "milliseconds"),
        ("timeframe=4h&from=2&to=1", "candles", False, "milliseconds"),
        ("timeframe=4h&from=2025-12-02&to=2025-12-01", "candles", False, "before `from`"),
        ("timeframe=4h&limit=0", "candles", False, "at least 1"),
        ("timeframe=4h&limit=2&limit=3", "candles", False, "must be given once"),
        ("timeframe=4h&unrecorded=yes", "candles", False, "omit, closed"),
        ("timeframe=4h&unrecorded=closed", "candles", False, "closed needs as_of"),
        ("unrecorded=closed&revisions=all", "funding", False, "closed needs as_of"),
        ("timeframe=4h", "candles", True, "must be one or more symbols"),
        ("timeframe=4h&symbols=kraken:X", "candles", True, "must be one of binance, bybit"),
        ("exchange=kraken", "prices", False, "binance, bybit"),
    ],
)
def test_wrong_queries_are_told_what_is_allowed(
    query: str, kind: Kind, several: bool, told: str
) -> None:
    with pytest.raises(InvalidQuery) as refused:
        read(query, kind, several=several)
    assert told in "; ".join(error["msg"] for error in refused.value.errors)


def test_a_cursor_fits_its_own_request_alone() -> None:
    place = Place(MarketName("bybit", "币安人生USDT"), DECEMBER_MS)
    asked = [("bybit", "币安人生USDT")]
    first, other = read("timeframe=4h&limit=5"), read("timeframe=1h&limit=5")
    text = Cursor(place, DECEMBER_MS + 5).encode(first.canonical(asked))
    assert text.isascii()
    assert Cursor.decode(text, first.canonical(asked)) == Cursor(place, DECEMBER_MS + 5)
    same = read(f"timeframe=4h&limit=9&columns=close&format=csv&cursor={text}")
    assert same.decoded_cursor(asked) == Cursor(place, DECEMBER_MS + 5)
    for query, names in ((other, asked), (first, [("bybit", "BTCUSDT")])):
        with pytest.raises(BadCursor, match="of another request"):
            Cursor.decode(text, query.canonical(names))


@pytest.mark.parametrize("text", ["", "x", "AAAA", "é", "WzFd", "bnVsbA", "W1tdLDEsMSwxLDFd" * 90])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor, match="must be `next`"):
        Cursor.decode(text, b"")
    query = read(f"timeframe=4h&cursor={text}")
    if not text:
        assert query.decoded_cursor([]) is None
        return
    with pytest.raises(InvalidQuery, match="must be `next` of an answer"):
        query.decoded_cursor([])


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        (None, Format.JSON),
        ("", Format.JSON),
        ("*/*", Format.JSON),
        ("application/json", Format.JSON),
        ("text/csv", Format.CSV),
        ("text/*", Format.CSV),
        ("text/html, */*;q=0.1", Format.JSON),
        ("application/vnd.apache.arrow.stream, application/json;q=0.5", Format.ARROW),
        ("application/json;q=0.5, application/vnd.apache.parquet;q=0.6", Format.PARQUET),
        ("*/*, text/csv", Format.CSV),
        ("application/json;q=0, */*", Format.NDJSON),
        ("application/x-ndjson;charset=utf-8", Format.NDJSON),
        ("application/jsonl", Format.NDJSON),
        ("text/html", None),
        ("application/json;q=0", None),
        ("application/json;q=x, text/csv;q=nan", None),
        ("nonsense, ;;;", None),
    ],
)
def test_the_format_of_an_accept_header(accept: str | None, format_: Format | None) -> None:
    assert accepted_format(accept) is format_
