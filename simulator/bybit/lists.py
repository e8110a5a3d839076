"""Bybit's simulated instruments and tickers."""

from typing import Any

from simulator.candles import HIGH, HOUR_MS, LOW, OPEN, TURNOVER, VOLUME
from simulator.market import Market
from simulator.present import last_day, last_price
from simulator.text import fixed, plain, rescaled


def instrument(market: Market, now_ms: int, recorded: dict[str, Any] | None) -> dict[str, Any]:
    """One contract of instruments-info; a recorded entry is unchanged except for its state."""
    state = {
        "status": market.status,
        "launchTime": str(market.listed_ms),
        "deliveryTime": str(market.delivery_ms),
    }
    if recorded is not None:
        return {**recorded, **state}
    tick = plain(market.tick, market.price_decimals)
    step = plain(market.step, market.quantity_decimals)
    pre_listing = market.status == "PreLaunch"
    perpetual = market.contract_type == "LinearPerpetual"
    return {
        "symbol": market.symbol,
        "symbolId": market.number,
        "contractType": market.contract_type,
        "status": market.status,
        "baseCoin": market.base,
        "quoteCoin": market.quote,
        "launchTime": str(market.listed_ms),
        "deliveryTime": str(market.delivery_ms),
        "deliveryFeeRate": "" if perpetual else "0.0005",
        "priceScale": str(market.price_decimals),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "50.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": tick, "maxPrice": "1999999.80", "tickSize": tick},
        "lotSizeFilter": {
            "maxOrderQty": "1190000",
            "minOrderQty": step,
            "qtyStep": step,
            "postOnlyMaxOrderQty": "1190000",
            "maxMktOrderQty": "500000",
            "minNotionalValue": "5",
        },
        "unifiedMarginTrade": True,
        "fundingInterval": market.funding.hours_at(now_ms) * 60 if perpetual else 0,
        "settleCoin": market.margin,
        "copyTrading": "both" if market.collected else "none",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "isPreListing": pre_listing,
        "preListingInfo": _pre_listing(market) if pre_listing else None,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "symbolType": market.symbol_type,
        "forbidUplWithdrawal": False,
        "displayName": "",
    }


def _pre_listing(market: Market) -> dict[str, Any]:
    start_ms, phases = market.listed_ms, []
    names = ("CallAuction", "CallAuctionNoCancel", "CrossMatching", "ContinuousTrading")
    for name, minutes in zip(names, (50, 5, 5, 0), strict=True):
        end_ms = start_ms + minutes * 60_000
        phases.append(
            {"phase": name, "startTime": str(start_ms), "endTime": str(end_ms) if minutes else ""}
        )
        start_ms = end_ms
    fees = {"auctionFeeRate": "0", "takerFeeRate": "0.001", "makerFeeRate": "0.0004"}
    return {"curAuctionPhase": "NotStarted", "phases": phases, "auctionFeeInfo": fees}


def ticker(market: Market, now_ms: int) -> dict[str, Any]:
    """One entry of tickers: all values are strings, empty where they do not apply."""
    decimals, amounts = market.price_decimals, market.quantity_decimals
    price = last_price(market, now_ms)
    day = last_day(market, now_ms)
    there = day.shape[1] > 0
    first = int(day[OPEN, 0]) if there else price
    change = (price - first) * 1_000_000 // first if first else 0
    perpetual = market.contract_type == "LinearPerpetual"
    points = market.snapshots(HOUR_MS, now_ms - 2 * HOUR_MS, now_ms)
    single = int(points[1, -1]) if points.shape[1] else 0
    oi_decimals = market.open_interest_decimals
    value = rescaled(single * price, oi_decimals + decimals, 4)
    next_ms = market.funding.next_ms(now_ms)
    last = plain(price, decimals)
    return {
        "symbol": market.symbol,
        "lastPrice": last,
        "indexPrice": last,
        "markPrice": last,
        "prevPrice24h": plain(first, decimals),
        "price24hPcnt": fixed(change, 6),
        "highPrice24h": plain(int(day[HIGH].max()) if there else price, decimals),
        "lowPrice24h": plain(int(day[LOW].min()) if there else price, decimals),
        "prevPrice1h": last,
        "openInterest": plain(2 * single, oi_decimals),
        "openInterestValue": plain(2 * value, 4),
        "singleOpenInterest": plain(single, oi_decimals),
        "singleOpenInterestValue": plain(value, 4),
        "turnover24h": plain(int(day[TURNOVER].sum()), decimals + amounts),
        "volume24h": plain(int(day[VOLUME].sum()), amounts),
        "fundingRate": plain(market.funding.running_rate(now_ms), 8) if perpetual else "",
        "nextFundingTime": str(next_ms) if perpetual else "",
        "fundingIntervalHour": str(market.funding.hours_at(now_ms)) if perpetual else "",
        "fundingCap": "0.005" if perpetual else "",
        "basis": "",
        "basisRate": "",
        "basisRateYear": "",
        "predictedDeliveryPrice": "",
        "deliveryFeeRate": "",
        "deliveryTime": str(market.delivery_ms),
        "bid1Price": last,
        "bid1Size": plain(market.step, amounts),
        "ask1Price": plain(price + market.tick, decimals),
        "ask1Size": plain(market.step, amounts),
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }
