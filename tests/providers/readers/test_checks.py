"""A row whose `read` cannot lead to anything is refused when it is loaded, with the place."""

from typing import Any

import pytest

from providers.readers.checks import mistakes_of_reading
from tests.providers.making import resource

SENTIMENT = {"metric": "m", "scale": [0, 100], "value": "v"}
NEWS = {"items": "a[*]", "url": "u", "title": "t"}


@pytest.mark.parametrize(
    ("chain", "fields", "place", "reason"),
    [
        ("price.spot", {"reader": "xml"}, "reader", "xml is unknown"),
        ("price.spot", {"read": {}}, "read", "needs one of value"),
        ("price.spot", {"read": {"value": "a..b"}}, "read.value", "is not a path"),
        ("price.spot", {"read": {"value": 7}}, "read.value", "must be a path"),
        ("price.spot", {"read": {"value": "{user}"}}, "read.value", "nothing fills {user}"),
        ("price.spot", {"read": {"value": "v", "as_of": "t"}}, "read.as_of", "no unit is not"),
        ("price.spot", {"read": {"value": "v", "as_of": "t | h"}}, "read.as_of", "h is not"),
        ("price.spot", {"read": {"value": "v", "change_24h": "c"}}, "read.change_24h", "percent"),
        ("price.spot", {"read": {"value": "v", "base_fee": "b"}}, "read.base_fee", "is unknown"),
        ("price.spot", {"read": {"value": "v", "kind": "future"}}, "read.kind", "none of spot"),
        ("price.spot", {"read": {"value": "v", "quotes": "USD"}}, "read.quotes", "must be list"),
        ("price.spot", {"read": {"value": "v", "min_confidence": True}}, "read.min_confidence",
         "must be int"),
        ("price.spot", {"read": {"value": "v", "items": "a[*]"}}, "read", "items needs item_id"),
        ("price.spot", {"read": {"value": "v"}, "batch": 2}, "batch", "neither items nor {id}"),
        ("price.spot", {"read": {"value": "v", "success": {"code": 0}}}, "read.success.code",
         "must be a text"),
        ("gas.evm", {"read": {"base_fee": "b | sat_per_vb"}}, "read.base_fee", "wei, gwei"),
        ("gas.evm", {"read": {"block": "b"}}, "read", "needs one of base_fee"),
        ("stats.evm", {"read": {"metrics": {"x": "a..b"}}}, "read.metrics.x", "is not a path"),
        ("stats.evm", {"read": {"height": "h", "also": [{"url": ""}]}}, "read.also[0].url",
         "must be a text"),
        ("sentiment.market", {"read": {"value": "v"}}, "read", "needs metric and scale"),
        ("sentiment.asset", {"reader": "cryptopanic_votes", "read": {}}, "read", "needs metric"),
        ("balance.bsc", {"read": {"raw": "r | gwei"}}, "read.raw", "gwei is not its unit"),
        ("news", {"read": {**NEWS, "items": "a"}}, "read.items", "ending with [*]"),
        ("news", {"reader": "rss", "read": {"value": "v"}}, "read.value", "is unknown to rss"),
        ("rpc.base", {"reader": "json", "read": {}}, "reader", "json does not read rpc"),
        ("news", {"read": {"items": "a[*]", "url": "u"}}, "read", "needs title"),
        ("price.spot", {"reader": "rss"}, "reader", "rss reads news, not price"),
        ("balance.bsc", {"reader": "rpc_balance", "batch": 2}, "batch", "one subject"),
        ("stats.evm", {"read": {"height": "h", "also": ["x"]}}, "read.also[0]", "a table"),
        ("stats.evm", {"read": {"height": "h", "also": [{"height": "h"}]}}, "read.also[0]",
         "needs a url"),
        ("price.spot", {"read": {"value": "v", "success": {"{id}": "1"}}}, "read.success.{id}",
         "has no placeholders"),
        ("price.spot", {"read": {"value": "v", "same": {"a": "{b}"}}}, "read.same.a",
         "nothing fills {b}"),
        ("price.spot", {"read": {"value": "v", "min_confidence": float("nan")}},
         "read.min_confidence", "between 0 and 1"),
        ("sentiment.market", {"read": {**SENTIMENT, "scale": [100, 0]}}, "read.scale", "the least"),
        ("sentiment.market", {"read": {**SENTIMENT, "scale": ["0", 1]}}, "read.scale", "numbers"),
        ("sentiment.market", {"read": {**SENTIMENT, "period_s": 0}}, "read.period_s", "seconds"),
        ("sentiment.market", {"read": {**SENTIMENT, "earlier": {"items": "d[*]", "value": "v"}}},
         "read.earlier", "needs items, value and as_of"),
        ("sentiment.market", {"read": {**SENTIMENT, "earlier": {"as_of": "t | hours"}}},
         "read.earlier.as_of", "is not its unit"),
        ("sentiment.market", {"read": {**SENTIMENT, "earlier": {"score": "v"}}},
         "read.earlier.score", "is unknown"),
    ],
)  # fmt: skip
def test_mistakes(chain: str, fields: dict[str, Any], place: str, reason: str) -> None:
    found = list(mistakes_of_reading(resource(chain, **fields)))
    assert any(at == place and reason in why for at, why in found), found


@pytest.mark.parametrize(
    ("chain", "fields"),
    [
        ("price.spot", {"read": {"value": "{id}", "id": "{coinbase}"}, "batch": 9}),
        ("sentiment.market", {"read": SENTIMENT}),
        ("news", {"read": NEWS}),
        ("whales.evm", {"reader": "own"}),
        ("rpc.base", {"reader": "jsonrpc"}),
    ],
)
def test_rows_without_mistakes(chain: str, fields: dict[str, Any]) -> None:
    assert list(mistakes_of_reading(resource(chain, **fields))) == []
