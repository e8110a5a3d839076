"""An exchange is one class: whatever general code asks is answered there, and nowhere else."""

import asyncio
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import aiohttp
import pytest
from aiohttp import web

from simulator import command_line
from simulator.answers import PERIODS_MS, Answer, dump
from simulator.exchange import Exchange, MarketTraits, Spelling
from simulator.exchanges import EXCHANGES
from simulator.parameters import Query
from simulator.server import Server
from tests.fixtures.simulator import NOW_MS

SIMULATOR = Path(command_line.__file__).parent


class Demo(Exchange):
    """The least that an exchange needs, as its documentation might have it."""

    name = "demo"
    title = "Demo perpetuals"
    prefixes = ("/demo/",)
    paths: ClassVar[Mapping[str, str]] = {"/demo/klines": "klines", "/demo/contracts": "contracts"}
    traits = MarketTraits(
        contract_type="SWAP", trading="live", spellings={"PEPE": Spelling("KPEPE", 1_000)}
    )

    def answer(self, endpoint: str, query: Query) -> Answer:
        markets = self.markets.by_exchange[self.name]
        if endpoint == "contracts":
            return Answer(200, dump([[m.symbol, m.status] for m in markets.values()]))
        market, interval_ms = markets[query["symbol"]], PERIODS_MS[query["period"]]
        now_ms = self.now_ms()
        rows = market.closed(interval_ms, now_ms - 10 * interval_ms, now_ms - interval_ms)
        return Answer(200, dump(rows[:6].T.tolist()))


def options(*arguments: str) -> Namespace:
    parser = ArgumentParser()
    command_line.add_arguments(parser)
    return parser.parse_args(arguments)


async def ask(server: Server, *requests: tuple[str, str, object]) -> list[tuple[int, object]]:
    runner = web.ServerRunner(web.Server(server.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    answers: list[tuple[int, object]] = []
    try:
        async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
            for method, path, body in requests:
                async with session.request(method, path, json=body) as answer:
                    is_json = answer.content_type == "application/json"
                    answers.append((answer.status, await answer.json() if is_json else None))
    finally:
        await runner.cleanup()
    return answers


def test_an_exchange_is_one_class_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "EXCHANGES", (*EXCHANGES, Demo))
    server = command_line.build(
        options("--demo", "6", "--binance", "6", "--bybit", "0", "--now", str(NOW_MS), "--frozen")
    )
    contracts, klines, truth, other, _, spoilt, unknown, stats = asyncio.run(
        ask(
            server,
            ("GET", "/demo/contracts", None),
            ("GET", "/demo/klines?symbol=KPEPEUSDT&period=4h", None),
            ("GET", "/sim/truth?timeframe=4h&exchange=demo&symbol=KPEPEUSDT", None),
            ("GET", "/sim/truth?timeframe=4h&exchange=binance&symbol=1000PEPEUSDT", None),
            ("POST", "/sim/faults", [{"kind": "status", "status": 503, "exchange": "demo"}]),
            ("GET", "/demo/contracts", None),
            ("GET", "/demo/nowhere", None),
            ("GET", "/sim/stats", None),
        )
    )
    assert isinstance(contracts[1], list)
    assert ["KPEPEUSDT", "live"] in contracts[1]
    assert isinstance(klines[1], list)
    assert len(klines[1]) == 9  # that opened and closed within 10 lengths of a candle
    closes = [
        [row[4] for row in found[1]["markets"][0]["rows"]]  # type: ignore[index]
        for found in (truth, other)
    ]
    for one, two in zip(*closes, strict=True):
        assert abs(one / two - 1) < 2e-3  # a tick included
    assert (spoilt[0], unknown[0]) == (503, 404)
    assert isinstance(stats[1], dict)
    assert stats[1]["requests"]["demo"]["klines"] == {"200": 1}


def test_general_code_names_no_exchange() -> None:
    # As a word, or a part of one: `gate` is neither in "aggregate" nor in "Gateway".
    each = [
        f"(?<![a-z])(?i:{one.name})(?![a-z])|{one.name.capitalize()}(?![a-z])" for one in EXCHANGES
    ]
    names = re.compile("|".join(each))
    own = {SIMULATOR / exchange.name for exchange in EXCHANGES}
    own.add(SIMULATOR / "archive")  # one exchange has one
    own.add(SIMULATOR / "providers")  # exchanges are among the sources of prices
    for file in SIMULATOR.rglob("*.py"):
        if file.name != "exchanges.py" and not own & set(file.parents):
            named = names.findall(file.read_text(encoding="utf-8"))
            assert not named, f"{file.name} names {named}"


def test_each_exchange_is_told_by_its_paths() -> None:
    prefixes = [prefix for exchange in EXCHANGES for prefix in exchange.prefixes]
    assert len(set(prefixes)) == len(prefixes)
    for exchange in EXCHANGES:
        assert all(path.startswith(exchange.prefixes) for path in exchange.paths)
        assert set(exchange.page_rows) <= set(exchange.paths.values())
