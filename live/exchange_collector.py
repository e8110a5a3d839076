"""ExchangeCollector: what the built-in collectors share; builtin.py has one for each exchange."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

from config import LiveSettings, load_live_settings
from live.book_keeper import MOST_BOOKS
from live.collector import BaseDataCollector
from live.data_types import (
    CollectorConfig,
    DataType,
    DataValidationError,
    MarketDataPoint,
    read_data_types,
    read_symbol,
    read_symbols,
)
from live.events import CandleEvent, TradeEvent
from live.exchange_session import ExchangeSession
from live.points import book_data, candle_data, moment, ticker_data, trade_data
from live.stream_feed import BookView, Item, TickerView
from live.stream_status import PoolStatus
from live.stream_venue import Channel, StreamVenue, Topic
from metrics.collectors import CollectorMetrics, ErrorType
from timing.clock import Clock, SystemClock

BOOK_DEPTH: Final = 50
# Below the deadline that the base class sets for subscribing.
SUBSCRIBE_S: Final = 20.0
_ROUND_S: Final = 1.0  # the message loop comes round at least so often
_BATCH: Final = 256
_MANY_FAILURES: Final = 3  # without a minute of data in between
_MOST_REFUSED: Final = 3  # subscriptions that an issue names
_CHANNELS: Final = {
    DataType.CANDLE: Channel.CANDLE,
    DataType.TICKER: Channel.TICKER,
    DataType.TRADE: Channel.TRADE,
    DataType.ORDERBOOK: Channel.ORDERBOOK,
}


class ExchangeCollector(BaseDataCollector):
    """A collector of one exchange's public streams, ready to use.

    `symbols`: markets in any usual writing (BTCUSDT, BTC-USDT, BTC/USDT:USDT); data points bear
    the writing that was given. `data_types`: TICKER, TRADE, ORDERBOOK and CANDLE, [CANDLE] if
    None. BALANCE needs an account's keys and is refused; a collector of your own may offer it.
    `timeframes`: of candles. `book_depth`: the most levels of each side in a data point of an order
    book. The other parameters are those of BaseDataCollector.

    What `MarketDataPoint.data` holds, by type (Decimal prices and sizes, sizes in base units):
      CANDLE     timeframe, timestamp (opening), close_time, open, high, low, close, volume,
                 turnover, trades_count, closed; each state of the forming candle, and its close
      TRADE      trade_id, price, size, side (of the taker)
      TICKER     all that the exchange tells: last_price, bid_price, ask_price, high_24h ...
      ORDERBOOK  bids, asks (lists of (price, size), the best first), last_id; of whole books alone
    and exchange_symbol, the exchange's own name. Full tables: live/points.py.

    How it stays alive, where the base class's rules would not serve
      - Connections are kept by a pool: each is replaced before the exchange cuts it, with no gap,
        and opened again after any failure for as long as the collector runs, with pauses from 1
        to 60 s, whatever MAX_RECONNECT_ATTEMPTS is.
      - Silence is judged by connection, over all its markets and one that always trades, within
        seconds. No market is ever taken for dead because it is quiet; MAX_SILENCE_DURATION counts
        from the last data of any market, those of the heartbeat's included.
      - A message that cannot be read, and a callback that fails, end nothing.

    Raises DataValidationError for symbols, data types and timeframes that the exchange does not
    have.
    """

    VENUE: ClassVar[StreamVenue]

    def __init__(
        self,
        symbols: Iterable[str],
        data_types: Iterable[DataType | str] | None = None,
        component_name: str | None = None,
        auto_restart: bool = True,
        health_check_interval: float | None = None,
        *,
        timeframes: Iterable[str] = ("1m",),
        book_depth: int = BOOK_DEPTH,
        settings: LiveSettings | None = None,
        clock: Clock | None = None,
        metrics: CollectorMetrics | None = None,
    ) -> None:
        self._settings = settings or load_live_settings()
        super().__init__(
            self.VENUE.exchange,
            symbols,
            data_types,
            component_name,
            auto_restart,
            health_check_interval,
            settings=self._settings,
            clock=clock,
            metrics=metrics,
        )
        if isinstance(timeframes, str):
            raise DataValidationError(f"timeframes: must be a list, such as ['{timeframes}']")
        if isinstance(book_depth, bool) or not isinstance(book_depth, int) or book_depth < 1:
            raise DataValidationError("book_depth: must be a whole number above 0")
        if book_depth > self.VENUE.book.depth:
            raise DataValidationError(
                f"book_depth: {book_depth} is more than the {self.VENUE.book.depth} levels of"
                f" {self.VENUE.exchange}"
            )
        self.timeframes = tuple(dict.fromkeys(timeframes))
        self.book_depth = book_depth
        self._clock = clock or SystemClock()
        self._session: ExchangeSession | None = None
        self._written: dict[str, list[str]] = {}  # the given symbols, by the exchange's names
        self._check(self.symbols, self.data_types)

    # What the base class asks for.

    async def connect(self) -> bool:
        """Opens the session; connections are opened when something is subscribed."""
        await self.disconnect()
        session = ExchangeSession(
            self.VENUE, self._settings, self._clock, self.book_depth, self._base.log()
        )
        await session.__aenter__()
        self._session = session
        return True

    async def disconnect(self) -> None:
        """Closes every connection."""
        session, self._session = self._session, None
        self._written = {}
        if session is not None:
            await session.__aexit__(None, None, None)

    async def subscribe_to_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        """Subscribes, and waits until the exchange has answered.

        Raises ConnectionError where no connection can be opened, and ValueError where the exchange
        refuses every one of the symbols; refused ones among others are noted as errors.
        """
        session = self._open_session()
        topics = self._check(symbols, data_types)
        await session.add(topics)
        for symbol in symbols:
            self._write(symbol)
        settled = await session.settled(SUBSCRIBE_S)
        status = session.pool_status()
        if not settled and not any(each.epoch is not None for each in status.connections):
            raise ConnectionError(session.last_failure or f"no answer in {SUBSCRIBE_S:g} s")
        names = {topic: self.VENUE.name(topic) for topic in topics}
        reasons = {t: status.refused[name] for t, name in names.items() if name in status.refused}
        if reasons and len(reasons) == len(topics):
            raise ValueError(f"refused: {_told(reasons)}")
        if reasons:
            self._note_error(ErrorType.SUBSCRIPTION, f"refused: {_told(reasons)}")
        return True

    async def unsubscribe_from_data(self, symbols: list[str], data_types: list[DataType]) -> bool:
        """Unsubscribes what no other writing of the same market is subscribed for."""
        session = self._open_session()
        for symbol in symbols:
            native = self.VENUE.symbol(symbol)
            left = [each for each in self._written.get(native, ()) if each != symbol]
            if left:
                self._written[native] = left
            else:
                self._written.pop(native, None)
                session.remove(self._topics([symbol], data_types))
        return True

    async def _handle_messages(self) -> None:
        session = self._open_session()
        items = await session.take(_BATCH, _ROUND_S)
        for _ in range(session.new_failures()):
            self._note_error(ErrorType.CONNECTION, f"connection: {session.last_failure}")
        if session.had_data() or not self._written:
            self._base.record.was_read()
        for item in items:
            for symbol in self._written.get(item.symbol, ()):
                await self._notify_callbacks(await self._process_message((symbol, item)))

    async def _process_message(self, message: tuple[str, Item]) -> MarketDataPoint | None:
        symbol, item = message
        exchange = self.exchange_name
        if isinstance(item, CandleEvent):
            kind, time_ms, data = DataType.CANDLE, item.event_time_ms, candle_data(item)
        elif isinstance(item, TradeEvent):
            kind, time_ms, data = DataType.TRADE, item.time_ms, trade_data(item)
        elif isinstance(item, TickerView):
            kind, time_ms = DataType.TICKER, item.time_ms
            data = ticker_data(item.symbol, item.values)
        else:
            kind, time_ms, data = DataType.ORDERBOOK, item.time_ms, _book(item)
        return MarketDataPoint(exchange, symbol, moment(time_ms), kind, data)

    # What users call.

    def add_symbol(self, symbol: str) -> None:
        symbol = read_symbol(symbol)
        self._check([*self.symbols, symbol], self.data_types)
        super().add_symbol(symbol)

    def get_status(self) -> dict[str, Any]:
        """As of the base class, and `timeframes`, `connections` (each with its epoch, age and
        counts), `streams` (counts of all connections; `refused` subscriptions, and those
        `without_data`: a name that an exchange does not have may be acknowledged all the same),
        `books` and `queue`."""
        status = {**super().get_status(), "timeframes": list(self.timeframes)}
        empty: dict[str, Any] = {"connections": [], "streams": {}, "books": {}, "queue": {}}
        return status | (self._session.status() if self._session is not None else empty)

    def get_health_status(self) -> dict[str, Any]:
        """As of the base class; connections that fail again and again, and subscriptions that the
        exchange refuses, are issues too."""
        health = super().get_health_status()
        if self._session is not None and health["should_be_running"]:
            health["issues"] = [*health["issues"], *_stream_issues(self._session.pool_status())]
            health["is_healthy"] = not health["issues"]
        return health

    def _configure(self, config: CollectorConfig | None, metrics: CollectorMetrics | None) -> None:
        if config is not None:
            symbols = read_symbols(config.symbols) or self.symbols
            self._check(symbols, read_data_types(config.data_types) or self.data_types)
        super()._configure(config, metrics)

    # How.

    def _open_session(self) -> ExchangeSession:
        if self._session is None:
            raise ConnectionError("not connected")
        return self._session

    def _write(self, symbol: str) -> None:
        written = self._written.setdefault(self.VENUE.symbol(symbol), [])
        if symbol not in written:
            written.append(symbol)

    def _topics(self, symbols: Iterable[str], data_types: Iterable[DataType]) -> list[Topic]:
        topics = []
        for symbol in symbols:
            native = self.VENUE.symbol(symbol)
            for kind in data_types:
                if kind is DataType.CANDLE:
                    topics += [Topic(Channel.CANDLE, native, each) for each in self.timeframes]
                else:
                    topics.append(Topic(_CHANNELS[kind], native))
        return topics

    def _check(self, symbols: list[str], data_types: list[DataType]) -> list[Topic]:
        """The topics. Raises DataValidationError for what the exchange does not have."""
        exchange = self.exchange_name
        if DataType.BALANCE in data_types:
            raise DataValidationError(
                f"{exchange}: balance needs an account's keys, which the built-in collectors do not"
                " take; a collector of your own may offer it"
            )
        if DataType.CANDLE in data_types and not self.timeframes:
            raise DataValidationError(f"{exchange}: candles need a timeframe, such as 1m")
        if DataType.ORDERBOOK in data_types and len(symbols) > MOST_BOOKS:
            raise DataValidationError(
                f"{exchange}: at most {MOST_BOOKS} order books in one collector"
            )
        try:
            topics = self._topics(symbols, data_types)
            for topic in topics:
                self.VENUE.name(topic)
        except ValueError as error:
            raise DataValidationError(_with_exchange(exchange, error)) from None
        return topics


def _stream_issues(streams: PoolStatus) -> Iterator[str]:
    if streams.failures >= _MANY_FAILURES:
        yield (
            f"{streams.failures} connections have failed in a row, the last one: "
            f"{streams.last_failure}"
        )
    if streams.refused:
        told = [f"{name}: {why}" for name, why in list(streams.refused.items())[:_MOST_REFUSED]]
        more = "; ..." if len(streams.refused) > len(told) else ""
        number = len(streams.refused)
        what = "subscription is" if number == 1 else "subscriptions are"
        yield f"{number} {what} refused: {'; '.join(told)}{more}"


def _with_exchange(exchange: str, error: ValueError) -> str:
    text = str(error)
    return text if text.startswith(exchange) else f"{exchange}: {text}"


def _told(reasons: dict[Topic, str]) -> str:
    """Refused topics and why, not more than ten of them."""
    told = [f"{topic.channel} {topic.symbol}: {why}" for topic, why in list(reasons.items())[:10]]
    return "; ".join(told) + ("; ..." if len(reasons) > len(told) else "")


def _book(view: BookView) -> dict[str, Any]:
    return book_data(view.symbol, view.bids, view.asks, view.last_id)
