"""One exchange answers badly, or not at all: the others' data are fresh, its own are kept."""

from typing import Any

import pytest

from market.markets import Exchange
from tests.fixtures.clock import ShiftedClock
from tests.fixtures.exchange_answers import our_key
from tests.fixtures.jobs import ALL, JobRunner, OpenRunner, asked, by_key, lacks
from tests.fixtures.signals import until
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator

EACH = 4
EXCHANGES = tuple(map(str, Exchange))
MARKETS = EACH * len(EXCHANGES)
CANDLES = ("klines", "history_klines")

# Each kind of bad answer, and a word of the reason that readers of a document are given.
BAD_ANSWERS: dict[str, tuple[dict[str, object], str]] = {
    "500": ({"kind": "status", "status": 500}, "HTTP 500"),
    "502": ({"kind": "status", "status": 502}, "HTTP 502"),
    "503": ({"kind": "status", "status": 503, "variant": "overload"}, "HTTP 503"),
    "504": ({"kind": "status", "status": 504}, "HTTP 504"),
    "html": ({"kind": "html_200"}, "not JSON"),
    "truncated": ({"kind": "truncated_json"}, "not JSON"),
    "wrong types": ({"kind": "wrong_types"}, "unexpected answer"),
    "empty": ({"kind": "empty_body"}, "an empty answer"),
    "reset": ({"kind": "reset"}, "Disconnected"),
    "hang": ({"kind": "hang", "seconds": 3}, "no answer within"),
}


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_collector.retries.BACKOFF_S", 0.01)
    monkeypatch.setattr("data_collector.exchange_clocks.GRACE_S", 0.2)
    # As long in relation to a request's deadline here as it is there.
    monkeypatch.setattr("data_collector.run.LONGEST_SILENCE_S", 1.5)
    monkeypatch.setattr("data_collector.run._SECOND_SILENCE_S", 0.5)


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(**dict.fromkeys(Exchange, EACH), now=NOW_MS, frozen=True)


async def _begun(runner: JobRunner) -> Any:
    await runner.complete("discovery")
    await runner.complete("funding")
    await runner.complete("collect:1h")
    document = await runner.document("1h")
    assert len(document["markets"]) == MARKETS
    return document


def _assert_true(runner: JobRunner, document: Any, *fresh: str) -> None:
    """The markets of these exchanges are of now, and as the exchange knows them."""
    truth = runner.truth("1h", candles=50, as_of=document["as_of"], funding_history=20)
    for key, market in by_key(document).items():
        if key.startswith(fresh):
            assert (market["stale_since"], market["checked_at"]) == (None, document["as_of"])
            assert market["rows"] == truth[key]


async def test_an_exchange_that_answers_nothing_but_rubbish(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL, request_s=0.6) as runner:
        before = await _begun(runner)
        for number, (fault, reason) in enumerate(BAD_ANSWERS.values()):
            bad = EXCHANGES[number % len(EXCHANGES)]
            good = [exchange for exchange in EXCHANGES if exchange != bad]
            runner.well_again()
            # A clock that answers leads to other requests than one that does not.
            endpoint = {"endpoint": [*CANDLES, "open_interest"]} if number % 4 < 2 else {}
            runner.fault({**fault, **endpoint, "exchange": bad})
            result = await runner.complete("collect:1h")
            assert (result["markets"], result["carried_over"]) == (MARKETS, EACH), fault
            document = await runner.document("1h")
            _assert_true(runner, document, *good)
            markets, reasons, known = by_key(document), lacks(document), by_key(before)
            assert set(markets) == set(known)
            for key in markets:
                assert ((key, "klines") in reasons) == key.startswith(bad), fault
                if key.startswith(bad):
                    assert reason in reasons[key, "klines"]
                    assert markets[key]["rows"] == known[key]["rows"]
                    assert markets[key]["stale_since"] == document["as_of"]
                    assert markets[key]["checked_at"] == known[key]["checked_at"]
            # For any time: as soon as it is over, everything is fresh again.
            runner.well_again()
            assert (await runner.complete("collect:1h"))["carried_over"] == 0
            before = await runner.document("1h")
            assert before["missing"] == []
            _assert_true(runner, before, *EXCHANGES)
        assert exchanges.stats()["limits_broken"] == {}


