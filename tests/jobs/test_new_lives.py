"""A symbol that became another contract: nothing of before in any document, however it is made."""

from collections.abc import Mapping
from typing import Any

import pytest

from market.timeframes import DAY_MS
from tests.fixtures.jobs import JobRunner, OpenRunner, by_key
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

CANDLES, FUNDING = 90, 40
HISTORY = {"history_candles": CANDLES, "funding_history": FUNDING}
AGE_MS = 6 * DAY_MS
DOCUMENTS = ("4h", "8h")


def started(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=5, bybit=5, now=NOW_MS, frozen=True)


def oldest(exchanges: Simulator, exchange: str) -> str:
    """The symbol whose history is the longest."""
    markets = exchanges.get("/sim/markets", exchange=exchange)["markets"]
    collected = [market for market in markets if market["collected"]]
    symbol: str = min(collected, key=lambda market: market["listed_ms"])["symbol"]
    return symbol


def relaunch(runner: JobRunner, *, flat: bool) -> list[str]:
    """One symbol of each exchange is another contract; returns their keys."""
    names = [(name, oldest(runner.exchanges, name)) for name in ("binance", "bybit")]
    runner.fault(
        *(
            {"kind": "relaunch", "exchange": name, "symbol": symbol, "age_ms": AGE_MS, "flat": flat}
            for name, symbol in names
        )
    )
    return [f"{name}:{symbol}" for name, symbol in names]


def true_rows(runner: JobRunner, name: str, document: Any) -> Mapping[str, Any]:
    return runner.exchanges.truth(
        name, candles=CANDLES, funding_history=FUNDING, as_of=document["as_of"]
    )


async def check(runner: JobRunner, keys: list[str]) -> None:
    """Every document holds the true rows, and those of `keys` begin with the new contract."""
    launched_ms = NOW_MS - AGE_MS - (NOW_MS - AGE_MS) % DAY_MS
    for name in DOCUMENTS:
        document = await runner.document(name)
        truth = true_rows(runner, name, document)
        markets = by_key(document)
        for key in keys:
            assert markets[key]["rows"][0][0] == launched_ms, (name, key)
        assert {key: market["rows"] for key, market in markets.items()} == truth, name
    book = by_key(await runner.document("global_fr"))
    for key in keys:
        assert min(row[0] for row in book[key]["rows"]) > launched_ms + 60_000, key


async def test_on_first_sight_what_was_never_traded_is_not_its_own(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    """A new installation knows only the launch time; again in a refresh, which reuses rows."""
    async with open_runner(started(start_simulator), **HISTORY) as runner:
        keys = relaunch(runner, flat=True)
        await runner.complete("funding")
        for _ in range(2):
            await runner.complete("collect:4h")
            await check(runner, keys)
            runner.exchanges.post("/sim/clock", {"advance_ms": 1000})


@pytest.mark.parametrize("flat", [True, False], ids=["flat before", "traded before"])
async def test_a_launch_that_moved_ends_what_was_known(
    start_simulator: StartSimulator, open_runner: OpenRunner, flat: bool
) -> None:
    """Its rows of before stand in the documents, its settlements in the funding, its numbers in
    the database."""
    async with open_runner(started(start_simulator), **HISTORY) as runner:
        await runner.complete("funding")
        await runner.complete("collect:4h")
        before = by_key(await runner.document("4h"))
        keys = relaunch(runner, flat=flat)
        assert all(len(before[key]["rows"]) == CANDLES for key in keys)
        runner.exchanges.post("/sim/clock", {"advance_ms": 1000})
        await runner.complete("discovery")
        await runner.complete("funding")
        for _ in range(2):
            await runner.complete("collect:4h")
            await check(runner, keys)
            runner.exchanges.post("/sim/clock", {"advance_ms": 1000})
        after = by_key(await runner.document("4h"))
        for key in keys:
            earlier = before[key]["meta"]["realised_volatility"]
            assert earlier is not None
            assert after[key]["meta"]["realised_volatility"] != earlier


async def test_what_is_carried_over_is_cut_too_and_while_the_database_is_away(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    launched_ms = NOW_MS - AGE_MS - (NOW_MS - AGE_MS) % DAY_MS
    async with open_runner(started(start_simulator), **HISTORY) as runner:
        await runner.complete("funding")
        await runner.complete("collect:4h")
        before = by_key(await runner.document("4h"))
        keys = relaunch(runner, flat=False)
        runner.exchanges.post("/sim/clock", {"advance_ms": 1000})
        await runner.complete("discovery")
        # Their candles fail from now on.
        for key in keys:
            exchange, _, symbol = key.partition(":")
            runner.fault({"kind": "status", "status": 404, "endpoint": "klines",
                          "exchange": exchange, "symbol": symbol})  # fmt: skip
        await runner.complete("collect:4h")
        async with open_runner(
            runner.exchanges, database_url="postgresql://nobody@127.0.0.1:1/none", **HISTORY
        ) as without_database:
            for one in (runner, without_database):
                if one is without_database:
                    await one.complete("collect:4h")
                for name in DOCUMENTS:
                    markets = by_key(await one.document(name))
                    for key in keys:
                        rows = markets[key]["rows"]
                        assert markets[key]["stale_since"] is not None
                        assert rows[0][0] == launched_ms, (name, one is runner)
                        assert all(row[8] is None for row in rows if row[0] < launched_ms + 1)
                        if name == "4h":
                            kept = [row for row in before[key]["rows"] if row[0] >= launched_ms]
                            assert [row[:8] for row in rows] == [row[:8] for row in kept]
                            assert rows[-1][8] == kept[-1][8]
                        assert markets[key]["meta"].get("realised_volatility") is None
