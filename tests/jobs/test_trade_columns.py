"""The columns of trades: what the exchanges' own candles tell, switched on over what is there."""

from decimal import Decimal
from typing import Any

import pytest

from documents.changes import decode_changes
from documents.journal import decode_entry, deflated_entry, read_stored_entry
from market.columns import COLUMNS, WIDE_COLUMNS
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from stores.hot.journal import JOURNAL
from tests.fixtures.jobs import NoAudits, OpenRunner, by_key
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.jobs.test_closes import CANDLES, Closes

EACH = 3
OFFERED = [timeframe for timeframe in Timeframe if timeframe is not Timeframe.H8]
Numbers = dict[int, tuple[Decimal, ...]]


@pytest.fixture
def exchanges(start_simulator: StartSimulator) -> Simulator:
    return start_simulator(binance=EACH, bybit=EACH, now=NOW_MS, frozen=True)


def told(exchanges: Simulator, symbol: str, timeframe: Timeframe) -> Numbers:
    """Trades and taker volumes as the exchange tells them in its own candles, by open time."""
    rows = exchanges.get(
        "/fapi/v1/klines", symbol=symbol, interval=str(timeframe), limit=CANDLES + 8
    )
    return {row[0]: (Decimal(row[8]), Decimal(row[9]), Decimal(row[10])) for row in rows}


def shown(rows: list[list[Any]]) -> Numbers:
    """The same of a document's rows, where all three are there."""
    return {
        row[0]: tuple(Decimal(repr(value)) for value in row[9:])
        for row in rows
        if None not in row[9:]
    }


def check(
    exchanges: Simulator, document: Any, timeframe: Timeframe, *, least: int | None = None
) -> None:
    """Each number is the exchange's; `least` rows have them, or all."""
    assert document["columns"] == list(WIDE_COLUMNS)
    for key, market in by_key(document).items():
        exchange, _, symbol = key.partition(":")
        assert {len(row) for row in market["rows"]} == {12}
        found = shown(market["rows"])
        if exchange == "bybit":
            assert all(row[9:] == [None] * 3 for row in market["rows"])
            continue
        expected = told(exchanges, symbol, timeframe)
        assert found.items() <= expected.items(), (timeframe, key)
        wanted = len(market["rows"]) if least is None else least
        assert len(found) >= wanted, (timeframe, key)


async def passes(closes: Closes) -> None:
    await closes.runner.complete("discovery")
    await closes.runner.complete("funding")
    await closes.all()


async def test_every_document_has_what_the_exchange_tells_in_its_own_candles(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, history_candles=CANDLES, trade_columns="on") as runner:
        closes = Closes(runner)
        await passes(closes)
        for timeframe in Timeframe:
            check(exchanges, await closes.check(timeframe), timeframe)
        # Candles of bases, made of others: 4h and 8h too, exact in decimals.
        for moment_ms in (NOW_MS + 5 * MINUTE_MS, NOW_MS + 4 * HOUR_MS):
            closes.go_to(moment_ms)
            await closes.all()
            for timeframe in Timeframe:
                document = await closes.check(timeframe)
                if document["as_of"] == moment_ms:
                    check(exchanges, document, timeframe)


