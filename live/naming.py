"""Names of markets in any usual writing, taken apart into base, quote and kind."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from live.stream_venue import Topic
from venues.numbers import shown
from venues.reading import is_name

_SEPARATORS: Final = re.compile("[-/_]")
_DATE: Final = re.compile("[0-9]{6}|[0-9]{1,2}[A-Z]{3}[0-9]{2}")  # 261225 or 25DEC26
_PERPETUAL: Final = frozenset(("SWAP", "PERP", "PERPETUAL"))
_QUOTES: Final = ("USDT", "USDC", "USD")


class Written(NamedTuple):
    """A market's name taken apart; `quote` is empty where the name does not separate it."""

    base: str
    quote: str
    is_perpetual: bool  # the name says so; else it may be of a spot market
    rest: str = ""  # an expiry date


def take_apart(text: str) -> Written:
    """BTCUSDT, btc-usdt, BTC/USDT, BTC_USDT, BTC-USDT-SWAP, BTC/USDT:USDT; BTCUSDT_261225 keeps its
    date in `rest`. Raises ValueError for anything else."""
    name, _, settled = text.strip().upper().partition(":")
    parts = _SEPARATORS.split(name)
    says_so = len(parts) > 1 and parts[-1] in _PERPETUAL
    if says_so:
        parts.pop()
    rest = parts.pop() if len(parts) > 1 and _DATE.fullmatch(parts[-1]) else ""
    base, quote = parts[0], parts[1] if len(parts) > 1 else ""
    fits = len(parts) <= 2 and all(parts) and settled in ("", quote)
    if not fits or not is_name(base + quote) or not (base + quote).isalnum():
        raise ValueError(
            f"not the name of a market: {shown(text)}; write it as BTCUSDT, BTC-USDT or BTC/USDT"
        )
    written = Written(base, quote, says_so or bool(settled), rest)
    return with_quote(written) if says_so else written


def with_quote(written: Written) -> Written:
    """The same with the quote separated. Raises ValueError where the name ends with none known."""
    if written.quote:
        return written
    for quote in _QUOTES:
        if written.base.endswith(quote) and written.base != quote:
            return written._replace(base=written.base.removesuffix(quote), quote=quote)
    raise ValueError(
        f"the quote of {shown(written.base)} is unknown: write it as BASE-QUOTE, as in BTC-USDT"
    )


def not_offered(exchange: str, what: str, wanted: str, offered: Iterable[str]) -> ValueError:
    """The error for a channel or timeframe that an exchange does not stream."""
    return ValueError(f"{exchange} has no {what} {shown(wanted)}; it has {', '.join(offered)}")


def checked_symbol(exchange: str, topic: Topic) -> str:
    """The topic's market. Raises ValueError where it is none, or all markets are meant."""
    if not topic.symbol:
        raise ValueError(f"{exchange} has no stream of all markets for {topic.channel}")
    if not is_name(topic.symbol) or "@" in topic.symbol:
        raise ValueError(f"{exchange}: not the name of a market: {shown(topic.symbol)}")
    return topic.symbol
