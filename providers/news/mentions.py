"""Mentions: which assets a story is about, by their names and tickers in its text."""

import re
from collections.abc import Iterable
from typing import Final

from providers.assets import Assets

# Names that are words of their own: only their tickers count.
_WORDS: Final = (
    "base beam blur compound cosmos flare flow gala gas harmony immutable jupiter maker mantle"
    " mantra midnight near optimism polygon quant render sand sky sonic spell stacks stellar story"
    " sun sushi theta trump virtual wave waves world"
)
# Tickers that stand for something else in ordinary headlines: they count as $DOT and (DOT) alone.
_ABBREVIATIONS: Final = (
    "AI APE APT BAL BAT DOT FORM GAS GMT KEY LIT MAGIC ME OM ONE PEOPLE RED SAND SKY SUN TON TRUMP"
    " VET WIN"
)
_SHORTEST_TICKER: Final = 3


class Mentions:
    """Finds assets in texts. Each is found by the longest name: Bitcoin Cash is not Bitcoin."""

    def __init__(self, assets: Assets) -> None:
        words, abbreviations = _WORDS.split(), _ABBREVIATIONS.split()
        names = {each.name.lower(): each.id for each in assets if each.name.lower() not in words}
        tickers = {each.symbol.upper(): each.id for each in assets if each.symbol.isalnum()}
        bare = {
            ticker
            for ticker in tickers
            if len(ticker) >= _SHORTEST_TICKER and ticker not in abbreviations
        }
        self._by_ticker = tickers
        self._id_of = names | tickers
        self._names = _any_of(names, r"(?<![\w$-])", r"(?![\w-])", re.IGNORECASE)
        self._tickers = _any_of(bare, r"(?<![\w-])", r"(?!\w)")
        self._marked = _any_of(tickers, r"(?:(?<!\w)\$|\()", r"(?!\w)")

    def of(self, text: str) -> tuple[str, ...]:
        """The ids of assets, in the order in which the text first has them."""
        patterns = [self._names, self._marked]
        if text != text.upper():  # in capitals throughout, words look like tickers
            patterns.append(self._tickers)
        found: dict[str, int] = {}
        for pattern in patterns:
            for match in pattern.finditer(text):
                name = match[1]
                id_ = self._id_of.get(name) or self._id_of[name.lower()]
                found[id_] = min(match.start(1), found.get(id_, len(text)))
        return tuple(sorted(found, key=found.__getitem__))

    def of_codes(self, codes: Iterable[str]) -> tuple[str, ...]:
        """The ids behind a provider's own codes, such as BTC; codes of others are left out."""
        ids = (self._by_ticker.get(code.strip().upper()) for code in codes)
        return tuple(dict.fromkeys(id_ for id_ in ids if id_ is not None))


def _any_of(names: Iterable[str], before: str, after: str, flags: int = 0) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    choices = "|".join(map(re.escape, longest_first)) or r"(?!)"
    return re.compile(f"{before}({choices}){after}", flags)
