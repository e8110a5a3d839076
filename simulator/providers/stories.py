"""The simulated news: invented stories by time, with the assets that they are about."""

import uuid
from dataclasses import dataclass
from typing import Final

from simulator.providers.asked import View
from simulator.providers.assets import ASSETS
from simulator.providers.chains import REFERENCE_MS
from simulator.providers.evm import digest
from simulator.randomness import draw

EACH_MS: Final = 420_000  # a story comes about so often
_MOST_LATE_MS: Final = 200_000
_VERBS: Final = ("rises", "falls", "holds", "climbs", "slips", "steadies", "rallies", "retreats")
_REASONS: Final = (
    "as traders weigh new rules", "after a network upgrade", "while funds report new inflows",
    "ahead of the monthly options expiry", "as a large holder moves coins",
    "after an exchange lists new contracts", "while fees stay low", "as miners sell reserves",
    "after developers publish a roadmap", "as open interest reaches a new high",
    "following a court's decision", "while lenders cut their rates",
)  # fmt: skip
_AUTHORS: Final = ("A. Example", "B. Sample", "C. Placeholder", "D. Invented")
_ASSETS: Final = [asset for asset in ASSETS.values() if not asset.is_stable][:30]


@dataclass(frozen=True, slots=True)
class Story:
    number: int
    id: str
    time_ms: int
    title: str
    summary: str
    author: str
    slug: str
    symbols: tuple[str, ...]

    def url(self, host: str) -> str:
        """Its address at a publisher."""
        return f"https://{host}/news/{self.slug}"


def story(seed: int, number: int) -> Story:
    """One story; another one has the same words now and then, but never within two days."""
    asset = _ASSETS[draw(seed, "news", "asset", number, len(_ASSETS))]
    verb = _VERBS[draw(seed, "news", "verb", number, len(_VERBS))]
    reason = _REASONS[draw(seed, "news", "reason", number, len(_REASONS))]
    percent = 1 + draw(seed, "news", "percent", number, 190) / 10
    title = f"{asset.name} ({asset.symbol}) {verb} {percent}% {reason}, report {number % 1000}"
    words = "".join(each if each.isalnum() else "-" for each in title.lower()).split("-")
    return Story(
        number=number,
        id=str(uuid.UUID(digest(seed, "story", number)[:32])),
        time_ms=REFERENCE_MS + number * EACH_MS
        + draw(seed, "news", "late", number, _MOST_LATE_MS),
        title=title,
        summary=f"{asset.name} {verb} by {percent}% {reason}. Analysts of an invented desk say "
        f"that {asset.symbol} may go on; others doubt it & wait.",
        author=_AUTHORS[draw(seed, "news", "author", number, len(_AUTHORS))],
        slug=f"{'-'.join(word for word in words if word)}",
        symbols=(asset.symbol,),
    )  # fmt: skip


def stories(view: View, count: int, publisher: str = "", share: int = 100) -> list[Story]:
    """The newest stories, newest first; a publisher carries so many percent of them."""
    if view.lies.blank:
        return []
    newest = (view.now_ms - REFERENCE_MS) // EACH_MS
    found = []
    for number in range(newest, newest - 20 * count, -1):
        each = story(view.seed, number)
        carried = draw(view.seed, publisher, "carries", number, 100) < share
        if carried and each.time_ms <= view.now_ms:
            found.append(each)
        if len(found) == count:
            break
    return found
