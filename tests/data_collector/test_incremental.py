"""A refresh gives what a cold collection at the same instant gives, and asks for less.

The exchanges here are arithmetic: whatever they hold is a function of a seed, the market and the
time, so that any history can be lived through in a moment. They answer in the exchanges' own
forms, and every document goes through its JSON, as it does when a worker is started anew.
"""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_collector import Collected, CollectionFailed
from data_collector.incremental import HOLES_PER_RUN, LEAST_OVERLAP, NULLS_PER_RUN
from market.markets import Exchange, Market
from market.timeframes import COLLECTED, DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from tests.fixtures.refreshing import H4, Documents, collect, rows_by_key, with_old_markets
from tests.fixtures.simulated_markets import SimulatedMarkets
from tests.fixtures.simulator import NOW_MS
from venues.venue import Endpoint, Request

BINANCE, BYBIT = Exchange.BINANCE, Exchange.BYBIT
H8 = Timeframe.H8
HORIZON_MS = 30 * DAY_MS


def _asked(world: SimulatedMarkets, endpoint: Endpoint) -> list[Request]:
    return [request for request in world.sent if request.endpoint is endpoint]


# --- any history -------------------------------------------------------------------------------


_DOWN = {"silence": tuple(Endpoint), "no open interest": (Endpoint.OPEN_INTEREST,)}
_HISTORIES = {"longer history": 160, "shorter history": 60}


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.data())
def test_a_refresh_equals_a_cold_collection(data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        fills = data.draw(st.booleans(), "what is missing may still come")
        if not fills:  # then nothing of it is due to what is asked again now and then
            patch.setattr("data_collector.incremental.HOLES_PER_RUN", 0)
            patch.setattr("data_collector.incremental.NULLS_PER_RUN", 0)
        asyncio.run(_live_through(data, fills=fills))


async def _live_through(data: st.DataObject, *, fills: bool) -> None:
    timeframe = data.draw(st.sampled_from([H4, H4, H4, *COLLECTED]), "timeframe")
    step_ms = timeframe.interval_ms
    world = SimulatedMarkets(data.draw(st.integers(0, 2**16), "seed"), fills=fills)
    for exchange in Exchange:
        world.add(exchange, "OLD", NOW_MS - 2000 * DAY_MS)
        for name in ("A", "B"):
            age = data.draw(st.integers(-200, 200), f"age of {exchange} {name}")
            tells = data.draw(st.booleans())
            world.add(exchange, name, NOW_MS - age * step_ms - 1000, tells=tells)
    standing: Documents = {}
    fetched_ms: dict[str, int] = {}  # when the candles of a market were last had
    candles = 130
    for _ in range(data.draw(st.integers(2, 6), "runs")):
        world.now_ms += data.draw(
            st.sampled_from(
                [MINUTE_MS, 7 * MINUTE_MS, 40 * MINUTE_MS, step_ms, 3 * step_ms, 93 * step_ms]
            ),
            "later",
        )
        event = data.draw(
            st.sampled_from(["", "correction", "relisting", "killed", *_DOWN, *_HISTORIES]), "event"
        )
        market = data.draw(st.sampled_from([c.market for c in world.contracts.values()]))
        exchange = data.draw(st.sampled_from(Exchange))
        if event == "correction" and market.key in fetched_ms:
            # Of a candle that is asked for again in any case; older ones wait for their day.
            back = data.draw(st.integers(0, LEAST_OVERLAP - 3)) * step_ms
            known_ms = timeframe.last_closed_open_time(fetched_ms[market.key])
            world.corrected[market.key, known_ms - back] += 1
        elif event == "relisting":
            age_ms = data.draw(st.integers(0, 20)) * step_ms
            world.list_anew(market, world.now_ms - age_ms)
        world.down = {(exchange, endpoint) for endpoint in _DOWN.get(event, ())}
        candles = _HISTORIES.get(event, candles)
        listed = [c for c in world.contracts.values() if c.listed_ms <= world.now_ms]
        markets = [
            c.market
            for c in listed
            if c.market.symbol == "OLDUSDT" or data.draw(st.integers(0, 9)) > 0
        ]
        try:
            _, texts = await collect(
                world, standing, markets=markets, timeframe=timeframe, candles=candles
            )
        except CollectionFailed:
            continue
        for item in markets:
            if not world.down or item.exchange is not exchange or event == "no open interest":
                fetched_ms[item.key] = world.now_ms
        if not world.down:
            cold, expected = await collect(
                world, markets=markets, timeframe=timeframe, candles=candles
            )
            assert texts == expected, _difference(texts, expected)
            assert cold.refreshed == 0
        if event == "killed":  # between the two documents
            texts = {**standing, timeframe: texts[timeframe]}
        standing = texts


def _difference(ours: Documents, theirs: Documents) -> str:
    found = []
    for made in theirs:
        mine, cold = rows_by_key(ours[made]), rows_by_key(theirs[made])
        for key in mine.keys() | cold.keys():
            rows = zip(mine.get(key, []), cold.get(key, []), strict=False)
            first = next((pair for pair in rows if pair[0] != pair[1]), None)
            if mine.get(key) != cold.get(key):
                found.append(f"{made} {key} {len(mine.get(key, []))}: {first}")
    return "\n".join(found)


# --- what is asked -------------------------------------------------------------------------------


@pytest.fixture
def world() -> SimulatedMarkets:
    """Two old markets on each exchange that lack nothing; their day's moment is not near."""
    return with_old_markets(SimulatedMarkets(1, perfect=True))


def _markets(world: SimulatedMarkets) -> list[Market]:
    return [contract.market for contract in world.contracts.values()]


def _without(text: bytes, key: str, *open_times: int, column: int | None = None) -> bytes:
    """The document without some rows of a market, or with a null in their place."""
    document = json.loads(text)
    market = next(m for m in document["markets"] if f"{m['exchange']}:{m['symbol']}" == key)
    for row in [row for row in market["rows"] if row[0] in open_times]:
        if column is None:
            market["rows"].remove(row)
        else:
            row[column] = None
    return orjson.dumps(document)


async def _refresh(
    world: SimulatedMarkets, standing: Documents, **wishes: Any
) -> tuple[Collected, Documents]:
    """A refresh that must give what a cold collection gives; `sent` holds what it asked."""
    world.sent.clear()
    collected, texts = await collect(world, standing, **wishes)
    sent = list(world.sent)
    _, expected = await collect(world, **wishes)
    world.sent = sent
    assert texts == expected, _difference(texts, expected)
    return collected, texts


@pytest.mark.parametrize("timeframe", COLLECTED)
async def test_a_minute_later_next_to_nothing_is_asked(
    world: SimulatedMarkets, timeframe: Timeframe
) -> None:
    _, standing = await collect(world, timeframe=timeframe, candles=499)
    world.now_ms += MINUTE_MS
    collected, _ = await _refresh(world, standing, timeframe=timeframe, candles=499)
    asked = _asked(world, Endpoint.KLINES)
    assert Counter(request.symbol for request in asked) == {"OLDUSDT": 2, "OTHERUSDT": 2}
    assert all(request.weight == 1 for request in asked)
    assert len(world.sent) == len(asked) + 2 == collected.requests  # and the two clocks
    assert (collected.markets, collected.refreshed, collected.corrected) == (4, 4, 0)


async def test_a_young_market_is_not_asked_for_what_was_before_it(world: SimulatedMarkets) -> None:
    young = world.add(BYBIT, "YOUNG", NOW_MS - 9 * H4.interval_ms)
    _, standing = await collect(world)
    world.now_ms += MINUTE_MS
    await _refresh(world, standing)
    assert [r.symbol for r in _asked(world, Endpoint.KLINES)].count(young.symbol) == 1
    # Nor, each time, for the open interest at the beginning of the candle in which it was listed.
    assert rows_by_key(standing[H4])[young.key][0][7] is None
    assert _asked(world, Endpoint.OPEN_INTEREST) == []


async def test_a_life_that_a_wrong_clock_let_begin_tomorrow_hides_no_row(
    world: SimulatedMarkets,
) -> None:
    markets = _markets(world)
    _, expected = await collect(world, markets=markets)
    ahead_ms = world.now_ms + DAY_MS
    wrong = [replace(market, launched_ms=ahead_ms, since_ms=ahead_ms) for market in markets]
    collected, found = await collect(world, markets=wrong)
    assert collected.missing == [] and rows_by_key(found[H4]) == rows_by_key(expected[H4])
    assert all(len(rows) > 100 for rows in rows_by_key(found[H4]).values())


async def test_more_candles_than_the_cheapest_request_brings(world: SimulatedMarkets) -> None:
    timeframe = Timeframe.M5
    _, standing = await collect(world, timeframe=timeframe, candles=499)
    world.now_ms += 200 * timeframe.interval_ms
    collected, _ = await _refresh(world, standing, timeframe=timeframe, candles=499)
    weights = {r.weight for r in _asked(world, Endpoint.KLINES) if r.exchange is BINANCE}
    assert (collected.refreshed, weights) == (4, {2})
    # Only what is new of the open interest: 200 snapshots of 499.
    assert all("limit=200" in request.target for request in _asked(world, Endpoint.OPEN_INTEREST))


async def test_late_open_interest_is_asked_for_until_it_is_there(
    world: SimulatedMarkets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_collector.incremental.NULLS_PER_RUN", 0)
    opened_ms = H4.floor(NOW_MS) + H4.interval_ms
    world.now_ms = opened_ms + 5 * MINUTE_MS
    late = "bybit:OLDUSDT"
    _, standing = await collect(world)
    standing = {made: _without(text, late, opened_ms, column=7) for made, text in standing.items()}
    world.now_ms += MINUTE_MS
    _, standing = await _refresh(world, standing)
    (request,) = _asked(world, Endpoint.OPEN_INTEREST)
    assert f"{request.exchange}:{request.symbol}" == late
    assert "limit=1" in request.target
    await _refresh(world, standing)
    assert _asked(world, Endpoint.OPEN_INTEREST) == []
    # What was null long after its instant is not asked for each time.
    standing = {
        made: _without(text, late, opened_ms - 5 * H4.interval_ms, column=7)
        for made, text in standing.items()
    }
    world.sent.clear()
    await collect(world, standing)
    assert _asked(world, Endpoint.OPEN_INTEREST) == []


@pytest.mark.parametrize("part", [Endpoint.OPEN_INTEREST, Endpoint.KLINES])
async def test_what_could_not_be_had_is_asked_for_again(
    world: SimulatedMarkets, monkeypatch: pytest.MonkeyPatch, part: Endpoint
) -> None:
    monkeypatch.setattr("data_collector.incremental.NULLS_PER_RUN", 0)
    # Open interest fails in a cold run; then, perhaps, everything of that exchange in another.
    world.down = {(BYBIT, Endpoint.OPEN_INTEREST)}
    _, standing = await collect(world)
    assert all(row[7] is None for row in rows_by_key(standing[H4])["bybit:OLDUSDT"])
    world.now_ms += MINUTE_MS
    if part is Endpoint.KLINES:
        world.down = {(BYBIT, part)}
        collected, standing = await collect(world, standing)
        assert collected.carried_over == 2
        world.now_ms += MINUTE_MS
    world.down = set()
    collected, _ = await _refresh(world, standing)
    assert collected.refreshed == 4
    assert {request.exchange for request in _asked(world, Endpoint.OPEN_INTEREST)} == {BYBIT}


async def test_a_correction_is_found_replaced_and_counted(world: SimulatedMarkets) -> None:
    _, standing = await collect(world, candles=300)
    key = "binance:OTHERUSDT"
    old_ms = H4.last_closed_open_time(NOW_MS) - 90 * H4.interval_ms
    # The older one is not asked for, but comes with the whole market.
    for corrected_ms in (old_ms, old_ms - 100 * H4.interval_ms):
        world.corrected[key, corrected_ms] += 1
    world.now_ms += MINUTE_MS
    collected, _ = await _refresh(world, standing, candles=300)
    assert (collected.markets, collected.refreshed, collected.corrected) == (4, 3, 1)


async def test_a_candle_that_is_gone_is_a_correction(world: SimulatedMarkets) -> None:
    _, standing = await collect(world)
    contract = world.contracts["bybit:OLDUSDT"]
    contract.listed_ms = NOW_MS - 20 * H4.interval_ms
    collected, _ = await _refresh(world, standing)
    assert (collected.refreshed, collected.corrected) == (3, 1)


async def test_open_interest_that_differs_is_fetched_anew(world: SimulatedMarkets) -> None:
    _, standing = await collect(world)
    key, step_ms = "bybit:OLDUSDT", H4.interval_ms
    document = json.loads(standing[H4])
    market = next(m for m in document["markets"] if f"{m['exchange']}:{m['symbol']}" == key)
    # Two holes, and between them something else than the exchange has.
    for row, value in zip(market["rows"][60:63], (None, 7.5, None), strict=True):
        row[7] = value
    standing[H4] = orjson.dumps(document)
    world.now_ms += step_ms
    collected, _ = await _refresh(world, standing)
    assert collected.corrected == 1


async def test_holes_are_filled_in_a_few_markets_at_a_time(world: SimulatedMarkets) -> None:
    hour = Timeframe.H1
    few: dict[str, Any] = {"timeframe": hour, "candles": 120}
    holes, nulls = 2 * HOLES_PER_RUN + 1, 2 * NULLS_PER_RUN + 1
    for number in range(holes + nulls):
        world.add(BINANCE, f"X{number}", NOW_MS - 2000 * DAY_MS)
    _, standing = await collect(world, **few)
    first_ms = hour.window_start(NOW_MS, 120)
    for number in range(holes + nulls):
        # A candle in the middle or the first of all, or its open interest.
        place = first_ms if number < holes and number % 2 else first_ms + 9 * hour.interval_ms
        column = None if number < holes else 7
        standing[hour] = _without(standing[hour], f"binance:X{number}USDT", place, column=column)
    filled = []
    for _ in range(4):
        world.now_ms += 1000
        world.sent.clear()
        _, standing = await collect(world, standing, **few)
        whole = sum(request.weight > 1 for request in _asked(world, Endpoint.KLINES))
        # A candle that fills a hole needs its open interest.
        snapshots = len(_asked(world, Endpoint.OPEN_INTEREST)) - whole
        filled.append((whole, snapshots))
    both = (HOLES_PER_RUN, NULLS_PER_RUN)
    assert filled == [both, both, (1, 1), (0, 0)]
    _, expected = await collect(world, **few)
    assert standing == expected


async def test_sums_keep_the_digits_that_floats_of_4h_do_not_hold(world: SimulatedMarkets) -> None:
    _, standing = await collect(world, candles=499)
    world.now_ms += 3 * H4.interval_ms
    collected, _ = await _refresh(world, standing, candles=499)
    assert collected.refreshed == 4


@pytest.mark.parametrize("fault", ["absent", "older", "other"])
async def test_two_documents_that_disagree_are_no_base(world: SimulatedMarkets, fault: str) -> None:
    _, standing = await collect(world, candles=300)
    world.now_ms += 110 * H4.interval_ms
    _, later = await collect(world, candles=300)
    world.now_ms += MINUTE_MS
    if fault == "absent":
        del later[H8]
    elif fault == "older":  # killed between the two
        later[H8] = standing[H8]
    else:
        later[H8] = later[H8].replace(b'"symbol":"OLDUSDT"', b'"symbol":"TMP"')
        later[H8] = later[H8].replace(b'"symbol":"OTHERUSDT"', b'"symbol":"OLDUSDT"')
    await _refresh(world, later, candles=300)
    whole = [r for r in _asked(world, Endpoint.KLINES) if r.exchange is BINANCE and r.weight == 2]
    assert len(whole) == 2


async def test_a_longer_history_is_fetched_whole(world: SimulatedMarkets) -> None:
    world.add(BINANCE, "YOUNG", NOW_MS - 120 * H4.interval_ms, tells=False)
    _, standing = await collect(world, candles=110)
    world.now_ms += MINUTE_MS
    collected, standing = await _refresh(world, standing, candles=300)
    assert collected.refreshed == 0
    world.now_ms += MINUTE_MS
    collected, standing = await _refresh(world, standing, candles=300)
    assert collected.refreshed == 5
    # A market that was carried over meanwhile still has the short one.
    _, short = await collect(world, candles=110)
    world.down = {(BINANCE, Endpoint.KLINES)}
    _, standing = await collect(world, short, candles=300)
    world.down = set()
    collected, _ = await _refresh(world, standing, candles=300)
    assert collected.refreshed == 2


async def test_once_a_day_all_candles_are_fetched_but_no_known_snapshot(
    world: SimulatedMarkets,
) -> None:
    _, standing = await collect(world, candles=300)
    key = "binance:OLDUSDT"
    old_ms = H4.window_start(NOW_MS, 300) + 40 * H4.interval_ms
    world.corrected[key, old_ms] += 1  # older than what is asked for again
    whole = 0
    for _ in range(24):
        world.now_ms += HOUR_MS
        world.sent.clear()
        _, standing = await collect(world, standing, candles=300)
        whole += sum(r.weight > 1 for r in _asked(world, Endpoint.KLINES))
        long = [
            r for r in _asked(world, Endpoint.OPEN_INTEREST) if "limit=1&" not in f"{r.target}&"
        ]
        # What is corrected is fetched anew in all its parts.
        assert {f"{r.exchange}:{r.symbol}" for r in long} <= {key}
    assert whole == 2 + 1  # once for each market, and what is corrected is asked twice
    _, expected = await collect(world, candles=300)
    assert standing == expected


@pytest.mark.parametrize("fault", ["unreadable", "off the grid", "from the future", "unsettled"])
async def test_what_cannot_be_trusted_is_no_base(world: SimulatedMarkets, fault: str) -> None:
    _, standing = await collect(world)
    if fault == "unreadable":
        standing[H4] = standing[H4].replace(b',"rows":[[1', b',"rows":[["x",1')
    elif fault == "off the grid":
        document = json.loads(standing[H4])
        for market in document["markets"]:
            market["rows"][40][0] += 1
        standing[H4] = orjson.dumps(document)
    elif fault == "from the future":
        world.now_ms -= 1
    else:  # all its candles were too young to be final
        standing[H4] = standing[H4].replace(b'"checked_at":17', b'"checked_at":11')
    collected, _ = await _refresh(world, standing, stored=True)
    assert (collected.refreshed, collected.corrected) == (0, 0)


async def test_a_candle_that_has_just_closed_may_still_change(world: SimulatedMarkets) -> None:
    closed_ms = H4.floor(NOW_MS)
    world.now_ms = closed_ms + H4.interval_ms + 2000
    _, standing = await collect(world)
    world.corrected["binance:OLDUSDT", closed_ms] += 1
    world.now_ms += MINUTE_MS
    collected, standing = await _refresh(world, standing)
    assert (collected.refreshed, collected.corrected) == (4, 0)
