"""Closes by streams: the simulated exchanges' WebSockets, feeds, and the passes of a worker."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from cache_manager import CacheManager, DocumentMeta
from commands.live import server_ms
from data_collector.audits import Audits
from jobs.document_draft import DocumentDraft
from jobs.live_rows import LiveRows
from live.candle_log import CandleLogReader
from live.exchange_feed import ExchangeFeed, FeedParts
from live.exchanges import STREAM_VENUES
from live.live_candles import LiveCandles, catch_up
from market.markets import Exchange, MarketSeries
from market.timeframes import MINUTE_MS, Timeframe
from metrics.exposition import MetricsPage
from stores.hot.leases import Lease
from tests.fixtures.jobs import JobRunner, OneAudit, OpenRunner, by_key
from tests.fixtures.numbers import numbers_of
from tests.fixtures.signals import until
from tests.fixtures.simulator import Simulator, StartSimulator
from timing.clock import SystemClock

EACH = 4
CANDLES = 60
STEP_MS = 5 * MINUTE_MS
CLOSE_MS = 1_795_186_800_000  # 15:00 UTC: 5m, 15m, 30m and 1h close
CANDLE = 7
INTEREST = 7
PASS_MS = 10_000
EXCHANGES = tuple(Exchange)
ALL = len(EXCHANGES) * EACH


@dataclass
class Streamed:
    """A worker and its feeds, at exchanges whose time flows, and jumps where nothing is to see."""

    runner: JobRunner
    symbols: dict[Exchange, list[str]] = field(default_factory=dict)  # the exchanges' names
    keys: dict[str, str] = field(default_factory=dict)  # Market.key, by exchange and these names
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    feeds: dict[Exchange, "asyncio.Task[None]"] = field(default_factory=dict)
    passed_ms: int = 0

    def __post_init__(self) -> None:
        # The machine lives by the exchanges' time.
        self.runner.context.last_as_of.elapsed_s = self.elapsed_s

    def elapsed_s(self) -> float:
        return time.monotonic() + self.passed_ms / 1000

    @property
    def exchanges(self) -> Simulator:
        return self.runner.exchanges

    def feed(self, exchange: Exchange) -> None:
        context = self.runner.context

        async def markets() -> Sequence[str]:
            return self.symbols[exchange]

        parts = FeedParts(
            venue=STREAM_VENUES[exchange],
            settings=context.settings,
            store=context.store,
            holder="feed",
            markets=markets,
            server_ms=partial(server_ms, context.client, exchange),
            clock=SystemClock(),
            elapsed_s=self.elapsed_s,
            trade_columns=context.settings.trade_columns,
        )
        feed = ExchangeFeed(parts)
        self.feeds[exchange] = asyncio.create_task(feed.run(self.stop))

    async def now_ms(self) -> int:
        return int((await asyncio.to_thread(self.exchanges.get, "/sim/clock"))["now_ms"])

    async def pass_to(self, moment_ms: int) -> None:
        """Lets the exchanges' time pass in small steps, as their messages arrive."""
        while (left_ms := moment_ms - await self.now_ms()) > 0:
            step_ms = min(left_ms, PASS_MS)
            # First here: some exchanges' messages tell no time of their own.
            self.passed_ms += step_ms
            clock = {"pass_ms": step_ms}
            await asyncio.to_thread(self.exchanges.post, "/sim/clock", clock)

    async def until_told(self, open_ms: int, but: int = 0) -> None:
        """Waits until the closing events of this candle have come, except `but` of them."""
        for exchange in EXCHANGES:
            reader, candles = CandleLogReader(self.runner.context.store, exchange), LiveCandles()

            async def are(
                reader: CandleLogReader = reader,
                candles: LiveCandles = candles,
                symbols: Sequence[str] = tuple(self.symbols[exchange]),
            ) -> bool:
                await catch_up(candles, reader)
                told = sum(candles.state.closed(each, open_ms) is not None for each in symbols)
                return told >= len(symbols) - but

            await until(are)

    async def followed(self, close_ms: int) -> None:
        """Goes on to this close with streams that cover all of its candle, and a base of the close
        before."""
        await self.pass_to(close_ms - 2 * STEP_MS - 120_000)
        for exchange in EXCHANGES:
            self.feed(exchange)

        async def is_subscribed() -> bool:
            streams = (await asyncio.to_thread(self.exchanges.stats))["streams"]
            return all(streams[each]["streams"] >= EACH for each in EXCHANGES)

        await until(is_subscribed)
        await self.pass_to(close_ms - STEP_MS + 65_000)  # what REST shows is final
        await self.runner.complete("collect:all")
        await self.check()
        await self.pass_to(close_ms - 1_500)
        await asyncio.to_thread(self.exchanges.post, "/sim/stats/reset")

    async def closed(self, close_ms: int) -> None:
        """Waits for the close."""

        async def is_over() -> bool:
            return await self.now_ms() >= close_ms + 50

        await until(is_over)

    def asked(self, endpoint: str = "klines") -> int:
        found = self.exchanges.stats()["requests"].values()
        names = (endpoint, f"history_{endpoint}")  # of two paths for candles
        return sum(sum(asked.get(name, {}).values()) for asked in found for name in names)

    def fault(self, kind: str, **target: Any) -> None:
        self.exchanges.post("/sim/faults", {"kind": kind, **target})

    async def check(
        self, timeframes: Sequence[Timeframe] = tuple(Timeframe), *, without: Sequence[str] = ()
    ) -> None:
        """No closed row of these documents is another than the exchanges have, or lacks, but for
        the newest of markets `without`."""
        for timeframe in timeframes:
            document = await self.runner.document(timeframe)
            truth = await asyncio.to_thread(
                partial(
                    self.exchanges.truth, str(timeframe), candles=CANDLES, as_of=document["as_of"]
                )
            )
            truth = {self.keys.get(name, name): rows for name, rows in truth.items()}
            last_ms = timeframe.last_closed_open_time(document["as_of"])
            for key, market in by_key(document).items():
                rows = [row[:CANDLE] for row in market["rows"] if row[0] <= last_ms]
                true = [row[:CANDLE] for row in truth[key] if row[0] <= last_ms]
                if key in without:
                    assert market["stale_since"] is not None
                    true = [row for row in true if row in rows]
                assert rows == true, (timeframe, key)
                forming = [row[0] for row in market["rows"] if row[0] > last_ms]
                assert forming in ([], [last_ms + timeframe.interval_ms])

    async def newest(self, timeframe: str, key: str) -> int:
        """The open time of the market's newest closed row."""
        document = await self.runner.document(timeframe)
        last_ms = document["last_closed_open_time"]
        rows = by_key(document)[key]["rows"]
        return max(int(row[0]) for row in rows if row[0] <= last_ms)

    def told(self, name: str, **labels: str) -> float:
        """A number of a scrape."""
        page = MetricsPage()
        page.add(self.runner.context.metrics.registry.collect())
        return numbers_of(page).of(f"perpcache_live_{name}", **labels)

    async def ended(self) -> None:
        self.stop.set()
        await asyncio.gather(*self.feeds.values(), return_exceptions=True)


