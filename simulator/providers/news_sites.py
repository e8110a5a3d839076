"""News by API: CryptoPanic and NewsAPI. And Whale Alert's feed of great transfers."""

from collections.abc import Mapping
from typing import Any, Final

from simulator.answers import Answer
from simulator.providers import bitcoin, dialects, evm, tron_chain
from simulator.providers.aggregates import iso
from simulator.providers.asked import Asked, View, json_answer, listed, plain_text
from simulator.providers.chains import CHAINS, EvmChain
from simulator.providers.sites import Site, Window, get
from simulator.providers.stories import Story, stories

_CHAINS: Final = {chain.name: chain for chain in CHAINS.values()}
_BLOCKS: Final = 256
_PAGE: Final = 20


def news_sites() -> list[Site]:
    return [
        Site("cryptopanic", ("cryptopanic.com",),
             [get("/api/(?P<plan>[a-z]+)/v2/posts/", _cryptopanic)], keys=("query:auth_token",),
             keyless=False, limits=(Window(5, 1),), errors=dialects.CRYPTOPANIC),
        Site("newsapi", ("newsapi.org",),
             [get("/v2/(everything|top-headlines)", _newsapi)],
             keys=("header:x-api-key", "query:apiKey", "bearer"), keyless=False,
             limits=(Window(100, 86_400),), errors=dialects.NEWSAPI),
        Site("whale alert", ("leviathan.whale-alert.io",),
             [get("/(?P<chain>[a-z]+)/transactions", _whales), get("/status", _status)],
             keys=("query:api_key",), keyless=False, limits=(Window(10, 60),),
             errors=dialects.WHALE_ALERT),
    ]  # fmt: skip


def _cryptopanic(asked: Asked) -> Answer:
    view = asked.view
    wanted = set(listed(asked.query.get("currencies", "")))
    told = stories(view, 200 if wanted else _PAGE)
    told = [story for story in told if not wanted or wanted & set(story.symbols)][:_PAGE]
    token = asked.query["auth_token"]
    following = f"https://cryptopanic.com{asked.path}?auth_token={token}&page=2"
    body = {"next": following, "previous": None, "results": [_post(story) for story in told]}
    return json_answer(body)


def _post(story: Story) -> dict[str, Any]:
    """Every nested object may be null."""
    number = story.number
    source = {"title": "CoinDesk", "region": "en", "domain": "coindesk.com", "type": "feed"}
    instruments = [{"code": symbol, "title": symbol, "slug": symbol.lower()}
                   for symbol in story.symbols]  # fmt: skip
    votes = {"positive": number % 40, "negative": number % 11, "important": number % 7,
             "liked": 3, "disliked": 1, "comments": 2}  # fmt: skip
    return {
        "id": number, "slug": story.slug, "title": story.title, "description": story.summary,
        "published_at": iso(story.time_ms).replace("Z", "+00:00"),
        "created_at": iso(story.time_ms + 60_000).replace("Z", "+00:00"), "kind": "news",
        "source": None if number % 9 == 4 else source,
        "original_url": None if number % 13 == 6 else story.url("www.coindesk.com"),
        "url": f"https://cryptopanic.com/news/{number}/{story.slug}", "image": None,
        "instruments": None if number % 7 == 3 else instruments,
        "votes": None if number % 5 == 2 else votes,
        "panic_score": None if number % 3 else number % 100, "author": None,
    }  # fmt: skip


def _newsapi(asked: Asked) -> Answer:
    view = asked.view
    if not (asked.query.get("q") or asked.path.endswith("top-headlines")):
        return dialects.NEWSAPI["caller_fault"].answer()
    size = min(int(asked.query.get("pageSize", "100") or 100), 100)
    articles = [_article(story) for story in stories(view, size, "newsapi", 80)]
    return json_answer({"status": "ok", "totalResults": 2451, "articles": articles})


def _article(story: Story) -> dict[str, Any]:
    removed = story.number % 17 == 3
    title = "[Removed]" if removed else story.title
    return {
        "source": {"id": None, "name": "[Removed]" if removed else "Cointelegraph"},
        "author": None if story.number % 4 == 0 else story.author, "title": title,
        "description": "[Removed]" if removed else story.summary,
        "url": "https://removed.com" if removed else story.url("cointelegraph.com"),
        "urlToImage": None, "publishedAt": iso(story.time_ms),
        "content": f"{story.summary[:60]}… [+1234 chars]",
    }  # fmt: skip