async def test_switched_on_rows_stay_and_are_filled_and_switched_off_they_are_as_before(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    before: dict[str, Any] = {}
    async with open_runner(exchanges, history_candles=CANDLES) as runner:
        await passes(Closes(runner))
        await runner.complete("fill")
        for timeframe in Timeframe:
            before[timeframe] = await runner.document(timeframe)
            assert before[timeframe]["columns"] == list(COLUMNS)
    async with open_runner(exchanges, history_candles=CANDLES, trade_columns="on") as runner:
        closes = Closes(runner, began_ms=NOW_MS, now_ms=NOW_MS)
        closes.go_to(NOW_MS + 5 * MINUTE_MS)
        await closes.all()
        # One pass reads the bases, the windows of all documents that were due, and nothing twice.
        asked = closes.asked()
        assert asked["klines"] <= EACH * (2 + len(OFFERED)) + 2 * EACH
        for timeframe in Timeframe:
            document = await runner.document(timeframe)
            if document["as_of"] == NOW_MS:  # nothing has closed in it
                assert document["columns"] == list(COLUMNS)
                continue
            check(exchanges, document, timeframe)
            for key, market in by_key(document).items():
                rows = {row[0]: row[:8] for row in market["rows"]}
                kept = by_key(before[timeframe])[key]["rows"][1:-1]  # without the forming one
                assert all(rows[row[0]] == row[:8] for row in kept), (timeframe, key)
        closes.go_to(NOW_MS + 4 * HOUR_MS)
        await closes.all()
        for timeframe in Timeframe:
            document = await closes.check(timeframe)
            if document["as_of"] == NOW_MS + 4 * HOUR_MS:
                check(exchanges, document, timeframe)
        wide = {each: await runner.document(each) for each in Timeframe}
    async with open_runner(exchanges, history_candles=CANDLES) as runner:
        closes = Closes(runner, began_ms=NOW_MS, now_ms=NOW_MS + 4 * HOUR_MS)
        closes.go_to(NOW_MS + 4 * HOUR_MS + 5 * MINUTE_MS)
        await closes.all()
        document = await closes.check(Timeframe.M5)
        assert document["columns"] == list(COLUMNS)
        assert {len(row) for each in document["markets"] for row in each["rows"]} == {9}
        for key, market in by_key(document).items():
            rows = {row[0]: row[:8] for row in market["rows"]}
            kept = by_key(wide[Timeframe.M5])[key]["rows"][:-1]
            assert all(rows[row[0]] == row[:8] for row in kept if row[0] in rows)
        assert closes.asked()["klines"] <= 2 * EACH + 2


async def test_a_pass_fills_no_more_windows_than_it_may_and_the_next_goes_on(
    open_runner: OpenRunner, exchanges: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_collector.auditor.MOST_FILLED", 6)
    async with open_runner(exchanges, history_candles=CANDLES) as runner:
        await passes(Closes(runner))
        await runner.complete("fill")
    windows, rows = [], []
    async with open_runner(
        exchanges, history_candles=CANDLES, trade_columns="on", audits=NoAudits()
    ) as runner:
        closes = Closes(runner, began_ms=NOW_MS, now_ms=NOW_MS)
        for place in range(1, 7):
            closes.go_to(NOW_MS + place * 15 * MINUTE_MS)
            await closes.all()
            windows.append(closes.asked()["klines"] - 2 * EACH)  # beside those of the bases
            documents = {each: await runner.document(each) for each in Timeframe}
            assert {each["as_of"] for each in documents.values()} == {closes.now_ms}
            for timeframe, document in documents.items():
                check(exchanges, document, timeframe, least=0 if place < 6 else None)
            told = (
                shown(market["rows"]) for each in documents.values() for market in each["markets"]
            )
            rows.append(sum(map(len, told)))
    assert windows == [6, 6, 6, 6, len(OFFERED) * EACH - 24, 0]
    assert rows[:5] == sorted(set(rows[:5])) and rows[5] >= rows[4]


async def test_a_single_timeframe_is_filled_too(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, history_candles=CANDLES) as runner:
        await runner.complete("discovery")
        await runner.complete("funding")
        await runner.complete("collect:4h")
    async with open_runner(exchanges, history_candles=CANDLES, trade_columns="on") as runner:
        await runner.complete("collect:4h")
        check(exchanges, await runner.document("4h"), Timeframe.H4)
        check(exchanges, await runner.document("8h"), Timeframe.H8)
        exchanges.post("/sim/clock", {"advance_ms": 4 * HOUR_MS})
        exchanges.post("/sim/stats/reset")
        await runner.complete("collect:4h")
        check(exchanges, await runner.document("4h"), Timeframe.H4)
        check(exchanges, await runner.document("8h"), Timeframe.H8)
        assert stored_rows(exchanges) < EACH * CANDLES, "the rest is used again"


def stored_rows(exchanges: Simulator) -> int:
    """The weight of the requests for candles, as 99 candles weigh 1 and 499 two."""
    return int(exchanges.stats()["requests"]["binance"]["klines"]["200"])


async def test_the_history_gets_rows_as_before_and_no_corrections(
    open_runner: OpenRunner, exchanges: Simulator
) -> None:
    async with open_runner(exchanges, history_candles=CANDLES) as runner:
        await passes(Closes(runner))
    async with open_runner(exchanges, history_candles=CANDLES, trade_columns="on") as runner:
        closes = Closes(runner, began_ms=NOW_MS, now_ms=NOW_MS)
        closes.go_to(NOW_MS + 5 * MINUTE_MS)
        await closes.all()
        cache, document = runner.context.cache, await runner.document("5m")
        version, rows = document["version"], by_key(document)
        elements = await runner.context.store.execute("LRANGE", JOURNAL, 0, -1)
        (entry,) = (
            decode_entry(deflated_entry(each.text))
            for each in map(read_stored_entry, elements)
            if (each.document, each.version) == ("5m", version)
        )
        for market in entry.markets:
            key = f"{market.exchange}:{market.symbol}"
            assert market.change is not None and not market.change.corrected
            told = [*market.change.closed, *market.forming]
            assert [list(row) for row in told] == [row[:9] for row in rows[key]["rows"][-2:]]
        changes = decode_changes(await cache.read_changes("5m", version) or b"")
        # Rows that got their columns are others for listeners, as are those that got a snapshot.
        widths = [len(row) for each in changes.markets or () for row in each.closed]
        assert widths == [12] * 2 * EACH
