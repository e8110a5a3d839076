"""Binance's simulated exchangeInfo, fundingInfo, premiumIndex and tickers."""

from typing import Any, Final

from simulator.binance.limits import NAME
from simulator.binance.price_candles import index_price
from simulator.candles import DAY_MS, HIGH, LOW, OPEN, TRADES, TURNOVER, VOLUME
from simulator.exchange_markets import ExchangeMarkets
from simulator.market import Market
from simulator.present import last_day, last_price
from simulator.text import fixed, rescaled

FUNDING_LIST: Final = f"{NAME} funding"  # the name of the recorded fundingInfo
_RATE_LIMITS: Final = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
    {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
]
_ASSETS: Final = [
    {"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"},
    {"asset": "BTC", "marginAvailable": True, "autoAssetExchange": "-0.10000000"},
    {"asset": "USDC", "marginAvailable": True, "autoAssetExchange": "-10000"},
    {"asset": "USD1", "marginAvailable": True, "autoAssetExchange": "-5000"},
]
_ORDER_TYPES: Final = [
    "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
]  # fmt: skip
# The list's serverTime is unreliable: in a recording it was more than an hour old.
_INFO_AGE_MS: Final = 4_091_000


def exchange_info(markets: ExchangeMarkets, now_ms: int, weight_a_minute: int) -> dict[str, Any]:
    """The whole list; `weight_a_minute` is the enforced limit."""
    limits = [dict(limit) for limit in _RATE_LIMITS]
    limits[0]["limit"] = weight_a_minute
    head: dict[str, Any] = {
        "timezone": "UTC",
        "serverTime": now_ms - _INFO_AGE_MS,
        "futuresType": "U_MARGINED",
        "rateLimits": limits,
        "exchangeFilters": [],
        "assets": _ASSETS,
    }
    recorded = markets.recorded_lists.get(NAME, {})
    head["symbols"] = [
        symbol_entry(market, recorded.get(market.symbol))
        for market in markets.by_exchange[NAME].values()  # delisted ones stay in the list
    ]
    return head


def symbol_entry(market: Market, recorded: dict[str, Any] | None) -> dict[str, Any]:
    """One contract of exchangeInfo; a recorded entry is unchanged except for its state."""
    state = {"status": market.status, "deliveryDate": market.delivery_ms}
    if recorded is not None:
        return {**recorded, **state, "onboardDate": market.listed_ms}
    tick = fixed(market.tick, market.price_decimals)
    step = fixed(market.step, market.quantity_decimals)
    lot = {"minQty": step, "stepSize": step}
    return {
        "symbol": market.symbol,
        "pair": market.symbol.partition("_")[0],
        "contractType": market.contract_type,
        "deliveryDate": market.delivery_ms,
        "onboardDate": market.listed_ms,
        "status": market.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": market.base,
        "quoteAsset": market.quote,
        "marginAsset": market.margin,
        "pricePrecision": market.price_decimals,
        "quantityPrecision": market.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": market.symbol_type,
        "underlyingSubType": ["Layer-1"] if market.symbol_type == "COIN" else ["TradFi"],
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "4529764",
             "tickSize": tick},
            {"filterType": "LOT_SIZE", "maxQty": "10000000", **lot},
            {"filterType": "MARKET_LOT_SIZE", "maxQty": "1000000", **lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
             "multiplierDecimal": "4"},
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": _ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY", "DCA"],
    }  # fmt: skip


def funding_info(markets: ExchangeMarkets, now_ms: int) -> list[dict[str, Any]]:
    """Symbols with adjusted cap, floor or interval; absent ones settle every 8 h."""
    found = []
    recorded = markets.recorded_lists.get(FUNDING_LIST, {})
    for market in markets.by_exchange[NAME].values():
        if market.symbol in recorded and not market.collected:
            found.append(recorded[market.symbol])
            continue
        hours = market.funding.hours_at(now_ms)
        perpetual = market.status == "TRADING" and market.contract_type.endswith("PERPETUAL")
        if market.gone or not perpetual or (hours == 8 and not market.listed_in_info):
            continue
        found.append(
            {
                "symbol": market.symbol,
                "adjustedFundingRateCap": "0.02000000",
                "adjustedFundingRateFloor": "-0.02000000",
                "fundingIntervalHours": hours,
                "disclaimer": False,
                "updateTime": market.listed_ms,
            }
        )
    return found


def premium_index(market: Market, now_ms: int) -> dict[str, Any]:
    price = rescaled(last_price(market, now_ms), market.price_decimals, 8)
    perpetual = market.contract_type.endswith("PERPETUAL")
    settles = perpetual and market.status == "TRADING"
    next_ms = market.funding.next_ms(now_ms) if settles else 0
    rate = fixed(market.funding.running_rate(now_ms), 8) if settles else ""
    return {
        "symbol": market.symbol,
        "markPrice": fixed(price, 8),
        "indexPrice": fixed(index_price(price), 8),
        "estimatedSettlePrice": fixed(price - price // 4000, 8),
        "lastFundingRate": rate,  # of the next settlement, despite its name
        "interestRate": "0.00010000" if settles else "",
        "nextFundingTime": next_ms,
        "time": now_ms - now_ms % 1000,
    }


def ticker_24h(market: Market, now_ms: int) -> dict[str, Any]:
    day = last_day(market, now_ms)
    decimals, amounts = market.price_decimals, market.quantity_decimals
    close = last_price(market, now_ms)
    first = int(day[OPEN, 0]) if day.shape[1] else close
    volume, turnover = int(day[VOLUME].sum()), int(day[TURNOVER].sum())
    trades = int(day[TRADES].sum())
    change = (close - first) * 100_000 // first if first else 0
    return {
        "symbol": market.symbol,
        "priceChange": fixed(close - first, decimals),
        "priceChangePercent": fixed(change, 3),
        "weightedAvgPrice": fixed(turnover // volume if volume else close, decimals),
        "lastPrice": fixed(close, decimals),
        "lastQty": fixed(market.step, amounts),
        "openPrice": fixed(first, decimals),
        "highPrice": fixed(int(day[HIGH].max()) if day.shape[1] else close, decimals),
        "lowPrice": fixed(int(day[LOW].min()) if day.shape[1] else close, decimals),
        "volume": fixed(volume, amounts),
        "quoteVolume": fixed(turnover, decimals + amounts),
        "openTime": now_ms - DAY_MS,
        "closeTime": now_ms,
        "firstId": 1,
        "lastId": trades,
        "count": trades,
    }


def ticker_price(market: Market, now_ms: int) -> dict[str, Any]:
    price = fixed(last_price(market, now_ms), market.price_decimals)
    return {"symbol": market.symbol, "price": price, "time": now_ms}
