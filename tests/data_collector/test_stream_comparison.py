"""Candles of streams against those of REST: what the reader of streams is told of differences."""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pytest

from data_collector.auditor import Auditor
from data_collector.audits import Audits
from data_collector.base_plan import plan_from_base
from data_collector.run import CollectionRun
from data_collector.stream_comparison import compare_with_rest
from data_collector.stream_reader import Streamed
from data_collector.stream_reads import StreamReads
from market.base import STEP_MS, Base, extended, with_stream
from market.candles import Candle, Candles
from market.columns import CANDLE
from market.left_out import LeftOut
from market.markets import Exchange, Market, MarketSeries
from market.rows import Rows
from market.timeframes import DAY_MS, MINUTE_MS, Timeframe

MIDNIGHT = 1_767_225_600_000  # 2026-01-01T00:00:00Z
COUNT = 12
NOW_MS = MIDNIGHT + COUNT * STEP_MS + 2_000  # the last of them closed 2 s ago
MARKET = Market(Exchange.BINANCE, "BTCUSDT", "BTC", "USDT")
OPENS = [MIDNIGHT + number * STEP_MS for number in range(COUNT)]


def candle(open_ms: int, close: float = 10.0) -> Candle:
    return Candle(open_ms, 10.0, 12.0, 9.0, close, "100", "1000")


def shown(**closes: float | None) -> list[Candle]:
    """All candles, the n-th with another close ("_n"), or without it (None)."""
    found = []
    for number, open_ms in enumerate([*OPENS, OPENS[-1] + STEP_MS]):
        close = closes.get(f"_{number}", 10.0)
        if close is not None:
            found.append(candle(open_ms, close))
    return found


def streamed_base(first: int, as_of_ms: int = NOW_MS) -> Base:
    """Candles from `first` on are of streams, the others of REST."""
    read_ms = OPENS[first] + 2 * MINUTE_MS
    rest = [each for each in shown() if each.open_time_ms <= OPENS[first]]
    base = extended(None, rest, asked_ms=MIDNIGHT, as_of_ms=read_ms)
    closed = [candle(open_ms) for open_ms in OPENS[first:]]
    base = with_stream(base, closed, candle(OPENS[-1] + STEP_MS), as_of_ms=as_of_ms)
    assert base.times[base.streamed].tolist() == OPENS[first:]
    return base


@dataclass
class Told:
    """A reader that knows nothing of streams any more, and keeps what it is told."""

    compared_candles: int = 0
    differing: list[int] = field(default_factory=list)
    log: Candles = field(default_factory=lambda: Candles.of(()))

    def streamed(self, market: Market, since_ms: int, forming_ms: int) -> Streamed | None:
        return Streamed(self.log.between(since_ms, forming_ms - 1), None, is_awaited=False)

    def take_back(self, market: Market) -> frozenset[int]:
        return frozenset()

    def compared(self, market: Market, candles: int) -> None:
        assert market is MARKET
        self.compared_candles += candles

    def differs(self, market: Market, open_ms: int) -> None:
        assert market is MARKET
        self.differing.append(open_ms)


def rows_of(candles: list[Candle]) -> Rows:
    found = Candles.of(candles)
    values = np.full((len(found), len(Rows.names)), np.nan)
    values[:, CANDLE] = found.values
    return Rows(found.times, values)


@pytest.mark.parametrize(
    ("closes", "invalid", "differing"),
    [
        ({}, (), []),
        ({"_4": 10.5, "_9": 9.5}, (), [4, 9]),
        ({"_10": 9.5}, (), [10]),  # it closed five minutes ago
        ({"_11": 9.5}, (), []),  # it closed two seconds ago, and may still change
        ({"_2": 10.5, "_1": 10.5}, (), [2]),  # the other one came by REST
        ({"_5": None}, (), [5]),
        ({"_5": None}, (5,), []),
    ],
)
def test_final_candles_of_streams_are_compared(
    closes: dict[str, float | None], invalid: tuple[int, ...], differing: list[int]
) -> None:
    reader, base = Told(), streamed_base(2)
    found = compare_with_rest(
        *(reader, MARKET, base, rows_of(shown(**closes))),
        first_ms=MIDNIGHT,
        as_of_ms=NOW_MS,
        invalid=[OPENS[number] for number in invalid],
    )
    assert found == reader.differing == [OPENS[number] for number in differing]
    assert reader.compared_candles == 9 - len(invalid)


def asked(reader: Told, candles: list[Candle], first_ms: int) -> tuple[StreamReads, Base]:
    """As a pass does that asks for candles of a market whose base goes on."""
    before = streamed_base(2, NOW_MS - 1000)
    reads = StreamReads(reader, NOW_MS)
    base = extended(before, candles, asked_ms=first_ms, as_of_ms=NOW_MS)
    return reads, reads.added(MARKET, before, base, first_ms)


