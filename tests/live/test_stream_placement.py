"""Which topics share a connection, at the real exchanges' sizes, and how fast all is asked."""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from live.events import FundingEvent, Subscribed, TickerEvent
from live.exchanges import STREAM_VENUES
from live.pacing import SharedPace
from live.stream_address import ExchangeAddress
from live.stream_pool import StreamPool
from live.stream_venue import Channel, StreamVenue, Topic
from live.subscriptions import Subscriptions
from tests.fixtures.signals import turns, until_true
from tests.live.hand_clock import HandClock
from tests.live.scripted_streams import Recorder, scripted_exchange, trade, venue

NAMES = {"binance": "{}USDT", "bybit": "{}USDT", "okx": "{}-USDT-SWAP"}
SIZES = ("1m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h")


def candles(exchange: str, markets: int, timeframes: Iterable[str] = ("5m",)) -> list[Topic]:
    symbols = [NAMES[exchange].format(f"COIN{number}") for number in range(markets)]
    return [Topic(Channel.CANDLE, symbol, size) for symbol in symbols for size in timeframes]


def placed(exchange: str, topics: Iterable[Topic]) -> dict[str, list[set[str]]]:
    """The names of each connection, by route; nothing is opened."""
    of = STREAM_VENUES[exchange]
    pool = StreamPool(of, Recorder(), ExchangeAddress("ws://127.0.0.1:1"), clock=HandClock())
    pool.add(topics)
    found: dict[str, list[set[str]]] = {}
    for shard in pool._shards:
        names = {*shard.topics.values(), *shard.heartbeat().values()}
        found.setdefault(shard.route, []).append(names)
    return found


def asked(of: StreamVenue, names: Iterable[str]) -> tuple[list[str], float]:
    """The requests for these names on one connection, each answered at once, and how long."""
    subscriptions, now, texts = Subscriptions(of, lambda name: False), 0.0, []
    subscriptions.want(names)
    while (due_s := subscriptions.due_s(now)) is not None:
        now = max(now, due_s)
        text = subscriptions.next_request(now)
        assert text is not None
        texts.append(text)
        subscriptions.acknowledged(Subscribed(""), now)
    return texts, now


@pytest.mark.parametrize(
    ("exchange", "markets", "connections", "requests", "seconds"),
    [("binance", 650, 1, 5, 1.0), ("bybit", 550, 1, 6, 1.0), ("okx", 300, 1, 4, 1.0)],
)
def test_one_timeframe_of_all_markets(
    exchange: str, markets: int, connections: int, requests: int, seconds: float
) -> None:
    of = STREAM_VENUES[exchange]
    ((names,),) = placed(exchange, candles(exchange, markets)).values()
    assert len(names) == markets + 1
    texts, took_s = asked(of, names)
    assert len(texts) <= requests and took_s <= seconds
    assert max(map(len, texts)) <= of.bytes_a_request


@pytest.mark.parametrize(
    ("exchange", "markets", "connections"),
    [("binance", 530, 5), ("bybit", 550, 5), ("okx", 300, 3)],
)
def test_nine_timeframes_of_all_markets(exchange: str, markets: int, connections: int) -> None:
    of = STREAM_VENUES[exchange]
    (shards,) = placed(exchange, candles(exchange, markets, SIZES)).values()
    assert len(shards) <= connections
    assert sum(map(len, shards)) >= 9 * markets
    for names in shards:
        assert of.names_a_connection is None or len(names) <= of.names_a_connection
        taken = sum(len(name.encode()) for name in names)
        assert of.name_bytes_a_connection is None or taken <= of.name_bytes_a_connection
        texts, took_s = asked(of, names)
        assert took_s <= 15
        if of.requests_an_hour is not None:
            assert len(texts) < of.requests_an_hour / 10


def test_binances_groups_are_on_routes_of_their_own() -> None:
    """On the wrong route a stream is acknowledged and stays silent."""
    topics = [Topic(channel, "BTCUSDT", "1m") for channel in (Channel.CANDLE,)]
    topics += [Topic(channel, "BTCUSDT") for channel in (Channel.TRADE, Channel.ORDERBOOK)]
    assert placed("binance", [*topics, Topic(Channel.FUNDING, "")]) == {
        "/market/stream": [{"btcusdt@kline_1m", "btcusdt@aggTrade", "!markPrice@arr"}],
        "/public/stream": [{"btcusdt@depth@100ms"}],
    }


