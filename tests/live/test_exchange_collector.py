"""The built-in collectors against an exchange of WebSockets on this machine."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config import load_live_settings
from live.book_rules import BookRule, Place
from live.builtin import BinanceCollector, BybitCollector, OKXCollector, create_collector
from live.contracts import ContractList
from live.data_types import CollectorConfig, DataType, DataValidationError, MarketDataPoint
from live.events import BookEvent
from live.exchange_collector import ExchangeCollector
from live.exchanges import STREAM_VENUES
from tests.fixtures.signals import until_true
from tests.live.scripted_streams import ScriptedExchange, Session, scripted_exchange, venue


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are right for exchanges far away would only make these tests last longer."""
    monkeypatch.setattr("live.stream_shard.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("live.exchange_collector._ROUND_S", 0.05)
    monkeypatch.setattr("live.run._BESIDE_AFTER_S", 0.05)


@dataclass
class Collecting:
    exchange: ScriptedExchange
    collector: ExchangeCollector
    points: list[MarketDataPoint] = field(default_factory=list)

    def of(self, kind: DataType) -> list[MarketDataPoint]:
        return [point for point in self.points if point.data_type is kind]

    async def take(self, point: MarketDataPoint) -> None:
        self.points.append(point)


@contextlib.asynccontextmanager
async def collecting(
    symbols: list[str],
    data_types: list[str],
    prepare: Callable[[ScriptedExchange], None] = lambda _: None,
    *,
    start: bool = True,
    changes: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Collecting]:
    """A collector of the scripted exchange, called okx here so that it has settings."""
    before = asyncio.all_tasks()
    async with scripted_exchange() as exchange:
        prepare(exchange)

        class Collector(ExchangeCollector):
            VENUE = venue(exchange="okx", connects=(1000, 1.0), **(changes or {}))

        settings = load_live_settings(
            okx_ws_url=exchange.url,
            okx_base_url=f"http://127.0.0.1:{exchange.port}",
            reconnect_delay=0.01,
        )
        collector = Collector(symbols, data_types, settings=settings, **options)
        run = Collecting(exchange, collector)
        for kind in collector.data_types:
            collector.add_data_callback(kind, run.take)
        try:
            if start:
                assert await collector.start()
            yield run
        finally:
            await collector.stop()
        await until_true(lambda: not exchange.open_sessions)
    await until_true(lambda: not asyncio.all_tasks() - before)


def test_the_built_in_collectors() -> None:
    for exchange, kind in (
        ("binance", BinanceCollector),
        ("bybit", BybitCollector),
        ("okx", OKXCollector),
    ):
        collector = create_collector(exchange.upper(), ["BTC-USDT"], timeframes=("1m", "1h"))
        assert type(collector) is kind
        assert collector.exchange_name == exchange
        assert collector.data_types == [DataType.CANDLE]
        assert collector.VENUE is STREAM_VENUES[exchange]
    with pytest.raises(DataValidationError, match="there are binance, bybit, okx"):
        create_collector("kraken", ["BTC-USDT"])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"data_types": ["balance"]}, "okx: balance needs an account's keys"),
        ({"symbols": ["B TC"]}, "not the name of a market: 'B TC'"),
        ({"timeframes": ["8h"]}, "okx has no timeframe '8h'; it has 1m"),
        ({"timeframes": []}, "candles need a timeframe"),
        ({"timeframes": "1m"}, r"must be a list, such as \['1m'\]"),
        ({"book_depth": 0}, "book_depth: must be a whole number above 0"),
        ({"book_depth": 401}, "book_depth: 401 is more than the 400 levels of okx"),
        (
            {"symbols": [f"C{number}-USDT" for number in range(201)], "data_types": ["orderbook"]},
            "at most 200 order books",
        ),
    ],
)
def test_what_an_exchange_does_not_have_is_refused(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(DataValidationError, match=why):
        OKXCollector(**({"symbols": ["BTC-USDT"]} | arguments))


def test_a_manager_cannot_ask_for_it_either() -> None:
    collector = OKXCollector(["BTC-USDT"])
    config = CollectorConfig("a", "okx", ["BTC-USDT"], ["ticker", "balance"])
    with pytest.raises(DataValidationError, match="keys"):
        collector._configure(config, None)
    assert collector.data_types == [DataType.CANDLE]
    with pytest.raises(DataValidationError, match="not the name"):
        collector.add_symbol("B TC")
    assert collector.symbols == ["BTC-USDT"]


async def test_each_type_of_data() -> None:
    types = ["candle", "trade", "ticker", "orderbook"]
    async with collecting(["ETH-"], types, timeframes=("5m",), book_depth=1) as run:
        await until_true(lambda: {point.data_type for point in run.points} == set(types))
        assert {(point.exchange, point.symbol) for point in run.points} == {("okx", "ETH-")}
        (candle,) = run.of(DataType.CANDLE)
        opened = datetime(1970, 1, 1, tzinfo=UTC)
        assert candle.data == {
            "exchange_symbol": "ETH",
            "timeframe": "5m",
            "timestamp": opened,
            "close_time": opened + timedelta(minutes=5),
            "open": Decimal(1),
            "high": Decimal(2),
            "low": Decimal("0.5"),
            "close": Decimal("1.5"),
            "volume": Decimal(10),
            "turnover": Decimal(15),
            "trades_count": None,
            "closed": False,
        }
        row = run.collector.validate_ohlcv_data(candle.data, "ETH-", "5m")
        assert (row.close, row.turnover, row.closed) == (Decimal("1.5"), Decimal(15), False)
        (trade,) = run.of(DataType.TRADE)
        assert trade.data == {
            "exchange_symbol": "ETH",
            "trade_id": trade.data["trade_id"],
            "price": Decimal(1),
            "size": Decimal(2),
            "side": "buy",
        }
        assert trade.timestamp == opened + timedelta(milliseconds=int(trade.data["trade_id"]))
        (ticker,) = run.of(DataType.TICKER)
        assert ticker.data == {"exchange_symbol": "ETH", "last_price": Decimal("7.10")}
        (book,) = run.of(DataType.ORDERBOOK)
        assert book.data["bids"] == [(Decimal(9), Decimal(1))]
        assert book.data["asks"] == [(Decimal(11), Decimal(1))]


async def test_the_status() -> None:
    async with collecting(["ETH"], ["trade"]) as run:
        await until_true(lambda: run.points)
        status = run.collector.get_status()
        json.dumps(status)
        assert (status["exchange"], status["status"], status["symbols"]) == (
            "okx",
            "running",
            ["ETH"],
        )
        assert status["statistics"]["messages_received"] == 1
        assert status["statistics"]["messages_processed"] == 1
        (connection,) = status["connections"]
        assert connection["epoch"] == 1
        assert connection["state"] == "delivering"
        assert (connection["streams"], connection["proven"]) == (2, 2)
        assert status["streams"]["reconnects"] == {}
        assert status["queue"]["dropped"] == 0
        assert run.collector.get_health_status()["is_healthy"]
    stopped = run.collector.get_status()
    assert (stopped["status"], stopped["connections"]) == ("stopped", [])


async def test_symbols_come_and_go_while_it_runs() -> None:
    async with collecting(["ETH"], ["trade"]) as run:
        await until_true(lambda: run.points)
        run.collector.add_symbol("SOL")
        await until_true(lambda: {point.symbol for point in run.points} == {"ETH", "SOL"})
        run.collector.remove_symbol("ETH")
        session = run.exchange.sessions[0]
        await until_true(lambda: session.names == {"trade.BTC", "trade.SOL"})
        assert len(run.exchange.sessions) == 1


async def test_two_writings_of_one_market_are_one_subscription() -> None:
    async with collecting(["ETH", "eth-"], ["trade"]) as run:
        await until_true(lambda: {point.symbol for point in run.points} == {"ETH", "eth-"})
        session = run.exchange.sessions[0]
        assert session.names == {"trade.BTC", "trade.ETH"}
        run.collector.remove_symbol("ETH")
        await until_true(lambda: run.collector.get_status()["pending"]["unsubscribe"] == [])
        count = len(run.points)
        await session.send(run.exchange.data("trade.ETH"))
        await until_true(lambda: len(run.points) > count)
        assert [point.symbol for point in run.points[count:]] == ["eth-"]
        assert session.names == {"trade.BTC", "trade.ETH"}


async def test_an_exchange_that_is_away_at_the_start_is_tried_until_it_is_there() -> None:
    def refuse(exchange: ScriptedExchange) -> None:
        exchange.refuses_with = 503

    async with collecting(["ETH"], ["trade"], refuse, start=False) as run:
        start = asyncio.create_task(run.collector.start())
        await until_true(lambda: run.exchange.attempts)
        run.exchange.refuses_with = None
        assert await start, "its own pool tries again within the deadline of subscribing"
        await until_true(lambda: run.points)


async def test_a_start_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live.exchange_collector.SUBSCRIBE_S", 0.2)

    def refuse(exchange: ScriptedExchange) -> None:
        exchange.refuses_with = 503

    async with collecting(["ETH"], ["trade"], refuse, start=False) as run:
        assert not await run.collector.start()
        assert "HTTP 503" in run.collector.get_status()["statistics"]["last_error"]
        run.exchange.refuses_with = None
        await until_true(lambda: run.points)
        assert run.collector.get_status()["status"] == "running"


async def test_a_symbol_that_the_exchange_refuses() -> None:
    def prepare(exchange: ScriptedExchange) -> None:
        exchange.unknown = {"trade.BAD"}

    async with collecting(["ETH", "BAD"], ["trade"], prepare) as run:
        await until_true(lambda: run.points)
        error = run.collector.get_status()["statistics"]["last_error"]
        assert error == "okx: refused: trade BAD: no trade.BAD"
        assert run.collector.get_health_status()["issues"] == [
            "1 subscription is refused: trade.BAD: no trade.BAD"
        ]
    async with collecting(["BAD"], ["trade"], prepare, start=False, auto_restart=False) as run:
        assert not await run.collector.start()
        error = run.collector.get_status()["statistics"]["last_error"]
        assert "refused: trade BAD: no trade.BAD" in error


async def test_no_trade_is_lost_or_repeated_while_a_connection_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("live.stream_line.OVERLAP_S", 0.2)
    async with collecting(["ETH"], ["trade"]) as run:
        await until_true(lambda: run.points)
        first = run.exchange.sessions[0]
        await first.send({"notice": "upgrade"})
        second = await run.exchange.session(1)
        await until_true(lambda: "trade.ETH" in second.names)
        sent = 0
        while first.is_open:
            sent += 1
            for session in (second, first) if sent % 2 else (first, second):
                await session.send({"trade": "ETH", "n": 1000 + sent})
            await asyncio.sleep(0)
        await second.send({"trade": "ETH", "n": 1000 + sent + 1})
        last = str(1000 + sent + 1)
        await until_true(lambda: run.points[-1].data["trade_id"] == last)
        ids = [int(point.data["trade_id"]) for point in run.points]
        assert sorted(number for number in ids if number > 1000) == list(
            range(1001, 1001 + sent + 1)
        )


async def test_a_cut_connection_comes_back_by_itself() -> None:
    async with collecting(["ETH"], ["trade"]) as run:
        await until_true(lambda: run.points)
        run.exchange.sessions[0].cut()
        await until_true(lambda: len(run.points) == 2)
        status = run.collector.get_status()
        assert status["streams"]["reconnects"] == {"cut": 1}
        assert status["statistics"]["restarts"] == 0, "its base class did not connect again"
        assert status["statistics"]["errors_by_type"] == {"connection": 1}
        assert status["statistics"]["last_error"] == (
            "okx: connection: cut: closed by the exchange (1006)"
        )
        assert run.collector.get_health_status()["is_healthy"]


async def test_connections_that_fail_again_and_again_are_unhealthy() -> None:
    async with collecting(["ETH"], ["trade"]) as run:
        await until_true(lambda: run.points)
        run.exchange.refuses_with = 503
        run.exchange.sessions[0].cut()
        await until_true(lambda: not run.collector.get_health_status()["is_healthy"])
        (issue,) = run.collector.get_health_status()["issues"]
        assert "connections have failed in a row" in issue and "HTTP 503" in issue
        assert run.collector.get_status()["status"] == "running", "it goes on trying"
        run.exchange.refuses_with = None
        await until_true(lambda: len(run.points) == 2)


async def test_faults_of_connections_are_in_the_log_of_the_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_DIR", str(tmp_path))
    monkeypatch.setenv("LOG_LEVEL", "WARNING")
    async with collecting(["ETH"], ["trade"]) as run:
        await until_true(lambda: run.points)
        await run.exchange.sessions[0].send("{")
        run.exchange.sessions[0].cut()
        await until_true(lambda: len(run.points) == 2)
    told = (tmp_path / "collector_warning.log").read_text()
    assert " WARNING okx_collector stream_unreadable " in told
    assert " WARNING okx_collector stream_down " in told
    assert capsys.readouterr().out == "", "nothing goes around LOG_LEVEL, nor to the output"


async def test_garbage_and_failing_callbacks_end_nothing() -> None:
    async with collecting(["ETH"], ["trade"]) as run:

        async def fails(point: MarketDataPoint) -> None:
            raise ValueError("of the user")

        run.collector.add_data_callback("trade", fails)
        session = await run.exchange.session(0)
        await until_true(lambda: run.points)
        await session.send("{", [1], {"trade": "ETH", "n": 77})
        await until_true(lambda: run.points[-1].data["trade_id"] == "77")
        assert run.collector.get_status()["streams"]["unreadable"] == 2
        assert len(run.exchange.sessions) == 1


async def test_a_quiet_market_does_not_restart_the_collector() -> None:
    """The heartbeat's market alone delivers; the base class judges silence by it, too."""

    async def beat(session: Session, told: dict[str, Any]) -> None:
        session.names.update(told["names"])
        await session.send({"ok": told["id"]})
        await session.send(run.exchange.data("trade.BTC"))

    async with collecting(["ETH"], ["trade"], start=False) as run:
        run.exchange.on_request = beat
        assert await run.collector.start()
        await until_true(
            lambda: run.collector.get_status()["health"]["time_since_data"] is not None
        )
        assert run.points == []


CONTRACTS = ContractList(
    "/contracts", lambda body: {name: Decimal(size) for name, size in json.loads(body).items()}
)
COUNTED: dict[str, Any] = {"contracts": CONTRACTS, "counts_contracts": lambda symbol: True}


def _list(exchange: ScriptedExchange, **sizes: str) -> None:
    exchange.rest[CONTRACTS.path] = json.dumps(sizes).encode()


async def test_sizes_in_contracts_become_base_units() -> None:
    def listed(exchange: ScriptedExchange) -> None:
        _list(exchange, ETH="0.1")

    async with collecting(["ETH"], ["trade"], listed, changes=COUNTED) as run:
        await until_true(lambda: run.points)
        assert run.points[0].data["size"] == Decimal("0.2")
        assert len(run.exchange.rest_asked) == 1
    async with collecting(["ETH", "SOL"], ["trade"], listed, changes=COUNTED) as run:
        await until_true(lambda: run.points)
        error = run.collector.get_status()["statistics"]["last_error"]
        assert error == (
            "okx: refused: trade SOL: it is not in the exchange's list of linear contracts"
        )
        assert run.exchange.sessions[0].names == {"trade.BTC", "trade.ETH"}
    async with collecting(["ETH"], ["trade"], changes=COUNTED, start=False) as run:
        assert not await run.collector.start()
        assert "HTTP 404" in run.collector.get_status()["statistics"]["last_error"]


async def test_a_market_that_is_listed_later_is_followed_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("live.exchange_session.SIZES_EVERY_S", 0.05)
    async with collecting(
        ["ETH", "SOL", "XRP"], ["trade"], lambda exchange: _list(exchange, ETH="0.1"),
        changes=COUNTED,
    ) as run:  # fmt: skip
        await until_true(lambda: run.points)
        why = "it is not in the exchange's list of linear contracts"
        refused = {"trade.SOL": why, "trade.XRP": why}
        assert run.collector.get_status()["streams"]["refused"] == refused
        health = run.collector.get_health_status()
        assert not health["is_healthy"]
        assert health["issues"] == [
            f"2 subscriptions are refused: trade.SOL: {why}; trade.XRP: {why}"
        ]
        run.collector.remove_symbol("XRP")
        await until_true(lambda: len(run.collector.get_status()["streams"]["refused"]) == 1)
        run.exchange.rest[CONTRACTS.path] = b"<html>"
        asked = len(run.exchange.rest_asked)
        await until_true(lambda: len(run.exchange.rest_asked) > asked + 1)
        _list(run.exchange, ETH="0.1", SOL="10", XRP="1")
        await until_true(lambda: run.points[-1].symbol == "SOL")
        assert run.points[-1].data["size"] == Decimal(20)
        assert run.collector.get_health_status()["is_healthy"]
        assert run.exchange.sessions[0].names == {"trade.BTC", "trade.ETH", "trade.SOL"}


async def test_a_contract_whose_size_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("live.exchange_session.SIZES_EVERY_S", 0.05)
    async with collecting(
        ["ETH"], ["trade", "orderbook"], lambda exchange: _list(exchange, ETH="0.1"),
        changes=COUNTED,
    ) as run:  # fmt: skip
        await until_true(lambda: len(run.points) == 2)
        _list(run.exchange, ETH="0.5")
        await until_true(lambda: len(run.of(DataType.ORDERBOOK)) == 2)  # subscribed anew
        assert [point.data["bids"] for point in run.of(DataType.ORDERBOOK)] == [
            [(Decimal(9), Decimal("0.1"))],
            [(Decimal(9), Decimal("0.5"))],
        ]
        session = run.exchange.sessions[0]
        await session.send(run.exchange.data("trade.ETH"))
        await until_true(lambda: len(run.of(DataType.TRADE)) == 2)
        assert run.of(DataType.TRADE)[-1].data["size"] == Decimal(1)
        _list(run.exchange)  # a contract that is delisted keeps its size to its last trade
        asked = len(run.exchange.rest_asked)
        await until_true(lambda: len(run.exchange.rest_asked) > asked + 1)
        await session.send(run.exchange.data("trade.ETH"))
        await until_true(lambda: len(run.of(DataType.TRADE)) == 3)
        assert run.of(DataType.TRADE)[-1].data["size"] == Decimal(1)
        assert len(run.of(DataType.ORDERBOOK)) == 2


async def test_a_snapshot_over_rest_is_in_base_units_too() -> None:
    """As on OKX where its stream sends no snapshots any more."""
    path = "/books?ETH"

    def prepare(exchange: ScriptedExchange) -> None:
        _list(exchange, ETH="0.1")
        exchange.rest[path] = b""
        exchange.delivers = False

    book = BookRule(
        fault=lambda event, last_id: None,
        sends_snapshot=False,
        depth=50,
        place=lambda event, snapshot_id: Place.JOINS,
        snapshot_path=lambda symbol: f"/books?{symbol}",
        read_snapshot=lambda symbol, body: BookEvent(
            symbol, 1, True, [("9", "3")], [("11", "4")], 1
        ),
    )
    changes = COUNTED | {"book": book}
    async with collecting(["ETH"], ["orderbook"], prepare, changes=changes) as run:
        session = run.exchange.sessions[0]
        change = {"book": "ETH", "bids": [["8", "5"]], "asks": []}
        await session.send(change | {"n": 2})
        await until_true(lambda: run.collector.get_status()["books"]["live"] == 1)
        await session.send(change | {"n": 3})
        await until_true(lambda: run.points)
        assert run.points[0].data["bids"] == [
            (Decimal(9), Decimal("0.3")),
            (Decimal(8), Decimal("0.5")),
        ]
        assert run.points[0].data["asks"] == [(Decimal(11), Decimal("0.4"))]


async def test_names_that_an_exchange_acknowledges_and_never_sends_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("live.mutes.LOOK_EVERY_S", 0.05)

    async def answer(session: Session, told: dict[str, Any]) -> None:
        session.names.update(told["names"])
        await session.send({"ok": told["id"]})
        for name in told["names"]:
            if name != "trade.NONE":
                await session.send(run.exchange.data(name))

    async with collecting(["ETH", "NONE"], ["trade"], start=False) as run:
        run.exchange.on_request = answer
        assert await run.collector.start()
        await until_true(lambda: run.collector.get_status()["streams"]["without_data"])
        assert run.collector.get_status()["streams"]["without_data"] == ["trade.NONE"]
        assert run.collector.get_health_status()["is_healthy"], "it may be a quiet market"
        await run.exchange.sessions[0].send(run.exchange.data("trade.NONE"))
        await until_true(lambda: not run.collector.get_status()["streams"]["without_data"])


def test_the_list_of_okx() -> None:
    contracts = STREAM_VENUES["okx"].contracts
    assert contracts is not None
    rows = [
        {"instId": "BTC-USDT-SWAP", "ctType": "linear", "ctVal": "0.01", "ctMult": "1"},
        {"instId": "PEPE-USDT-SWAP", "ctType": "linear", "ctVal": "10000000", "ctMult": "1"},
        {"instId": "BTC-USD-SWAP", "ctType": "inverse", "ctVal": "100", "ctMult": "1"},
        {"instId": "BAD-USDT-SWAP", "ctType": "linear", "ctVal": "", "ctMult": "1"},
        {"instId": 7},
    ]
    answer = {"code": "0", "msg": "", "data": rows}
    assert contracts.read(json.dumps(answer).encode()) == {
        "BTC-USDT-SWAP": Decimal("0.01"),
        "PEPE-USDT-SWAP": Decimal(10_000_000),
    }
