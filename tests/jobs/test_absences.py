"""Documents, results and records tell which exchanges brought nothing, in whichever way."""

from typing import Any

from market.markets import Exchange, ListedMarket, Market
from tests.fixtures.jobs import JobRunner, OpenRunner, lacks
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

ABSENT = ("bybit:None", "listing")


def started(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True)


async def told(runner: JobRunner, *names: str) -> dict[str, str | None]:
    """What each document says of Bybit as a whole."""
    return {name: lacks(await runner.document(name)).get(ABSENT) for name in names}


async def test_a_first_start_without_one_exchange(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    """Its country is blocked, its list answers nothing: the other one is collected, and each
    document and result says why this one is not."""
    async with open_runner(started(start_simulator)) as runner:
        runner.fault({"kind": "geo", "exchange": "bybit"})
        collected = await runner.complete("collect:4h")
        funding = await runner.complete("funding")
        reasons = await told(runner, "4h", "8h", "global_fr")
        for name, why in reasons.items():
            assert why is not None, name
            assert why.startswith("its list of markets could not be read: bybit instruments: ")
        for result in (collected, funding):
            assert result["absent"] == {"bybit": reasons["4h"]}
            assert (result["markets"], result["missing"] >= 1) == (3, True)
        discovery = await runner.complete("discovery")
        assert discovery["absent"].keys() == {"bybit"}
        # It heals by itself: nothing was remembered but the failure.
        runner.well_again()
        assert "absent" not in await runner.complete("discovery")
        assert "absent" not in await runner.complete("collect:4h")
        assert await told(runner, "4h", "8h") == {"4h": None, "8h": None}


async def test_all_of_an_exchanges_markets_fail(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    async with open_runner(started(start_simulator)) as runner:
        await runner.complete("funding")
        await runner.complete("collect:4h")
        runner.fault({"kind": "status", "status": 404, "exchange": "bybit", "endpoint": "klines"})
        result = await runner.complete("collect:4h")
        document = await runner.document("4h")
        # Their earlier rows are served, and that nothing is new of all of them is told once more.
        assert (result["carried_over"], len(document["markets"])) == (3, 6)
        assert "404" in result["absent"]["bybit"]
        assert lacks(document)[ABSENT] == result["absent"]["bybit"]
        # If one of its markets answers, the exchange is not absent.
        runner.well_again()
        symbol = next(m["symbol"] for m in document["markets"] if m["exchange"] == "bybit")
        runner.fault({"kind": "status", "status": 404, "exchange": "bybit", "endpoint": "klines",
                      "symbol": symbol})  # fmt: skip
        assert "absent" not in await runner.complete("collect:4h")
        assert await told(runner, "4h") == {"4h": None}


async def test_markets_that_the_operator_disabled_are_no_absence(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    async with open_runner(started(start_simulator)) as runner:
        await runner.complete("discovery")
        records = runner.context.database.coin_records
        keys = [record.market.key for record in await records.list_coins(Exchange.BYBIT)]
        await records.set_enabled(keys, False)
        for job, name in (("collect:4h", "4h"), ("funding", "global_fr")):
            assert "absent" not in await runner.complete(job)
            assert await told(runner, name) == {name: None}
        # All that are disabled and one that is not, which fails: that is one.
        await records.set_enabled(keys[:1], True)
        runner.fault({"kind": "status", "status": 404, "exchange": "bybit", "endpoint": "klines"})
        assert "404" in (await runner.complete("collect:4h"))["absent"]["bybit"]


async def test_names_that_cannot_be_stored_are_told_in_every_document(
    start_simulator: StartSimulator, open_runner: OpenRunner
) -> None:
    async with open_runner(started(start_simulator)) as runner:
        await runner.complete("discovery")
        database = runner.context.database
        listed = await database.get_all_unique_coins(exchanges=[Exchange.BYBIT], quote="USDT")
        odd = Market(Exchange.BYBIT, "A\0USDT", "A", "USDT")
        await database.markets.save_markets(
            Exchange.BYBIT,
            [ListedMarket(market, None) for market in (*listed, odd)],
            seen_at_ms=runner.context.now_ms(),
        )
        await runner.complete("funding")
        await runner.complete("collect:4h")
        why = "a name with characters that cannot be stored"
        for name in ("4h", "8h", "global_fr"):
            document: Any = await runner.document(name)
            assert lacks(document)["bybit:A\\x00USDT", "listing"] == why
            assert len(document["markets"]) == 6