async def test_some_bad_answers_cost_nothing(open_runner: OpenRunner, exchanges: Simulator) -> None:
    async with open_runner(exchanges, exchanges=ALL, request_s=0.6) as runner:
        await _begun(runner)
        for number, (fault, _) in enumerate(BAD_ANSWERS.values()):
            runner.well_again()
            bad = EXCHANGES[number % len(EXCHANGES)]
            for endpoint in ("time", "klines", "open_interest"):
                runner.fault({**fault, "exchange": bad, "endpoint": endpoint, "count": 2})
            result = await runner.complete("collect:1h")
            document = await runner.document("1h")
            assert document["missing"] == [], fault
            used = sum(rule["used"] for rule in exchanges.get("/sim/faults"))
            assert used >= 4  # open interest may need no request
            assert result["carried_over"] == 0
            assert result["retries"] >= used, fault
            _assert_true(runner, document, *EXCHANGES)


async def test_bad_funding_answers_keep_what_was_known(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL, request_s=0.6) as runner:
        await _begun(runner)
        known = by_key(await runner.document("global_fr"))
        for number, (fault, reason) in enumerate(BAD_ANSWERS.values()):
            bad = EXCHANGES[number % len(EXCHANGES)]
            runner.well_again()
            # A settlement of every market lies between this run and the one before.
            exchanges.post("/sim/clock", {"advance_ms": 8 * 3_600_000})
            runner.fault({**fault, "exchange": bad})
            assert (await runner.complete("funding"))["carried_over"] == EACH, fault
            document = await runner.document("global_fr")
            assert set(by_key(document)) == set(known)
            for key, market in by_key(document).items():
                assert ((key, "funding_rate") in lacks(document)) == key.startswith(bad)
                if key.startswith(bad):
                    assert reason in lacks(document)[key, "funding_rate"]
                    assert market["rows"] == known[key]["rows"]
                    assert market["checked_at"] == known[key]["checked_at"]
            runner.well_again()
            assert (await runner.complete("funding"))["carried_over"] == 0
            document = await runner.document("global_fr")
            known = by_key(document)
            truth = exchanges.get("/sim/funding", as_of=document["as_of"], funding_history=20)
            settled = {
                our_key(f"{each['exchange']}:{each['symbol']}"): each["rows"]
                for each in truth["markets"]
            }
            assert {key: market["rows"] for key, market in known.items()} == settled


async def test_nothing_at_all_fails_the_job_and_leaves_the_document(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, exchanges=ALL, request_s=0.6) as runner:
        await _begun(runner)
        known = {name: await runner.context.cache.read(name) for name in ("1h", "global_fr")}
        for number, name in enumerate(("502", "html", "empty", "hang")):
            fault, reason = BAD_ANSWERS[name]
            runner.well_again()
            endpoint = {"endpoint": [*CANDLES, "open_interest", "funding"]} if number % 2 else {}
            runner.fault({**fault, **endpoint})
            record = await runner.run("collect:1h")
            assert record.state == "failed", fault
            for word in (*EXCHANGES, reason):
                assert word in str(record.error)
            assert await runner.context.cache.read("1h") == known["1h"]
        runner.well_again()
        runner.fault({"kind": "hang", "seconds": 3})
        assert (await runner.run("funding")).state == "failed"
        assert await runner.context.cache.read("global_fr") == known["global_fr"]


@pytest.mark.parametrize("job_id", ["collect:1h", "funding"])
async def test_nobody_waits_for_the_clock_of_an_exchange_that_hangs(
    open_runner: OpenRunner, exchanges: Simulator, job_id: str
) -> None:
    # While nothing agreed with Bybit's clock, Binance's would be waited for.
    clock = ShiftedClock(NOW_MS + 8 * 3_600_000)
    async with open_runner(exchanges, exchanges=ALL, request_s=1.0, clock=clock) as runner:
        await _begun(runner)
        runner.well_again()
        exchanges.post("/sim/clock", {"advance_ms": 8 * 3_600_000})
        runner.fault({"kind": "hang", "exchange": "binance", "seconds": 1.2})
        await runner.complete(job_id)

        async def tries() -> list[dict[str, Any]]:
            """Of the clock; the exchange's record has them once it has cut them off."""
            found = [r for r in asked(exchanges, "binance") if r["endpoint"] == "time"]
            return found if len(found) >= 3 else []

        tried = await until(tries)
        # All that Bybit was asked for was asked while Binance's clock was still waited for.
        of_bybit = asked(exchanges, "bybit")
        assert len(of_bybit) > EACH
        assert of_bybit[-1]["arrived_s"] < tried[-1]["arrived_s"]
        # Nor does the job wait for every request to it that it can think of.
        assert len(asked(exchanges, "binance")) <= 5 + EACH