def test_few_order_books_share_a_connection_of_okx() -> None:
    """Fewer than 30 are advised; its heartbeat is a ticker, not one more book."""
    topics = [Topic(Channel.ORDERBOOK, f"C{number}-USDT-SWAP") for number in range(60)]
    topics += [Topic(Channel.TRADE, topic.symbol) for topic in topics]
    (shards,) = placed("okx", topics).values()
    books = [sum('"books"' in name for name in names) for names in shards]
    assert books == [25, 25, 10]
    for names in shards:
        assert sum('"tickers"' in name for name in names) == 1


async def test_new_connections_keep_the_pace_of_the_process() -> None:
    async with scripted_exchange() as exchange:
        clock, pace = HandClock(), SharedPace(2, 10.0)
        pools = [
            StreamPool(
                venue(names_a_connection=3),
                Recorder(),
                ExchangeAddress(exchange.url),
                connects=pace,
                clock=clock,
            )
            for _ in range(2)
        ]
        async with pools[0], pools[1]:
            for pool in pools:
                pool.add(trade(f"C{number}") for number in range(6))  # three connections
            for opened in (2, 4, 6):
                await exchange.attempted(opened)
                await turns(50)
                assert exchange.attempts == opened
                await clock.advance(10)
            await until_true(lambda: sum(pool.status().proven for pool in pools) == 12)


async def test_a_stream_of_all_markets_is_one_topic() -> None:
    def read(payload: bytes) -> list[object]:
        told = json.loads(payload)
        if "ok" in told:
            return [Subscribed(str(told["ok"]))]
        return [FundingEvent(symbol, 1, 2) for symbol in ("A", "B", "BTC")]

    whole = Topic(Channel.FUNDING, "")
    options: dict[str, Any] = {
        "name": lambda topic: "all" if topic == whole else "trade.x",
        "read": read,
    }
    async with scripted_exchange() as exchange:
        exchange.data = lambda name: {"rows": []}  # type: ignore[method-assign]
        owner = Recorder()
        pool = StreamPool(venue(**options), owner, ExchangeAddress(exchange.url), clock=HandClock())
        async with pool:
            pool.add([whole])
            await until_true(lambda: owner.symbols(1) == ["A", "B", "BTC"])
            assert exchange.sessions[0].names == {"all"}
            assert pool.status().proven == 1


async def test_two_topics_of_one_name_are_one_subscription() -> None:
    """Bybit: a ticker's message tells of funding, too; what nobody wants of it is no error."""

    def read(payload: bytes) -> list[object]:
        told = json.loads(payload)
        if "ok" in told:
            return [Subscribed(str(told["ok"]))]
        symbol = told["trade"]
        return [TickerEvent(symbol, 1, {}), FundingEvent(symbol, 1, 2)]

    async with scripted_exchange() as exchange:
        owner = Recorder()
        options: dict[str, Any] = {"name": lambda topic: f"trade.{topic.symbol}", "read": read}
        pool = StreamPool(venue(**options), owner, ExchangeAddress(exchange.url), clock=HandClock())
        ticker, funding = Topic(Channel.TICKER, "ETH"), Topic(Channel.FUNDING, "ETH")
        async with pool:
            pool.add([ticker])
            await until_true(lambda: owner.events)
            pool.add([funding])
            await turns(50)
            session = exchange.sessions[0]
            assert session.asked() == [["trade.BTC", "trade.ETH"]]
            await session.send({"trade": "ETH"})
            await until_true(lambda: len(owner.events) == 3)
            pool.remove([ticker])
            await session.send({"trade": "ETH"})
            await until_true(lambda: len(owner.events) == 4)
            kinds = Counter(type(event).__name__ for _, event in owner.events)
            assert kinds == {"TickerEvent": 2, "FundingEvent": 2}
            assert pool.status().unwanted == 0
            assert session.asked("unsubscribe") == []


async def test_an_owner_that_raises_ends_nothing() -> None:
    class Wrong(Recorder):
        def on_epoch_began(self, epoch: int, topics: Iterable[Topic]) -> None:
            super().on_epoch_began(epoch, topics)
            raise ValueError("of the owner")

    async with scripted_exchange() as exchange:
        owner = Wrong()
        pool = StreamPool(venue(), owner, ExchangeAddress(exchange.url), clock=HandClock())
        async with pool:
            pool.add([trade("ETH")])
            await until_true(lambda: owner.events)
            assert pool.status().owner_errors == 1
