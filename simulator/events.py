"""Market events applied on request: listings, delistings, corrections, funding intervals."""

from collections.abc import Mapping
from typing import Any

from simulator.bad_rows import IMPOSSIBLE
from simulator.candles import DAY_MS, HIGH, HOUR_MS, SLOT_MS, VOLUME
from simulator.exchange import Exchange
from simulator.exchange_markets import ExchangeMarkets
from simulator.faults import InvalidRule
from simulator.market import Correction, Market
from simulator.universe import GeneratorContext, make_market


def apply_event(
    markets: ExchangeMarkets, exchanges: Mapping[str, Exchange],
    context: GeneratorContext | None, event: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Applies `event` at once and returns what changed. Raises InvalidRule."""
    exchange, symbol = str(event.get("exchange")), event.get("symbol")
    if exchange not in exchanges or not isinstance(symbol, str):
        raise InvalidRule("this kind needs exchange and symbol")
    if event["kind"] == "list_new":
        return _list_new(markets, exchanges[exchange], context, symbol, event)
    market = markets.by_exchange[exchange].get(symbol)
    if market is None:
        raise InvalidRule(f"no market {symbol!r} on {exchange}")
    done = _CHANGES[event["kind"]](markets, exchanges[exchange], market, event)
    markets.pages.clear()
    return {"kind": event["kind"], "market": market.name, **done}


def _list_new(
    markets: ExchangeMarkets, exchange: Exchange, context: GeneratorContext | None, base: str,
    event: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    if context is None:
        raise InvalidRule("list_new needs generated markets: start without --recorded")
    listed_ms = markets.clock.now_ms() - int(event.get("age_ms", 0))
    market = make_market(context, type(exchange), base, listed_ms=listed_ms)
    if markets.find(exchange.name, market.symbol) is not None:
        raise InvalidRule(f"{market.symbol} is listed already")
    market.number = sum(len(listed) for listed in markets.by_exchange.values()) + 5
    markets.add(market)
    return {"kind": "list_new", "market": market.name, "listed_ms": listed_ms}


def _delist(
    markets: ExchangeMarkets, exchange: Exchange, market: Market, event: Mapping[str, Any]
) -> dict[str, Any]:
    market.gone = True
    market.collected = False
    market.status = exchange.traits.delisted
    market.delivery_ms = markets.clock.now_ms()
    return {"status": market.status}


def _missing_oi(
    markets: ExchangeMarkets, exchange: Exchange, market: Market, event: Mapping[str, Any]
) -> dict[str, Any]:
    times = event.get("times")
    if not isinstance(times, list) or not all(isinstance(time, int) for time in times):
        raise InvalidRule("kind missing_oi needs times, a list of ms")
    market.withheld_oi.update(times)
    return {"times": sorted(market.withheld_oi)}


def _impossible(
    markets: ExchangeMarkets, exchange: Exchange, market: Market, event: Mapping[str, Any]
) -> dict[str, Any]:
    times, variant = event.get("times"), event.get("variant", "zero_price")
    if not isinstance(times, list) or not all(isinstance(time, int) for time in times):
        raise InvalidRule("kind impossible needs times, a list of ms")
    if variant not in IMPOSSIBLE:
        raise InvalidRule(f"variant must be one of {', '.join(IMPOSSIBLE)}")
    market.impossible.update(dict.fromkeys(times, variant))
    return {"times": sorted(market.impossible)}


def _correction(
    markets: ExchangeMarkets, exchange: Exchange, market: Market, event: Mapping[str, Any]
) -> dict[str, Any]:
    now_ms = markets.clock.now_ms(market.exchange)
    time_ms = event.get("time", now_ms - 2 * HOUR_MS)
    if not isinstance(time_ms, int) or time_ms > now_ms - SLOT_MS:
        raise InvalidRule("time must be within a closed 5-minute candle, in UTC ms")
    slot_ms = time_ms - time_ms % SLOT_MS
    candle = market.closed(SLOT_MS, slot_ms, slot_ms)
    if not candle.shape[1]:
        raise InvalidRule(f"{market.name} has no 5-minute candle at {slot_ms}")
    high = int(candle[HIGH, 0]) + 3 * market.tick
    volume = int(candle[VOLUME, 0]) // 10 // market.step * market.step + 7 * market.step
    market.corrections.append(Correction(slot_ms, volume, volume * high, high))
    return {"time": slot_ms}


def _funding_interval(
    markets: ExchangeMarkets, exchange: Exchange, market: Market, event: Mapping[str, Any]
) -> dict[str, Any]:
    hours = event.get("hours")
    if hours not in (1, 2, 4, 8):
        raise InvalidRule("hours must be 1, 2, 4 or 8")
    now_ms = markets.clock.now_ms(market.exchange)
    from_ms = int(event.get("from_ms", now_ms - now_ms % HOUR_MS + HOUR_MS))
    market.funding.change_interval(from_ms, hours)
    return {"from_ms": from_ms, "hours": hours}


def _relaunch(
    markets: ExchangeMarkets, exchange: Exchange, market: Market, event: Mapping[str, Any]
) -> dict[str, Any]:
    # At a day's first moment no candle of any period holds two contracts.
    launched_ms = markets.clock.now_ms(market.exchange) - int(event.get("age_ms", 0))
    market.listed_ms = market.relaunched_ms = launched_ms - launched_ms % DAY_MS
    market.flat_before = bool(event.get("flat", True))
    return {"listed_ms": market.listed_ms}


def _book_restart(
    markets: ExchangeMarkets, exchange: Exchange, market: Market, event: Mapping[str, Any]
) -> dict[str, Any]:
    market.renumbered_ms = markets.clock.now_ms(market.exchange)
    return {"from_ms": market.renumbered_ms}


_CHANGES = {
    "book_restart": _book_restart,
    "relaunch": _relaunch,
    "delist": _delist,
    "missing_oi": _missing_oi,
    "impossible": _impossible,
    "correction": _correction,
    "funding_interval": _funding_interval,
}
