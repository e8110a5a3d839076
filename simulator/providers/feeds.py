"""RSS feeds of simulated publishers, with the habits of the real ones."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from html import escape
from typing import Final

from simulator.answers import Answer
from simulator.providers import dialects
from simulator.providers.asked import Asked
from simulator.providers.sites import Site, get
from simulator.providers.stories import EACH_MS, Story, stories

_ITEMS: Final = 25
_RSS: Final = "application/rss+xml; charset=UTF-8"
_NAMESPACES: Final = (
    'xmlns:content="http://purl.org/rss/1.0/modules/content/" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:atom="http://www.w3.org/2005/Atom"'
)
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Feed:
    """`share`: how many percent of all stories it carries. `item` writes one of them.
    `needs_agent`: without a User-Agent it refuses. `blocked`: it refuses servers."""

    publisher: str
    host: str
    path: str
    share: int
    item: Callable[["Feed", Story], str]
    needs_agent: bool = False
    blocked: bool = False


def _date(time_ms: int) -> str:
    return formatdate(time_ms / 1000)


def _coindesk(feed: Feed, story: Story) -> str:
    tags = "".join(f"<category>{symbol}</category>" for symbol in story.symbols)
    return (
        f"<item><title><![CDATA[{story.title}]]></title><link>{story.url('www.coindesk.com')}"
        f'</link><guid isPermaLink="false">{story.id}</guid><pubDate>{_date(story.time_ms)}'
        f"</pubDate><dc:creator><![CDATA[{story.author}]]></dc:creator><description>"
        f"<![CDATA[{story.summary}]]></description><category>Markets</category>{tags}"
        "<content:encoded/></item>"
    )


def _cointelegraph(feed: Feed, story: Story) -> str:
    permalink = story.url("cointelegraph.com")
    link = f"{permalink}?utm_source=rss_feed&utm_medium=rss&utm_campaign=rss_partner_inbound"
    updated = _date(story.time_ms - 90_000)  # before it was published, as is seen there
    return (
        f"<item><title><![CDATA[{story.title}]]></title><link><![CDATA[{link}]]></link>"
        f'<guid isPermaLink="true">{permalink}</guid><pubDate>{_date(story.time_ms)}</pubDate>'
        f"<atom:updated>{updated}</atom:updated><dc:creator>Cointelegraph by {story.author}"
        '</dc:creator><description><![CDATA[<p style="float:right;"><img src="https://images.example'
        f'/1.jpg"></p><p>{escape(story.summary)}</p>]]></description></item>'
    )


def _wordpress(feed: Feed, story: Story) -> str:
    """Entities escaped twice, the whole text as HTML, and a script in one title of fifty."""
    title = escape(escape(story.title.replace(" (", " & (", 1)))
    if story.number % 50 == 7:
        title += escape("<script>alert(1)</script>")
    zone = " GMT" if story.number % 3 else " EST"
    date = _date(story.time_ms - (0 if story.number % 3 else 5 * _HOUR_MS))
    date = "yesterday" if story.number % 61 == 5 else date.replace(" -0000", zone)
    link = story.url(feed.host) + ("/" if story.number % 2 else "/?utm_source=rss&ref=feed")
    return (
        f"<item><title>{title}</title><link>{escape(link)}</link><pubDate>{date}</pubDate>"
        f"<dc:creator><![CDATA[{story.author}]]></dc:creator><category><![CDATA[News]]></category>"
        f'<guid isPermaLink="false">https://{feed.host}/?p={100_000 + story.number}</guid>'
        f"<description><![CDATA[<p>{escape(story.summary)}</p><p>The post appeared first.</p>]]>"
        f"</description><content:encoded><![CDATA[<h2>{escape(story.title)}</h2><p>"
        f"{escape(story.summary)}</p><script>track()</script>]]></content:encoded></item>"
    )


def _google(feed: Feed, story: Story) -> str:
    host = feed.publisher
    opaque = hashlib.sha256(f"{host}{story.id}".encode()).hexdigest()
    return (
        f"<item><title>{escape(story.title)} - {host}</title><link>https://news.google.com/rss/"
        f'articles/{opaque}?oc=5</link><guid isPermaLink="false">{opaque}</guid><pubDate>'
        f"{_date(story.time_ms).replace('-0000', 'GMT')}</pubDate><description>&lt;a href=&quot;x"
        f'&quot;&gt;{escape(escape(story.title))}&lt;/a&gt;</description><source url="https://{host}'
        f'">{host}</source></item>'
    )


FEEDS: Final = (
    Feed("CoinDesk", "www.coindesk.com", "/arc/outboundfeeds/rss/?", 60, _coindesk),
    Feed("Cointelegraph", "cointelegraph.com", "/rss", 55, _cointelegraph, needs_agent=True),
    Feed("Decrypt", "decrypt.co", "/feed", 35, _wordpress),
    Feed("Bitcoin Magazine", "bitcoinmagazine.com", "/feed|/.rss/full/", 20, _wordpress),
    Feed("CryptoSlate", "cryptoslate.com", "/feed/", 30, _wordpress),
    Feed("The Defiant", "thedefiant.io", "/feed", 20, _wordpress),
    Feed("Unchained", "unchainedcrypto.com", "/feed/", 15, _wordpress),
    Feed("BeInCrypto", "beincrypto.com", "/feed/", 30, _wordpress),
    Feed("Crypto Briefing", "cryptobriefing.com", "/feed/", 20, _wordpress),
    Feed("U.Today", "u.today", "/rss", 30, _wordpress),
    Feed("Bitcoinist", "bitcoinist.com", "/feed/", 25, _wordpress),
    Feed("NewsBTC", "www.newsbtc.com", "/feed/", 25, _wordpress),
    Feed("AMBCrypto", "ambcrypto.com", "/feed/", 25, _wordpress),
    Feed("crypto.news", "crypto.news", "/feed/", 25, _wordpress),
    Feed("CryptoPotato", "cryptopotato.com", "/feed/", 25, _wordpress),
    Feed("CoinGape", "coingape.com", "/feed/", 25, _wordpress),
    Feed("The Daily Hodl", "dailyhodl.com", "/feed/", 25, _wordpress),
    Feed("The Block", "www.theblock.co", "/rss.xml", 40, _wordpress, blocked=True),
    Feed("Blockworks", "blockworks.co", "/feed", 30, _wordpress, blocked=True),
)


def feed_sites() -> list[Site]:
    sites = [
        Site(feed.publisher, (feed.host,), [get(feed.path, _answering(feed))],
             errors=dialects.PLAIN)
        for feed in FEEDS
    ]  # fmt: skip
    google = Site("google news", ("news.google.com",), [get("/rss/search", _google_news)],
                  errors=dialects.PLAIN)  # fmt: skip
    return [*sites, google]


def _answering(feed: Feed) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        if feed.blocked or (feed.needs_agent and not asked.headers.get("user-agent")):
            return dialects.PLAIN["geo_blocked"].answer()
        return _feed(asked, feed)

    return answer


def _google_news(asked: Asked) -> Answer:
    words = asked.query.get("q", "").split()
    site = next((word.removeprefix("site:") for word in words if word.startswith("site:")), "")
    if not site:
        return Answer(400, b"", dialects.HTML)
    return _feed(asked, Feed(site, "news.google.com", "", 40, _google))


def _feed(asked: Asked, feed: Feed) -> Answer:
    view = asked.view
    told = stories(view, _ITEMS, feed.publisher, feed.share)
    newest_ms = told[0].time_ms if told else view.now_ms - view.now_ms % EACH_MS
    etag = f'"{hashlib.sha256(str([s.id for s in told]).encode()).hexdigest()[:24]}"'
    headers = {"ETag": etag, "Last-Modified": formatdate(newest_ms / 1000, usegmt=True)}
    if asked.headers.get("if-none-match") == etag:
        return Answer(304, b"", _RSS, headers)
    # Their order is not always that of time.
    told = sorted(told, key=lambda each: (each.number % 5 == 0, -each.time_ms))
    items = "\n".join(feed.item(feed, story) for story in told)
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0" {_NAMESPACES}>\n<channel>'
        f"<title>{escape(feed.publisher)}</title><link>https://{feed.host}</link>"
        f'<atom:link href="true" rel="hub"/><description>News</description><language>en</language>'
        f"<lastBuildDate>{_date(view.now_ms)}</lastBuildDate><ttl>5</ttl>\n{items}\n"
        "</channel></rss>\n"
    )
    return Answer(200, body.encode(), _RSS, headers)
