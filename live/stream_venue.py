"""StreamVenue: the facts of one exchange's WebSockets, filled in by live/<exchange>.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from live.book_rules import BookRule
from live.contracts import ContractList
from live.events import Event


class Channel(StrEnum):
    """The kinds of public streams."""

    CANDLE = "candle"
    TICKER = "ticker"
    TRADE = "trade"
    ORDERBOOK = "orderbook"
    FUNDING = "funding"  # when markets settle next


class Topic(NamedTuple):
    """What is subscribed to: one channel of one market; candles have a timeframe too."""

    channel: Channel
    symbol: str
    timeframe: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamVenue:
    """All facts of one exchange's public WebSockets; other code of live/ names no exchange.

    Addresses and names
      `base_url`: its live WebSocket address, unless `<EXCHANGE>_WS_URL` is set.
      `route(topic)`: the path after the base, by the topic's group; topics of different routes
      need different connections. `name(topic)`: the exchange's name of the topic; ValueError for
      a channel or timeframe that it does not have, with those that it has. Several topics may
      have one name (Bybit: ticker and funding). The symbol "" means all markets where the exchange
      has one stream of them (Binance: funding), else ValueError.
      `symbol(text)`: the exchange's name of a market from any usual writing ("BTC-USDT").
      `heartbeat_symbol`: a market that always trades, subscribed on every connection.

    Requests
      `subscribe(names, request_id)`, `unsubscribe(...)`: the text to send. One request holds at
      most `names_a_request` names and `bytes_a_request` bytes; `requests_a_second` and
      `requests_an_hour` bound them for each connection. `answers_each_name`: one answer comes for
      every name, else one for the request. `fails_whole`: one bad name fails the whole request, so
      that a refused one is asked again name by name.
      One connection holds at most `names_a_connection` and `name_bytes_a_connection`, and of order
      books `books_a_connection`.
      `connects`: at most so many new connections in so many seconds, with our own margin.

    Life
      `ping`: the text to send after `ping_after_s` (without any message if `ping_when_silent`,
      else always), None where the server pings; no message at all in `pong_within_s` after it:
      the connection is dead. `silent_after_s`: no data of any market for so long: dead too.
      `life_s`: the connection is replaced at this age at the latest, None: no fixed life.
      `grace_s`: the closing event of a candle may come so late; then it counts as missed.

    Data
      `read(payload)`: the events of one message, in order. Raises errors.UnreadableMessage for one
      that is not in the exchange's format; what is in its format and cannot be read, or cannot be
      (high < low, off the grid), becomes a LeftOut: its market is not proven any more.
      `counts_contracts(symbol)`: sizes of this market's trades, books and tickers are contracts,
      and contracts.in_coins makes base units of them; its candles are in base units all the same.
      `book`: by which rule its order books are kept (order_book.OrderBook).
      `contracts`: the list that tells the base units of one contract, where contracts are counted.
      `rest_url`: the live REST address of both, unless `<EXCHANGE>_BASE_URL` is set.
    """

    exchange: str
    base_url: str
    route: Callable[[Topic], str]
    name: Callable[[Topic], str]
    symbol: Callable[[str], str]
    heartbeat_symbol: str

    subscribe: Callable[[Sequence[str], int], str]
    unsubscribe: Callable[[Sequence[str], int], str]
    names_a_request: int
    bytes_a_request: int
    requests_a_second: float
    requests_an_hour: int | None
    answers_each_name: bool
    fails_whole: bool
    names_a_connection: int | None
    name_bytes_a_connection: int | None
    connects: tuple[int, float]

    ping: str | None
    ping_after_s: float
    ping_when_silent: bool
    pong_within_s: float
    silent_after_s: float
    life_s: float | None
    grace_s: float

    read: Callable[[bytes], list[Event]]
    counts_contracts: Callable[[str], bool]
    book: BookRule
    books_a_connection: int | None = None
    contracts: ContractList | None = None
    rest_url: str
