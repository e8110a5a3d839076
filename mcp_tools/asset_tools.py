"""The tools of assets over exchanges: all in short, and one with each of its markets."""

from collections.abc import Mapping
from typing import Any, Final

from mcp_tools.answers import Missing, utc_text
from mcp_tools.api_client import Answered, ApiClient
from mcp_tools.arguments import MOST_MARKETS, AssetCount, AssetName, Instant, PartOfAsset
from mcp_tools.asset_answers import Assets, MarketOfAsset, OneAsset, Prices, ShortAsset
from mcp_tools.rows_of_documents import LONGEST_REASON, told_of_more, with_missing

_SAME: Final = ("exchange", "symbol", "units", "summed", "stale_since", "price")


class AssetTools:
    """Each public method is a tool; its docstring is what callers read."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def assets(
        self, search: PartOfAsset = None, as_of: Instant | None = None, limit: AssetCount = 20
    ) -> Assets:
        """Lists assets over all exchanges in short, those with most open interest first: price,
        summed open interest and its change over 1h, 4h and 24h, funding scaled to 8 h and a year,
        turnover, and how far prices lie apart. With `as_of` as it was known at that time."""
        answered = await self._api.get("market", query={"as_of": as_of})
        told = answered.value
        wanted = (search or "").upper()
        found = [each for each in told["assets"] if wanted in each["asset"]]
        left_out = told_of_more(
            min(limit, len(found)), len(found), "assets", "search for a part of a name"
        )
        return Assets(
            **_head(answered),
            **with_missing([], left_out),
            count=len(found),
            assets=[_short(each) for each in found[:limit]],
        )

    async def asset(self, asset: AssetName, as_of: Instant | None = None) -> OneAsset:
        """One asset over all exchanges at one instant, and each of its markets: prices for one
        coin and their spread, one-sided open interest, its change over 1h, 4h and 24h, funding
        that can be compared (rate_8h, rate_year), turnover of 24 h. Markets that are in no sum are
        in `missing`, with the reason. With `as_of` as it was known at that time."""
        answered = await self._api.get("market", asset, query={"as_of": as_of})
        told = answered.value
        interest, funding, turnover = (
            told[name] for name in ("open_interest", "funding", "turnover_24h")
        )
        markets = told["markets"][:MOST_MARKETS]
        left_out = told_of_more(
            len(markets), len(told["markets"]), "markets", f"GET /market/{told['asset']} has all"
        )
        lacks = [
            Missing(
                exchange=each["exchange"],
                symbol=each["symbol"],
                part="market",
                reason=str(each["reason"])[:LONGEST_REASON],
            )
            for each in told["left_out"]
        ]
        return OneAsset(
            **_head(answered),
            **with_missing(lacks, left_out),
            asset=told["asset"],
            price=Prices(**{name: told["price"][name] for name in Prices.model_fields}),
            open_interest_coins=interest["coins"],
            open_interest_quote=interest["quote"],
            open_interest_exchanges=interest["exchanges"],
            change=_fractions(told["change"]),
            change_exchanges={
                span: each["exchanges"] if each else [] for span, each in told["change"].items()
            },
            rate_8h=funding["rate_8h"],
            rate_year=funding["rate_year"],
            funding_exchanges=funding["exchanges"],
            turnover_24h=turnover["quote"],
            turnover_exchanges=turnover["exchanges"],
            turnover_partial=turnover["partial"],
            markets=[_market(each) for each in markets],
        )


def _head(answered: Answered) -> dict[str, Any]:
    """Of when the answer is."""
    told = answered.value
    return {
        "as_of": told["as_of"],
        "age_s": max(0, answered.at_ms - told["updated_at"]) / 1000,
        "at": told["at"],
        "at_utc": utc_text(told["at"]),
        "quote": told["quote"],
        "funding_intervals": told.get("funding_intervals"),
    }


def _short(told: Mapping[str, Any]) -> ShortAsset:
    same = {
        name: told[name] for name in ShortAsset.model_fields if not name.startswith("open_interest")
    }
    interest = told["open_interest"]
    return ShortAsset(
        **same, open_interest_coins=interest["coins"], open_interest_quote=interest["quote"]
    )


def _market(told: Mapping[str, Any]) -> MarketOfAsset:
    interest, funding = told["open_interest"], told["funding"] or {}
    turnover = told["turnover_24h"] or {}
    return MarketOfAsset(
        **{name: told[name] for name in _SAME},
        open_interest_coins=interest["coins"],
        open_interest_quote=interest["quote"],
        change=_fractions(told["change"]),
        rate=funding.get("rate"),
        interval_hours=funding.get("interval_hours"),
        rate_8h=funding.get("rate_8h"),
        rate_year=funding.get("rate_year"),
        settled_utc=utc_text(funding.get("settled_at")),
        turnover_24h=turnover.get("quote"),
        candles_24h=turnover.get("candles"),
    )


def _fractions(change: Mapping[str, Any]) -> dict[str, float | None]:
    return {span: each and each["coins_fraction"] for span, each in change.items()}
