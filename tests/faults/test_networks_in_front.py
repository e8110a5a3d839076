"""A network in front of an exchange refuses one market, or our pace; an answer is too much to read.

Whatever concerns one market is that market's matter, and a pace that is refused becomes slower.
"""

from collections import Counter

import pytest

from tests.fixtures.jobs import JobRunner, OpenRunner, asked, by_key, lacks
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

EACH = 5
EXCHANGES = ("binance", "bybit")

# What comes in place of one market's candles, and a word of the reason that readers are given.
AT_ONE_MARKET: dict[str, tuple[dict[str, object], str]] = {
    "forbidden": ({"kind": "status", "status": 403, "text": "Forbidden"}, "Forbidden"),
    "unavailable for legal reasons": ({"kind": "status", "status": 451, "text": "no"}, "451"),
    "another country": ({"kind": "geo"}, "restricted location|your country"),
    "a challenge": ({"kind": "challenge"}, "Just a moment"),
    "a challenge with 200": ({"kind": "challenge", "status": 200}, "Just a moment"),
    "access denied": ({"kind": "challenge", "variant": "denied"}, "Access Denied"),
    "arrays in arrays": (
        {"kind": "deep_nesting", "exchange": "bybit"},
        "internal error|not JSON|nested|unexpected answer",
    ),
    "a long message": ({"kind": "long_message", "rows": 100_000}, "symbolsymbol"),
    "no end of 100 Continue": ({"kind": "endless_continue"}, "informational answers"),
}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True)


async def _begun(runner: JobRunner) -> None:
    await runner.complete("discovery")
    await runner.complete("funding")
    await runner.complete("collect:4h")


async def test_whatever_comes_for_one_market_is_its_own_matter(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges) as runner:
        await _begun(runner)
        for number, (name, (fault, reason)) in enumerate(AT_ONE_MARKET.items()):
            exchange = str(fault.get("exchange", EXCHANGES[number % 2]))
            key = f"{exchange}:ETHUSDT"
            runner.well_again()
            runner.fault({**fault, "exchange": exchange, "symbol": "ETHUSDT", "endpoint": "klines"})
            before = Counter(request["endpoint"] for request in asked(exchanges, exchange))
            result = await runner.complete("collect:4h")
            assert (result["markets"], result["carried_over"]) == (2 * EACH, 1), name
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


async def test_an_exchange_that_refuses_its_clock_too_is_left_alone(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges) as runner:
        await _begun(runner)
        before = len(asked(exchanges, "bybit"))
        # Its clock has answered by then.
        runner.fault({"kind": "geo", "exchange": "bybit", "after": 1})
        result = await runner.complete("collect:4h")
        assert result["carried_over"] == EACH
        reasons = lacks(await runner.document("4h"))
        assert sum(key.startswith("bybit:") for key, _ in reasons) >= EACH
        # Those under way, and the clock.
        assert len(asked(exchanges, "bybit")) - before <= EACH + 2


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
