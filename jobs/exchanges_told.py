"""What a run's result tells of each exchange: failing markets, and how far its clock is ahead."""

from collections import defaultdict
from typing import Any, Final

from jobs.context import JobContext, Outcome
from jobs.endings import is_failure
from market.markets import Exchange

MOST_NAMED: Final = 5  # markets of an exchange
_PARTS: Final = ("klines", "funding_rate")


def exchanges_told(context: JobContext, outcome: Outcome) -> dict[str, Any]:
    """`failing`: by exchange, how many markets could not be fetched, and the names of some;
    `clock_offsets_ms`: how far its clock is ahead of this machine's. Of a run that asked for
    data; those without an entry are left out."""
    if outcome.as_of_ms is None:
        return {}
    failing: dict[Exchange, set[str]] = defaultdict(set)
    for each in outcome.missing:
        if each.symbol is not None and each.part in _PARTS and is_failure(each):
            failing[each.exchange].add(each.symbol)
    offsets = {str(name): ms for name, ms in sorted(context.last_as_of.offsets_ms.items())}
    return {
        **(
            {
                "failing": {
                    str(exchange): {"markets": len(names), "names": sorted(names)[:MOST_NAMED]}
                    for exchange, names in sorted(failing.items())
                }
            }
            if failing
            else {}
        ),
        **({"clock_offsets_ms": offsets} if offsets else {}),
    }
