"""How many markets of which exchanges are simulated, and the settings with their addresses."""

from collections.abc import Iterator, Mapping
from typing import Any

from market.markets import Exchange

Counts = tuple[int, ...]  # by exchange, in the order of Exchange; those beyond the last have none


def counted(markets: Counts) -> Iterator[tuple[Exchange, int]]:
    """Each exchange with its number of markets."""
    return zip(Exchange, markets, strict=False)


def options(markets: Counts) -> list[str]:
    """Of the simulator's command line."""
    by_exchange = dict(counted(markets))
    return [text for each in Exchange for text in (f"--{each}", str(by_exchange.get(each, 0)))]


def named(markets: Counts) -> str:
    return f"{' + '.join(map(str, markets))} markets"


def market_key(simulated: Mapping[str, Any]) -> str:
    """Our Market.key of a contract to collect, as the simulator tells it at /sim/markets."""
    return f"{simulated['exchange']}:{simulated['base']}{simulated['quote']}"


def rest_settings(markets: Counts, address: str) -> dict[str, str]:
    """Settings by which a program collects these exchanges from the simulator at `address`."""
    exchanges = [each for each, _ in counted(markets)]
    urls = {f"{each.upper()}_BASE_URL": address for each in exchanges}
    return {"EXCHANGES": ",".join(exchanges), **urls}


def stream_settings(markets: Counts, address: str) -> dict[str, str]:
    """Settings by which it follows their streams there."""
    url = address.replace("http", "ws", 1)
    return {"LIVE": "on", **{f"{each.upper()}_WS_URL": url for each, _ in counted(markets)}}