@pytest.fixture
def trade_columns() -> bool:
    return False


@pytest.fixture
async def streamed(
    start_simulator: StartSimulator,
    open_runner: OpenRunner,
    monkeypatch: pytest.MonkeyPatch,
    trade_columns: bool,
) -> AsyncIterator[Streamed]:
    monkeypatch.setattr("data_collector.stream_reads._SAMPLED", 10**9)
    exchanges = start_simulator(**dict.fromkeys(EXCHANGES, EACH), now=CLOSE_MS - 3 * STEP_MS)
    streams = exchanges.base_url.replace("http", "ws")
    async with open_runner(
        exchanges,
        history_candles=CANDLES,
        audits=OneAudit(),
        exchanges=",".join(EXCHANGES),
        **{f"{each}_ws_url": streams for each in EXCHANGES},
        trade_columns=trade_columns,
    ) as runner:
        context = runner.context
        context.metrics.watch_streams(EXCHANGES)
        live = LiveRows(
            *(context.store, EXCHANGES, context.client.clock),
            on_compared=context.metrics.stream_compared,
            on_differing=context.metrics.stream_differs,
            trade_columns=trade_columns,
        )
        runner.context = replace(context, live=live)
        one = Streamed(runner)
        for job in ("discovery", "funding", "collect:all", "fill"):
            await runner.complete(job)
        for market in await context.database.get_all_unique_coins(**context.selection):
            one.symbols.setdefault(market.exchange, []).append(market.native)
            one.keys[f"{market.exchange}:{market.native}"] = market.key
        try:
            yield one
        finally:
            await one.ended()


