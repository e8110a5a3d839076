"""Binance's !contractInfo stream: a message when a contract is listed or delisted."""

from collections.abc import Iterable

from simulator.answers import dump
from simulator.market import Market
from simulator.streams.feeds import NEVER_MS, Feed, Message


class ContractInfoFeed(Feed):
    """Told of changed contracts by `note`."""

    def __init__(self) -> None:
        self._changed: list[tuple[Market, int]] = []

    def note(self, market: Market, now_ms: int) -> None:
        self._changed.append((market, now_ms))
        self.next_ms = now_ms

    def start(self, now_ms: int) -> None:
        self._changed.clear()
        self.next_ms = NEVER_MS

    def push(self, now_ms: int) -> Iterable[Message]:
        changed, self._changed = self._changed, []
        self.next_ms = NEVER_MS
        return [Message(_data(market, at_ms)) for market, at_ms in changed]


def _data(market: Market, now_ms: int) -> bytes:
    return dump(
        {
            "e": "contractInfo",
            "E": now_ms,
            "s": market.symbol,
            "ps": market.symbol.partition("_")[0],
            "ct": market.contract_type,
            "dt": market.delivery_ms,
            "ot": market.listed_ms,
            "cs": market.status,
            "st": 1,
        }
    )
