"""Simulated news and sentiment: feeds with their publishers' habits, APIs, indices."""

import re
from collections import Counter
from datetime import datetime
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree  # of our own simulator's text

import pytest

from simulator.providers.feeds import FEEDS, Feed
from tests.fixtures.simulator import NOW_MS, Simulator, StartSimulator
from tests.simulator.providers.asking import answer, fine

_OPEN = [feed for feed in FEEDS if not feed.blocked]
_AGENT = {"User-Agent": "test"}


def _items(simulator: Simulator, feed: Feed) -> list[ElementTree.Element]:
    path = f"/{feed.host}{feed.path.partition('|')[0].removesuffix('?')}"
    status, headers, body = simulator.full("GET", path, headers=_AGENT)
    assert (status, headers["Content-Type"]) == (200, "application/rss+xml; charset=UTF-8")
    return ElementTree.fromstring(body).findall("./channel/item")  # noqa: S314 - the same


@pytest.mark.parametrize("feed", _OPEN, ids=lambda feed: feed.publisher)
def test_feeds_have_items_with_title_link_and_time(world: Simulator, feed: Feed) -> None:
    items = _items(world, feed)
    assert len(items) == 25
    for item in items:
        assert item.findtext("title")
        assert str(item.findtext("link")).startswith(f"https://{feed.host}/news/")
        date = str(item.findtext("pubDate"))
        if date != "yesterday":
            assert parsedate_to_datetime(date).timestamp() * 1000 <= NOW_MS


def test_one_story_is_in_several_feeds(world: Simulator) -> None:
    slugs = Counter(
        re.sub(r"\?.*|/$", "", str(item.findtext("link"))).rpartition("/")[2]
        for feed in _OPEN
        for item in _items(world, feed)
    )
    assert max(slugs.values()) > 3


def test_habits_of_publishers(world: Simulator) -> None:
    by_name = {feed.publisher: _items(world, feed) for feed in _OPEN}
    coindesk = by_name["CoinDesk"][0]
    assert coindesk.find("guid").attrib == {"isPermaLink": "false"}  # type: ignore[union-attr]
    telegraph = by_name["Cointelegraph"][0]
    link, guid = str(telegraph.findtext("link")), telegraph.findtext("guid")
    assert link.partition("?")[0] == guid
    assert "utm_source" in link
    assert "<img" in str(telegraph.findtext("description"))
    others = [item for name, items in by_name.items() if name.startswith("D") for item in items]
    assert any("&amp;" in str(item.findtext("title")) for item in others)  # escaped twice
    dates = [parsedate_to_datetime(str(item.findtext("pubDate"))) for item in by_name["CoinDesk"]]
    assert dates != sorted(dates, reverse=True)


def test_who_has_the_newest_gets_no_body(world: Simulator) -> None:
    _, headers, _ = world.full("GET", "/decrypt.co/feed")
    status, _, body = world.full(
        "GET", "/decrypt.co/feed", headers={"If-None-Match": headers["ETag"]}
    )
    assert (status, body) == (304, b"")


def test_a_later_feed_has_newer_items_and_another_etag(start_simulator: StartSimulator) -> None:
    simulator = start_simulator(providers=True, binance=0, bybit=0, now=NOW_MS, frozen=True)
    before = simulator.full("GET", "/decrypt.co/feed")[1]["ETag"]
    simulator.post("/sim/clock", {"advance_ms": 3 * 3_600_000})
    assert simulator.full("GET", "/decrypt.co/feed")[1]["ETag"] != before


def test_who_refuses(world: Simulator) -> None:
    assert world.full("GET", "/cointelegraph.com/rss")[0] == 403  # without a User-Agent
    for path in ("/www.theblock.co/rss.xml", "/blockworks.co/feed"):
        assert world.full("GET", path, headers=_AGENT)[0] == 403
    path = "/news.google.com/rss/search?q=site:theblock.co+when:1d&hl=en-US"
    feed = ElementTree.fromstring(world.full("GET", path)[2])  # noqa: S314 - the same
    item = feed.find("./channel/item")
    assert item is not None
    assert str(item.findtext("title")).endswith(" - theblock.co")
    assert item.find("source") is not None


def test_news_by_api(world: Simulator) -> None:
    panic = fine(world, "/cryptopanic.com/api/growth/v2/posts/?auth_token=k&kind=news")
    assert "auth_token=k" in panic["next"]
    for name in ("source", "original_url", "instruments", "votes"):
        assert {post[name] is None for post in panic["results"]} == {True, False}, name
    path = "/newsapi.org/v2/everything?q=bitcoin"
    articles = fine(world, path, **{"X-Api-Key": "k"})["articles"]
    assert "[Removed]" in [article["title"] for article in articles]
    assert answer(world, path)[1]["code"] == "apiKeyMissing"
    assert answer(world, "/newsapi.org/v2/everything", **{"X-Api-Key": "k"}) == (
        200,
        {"status": "error", "code": "parameterInvalid", "message": "The parameter is invalid."},
    )


def test_whales_by_api(world: Simulator) -> None:
    path = "/leviathan.whale-alert.io/ethereum/transactions"
    rows = fine(world, f"{path}?api_key=k&min_value=1000000")
    assert rows
    for row in rows:
        (part,) = row["sub_transactions"]
        worth = float(part["outputs"][0]["amount"]) * part["unit_price_usd"]
        assert worth >= 999_000
        assert (part["inputs"] == []) == (part["transaction_type"] == "mint")
    assert answer(world, path)[0] == 401


def test_the_index_changes_once_a_day(start_simulator: StartSimulator) -> None:
    simulator = start_simulator(providers=True, binance=0, bybit=0, now=NOW_MS, frozen=True)
    path = "/api.alternative.me/fng/?limit=2"
    today, yesterday = fine(simulator, path)["data"]
    assert "time_until_update" in today
    assert "time_until_update" not in yesterday
    assert int(today["timestamp"]) - int(yesterday["timestamp"]) == 86_400
    simulator.post("/sim/clock", {"advance_ms": int(today["time_until_update"]) * 1000 - 1000})
    assert fine(simulator, path)["data"][0]["value"] == today["value"]
    simulator.post("/sim/clock", {"advance_ms": 2000})
    assert fine(simulator, path)["data"][1] == {
        name: today[name] for name in ("value", "value_classification", "timestamp")
    }


def test_indices_of_others_are_other_indices(world: Simulator) -> None:
    cmc = fine(world, "/pro-api.coinmarketcap.com/public-api/v3/fear-and-greed/latest")["data"]
    assert isinstance(cmc["value"], int)
    path = "/cfgi.io/api/v3/scores/?symbols=MARKET&limit=1&fields=score&api_key=k"
    (cfgi,) = fine(world, path)["data"]
    assert datetime.fromisoformat(cfgi["timestamp"]).timestamp() * 1000 <= NOW_MS
    assert answer(world, path.replace("/scores/?", "/scores?"))[0] == 308
    lunar = "/lunarcrush.com/api4/public/coins/btc/v1"
    assert 0 <= fine(world, lunar, Authorization="Bearer k")["data"]["galaxy_score"] <= 100
    votes = fine(world, "/api.coingecko.com/api/v3/coins/bitcoin?market_data=false")
    assert 0 < votes["sentiment_votes_up_percentage"] < 100