def noted_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is done with each document: it is `made` market by market, and `stored`."""
    steps: list[tuple[str, str]] = []
    add, save = DocumentDraft.add, CacheManager.save_to_cache

    def noted_add(draft: DocumentDraft, series: MarketSeries) -> None:
        steps.append(("made", str(draft.timeframe)))
        add(draft, series)

    async def noted_save(
        cache: CacheManager, name: str, *arguments: Any, **named: Any
    ) -> DocumentMeta:
        steps.append(("stored", str(name)))
        return await save(cache, name, *arguments, **named)

    monkeypatch.setattr(DocumentDraft, "add", noted_add)
    monkeypatch.setattr(CacheManager, "save_to_cache", noted_save)
    return steps


async def test_a_close_costs_no_request_for_candles(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await streamed.followed(CLOSE_MS)
    await streamed.closed(CLOSE_MS)
    audits = streamed.runner.context.audits
    assert isinstance(audits, OneAudit)
    audits.chosen = f"bybit:{streamed.symbols[Exchange.BYBIT][0]}", Timeframe.H1
    steps = noted_steps(monkeypatch)
    began_s = time.monotonic()
    result = await streamed.runner.complete("collect:all")
    assert time.monotonic() - began_s < 20
    assert result["streamed"] == ALL
    for exchange in EXCHANGES:
        assert streamed.told("streamed_markets", exchange=exchange) == EACH
        assert streamed.told("repairs_total", exchange=exchange) == EACH  # before the close
        journal = dict(result["closing"][exchange])
        assert journal.pop("compared") >= 0
        assert journal == {
            "close": CLOSE_MS,
            **{"stream": EACH, "rest": 0, "lacking": 0},
            **{"taken": EACH, "repaired": 0, "sampled": 0, "differing": 0},
        }
    assert result["carried_over"] == 0
    # The audit's, which is not put off though no document waits for open interest.
    assert (result["audit_requests"], streamed.asked()) == (2, 1)
    assert streamed.asked("open_interest") == ALL + 1
    assert {"5m", "15m", "30m", "1h"} <= set(result["documents"])
    # Nobody waits for a document that is longer than theirs.
    order = [each for each in dict.fromkeys(steps) if each[1] in ("5m", "15m", "30m", "1h")]
    assert order == [
        step for name in ("5m", "15m", "30m", "1h") for step in (("made", name), ("stored", name))
    ]
    await streamed.check()
    # Between closes, too.
    audits.chosen = None
    await asyncio.to_thread(streamed.exchanges.post, "/sim/stats/reset")
    await streamed.pass_to(CLOSE_MS + 70_000)
    result = await streamed.runner.complete("collect:all")
    assert (result["streamed"], streamed.asked()) == (ALL, 0)
    await streamed.check()


@pytest.mark.parametrize("trade_columns", [True])
async def test_the_columns_of_trades_come_by_streams(streamed: Streamed) -> None:
    await streamed.followed(CLOSE_MS)
    await streamed.closed(CLOSE_MS)
    await streamed.runner.complete("collect:all")
    assert streamed.asked() == 0
    await streamed.check()
    for timeframe in (Timeframe.M5, Timeframe.M15, Timeframe.H1):
        document = await streamed.runner.document(timeframe)
        for key, market in by_key(document).items():
            exchange, _, symbol = key.partition(":")
            rows = [row for row in market["rows"] if row[0] <= document["last_closed_open_time"]]
            told: list[list[float | None]] = [[None] * 3] * len(rows)
            if exchange == "binance":
                asked = {"symbol": symbol, "interval": str(timeframe), "limit": CANDLES + 5}
                theirs = await asyncio.to_thread(
                    partial(streamed.exchanges.get, "/fapi/v1/klines", **asked)
                )
                by_time = {row[0]: row[8:11] for row in theirs}
                told = [[float(value) for value in by_time[row[0]]] for row in rows]
            assert [row[9:] for row in rows] == told, (timeframe, key)
            forming = market["rows"][len(rows) :]
            is_told = exchange == "binance"
            assert all((None not in row[9:]) is is_told for row in forming)


async def test_without_feeds_all_is_asked_for_as_ever(streamed: Streamed) -> None:
    await streamed.pass_to(CLOSE_MS + 5_000)
    await asyncio.to_thread(streamed.exchanges.post, "/sim/stats/reset")
    result = await streamed.runner.complete("collect:all")
    assert "streamed" not in result
    assert result["requests"] == len(EXCHANGES) + 2 * ALL
    assert streamed.asked() == ALL
    await streamed.check()


@pytest.mark.slow
async def test_documents_do_not_wait_for_the_open_interest_of_the_last_candles(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_collector.interest_reads._LONGEST_INTEREST_WAIT_S", 600)
    await streamed.followed(CLOSE_MS)
    streamed.fault("hold", endpoint="open_interest")
    version = (await streamed.runner.document("5m"))["version"]
    await streamed.closed(CLOSE_MS)
    job = asyncio.create_task(streamed.runner.complete("collect:all"))

    async def is_published() -> bool:
        return bool((await streamed.runner.document("1d"))["as_of"] >= CLOSE_MS)

    await until(is_published)
    assert (await streamed.runner.document("5m"))["version"] > version
    await streamed.check()
    await asyncio.to_thread(streamed.exchanges.delete, "/sim/faults")
    assert (await job)["missing"] == 0
    rows = [
        row
        for market in by_key(await streamed.runner.document("5m")).values()
        for row in market["rows"]
        if row[0] == CLOSE_MS - STEP_MS
    ]
    assert len(rows) == ALL and all(row[INTEREST] is not None for row in rows)


@pytest.mark.slow
async def test_what_a_new_market_lacks_is_asked_for_where_no_other_version_follows(
    streamed: Streamed,
) -> None:
    """Its first candles of 4h and more began before it did, so their open interest is no base's."""
    listed = {"kind": "list_new", "exchange": "bybit", "symbol": "NEW", "age_ms": 7_260_000}
    await asyncio.to_thread(streamed.exchanges.post, "/sim/faults", listed)
    for job in ("discovery", "funding", "collect:all", "collect:4h", "fill"):
        await streamed.runner.complete(job)
    streamed.symbols[Exchange.BYBIT].append("NEWUSDT")
    await streamed.followed(CLOSE_MS)
    await streamed.closed(CLOSE_MS)
    result = await streamed.runner.complete("collect:all")
    assert result["streamed"] == ALL + 1 and "4h" in result["documents"]
    for timeframe in (Timeframe.M5, Timeframe.H4, Timeframe.H8):
        document = await streamed.runner.document(timeframe)
        assert document["as_of"] >= CLOSE_MS
        assert document["missing"] == [] and "bybit:NEWUSDT" in by_key(document), timeframe


