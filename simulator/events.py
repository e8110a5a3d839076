"""Changes of the world that tests and demonstrations ask for: listings, delistings, corrections."""

from collections.abc import Mapping
from typing import Any

from simulator.answers import World
from simulator.candles import HIGH, HOUR_MS, SLOT_MS, VOLUME
from simulator.faults import WrongRule
from simulator.market import Correction, Market
from simulator.universe import Workshop, make_market


def happen(world: World, shop: Workshop | None, event: Mapping[str, Any]) -> dict[str, Any]:
    """Does what `event` says, at once; tells what changed. Raises WrongRule."""
    exchange, symbol = event.get("exchange"), event.get("symbol")
    if exchange not in world.markets or not isinstance(symbol, str):
        raise WrongRule("this kind needs exchange and symbol")
    if event["kind"] == "list_new":
        return _list_new(world, shop, exchange, symbol, event)
    market = world.markets[exchange].get(symbol)
    if market is None:
        raise WrongRule(f"no market {symbol!r} on {exchange}")
    done = _CHANGES[event["kind"]](world, market, event)
    world.pages.clear()
    return {"kind": event["kind"], "market": market.name, **done}


def _list_new(
    world: World, shop: Workshop | None, exchange: str, base: str, event: Mapping[str, Any]
) -> dict[str, Any]:
    if shop is None:
        raise WrongRule("recorded markets cannot grow")
    listed_ms = world.clock.now_ms() - int(event.get("age_ms", 0))
    market = make_market(shop, exchange, base, listed_ms=listed_ms)
    if world.find(exchange, market.symbol) is not None:
        raise WrongRule(f"{market.symbol} is listed already")
    market.number = sum(len(markets) for markets in world.markets.values()) + 5
    world.add(market)
    return {"kind": "list_new", "market": market.name, "listed_ms": listed_ms}


def _delist(world: World, market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    market.gone = True
    market.collected = False
    market.status = "SETTLING" if market.exchange == "binance" else "Closed"
    market.delivery_ms = world.clock.now_ms()
    return {"status": market.status}


def _missing_oi(world: World, market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    times = event.get("times")
    if not isinstance(times, list) or not all(isinstance(time, int) for time in times):
        raise WrongRule("kind missing_oi needs times, a list of ms")
    market.withheld_oi.update(times)
    return {"times": sorted(market.withheld_oi)}


def _correction(world: World, market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    now_ms = world.clock.now_ms(market.exchange)
    time_ms = event.get("time", now_ms - 2 * HOUR_MS)
    if not isinstance(time_ms, int) or time_ms > now_ms - SLOT_MS:
        raise WrongRule("time is that of a candle already closed")
    slot_ms = time_ms - time_ms % SLOT_MS
    candle = market.closed(SLOT_MS, slot_ms, slot_ms)
    if not candle.shape[1]:
        raise WrongRule("no candle there")
    high = int(candle[HIGH, 0]) + 3 * market.tick
    volume = int(candle[VOLUME, 0]) // 10 // market.step * market.step + 7 * market.step
    market.corrections.append(Correction(slot_ms, volume, volume * high, high))
    return {"time": slot_ms}


def _funding_interval(world: World, market: Market, event: Mapping[str, Any]) -> dict[str, Any]:
    hours = event.get("hours")
    if hours not in (1, 2, 4, 8):
        raise WrongRule("hours is 1, 2, 4 or 8")
    now_ms = world.clock.now_ms(market.exchange)
    from_ms = int(event.get("from_ms", now_ms - now_ms % HOUR_MS + HOUR_MS))
    market.funding.change_interval(from_ms, hours)
    return {"from_ms": from_ms, "hours": hours}


_CHANGES = {
    "delist": _delist,
    "missing_oi": _missing_oi,
    "correction": _correction,
    "funding_interval": _funding_interval,
}
