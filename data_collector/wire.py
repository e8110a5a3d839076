"""The exchanges' own JSON: what their answers look like, decoded and renamed, not yet judged.

For each kind of answer a table by exchange; api_parser.py validates what comes out of it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from market.markets import Exchange, Market
from venues.errors import BadPayload
from venues.venue import Endpoint

T = TypeVar("T")
# A number whose form varies: text or a JSON number; an empty text or null where it does not apply.
_Loose = str | int | float | None


class Page(NamedTuple, Generic[T]):
    """What one answer held: `rows` ascending and unique; the rest is what paging goes by.

    `first_ms`, `last_ms` and `sent` are of everything that was sent, rows left out included.
    """

    rows: Sequence[T]
    first_ms: int | None = None
    last_ms: int | None = None
    sent: int = 0
    cursor: str = ""


class Instrument(NamedTuple):
    """A contract worth collecting; the interval where the list of contracts says it."""

    market: Market
    funding_interval_hours: int | None


class Ticker(NamedTuple):
    """What the ticker of a symbol says; None where this exchange's does not say it."""

    symbol: str
    turnover_24h: float | None = None
    next_funding_ms: int | None = None
    funding_interval_hours: int | None = None


class Failure:
    """Makes the BadPayload of one answer."""

    def __init__(self, exchange: Exchange, endpoint: Endpoint, symbol: str | None) -> None:
        self._exchange = exchange
        self._endpoint = endpoint
        self._symbol = symbol

    def __call__(self, cause: str) -> BadPayload:
        return BadPayload(
            cause, exchange=self._exchange, endpoint=self._endpoint, market=self._symbol
        )

    def decode(self, decoder: msgspec.json.Decoder[T], body: bytes) -> T:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            raise self(f"unexpected answer: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self(f"not JSON: {excerpt(body)}") from None


def excerpt(body: bytes, length: int = 80) -> str:
    """The beginning of a body for messages: printable, on one line; 'empty' for none."""
    text = body[: 4 * length].decode("utf-8", "replace")
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(text.split())[:length] or "empty"


# One match over a whole column: a match for each value costs more than decoding it.
_DECIMALS: Final = re.compile(r"(?:[0-9]{1,40}(?:\.[0-9]{1,40})?,)*+")


def check_decimals(texts: Sequence[str], times: Sequence[int], what: str, fail: Failure) -> None:
    """Raises unless every text is a plain non-negative decimal, without sign or exponent."""
    column = ",".join(texts) + ","
    if not _DECIMALS.fullmatch(column) or column.count(",") != len(texts):
        pairs = zip(texts, times, strict=True)
        bad = next(
            (f"{text!r:.50} at {time_ms}" for text, time_ms in pairs if not is_decimal(text)), ""
        )
        raise fail(f"{what} that is no plain number: {bad}")


def is_decimal(text: str) -> bool:
    return "," not in text and _DECIMALS.fullmatch(text + ",") is not None


def settlement_hours(hours: int | None) -> int | None:
    """An interval at which settlements can fall on the same hours of every day, else None."""
    return hours if hours and 0 < hours <= 24 and 24 % hours == 0 else None


# --- the wire, per exchange ----------------------------------------------------------------------


class Settlement(NamedTuple):
    """One row of a funding history; not `regular`: an extra charge."""

    symbol: str
    time_ms: int
    rate: float
    regular: bool


_Time = Annotated[int, msgspec.Meta(lt=10**15)]  # ms, until the year 33658


class _BinanceOpenInterest(msgspec.Struct, gc=False):
    symbol: str
    sumOpenInterest: float
    timestamp: _Time


class _BinanceFunding(msgspec.Struct):
    symbol: str
    fundingTime: int
    fundingRate: float
    rateType: str | None = None


_REGULAR: Final = ("Regular", "", None)  # older rows do not say it


class _BinanceTime(msgspec.Struct):
    serverTime: int


class _BinanceSymbol(msgspec.Struct):
    symbol: str
    contractType: str | None = ""
    status: str | None = ""
    baseAsset: str | None = ""
    quoteAsset: str | None = ""
    marginAsset: str | None = ""
    onboardDate: _Loose = 0


class _BinanceExchangeInfo(msgspec.Struct):
    symbols: list[_BinanceSymbol]


class _BinanceTicker(msgspec.Struct):
    symbol: str
    quoteVolume: _Loose = ""


class _BinancePremium(msgspec.Struct):
    symbol: str
    nextFundingTime: int = 0


class _BinanceFundingInfo(msgspec.Struct):
    symbol: str
    fundingIntervalHours: int


class _BybitResult(msgspec.Struct, Generic[T]):
    list: list[T]
    symbol: str = ""
    category: str = "linear"
    nextPageCursor: str | None = ""


class _BybitAnswer(msgspec.Struct, Generic[T]):
    retCode: int
    result: _BybitResult[T]


class _BybitOpenInterest(msgspec.Struct):
    openInterest: str | int | float
    timestamp: _Time
    singleOpenInterest: _Loose = ""


class _PlainBybitOpenInterest(msgspec.Struct, gc=False):
    openInterest: float
    timestamp: _Time
    singleOpenInterest: float | None = None


class _BybitFunding(msgspec.Struct):
    symbol: str
    fundingRate: float
    fundingRateTimestamp: int


class _BybitClock(msgspec.Struct):
    timeNano: int


class _BybitTime(msgspec.Struct):
    retCode: int
    result: _BybitClock


class _BybitInstrument(msgspec.Struct):
    symbol: str
    contractType: str | None = ""
    status: str | None = ""
    baseCoin: str | None = ""
    quoteCoin: str | None = ""
    settleCoin: str | None = ""
    symbolType: str | None = ""
    launchTime: _Loose = ""
    fundingInterval: _Loose = 0
    isPreListing: bool | None = False


class _BybitTicker(msgspec.Struct):
    symbol: str
    turnover24h: _Loose = ""
    nextFundingTime: _Loose = ""
    fundingIntervalHour: _Loose = ""


class _AnyError(msgspec.Struct):
    code: int | str | None = None
    msg: str | None = None
    errorData: dict[str, Any] | None = None
    retCode: int | None = None
    retMsg: str | None = None


# What is not used is decoded as Any: the cheapest that still sees that it is there.
_BinanceKline = tuple[_Time, float, float, float, float, str, Any, str, Any, Any, Any, Any]
_BybitKline = tuple[_Time, float, float, float, float, str, str]


def _lax(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind, strict=False)


_BINANCE_KLINES: Final = _lax(list[_BinanceKline])
_BINANCE_OI_DECODER: Final = _lax(list[_BinanceOpenInterest])
_BINANCE_FUNDING_DECODER: Final = _lax(list[_BinanceFunding])
_BINANCE_TIME_DECODER: Final = _lax(_BinanceTime)
_BINANCE_INFO_DECODER: Final = _lax(_BinanceExchangeInfo)
_BINANCE_TICKER_DECODER: Final = _lax(list[_BinanceTicker])
PREMIUM_DECODER: Final = _lax(list[_BinancePremium])
FUNDING_INFO_DECODER: Final = _lax(list[_BinanceFundingInfo])
_BYBIT_KLINES: Final = _lax(_BybitAnswer[_BybitKline])
_PLAIN_BYBIT_OI_DECODER: Final = _lax(_BybitAnswer[_PlainBybitOpenInterest])
_BYBIT_OI_DECODER: Final = _lax(_BybitAnswer[_BybitOpenInterest])
_BYBIT_FUNDING_DECODER: Final = _lax(_BybitAnswer[_BybitFunding])
_BYBIT_TIME_DECODER: Final = _lax(_BybitTime)
_BYBIT_INSTRUMENTS_DECODER: Final = _lax(_BybitAnswer[_BybitInstrument])
_BYBIT_TICKER_DECODER: Final = _lax(_BybitAnswer[_BybitTicker])
ERROR_DECODER: Final = msgspec.json.Decoder(_AnyError)


def _binance_klines(body: bytes, symbol: str, fail: Failure) -> Sequence[Sequence[Any]]:
    rows = fail.decode(_BINANCE_KLINES, body)
    columns = list(zip(*rows, strict=True))
    return [*columns[:6], columns[7]] if columns else ()


def _bybit_klines(body: bytes, symbol: str, fail: Failure) -> Sequence[Sequence[Any]]:
    rows = _about(fail.decode(_BYBIT_KLINES, body), symbol, fail)
    return list(zip(*reversed(rows), strict=True))


def _binance_open_interest(
    body: bytes, symbol: str, fail: Failure
) -> tuple[list[int], list[float]]:
    rows = fail.decode(_BINANCE_OI_DECODER, body)
    if {row.symbol for row in rows} - {symbol}:
        raise fail("open interest of another symbol")
    return [row.timestamp for row in rows], [row.sumOpenInterest for row in rows]


def _bybit_open_interest(body: bytes, symbol: str, fail: Failure) -> tuple[list[int], list[float]]:
    try:
        answer = _PLAIN_BYBIT_OI_DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _odd_bybit_open_interest(body, symbol, fail)
    plain = _about(answer, symbol, fail)
    plain.reverse()
    # Halving is exact in binary: the result is the float64 next to half of the decimal.
    values = [
        row.openInterest / 2 if row.singleOpenInterest is None else row.singleOpenInterest
        for row in plain
    ]
    return [row.timestamp for row in plain], values


def _odd_bybit_open_interest(
    body: bytes, symbol: str, fail: Failure
) -> tuple[list[int], list[float]]:
    rows = _about(fail.decode(_BYBIT_OI_DECODER, body), symbol, fail)
    rows.reverse()
    times = [row.timestamp for row in rows]
    one_sided = [row.singleOpenInterest not in ("", None) for row in rows]
    texts = [
        str(row.singleOpenInterest if single else row.openInterest)
        for row, single in zip(rows, one_sided, strict=True)
    ]
    if texts:
        check_decimals(texts, times, "open interest", fail)
    values = [
        float(text) if single else float(text) / 2
        for single, text in zip(one_sided, texts, strict=True)
    ]
    return times, values


def _about(answer: _BybitAnswer[T], symbol: str, fail: Failure) -> list[T]:
    """The answer's rows; raises unless they are about `symbol`."""
    result = answer.result
    # Nothing about nothing: an empty list comes with or without the symbol.
    if result.list and (result.symbol != symbol or result.category != "linear"):
        raise fail(f"an answer about {result.category} {result.symbol}"[:100])
    return result.list


def _binance_funding(body: bytes, fail: Failure) -> list[Settlement]:
    return _settlements(
        (
            Settlement(row.symbol, row.fundingTime, row.fundingRate, row.rateType in _REGULAR)
            for row in fail.decode(_BINANCE_FUNDING_DECODER, body)
        ),
        fail,
    )


def _bybit_funding(body: bytes, fail: Failure) -> list[Settlement]:
    result = fail.decode(_BYBIT_FUNDING_DECODER, body).result
    return _settlements(
        (
            Settlement(row.symbol, row.fundingRateTimestamp, row.fundingRate, True)
            for row in reversed(result.list)
        ),
        fail,
    )


def _settlements(rows: Iterable[Settlement], fail: Failure) -> list[Settlement]:
    settlements = list(rows)
    if not all(row.time_ms > 0 and -10 < row.rate < 10 for row in settlements):
        raise fail("a settlement that cannot be")
    return settlements


def _binance_time(body: bytes, fail: Failure) -> int:
    return fail.decode(_BINANCE_TIME_DECODER, body).serverTime


def _bybit_time(body: bytes, fail: Failure) -> int:
    return fail.decode(_BYBIT_TIME_DECODER, body).result.timeNano // 1_000_000


def _binance_instruments(body: bytes, quote: str, fail: Failure) -> Page[Instrument]:
    listed = fail.decode(_BINANCE_INFO_DECODER, body).symbols
    rows = [
        Instrument(
            Market(Exchange.BINANCE, row.symbol, row.baseAsset, quote, _whole(row.onboardDate)),
            None,
        )
        for row in listed
        if row.contractType == "PERPETUAL"
        and row.status == "TRADING"
        and row.quoteAsset == row.marginAsset == quote
        and row.symbol
        and row.baseAsset
    ]
    return Page(rows, sent=len(listed))


def _bybit_instruments(body: bytes, quote: str, fail: Failure) -> Page[Instrument]:
    result = fail.decode(_BYBIT_INSTRUMENTS_DECODER, body).result
    rows = [
        Instrument(
            Market(
                Exchange.BYBIT,
                row.symbol,
                row.baseCoin,
                quote,
                _whole(row.launchTime),
            ),
            settlement_hours(_whole(row.fundingInterval) // 60)
            if _whole(row.fundingInterval) % 60 == 0
            else None,
        )
        for row in result.list
        if row.contractType == "LinearPerpetual"
        and row.status == "Trading"
        and row.quoteCoin == row.settleCoin == quote
        and row.symbolType in ("", None, "innovation")
        and not row.isPreListing
        and row.symbol
        and row.baseCoin
    ]
    return Page(rows, sent=len(result.list), cursor=result.nextPageCursor or "")


def _binance_tickers(body: bytes, fail: Failure) -> list[Ticker]:
    rows = fail.decode(_BINANCE_TICKER_DECODER, body)
    return [Ticker(row.symbol, turnover_24h=_number(row.quoteVolume)) for row in rows]


def _bybit_tickers(body: bytes, fail: Failure) -> list[Ticker]:
    # Numbers that do not apply to a contract are empty strings.
    return [
        Ticker(
            row.symbol,
            _number(row.turnover24h),
            _whole(row.nextFundingTime) or None,
            settlement_hours(_whole(row.fundingIntervalHour)),
        )
        for row in fail.decode(_BYBIT_TICKER_DECODER, body).result.list
    ]


def _whole(value: _Loose) -> int:
    """0 where it does not apply."""
    text = str(value)
    return int(text) if text.isdecimal() else 0


def _number(value: _Loose) -> float | None:
    text = str(value)
    return float(text) if is_decimal(text) else None


KLINES: Final[Mapping[Exchange, Callable[[bytes, str, Failure], Sequence[Sequence[Any]]]]] = {
    Exchange.BINANCE: _binance_klines,
    Exchange.BYBIT: _bybit_klines,
}
OPEN_INTEREST: Final[
    Mapping[Exchange, Callable[[bytes, str, Failure], tuple[list[int], list[float]]]]
] = {
    Exchange.BINANCE: _binance_open_interest,
    Exchange.BYBIT: _bybit_open_interest,
}
FUNDING: Final[Mapping[Exchange, Callable[[bytes, Failure], list[Settlement]]]] = {
    Exchange.BINANCE: _binance_funding,
    Exchange.BYBIT: _bybit_funding,
}
TIME: Final[Mapping[Exchange, Callable[[bytes, Failure], int]]] = {
    Exchange.BINANCE: _binance_time,
    Exchange.BYBIT: _bybit_time,
}
INSTRUMENTS: Final[Mapping[Exchange, Callable[[bytes, str, Failure], Page[Instrument]]]] = {
    Exchange.BINANCE: _binance_instruments,
    Exchange.BYBIT: _bybit_instruments,
}
TICKERS: Final[Mapping[Exchange, Callable[[bytes, Failure], list[Ticker]]]] = {
    Exchange.BINANCE: _binance_tickers,
    Exchange.BYBIT: _bybit_tickers,
}