def test_what_a_pass_asks_for_is_compared_also_where_the_log_has_forgotten_it() -> None:
    reader = Told()
    answer = [each for each in shown(_2=11.0, _6=11.0) if each.open_time_ms >= OPENS[3]]
    reads, base = asked(reader, answer, OPENS[3])
    assert reader.differing == [OPENS[6]]  # the other one was not asked for
    assert reader.compared_candles == 8
    assert base.times[base.streamed].tolist() == [
        open_ms for open_ms in OPENS[2:] if open_ms != OPENS[6]
    ]
    assert reads.repaired == {Exchange.BINANCE: 1}
    assert not reads.sampled and not reads.taken


def test_a_candle_that_rest_has_read_before_a_stream_tells_it_is_compared_with_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("data_collector.stream_reads._SAMPLED", 1)
    reader = Told(log=Candles.of([candle(OPENS[0], 11.0), candle(OPENS[1])]))
    reads, _ = asked(reader, shown(), MIDNIGHT)
    assert reader.differing == [OPENS[0]]
    assert reader.compared_candles == 9 + 2
    assert reads.sampled == {Exchange.BINANCE: 1}
    assert not reads.repaired


@pytest.mark.parametrize(
    ("rest", "differs"),
    [
        (("10", 12.0, 9.0, 10.0, "100", "1000"), False),
        (("10", 11.0, 9.5, 10.5, "90", "900"), False),  # it lags behind
        (("10", 12.0, 9.0, 10.0, "100.5", "1000"), True),
        (("10", 12.0, 9.0, 10.0, "100", "1000.5"), True),
        (("10", 12.5, 9.0, 10.0, "90", "900"), True),
        (("10", 12.0, 8.5, 10.0, "90", "900"), True),
    ],
)
def test_what_rest_shows_early_is_never_more_than_a_closed_candle(
    rest: tuple[str, float, float, float, str, str], differs: bool
) -> None:
    """Two seconds after its close REST may lack trades of a candle, and has none that a closing
    event does not count."""
    last_ms = OPENS[-1]
    read_ms = OPENS[0] + 2 * MINUTE_MS
    before = extended(None, shown()[:1], asked_ms=MIDNIGHT, as_of_ms=read_ms)
    closed = [candle(open_ms) for open_ms in OPENS[:-1]]
    before = with_stream(before, closed, candle(last_ms), as_of_ms=last_ms + MINUTE_MS)
    answer = [Candle(last_ms, float(rest[0]), *rest[1:]), shown()[-1]]
    base = extended(before, answer, asked_ms=last_ms, as_of_ms=NOW_MS)
    reader = Told(log=Candles.of([candle(last_ms)]))
    base = StreamReads(reader, NOW_MS).added(MARKET, before, base, last_ms)
    assert reader.differing == ([last_ms] if differs else [])
    assert reader.compared_candles == int(differs)
    line = int(np.flatnonzero(base.times == last_ms)[0])
    expected = answer[0] if differs else candle(last_ms)
    assert base.values[line, CANDLE].tolist() == [float(value or 0) for value in expected[1:7]]
    assert base.settled[line] == (not differs), "what REST showed is read again"


def test_a_base_that_begins_is_no_repair() -> None:
    reader = Told()
    reads = StreamReads(reader, NOW_MS)
    base = extended(None, shown(), asked_ms=MIDNIGHT, as_of_ms=NOW_MS)
    reads.added(MARKET, None, base, MIDNIGHT)
    assert not reads.repaired and not reads.sampled
    assert reader.compared_candles == 0


@pytest.mark.parametrize(("timeframe", "told"), [(Timeframe.M5, [7]), (Timeframe.M15, [])])
@pytest.mark.parametrize("invalid", [False, True])
def test_an_audit_of_5m_tells_of_candles_of_streams_that_differ(
    timeframe: Timeframe, told: list[int], invalid: bool
) -> None:
    reader, base = Told(), streamed_base(2)
    step_ms = timeframe.interval_ms
    plan = plan_from_base(
        *(MARKET, timeframe, base),
        {timeframe: MarketSeries(MARKET, rows_of(shown()[:1]), MIDNIGHT + DAY_MS)},
        as_of_ms=NOW_MS,
        history_candles=COUNT,
    )
    audited = rows_of([each for each in shown(_7=9.5) if each.open_time_ms % step_ms == 0])
    left_out = [LeftOut(OPENS[7], "zero price")] if invalid else []
    unused = cast(CollectionRun, None)
    auditor = Auditor(unused, Audits(), COUNT, (), reader=reader)
    auditor.compare(plan, audited, left_out)
    assert reader.differing == ([] if invalid else [OPENS[number] for number in told])
