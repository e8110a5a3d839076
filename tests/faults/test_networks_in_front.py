"""A network in front of an exchange refuses one market, or our pace; an answer is too much to read.

Whatever concerns one market is that market's matter, and a pace that is refused becomes slower.
"""

from collections import Counter
from itertools import cycle

import pytest

from market.markets import Exchange
from tests.fixtures.exchange_answers import ANSWERS
from tests.fixtures.jobs import JobRunner, OpenRunner, asked, by_key, lacks
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

EACH = 5
ALL = ",".join(Exchange)

# What comes in place of one market's candles, and a word of the reason that readers are given.
AT_ONE_MARKET: dict[str, tuple[dict[str, object], str]] = {
    "forbidden": ({"kind": "status", "status": 403, "text": "Forbidden"}, "Forbidden"),
    "unavailable for legal reasons": ({"kind": "status", "status": 451, "text": "no"}, "451"),
    "another country": ({"kind": "geo"}, "restricted location|your country|451"),
    "a challenge": ({"kind": "challenge"}, "Just a moment"),
    "a challenge with 200": ({"kind": "challenge", "status": 200}, "Just a moment"),
    "access denied": ({"kind": "challenge", "variant": "denied"}, "Access Denied"),
    "arrays in arrays": (
        {"kind": "deep_nesting", "exchange": "bybit"},
        "internal error|not JSON|nested|unexpected answer",
    ),
    "a long message": ({"kind": "long_message", "rows": 100_000}, "symbolsymbol|xxxxxx"),
    "no end of 100 Continue": ({"kind": "endless_continue"}, "informational answers"),
}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=EACH, bybit=EACH, okx=EACH, now=NOW_MS, frozen=True)


async def _begun(runner: JobRunner) -> None:
    await runner.complete("discovery")
    await runner.complete("funding")
    await runner.complete("collect:4h")


@pytest.mark.parametrize("first", [0, 1, 2])
async def test_whatever_comes_for_one_market_is_its_own_matter(
    open_runner: OpenRunner, exchanges: Simulator, first: int
) -> None:
    turns = cycle(Exchange)
    for _ in range(first):
        next(turns)
    async with open_runner(exchanges, exchanges=ALL) as runner:
        await _begun(runner)
        for name, (fault, reason) in AT_ONE_MARKET.items():
            exchange = Exchange(str(fault.get("exchange", next(turns))))
            key = f"{exchange}:ETHUSDT"
            runner.well_again()
            eth = {"exchange": exchange, "symbol": ANSWERS[exchange].native("ETHUSDT")}
            runner.fault({**fault, **eth, "endpoint": ["klines", "history_klines"]})
            before = Counter(request["endpoint"] for request in asked(exchanges, exchange))
            result = await runner.complete("collect:4h")
            assert (result["markets"], result["carried_over"]) == (3 * EACH, 1), name
            for timeframe in ("4h", "8h"):
                document = await runner.document(timeframe)
                stale = {k for k, m in by_key(document).items() if m["stale_since"] is not None}
                assert stale == {key}, name
                found = lacks(document)[key, "klines"]
                assert any(word in found for word in reason.split("|")), (name, found)
                assert len(found) < 300
            # The clock is asked at the start, and once more to tell whose matter it is.
            after = Counter(request["endpoint"] for request in asked(exchanges, exchange))
            assert after["time"] - before["time"] <= 2, name
        runner.well_again()
        assert (await runner.complete("collect:4h"))["carried_over"] == 0


@pytest.mark.parametrize("exchange", Exchange)
async def test_an_exchange_that_refuses_its_clock_too_is_left_alone(
    open_runner: OpenRunner, exchanges: Simulator, exchange: Exchange
) -> None:
    async with open_runner(exchanges, exchanges=ALL) as runner:
        await _begun(runner)
        before = len(asked(exchanges, exchange))
        # Its clock has answered by then.
        runner.fault({"kind": "geo", "exchange": exchange, "after": 1})
        result = await runner.complete("collect:4h")
        assert result["carried_over"] == EACH
        reasons = lacks(await runner.document("4h"))
        assert sum(key.startswith(f"{exchange}:") for key, _ in reasons) >= EACH
        # Those under way, and the clock.
        assert len(asked(exchanges, exchange)) - before <= EACH + 2


# Pages that an exchange sends in place of everything: no exchange is known to ban by them.
FOR_ALL: dict[str, dict[str, object]] = {
    "a challenge with 200": {"kind": "challenge", "status": 200},
    "a challenge with 503": {"kind": "challenge", "status": 503},
    "access denied with 200": {"kind": "challenge", "status": 200, "variant": "denied"},
    "a web page": {"kind": "html_200"},
}
# These, where the exchange is not known to ban by 403.
FORBIDDEN: dict[str, dict[str, object]] = {
    "a challenge": {"kind": "challenge"},
    "access denied": {"kind": "challenge", "variant": "denied"},
    "forbidden": {"kind": "status", "status": 403, "text": "Forbidden"},
}


@pytest.mark.parametrize("exchange", Exchange)
async def test_a_page_for_everything_is_over_in_the_first_run_that_gets_none(
    open_runner: OpenRunner, exchanges: Simulator, exchange: Exchange
) -> None:
    pages = {**FOR_ALL, **(FORBIDDEN if exchange is Exchange.OKX else {})}
    async with open_runner(exchanges, exchanges=ALL) as runner:
        await _begun(runner)
        for name, page in pages.items():
            runner.fault({**page, "exchange": exchange})
            before = len(asked(exchanges, exchange))
            assert (await runner.complete("collect:4h"))["carried_over"] == EACH, name
            document = await runner.document("4h")
            stale = {key for key, market in by_key(document).items() if market["stale_since"]}
            assert {key.partition(":")[0] for key in stale} == {exchange}, name
            assert len(stale) == EACH
            # Its clock alone; what is no refusal is asked for a few times.
            asked_times = len(asked(exchanges, exchange)) - before
            assert asked_times <= (5 if page["kind"] == "html_200" else 1), name
            runner.well_again()
            result = await runner.complete("collect:4h")
            document = await runner.document("4h")
            assert (result["carried_over"], document["missing"]) == (0, []), name


async def test_a_pace_that_is_refused_becomes_slower(
    open_runner: OpenRunner, start_simulator: StartSimulator
) -> None:
    each = 20
    exchanges = start_simulator(binance=each, bybit=1, now=NOW_MS, frozen=True)
    async with open_runner(exchanges) as runner:
        await _begun(runner)
        before = len(asked(exchanges, "binance"))
        exchanges.post("/sim/clock", {"advance_ms": 4 * 3_600_000})
        runner.fault({"kind": "too_fast", "per_s": 5, "exchange": "binance"})
        result = await runner.complete("collect:4h")
        assert result["carried_over"] == 0
        assert (await runner.document("4h"))["missing"] == []
        (rule,) = exchanges.get("/sim/faults")
        assert rule["used"] > 0
        # Twenty at once before anybody knew, and few after that.
        sent = len(asked(exchanges, "binance")) - before
        assert rule["used"] <= each + 10
        assert sent - rule["used"] <= 2.5 * each
