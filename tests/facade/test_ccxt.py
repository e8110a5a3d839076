"""ccxt asks here by configuration alone, and is answered as the exchanges answer it."""

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import pytest

from market.markets import Exchange
from tests.fixtures.service import Service, ServiceSettings, StartService
from tests.fixtures.simulator import Simulator, StartSimulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CLIENTS: Final = Path(__file__).parent / "clients"
SYMBOLS: Final = ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT")
ALL: Final = ",".join(Exchange)
TIMEFRAMES: Final = ("5m", "1h", "4h")


async def run(python: Path, program: str, *arguments: str, within_s: float = 300) -> Any:
    """The JSON that a program of another environment prints."""
    process = await asyncio.create_subprocess_exec(
        *(str(python), "-W", "error::DeprecationWarning", str(CLIENTS / program), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={},
    )
    async with asyncio.timeout(within_s):
        printed, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()[-3000:]
    return json.loads(printed)


def numbers(answer: Any) -> Iterator[float]:
    """All numbers of an answer, however deep."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, list):
        for each in answer:
            yield from numbers(each)
    elif isinstance(answer, float | int) and not isinstance(answer, bool):
        yield answer


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    """Real time, which ccxt asks by."""
    return start_simulator(binance=12, bybit=12, okx=12)


def here(service: Service) -> str:
    """The addresses of all exchanges, as JSON."""
    return json.dumps({each: f"{service.address}/{each}" for each in Exchange})


def there(exchanges: Simulator) -> str:
    return json.dumps(dict.fromkeys(Exchange, exchanges.base_url))


async def test_ccxt_is_answered_as_by_the_exchanges(
    start_service: StartService,
    service_settings: ServiceSettings,
    exchanges: Simulator,
    bench_python: Path,
) -> None:
    given = service_settings(exchanges, FACADE="on", LIVE="off", EXCHANGES=ALL)
    given |= {"HISTORY_CANDLES": "499", "FUNDING_HISTORY": "400"}
    service = await start_service(**given)
    for timeframe in TIMEFRAMES:
        await service.collect(timeframe)
    await service.funding_ready()
    now_ms = time.time_ns() // 1_000_000
    about = (str(now_ms), ",".join(SYMBOLS))
    told = await run(bench_python, "ask_ccxt.py", here(service), *about)
    true = await run(bench_python, "ask_ccxt.py", there(exchanges), *about)
    compared = 0
    assert list(true) == list(Exchange)
    for exchange, answers in true.items():
        assert list(told[exchange]["found"]) == list(answers["found"])
        for question, answer in answers["found"].items():
            assert told[exchange]["found"][question] == answer, (exchange, question)
            compared += sum(1 for number in numbers(answer) if math.isfinite(number))
        assert not sum(answers["hits"].values())
        # What has been final for long came from the cache; so did the newest, unless a candle of 5
        # minutes has closed meanwhile.
        hits = told[exchange]["hits"]
        assert hits["since"] == len(SYMBOLS) * len(TIMEFRAMES)
        assert hits["candles"] >= len(SYMBOLS) * (len(TIMEFRAMES) - 1)
        assert hits["open interest until"] == hits["funding"] == len(SYMBOLS)
    assert compared > 50_000


async def test_fifty_clients_at_one_close_are_one_request_per_question(
    start_service: StartService,
    service_settings: ServiceSettings,
    start_simulator: StartSimulator,
    bench_python: Path,
) -> None:
    """Before the close is collected: nothing but the exchanges can answer for it."""
    exchanges = start_simulator(binance=12, bybit=12, okx=12, latency_ms=200)
    given = service_settings(exchanges, FACADE="on", LIVE="off", WEB_CONCURRENCY="2", EXCHANGES=ALL)
    service = await start_service("serve", **given)
    await service.collect("5m")
    # Real time: who has heard of no time of the exchange for a minute takes this machine's clock.
    left_s = 300 - time.time() % 300
    if left_s < 40:  # the clients need a moment to start: the next close
        left_s += 300
    exchanges.post("/sim/stats/reset")
    # An answer of one minute does not serve the next, and the two processes know the time of the
    # exchange to a second only: nearer to a close, each of them would ask.
    about = (here(service), str(time.time() + left_s + 2))
    told = await run(bench_python, "ask_at_close_ccxt.py", "50", *about, within_s=600)
    assert len(told) == 2 * (3 * 3 + 1) + 3 * 2 + 1
    asked = Counter(
        (each["exchange"], each["endpoint"], frozenset(parse_qsl(each["query"])))
        for each in exchanges.get("/sim/requests")["requests"]
    )
    assert len(asked) >= len(told)  # nothing of it could be answered without the exchanges
    assert {question: count for question, count in asked.items() if count > 1} == {}
    # Who asks while it lasts is told the same, and so they all agree.
    assert {question: count for question, count in told.items() if count > 1} == {}


async def test_a_million_numbers_are_those_of_the_exchanges(
    start_service: StartService,
    service_settings: ServiceSettings,
    start_simulator: StartSimulator,
    bench_python: Path,
) -> None:
    """Of all markets with as many candles as are asked for, in each timeframe that is collected."""
    exchanges = start_simulator(binance=28, bybit=28, okx=28, no_limits=True)
    given = service_settings(exchanges, FACADE="on", LIVE="off", EXCHANGES=ALL)
    given |= {"HISTORY_CANDLES": "499", "FUNDING_HISTORY": "400"}
    service = await start_service(**given)
    symbols: dict[str, dict[str, list[str]]] = {str(each): {} for each in Exchange}
    for timeframe in ("5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h", "1d"):
        await service.collect(timeframe, timeout_s=300)
        for market in (await service.get(f"/cache/{timeframe}"))["markets"]:
            if len(market["rows"]) == 499:
                by_timeframe = symbols[market["exchange"]]
                by_timeframe.setdefault(timeframe, []).append(_native(market))
    await service.funding_ready()
    about = (str(time.time_ns() // 1_000_000), json.dumps(symbols))
    addresses = (service.address, exchanges.base_url)
    told = await run(bench_python, "compare_ccxt.py", *addresses, *about, within_s=900)
    print(told)  # noqa: T201
    each = told["exchanges"].values()
    assert [found["different"] for found in each] == [[], [], []]
    assert all(found["cached"] > 100_000 for found in each)
    assert sum(sum(found["numbers"].values()) for found in each) >= 1_000_000
    # Turnovers of 16 digits and more, as of days, are left to the exchange.
    assert sum(found["cached"] for found in each) >= 500_000


def _native(market: dict[str, Any]) -> str:
    """The exchange's id of a market of a document."""
    is_okx = market["exchange"] == Exchange.OKX
    return f"{market['base']}-{market['quote']}-SWAP" if is_okx else str(market["symbol"])
