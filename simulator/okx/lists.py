"""OKX's entries about instruments and their present: instruments, tickers, funding and others.

All values are strings, empty where they do not apply.
"""

from collections.abc import Mapping
from typing import Any, Final

from simulator.candles import DAY_MS, HIGH, HOUR_MS, LOW, OPEN, SLOT_MS, TURNOVER, VOLUME
from simulator.market import Market
from simulator.okx import contracts
from simulator.okx.contracts import SPOT
from simulator.okx.rows import open_interest
from simulator.present import last_day, last_price
from simulator.text import plain

# How long after a settlement the old period is told as being settled (choice).
PROCESSING_MS: Final = 3_000


def kind_of(market: Market) -> str:
    """The instrument's `instType`."""
    return SPOT if market.contract_type == SPOT else "SWAP"


def family(market: Market) -> str:
    """`instFamily` and `uly`: a swap's pair."""
    return "" if market.contract_type == SPOT else f"{market.base}-{market.quote}"


def instrument(market: Market) -> dict[str, Any]:
    spot = market.contract_type == SPOT
    value_currency = "USD" if market.contract_type == contracts.INVERSE else market.base
    return {
        "alias": "",
        "auctionEndTime": "",
        "baseCcy": market.base if spot else "",
        "category": "1",
        "contTdSwTime": "",
        "ctMult": "" if spot else "1",
        "ctType": "" if spot else market.contract_type,
        "ctVal": contracts.contract_value(market),
        "ctValCcy": "" if spot else value_currency,
        "expTime": str(market.delivery_ms) if market.delivery_ms else "",
        "futureSettlement": False,
        "instCategory": market.symbol_type,
        "instFamily": family(market),
        "instId": market.symbol,
        "instIdCode": market.number,
        "instType": kind_of(market),
        "lever": "10" if spot else "50",
        "listTime": str(market.listed_ms),
        "lotSz": contracts.lot(market),
        "maxIcebergSz": "100000000.0000000000000000",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "100000000",
        "maxMktAmt": "1000000" if spot else "",
        "maxMktSz": "30000",
        "maxStopSz": "30000",
        "maxTriggerSz": "100000000.0000000000000000",
        "maxTwapSz": "100000000.0000000000000000",
        "minSz": contracts.lot(market),
        "openType": "",
        "optType": "",
        "preMktSwTime": "",
        "quoteCcy": market.quote if spot else "",
        "ruleType": "normal",
        "settleCcy": "" if spot else market.margin,
        "state": market.status,
        "stk": "",
        "tickSz": plain(market.tick, market.price_decimals),
        "uly": family(market),
    }


def ticker(market: Market, now_ms: int, top: Mapping[str, str]) -> dict[str, str]:
    """The last price, the last 24 hours, and the best ask and bid: `top` has their four fields."""
    price, day = last_price(market, now_ms), last_day(market, now_ms)
    there = day.shape[1] > 0
    volume, turnover = int(day[VOLUME].sum()), int(day[TURNOVER].sum())

    def told(value: int) -> str:
        return plain(value, market.price_decimals) if value else ""  # before the first trade

    return {
        "instType": kind_of(market),
        "instId": market.symbol,
        "last": told(price),
        "lastSz": contracts.size(market, market.step, market.step * price),
        **top,
        "open24h": told(int(day[OPEN, 0]) if there else price),
        "high24h": told(int(day[HIGH].max()) if there else price),
        "low24h": told(int(day[LOW].min()) if there else price),
        "sodUtc0": told(_opened(market, now_ms - now_ms % DAY_MS, price)),
        "sodUtc8": told(_opened(market, now_ms - (now_ms + 8 * HOUR_MS) % DAY_MS, price)),
        "volCcy24h": contracts.second_amounts(market, [volume], [turnover])[0],
        "vol24h": contracts.size(market, volume, turnover),
        "ts": str(now_ms),
    }


def _opened(market: Market, day_ms: int, price: int) -> int:
    """The first price of a day; that of now if the day's first candle has not closed."""
    first = market.closed(2 * HOUR_MS, day_ms, day_ms)
    return int(first[OPEN, 0]) if first.shape[1] else price


def open_interest_now(market: Market, now_ms: int) -> dict[str, str]:
    """The newest value of the 5-minute grid, published there or not (choice)."""
    points = market.snapshots(SLOT_MS, now_ms - 2 * HOUR_MS, now_ms)
    value = int(points[1, -1]) if points.shape[1] else 0
    number, coins, usd = open_interest(market, value, last_price(market, now_ms))
    return {
        "instId": market.symbol,
        "instType": "SWAP",
        "oi": number,
        "oiCcy": coins,
        "oiUsd": usd,
        "ts": str(now_ms),
    }


def mark_price(market: Market, now_ms: int) -> dict[str, str]:
    """The mark price, which is the last price (choice)."""
    return {
        "instId": market.symbol,
        "instType": "SWAP",
        "markPx": plain(last_price(market, now_ms), market.price_decimals),
        "ts": str(now_ms),
    }


def funding_now(market: Market, now_ms: int) -> dict[str, str]:
    """The running period, the next one, and the last settlement."""
    funding = market.funding
    settled = funding.newest(2, now_ms)
    last = settled[-1] if settled else None
    processing = last is not None and now_ms - last.time_ms < PROCESSING_MS
    if last is not None and processing:
        time_ms, rate = last.time_ms, last.rate
        before_ms = str(settled[0].time_ms) if len(settled) > 1 else ""
    else:
        time_ms, rate = funding.next_ms(now_ms), funding.running_rate(now_ms)
        before_ms = "" if last is None else str(last.time_ms)
    return {
        "formulaType": "withRate",
        "fundingRate": plain(rate, 8),
        "fundingTime": str(time_ms),
        "impactValue": "20000.0000000000000000",
        "instId": market.symbol,
        "instType": "SWAP",
        "interestRate": "0.0001000000000000",
        "maxFundingRate": "0.02",
        "method": "current_period",
        "minFundingRate": "-0.02",
        "nextFundingRate": "",
        "nextFundingTime": str(funding.next_ms(time_ms)),
        "premium": "0",
        "prevFundingTime": before_ms,
        "settFundingRate": "" if last is None else plain(last.rate, 8),
        "settState": "processing" if processing else "settled",
        "ts": str(now_ms),
    }


def settlement(market: Market, time_ms: int, rate: int) -> dict[str, str]:
    """One row of the funding history: the last prediction and the settled rate."""
    return {
        "formulaType": "withRate",
        "fundingRate": plain(market.funding.running_rate(time_ms - 1), 8),
        "fundingTime": str(time_ms),
        "instId": market.symbol,
        "instType": "SWAP",
        "method": "current_period",
        "realizedRate": plain(rate, 8),
    }