@pytest.mark.parametrize("exchange", [Exchange.BINANCE, Exchange.OKX])
async def test_a_market_of_which_nothing_comes_is_left_out_and_follows(
    streamed: Streamed, exchange: Exchange
) -> None:
    """As of quiet markets, where an exchange does not close candles without a trade."""
    symbol = streamed.symbols[exchange][0]
    key = streamed.keys[f"{exchange}:{symbol}"]
    await streamed.followed(CLOSE_MS)
    streamed.fault("stream_lose", exchange=exchange, symbol=symbol, count=1000)
    version = (await streamed.runner.document("1h"))["version"]
    await streamed.closed(CLOSE_MS)
    job = asyncio.create_task(streamed.runner.complete("collect:all"))

    async def is_published() -> bool:
        return bool((await streamed.runner.document("1h"))["version"] > version)

    await until(is_published)
    await streamed.check([Timeframe.M5, Timeframe.H1], without=[key])
    assert await streamed.newest("5m", key) == CLOSE_MS - 2 * STEP_MS
    assert streamed.asked() == 0
    # Nothing has closed in this one, which is due by its age: it waits, and tells of no lack.
    due_by_age = await streamed.runner.document("4h")
    assert due_by_age["as_of"] < CLOSE_MS
    await streamed.pass_to(CLOSE_MS + 32_000)  # the grace is over
    result = await job
    await streamed.check()
    due_by_age = await streamed.runner.document("4h")
    assert due_by_age["as_of"] > CLOSE_MS
    assert [each for each in due_by_age["missing"] if each["part"] == "klines"] == []
    assert [each["stale_since"] for each in due_by_age["markets"]] == [None] * ALL
    assert await streamed.newest("5m", key) == CLOSE_MS - STEP_MS
    assert (result["streamed"], streamed.asked()) == (ALL - 1, 1)
    assert (result["carried_over"], result["missing"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("exchange", EXCHANGES)
async def test_a_closing_of_a_quiet_market_that_comes_late_brings_its_row_without_a_request(
    streamed: Streamed, exchange: Exchange
) -> None:
    """Nothing is traded after the close, and the closing event comes 20 s after it, in time."""
    symbol = streamed.symbols[exchange][0]
    key = streamed.keys[f"{exchange}:{symbol}"]
    market = {"exchange": exchange, "symbol": symbol}
    await streamed.followed(CLOSE_MS)
    streamed.fault("stream_delay_closing", **market, seconds=20, count=1)
    streamed.fault("stream_lose", **market, count=1000)
    published: list[dict[str, Any]] = []
    cache = streamed.runner.context.cache

    async def save(name: str, *args: Any, **options: Any) -> Any:
        meta = await save_to_cache(name, *args, **options)
        if name == "1h":
            published.append(await streamed.runner.document("1h"))
        return meta

    save_to_cache, cache.save_to_cache = cache.save_to_cache, save  # type: ignore[method-assign]
    await streamed.closed(CLOSE_MS)
    job = asyncio.create_task(streamed.runner.complete("collect:all"))

    async def is_published() -> bool:
        return bool(published)

    await until(is_published)
    await streamed.check([Timeframe.H1], without=[key])
    await streamed.pass_to(CLOSE_MS + 22_000)
    result = await job
    await streamed.check()
    assert (result["streamed"], streamed.asked()) == (ALL, 0)
    assert (result["carried_over"], result["missing"]) == (0, 0)
    reasons = [[each["reason"] for each in document["missing"]] for document in published]
    assert reasons == [["the exchange has not said yet that its candle is closed"], []]
    lasting = [by_key(document)[key] for document in published]
    assert [each["stale_since"] for each in lasting] == [CLOSE_MS, None]
    closed = [[row[0] for row in each["rows"]] for each in lasting]
    hour_ms = Timeframe.H1.interval_ms
    assert [CLOSE_MS - hour_ms in each for each in closed] == [False, True]


async def test_a_market_whose_next_candle_comes_without_a_closing_is_asked_for_at_once(
    streamed: Streamed,
) -> None:
    symbol = streamed.symbols[Exchange.BINANCE][0]
    await streamed.followed(CLOSE_MS)
    streamed.fault("stream_lose_closing", exchange="binance", symbol=symbol, count=1)
    await streamed.closed(CLOSE_MS)
    await streamed.pass_to(CLOSE_MS + 20_000)
    await streamed.until_told(CLOSE_MS - STEP_MS, but=1)
    result = await streamed.runner.complete("collect:all")
    await streamed.check()
    assert (result["streamed"], streamed.asked()) == (ALL - 1, 1)
    assert result["carried_over"] == 0


async def test_what_a_connection_did_not_cover_is_asked_for_at_once(streamed: Streamed) -> None:
    await streamed.followed(CLOSE_MS)
    streamed.fault("stream_cut", exchange="binance", count=1)
    await streamed.closed(CLOSE_MS)
    result = await streamed.runner.complete("collect:all")
    await streamed.check()
    assert (result["streamed"], streamed.asked()) == (ALL - EACH, EACH)
    assert result["carried_over"] == 0
    assert result["closing"]["binance"]["repaired"] == EACH
    ways = [result["closing"]["binance"][way] for way in ("rest", "stream", "lacking")]
    assert ways == [EACH, 0, 0]
    assert streamed.told("repairs_total", exchange="binance") == 2 * EACH  # and when it began
    assert streamed.told("repairs_total", exchange="bybit") == EACH


async def test_feeds_that_were_killed_hold_nothing_up(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their leases have not expired yet, and nobody writes."""

    async def die(lease: Lease) -> None:
        lease._renewal.cancel()

    await streamed.followed(CLOSE_MS)
    monkeypatch.setattr(Lease, "release", die)
    monkeypatch.setattr("live.exchange_feed._LAST_BATCH_S", 0.0)
    await streamed.ended()
    await streamed.closed(CLOSE_MS)
    began_s = time.monotonic()
    result = await streamed.runner.complete("collect:all")
    assert time.monotonic() - began_s < 25
    await streamed.check()
    assert "streamed" not in result
    assert (result["carried_over"], streamed.asked()) == (0, ALL)


async def test_a_closing_with_other_numbers_than_rest_has_is_found_by_the_sample(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbol = streamed.symbols[Exchange.BYBIT][0]
    await streamed.followed(CLOSE_MS)
    streamed.fault("stream_wrong_closing", exchange="bybit", symbol=symbol, count=1)
    await streamed.closed(CLOSE_MS)
    await streamed.runner.complete("collect:all")
    with pytest.raises(AssertionError):
        await streamed.check()
    monkeypatch.setattr("data_collector.stream_reads._SAMPLED", 1)
    await streamed.pass_to(CLOSE_MS + 65_000)
    result = await streamed.runner.complete("collect:all")
    await streamed.check()
    assert result["closing"]["bybit"]["sampled"] == EACH
    assert result["closing"]["bybit"]["differing"] == 1
    assert streamed.told("differing_candles_total", exchange="bybit") == 1
    assert streamed.told("differing_candles_total", exchange="binance") == 0
    assert streamed.told("compared_candles_total", exchange="bybit") >= EACH
    assert streamed.told("samples_total", exchange="bybit") == EACH
    # Nothing of that connection is believed any more.
    monkeypatch.setattr("data_collector.stream_reads._SAMPLED", 10**9)
    await streamed.pass_to(CLOSE_MS + 130_000)
    await asyncio.to_thread(streamed.exchanges.post, "/sim/stats/reset")
    await streamed.pass_to(CLOSE_MS + STEP_MS + 5_000)
    await streamed.until_told(CLOSE_MS)
    result = await streamed.runner.complete("collect:all")
    assert (result["streamed"], streamed.asked()) == (ALL - EACH, EACH)
    await streamed.check()


class AuditsOf(Audits):
    """Audits that are due when a test wants them to be, and those that follow from them."""

    wanted: tuple[str, Timeframe] | None = None

    def is_due(self, key: str, timeframe: Timeframe, since_ms: int, as_of_ms: int) -> bool:
        return (key, timeframe) == self.wanted or (key, timeframe) in self._pending


@pytest.mark.slow
@pytest.mark.parametrize("timeframe", [Timeframe.M5, Timeframe.H1])
async def test_a_closing_with_other_numbers_than_rest_has_is_found_by_audits(
    streamed: Streamed, timeframe: Timeframe
) -> None:
    """That of 5m tells it at once. After that of 1h the base is read anew, and compared."""
    symbol = streamed.symbols[Exchange.BYBIT][0]
    audits = AuditsOf()
    streamed.runner.context = replace(streamed.runner.context, audits=audits)
    await streamed.followed(CLOSE_MS)
    streamed.fault("stream_wrong_closing", exchange="bybit", symbol=symbol, count=1)
    await streamed.closed(CLOSE_MS)
    await streamed.runner.complete("collect:all")
    later_ms = CLOSE_MS + 3 * STEP_MS  # the documents of 1h are published again
    await streamed.pass_to(later_ms + 5_000)
    await streamed.until_told(later_ms - STEP_MS)
    audits.wanted = f"bybit:{symbol}", timeframe
    await streamed.runner.complete("collect:all")
    at_once = streamed.told("differing_candles_total", exchange="bybit")
    assert at_once == (timeframe is Timeframe.M5)
    audits.wanted = None
    await streamed.pass_to(later_ms + 3 * STEP_MS + 5_000)
    await streamed.until_told(later_ms + 2 * STEP_MS)
    result = await streamed.runner.complete("collect:all")
    await streamed.check()
    assert result["closing"]["bybit"]["differing"] == 1
    assert streamed.told("differing_candles_total", exchange="bybit") == 1
    assert result["closing"]["binance"]["differing"] == 0
    # Nothing of that connection is believed any more.
    await asyncio.to_thread(streamed.exchanges.post, "/sim/stats/reset")
    await streamed.pass_to(later_ms + 4 * STEP_MS + 5_000)
    await streamed.until_told(later_ms + 3 * STEP_MS)
    result = await streamed.runner.complete("collect:all")
    assert (result["streamed"], result["closing"]["bybit"]["repaired"]) == (ALL - EACH, EACH)
    await streamed.check()