def _whales(asked: Asked) -> Answer:
    view, name = asked.view, asked.words["chain"]
    least = float(asked.query.get("min_value", "0") or 0)
    rows: list[dict[str, Any]] = []
    if name == "bitcoin":
        newest = bitcoin.height(view)
        for number in range(newest - 2, newest + 1):
            rows += [_bitcoin(view, each) for each in bitcoin.transactions(view, number)]
    elif name in _CHAINS:
        chain = _CHAINS[name]
        last = chain.height_at(view.now_ms) - view.lies.blocks
        first = int(asked.query.get("start_height", last - _BLOCKS))
        for number in range(max(first, last - _BLOCKS), last + 1):
            rows += [_moved(view, chain, move) for move in evm.moved(view, chain, number)]
    elif name == "tron":
        newest = tron_chain.height(view)
        for number in range(newest - _BLOCKS, newest + 1):
            rows += [_of_tron(view, told) for told in tron_chain.moved(view, number)]
    else:
        return json_answer({"error": "blockchain not found"}, 404)
    rows = [row for row in rows if _worth(row) >= max(least, 100_000)]
    limit = min(int(asked.query.get("limit", "256") or 256), 256)
    return json_answer(rows[-limit:])


def _worth(row: dict[str, Any]) -> float:
    part = row["sub_transactions"][0]
    every = part["outputs"] or part["inputs"]
    return max(float(each["amount"]) for each in every) * float(part["unit_price_usd"])


def _party(address: str, amount: str, number: int) -> dict[str, str]:
    owner = {"owner": "an exchange", "owner_type": "exchange"} if number % 3 == 0 else {}
    return {"address": address, "amount": amount, "balance": amount, **owner}


def _entry(
    height: int, index: int, time_s: int, hashed: str, fee: str, part: dict[str, Any]
) -> dict[str, Any]:
    return {"height": height, "index_in_block": index, "timestamp": time_s, "hash": hashed,
            "fee": fee, "sub_transactions": [part]}  # fmt: skip


def _moved(view: View, chain: EvmChain, move: evm.Moved) -> dict[str, Any]:
    decimals = move.token.decimals if move.token else 18
    amount = plain_text(view.amount(move.amount) / 10**decimals)
    minted = move.sender == evm.ZERO
    inputs = [] if minted else [_party(move.sender, amount, move.number)]
    price = view.prices.usd(move.symbol, chain.time_ms(move.number))
    part = {"symbol": move.symbol, "unit_price_usd": price, "transaction_type":
            "mint" if minted else "transfer", "inputs": inputs,
            "outputs": [_party(move.receiver, amount, move.number + 1)]}  # fmt: skip
    time_s = chain.time_ms(move.number) // 1000
    return _entry(move.number, move.index, time_s, move.hash, "0.0004", part)


def _of_tron(view: View, told: Mapping[str, Any]) -> dict[str, Any]:
    amount = plain_text(view.amount(int(told["amount_raw"])) / 1e6)
    number = int(told["block"])
    part = {"symbol": told["asset"], "unit_price_usd": told["usd"] * 1e6 / int(told["amount_raw"]),
            "transaction_type": "transfer", "inputs": [_party(told["from"], amount, number)],
            "outputs": [_party(told["to"], amount, number + 1)]}  # fmt: skip
    time_s = int(told["time_ms"]) // 1000
    return _entry(number, int(told["index"]), time_s, str(told["tx_hash"]), "0", part)


def _bitcoin(view: View, each: bitcoin.Transaction) -> dict[str, Any]:
    def parties(outputs: tuple[bitcoin.Output, ...]) -> list[dict[str, str]]:
        return [_party(o.address, plain_text(view.amount(o.value) / bitcoin.SATS), each.number)
                for o in outputs]  # fmt: skip

    time_ms = bitcoin.time_ms(view.seed, each.number)
    part = {"symbol": "BTC", "unit_price_usd": view.prices.usd("BTC", time_ms),
            "transaction_type": "transfer", "inputs": parties(each.inputs),
            "outputs": parties(each.outputs)}  # fmt: skip
    fee = plain_text(each.fee / bitcoin.SATS)
    return _entry(each.number, each.index, time_ms // 1000, each.txid, fee, part)


def _status(asked: Asked) -> Answer:
    names = [{"name": name, "status": "connected"} for name in ("bitcoin", *_CHAINS, "tron")]
    return json_answer({"blockchain_count": len(names), "blockchains": names})
